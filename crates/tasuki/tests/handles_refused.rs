//! What is no tasuki object, or another one than expected, or one of another version, is refused with a clear error.

mod support;

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;

use support::handles::{Sent, sent, try_damaged};
use support::{in_own_process, until, watchdog};
use tasuki::Lock;
use tasuki::raw::{QueueOptions, RawHandle, RawLock, RawQueue, RawValue, element};

fn a_queue() -> Sent {
    let queue = RawQueue::create(QueueOptions::default()).unwrap();
    sent(|table| queue.record(table))
}

fn a_lock() -> (RawLock, Sent) {
    let lock = RawLock::create(false).unwrap();
    let sent = sent(|table| lock.record(table));
    (lock, sent)
}

fn a_value() -> (RawValue, Sent) {
    let value = RawValue::create(element::signed(8), 8).unwrap();
    let sent = sent(|table| value.record(table));
    (value, sent)
}

/// A memfd of `len` bytes, with these seals.
fn memfd(len: u64, seals: i32) -> OwnedFd {
    // SAFETY: makes a descriptor, which the result owns; the seals are plain numbers.
    #[allow(unsafe_code)]
    unsafe {
        let fd = libc::memfd_create(c"test".as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING);
        assert!(fd >= 0);
        let file = File::from_raw_fd(fd);
        file.set_len(len).unwrap();
        assert_eq!(libc::fcntl(fd, libc::F_ADD_SEALS, seals), 0);
        file.into()
    }
}

const SEALS: i32 = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;

/// A copy of the beginning of a segment, with some bytes changed.
fn doctored(original: &OwnedFd, at: u64, bytes: &[u8]) -> OwnedFd {
    let original = File::from(original.try_clone().unwrap());
    let mut head = vec![0; 1 << 20];
    original.read_exact_at(&mut head, 0).unwrap();
    let copy = File::from(memfd(original.metadata().unwrap().len(), libc::F_SEAL_SHRINK));
    copy.write_all_at(&head, 0).unwrap();
    copy.write_all_at(bytes, at).unwrap();
    // SAFETY: a plain call on a live descriptor.
    #[allow(unsafe_code)]
    let sealed = unsafe { libc::fcntl(copy.as_raw_fd(), libc::F_ADD_SEALS, SEALS) };
    assert_eq!(sealed, 0);
    copy.into()
}

fn an_array() -> (RawValue, Sent) {
    let array = RawValue::create_array(element::signed(4), 4, 6).unwrap();
    let sent = sent(|table| array.record(table));
    (array, sent)
}

#[test]
fn what_was_sent_opens() {
    assert!(matches!(a_queue().open(), Ok(RawHandle::Queue(_))));
    let (_lock, lock) = a_lock();
    assert!(matches!(lock.open(), Ok(RawHandle::Lock(_))));
    let (_value, value) = a_value();
    assert!(matches!(value.open(), Ok(RawHandle::Value(_))));
    let (_array, array) = an_array();
    assert!(
        matches!(array.open(), Ok(RawHandle::Value(raw)) if raw.is_array() && raw.count() == 6)
    );
    // A faithful copy of a queue's beginning is a queue, so the refusals below are for what is changed in it.
    let mut copy = a_queue();
    copy.fds[0] = doctored(&copy.fds[0], 0, &[]);
    assert!(copy.open().is_ok());
}

#[test]
fn descriptors_of_other_things_are_refused() {
    let others: Vec<OwnedFd> = vec![
        File::open("/dev/null").unwrap().into(),
        File::open("/proc/self/status").unwrap().into(),
        std::net::UdpSocket::bind("127.0.0.1:0").unwrap().into(),
        std::io::pipe().unwrap().0.into(),
        memfd(1 << 30, 0),
        memfd(1 << 30, libc::F_SEAL_SHRINK),
    ];
    for other in others {
        let mut queue = a_queue();
        queue.fds[0] = other.try_clone().unwrap();
        let refusal = queue.refusal();
        assert!(refusal.contains("not a sealed memfd"), "{refusal}");
        let (_lock, mut lock) = a_lock();
        lock.fds[0] = other;
        let refusal = lock.refusal();
        assert!(refusal.contains("not a sealed memfd") || refusal.contains("cannot"), "{refusal}");
    }
    let mut queue = a_queue();
    queue.fds[1] = File::open("/dev/null").unwrap().into();
    assert!(queue.refusal().contains("not its socket"), "{}", queue.refusal());
}

#[test]
fn sealed_memory_of_somebody_else_is_refused() {
    for len in [0, 1, 4096, 1 << 20, 1 << 30, 1 << 40] {
        let mut queue = a_queue();
        queue.fds[0] = memfd(len, SEALS);
        let refusal = queue.refusal();
        assert!(refusal.contains("too small") || refusal.contains("does not begin"), "{refusal}");
        let (_lock, mut lock) = a_lock();
        lock.fds[0] = memfd(len, SEALS);
        lock.refusal();
    }
    let mut queue = a_queue();
    queue.fds[0] = memfd(1 << 30, SEALS | libc::F_SEAL_WRITE);
    queue.refusal();
}

#[test]
fn another_version_word_size_size_or_namespace_is_refused_by_name() {
    for (at, bytes, says) in [
        (0, &b"tasukI"[..], "does not begin"),
        (8, &99_u32.to_le_bytes()[..], "layout 99"),
        (12, &32_u32.to_le_bytes()[..], "word size"),
        (16, &2_u32.to_le_bytes()[..], "queue was expected"),
        (16, &77_u32.to_le_bytes()[..], "queue was expected"),
        (20, &1_u32.to_le_bytes()[..], "features"),
        (24, &4096_u64.to_le_bytes()[..], "size disagree"),
        (48, &5_u64.to_le_bytes()[..], "pid namespace"),
    ] {
        let mut queue = a_queue();
        queue.fds[0] = doctored(&queue.fds[0], at, bytes);
        let refusal = queue.refusal();
        assert!(refusal.contains(says), "{at}: {refusal}");
    }
}

#[test]
fn one_kind_is_not_another() {
    let (_lock, lock) = a_lock();
    let (_value, value) = a_value();
    let mut wrong = a_queue();
    wrong.fds[0] = lock.fds[0].try_clone().unwrap();
    assert!(wrong.refusal().contains("queue was expected"), "{}", wrong.refusal());
    let (_lock, mut wrong) = a_lock();
    wrong.fds[0] = a_queue().fds.remove(0);
    assert!(wrong.refusal().contains("arena was expected"), "{}", wrong.refusal());
    // A value's record with a lock's place in the arena, and the other way round.
    let mut wrong = Sent { record: value.record.clone(), fds: lock.fds };
    wrong.record[6..14].copy_from_slice(&lock.record[6..14]);
    assert!(wrong.refusal().contains("another kind"), "{}", wrong.refusal());
    let mut wrong = Sent { record: lock.record, fds: value.fds };
    wrong.record[6..14].copy_from_slice(&value.record[6..14]);
    assert!(wrong.refusal().contains("another kind"), "{}", wrong.refusal());
}

#[test]
fn an_integer_is_not_opened_as_a_float_nor_short_as_long() {
    let _watchdog = watchdog();
    let queue = tasuki::Queue::<Lock<i64>>::unbounded().unwrap();
    queue.put(Lock::new(1_i64).unwrap()).unwrap();
    let as_bytes = queue.clone();
    let (value, sent) = a_value();
    let element = 14;
    let len = 16;
    let mut wrong = Sent { record: sent.record.clone(), fds: sent.fds };
    wrong.record[element..len].copy_from_slice(&element::float(8).to_le_bytes());
    assert!(wrong.refusal().contains("another kind"), "{}", wrong.refusal());
    wrong.record.clone_from(&sent.record);
    wrong.record[len..].copy_from_slice(&64_u64.to_le_bytes());
    assert!(wrong.open().is_ok(), "it is within the room that every small value has");
    wrong.record[len..].copy_from_slice(&65_u64.to_le_bytes());
    assert!(wrong.refusal().contains("smaller"), "{}", wrong.refusal());
    wrong.record[len..].copy_from_slice(&u64::MAX.to_le_bytes());
    wrong.refusal();
    drop(value);
    assert_eq!(*as_bytes.get().unwrap().lock().unwrap(), 1);
}

#[test]
fn an_array_is_not_opened_as_a_value_nor_beyond_its_end() {
    let (_array, array) = an_array();
    let value = RawValue::create(element::signed(4), 4).unwrap();
    let value = sent(|table| value.record(table));
    let (len, item) = (16..24, 24..32);
    // An array's record with a value's place, a value's with an array's.
    let mut wrong = Sent { record: array.record.clone(), fds: value.fds };
    wrong.record[6..14].copy_from_slice(&value.record[6..14]);
    assert!(wrong.refusal().contains("another kind"), "{}", wrong.refusal());
    let mut wrong = Sent { record: value.record, fds: array.fds };
    wrong.record[6..14].copy_from_slice(&array.record[6..14]);
    assert!(wrong.refusal().contains("another kind"), "{}", wrong.refusal());
    let fds = wrong.fds;
    let mut wrong = Sent { record: array.record.clone(), fds };
    for size in [0_u64, 5, u64::MAX] {
        wrong.record[item.clone()].copy_from_slice(&size.to_le_bytes());
        assert!(wrong.refusal().contains("broken elements"), "{size}: {}", wrong.refusal());
    }
    wrong.record.clone_from(&array.record);
    for size in [68_u64, 1 << 40, u64::MAX - 3] {
        wrong.record[len.clone()].copy_from_slice(&size.to_le_bytes());
        wrong.refusal();
    }
}

#[test]
fn a_slot_that_is_anothers_by_now_is_refused() {
    // A fork of another test at that very moment keeps all slots for its child: then again.
    until("a dropped lock's slot is free", || {
        let (lock, sent) = a_lock();
        let record = sent.record.clone();
        drop(sent); // with it the lease that keeps the slot
        drop(lock);
        // Nothing else is in the way: this descriptor is the arena's.
        let without_lease = Sent { record, fds: vec![a_lock().1.fds.remove(0)] };
        without_lease.open().is_err_and(|error| error.to_string().contains("gone"))
    });
    let (_lock, mut beyond) = a_lock();
    beyond.record[6..10].copy_from_slice(&4096_u32.to_le_bytes());
    assert!(beyond.refusal().contains("does not exist"), "{}", beyond.refusal());
}

#[test]
fn a_truncated_or_lengthened_record_is_refused() {
    let (_lock, lock) = a_lock();
    let (_value, value) = a_value();
    let (_array, array) = an_array();
    for whole in [a_queue(), lock, value, array] {
        for len in 0..whole.record.len() {
            let cut = Sent {
                record: whole.record[..len].to_vec(),
                fds: whole.fds.iter().map(|fd| fd.try_clone().unwrap()).collect(),
            };
            assert!(cut.open().is_err(), "{len} of {} bytes", whole.record.len());
        }
        let mut longer = whole;
        longer.record.push(0);
        assert!(longer.refusal().contains("malformed"), "{}", longer.refusal());
    }
}

#[test]
fn records_of_random_bytes_open_nothing_and_leak_nothing() {
    let _watchdog = watchdog();
    in_own_process(|| {
        let (_lock, lock) = a_lock();
        let (_value, value) = a_value();
        let (_array, array) = an_array();
        try_damaged("random records", &[a_queue(), lock, value, array], 20_000, 4);
    });
}

#[test]
fn a_handle_to_what_is_gone_never_opens_what_comes_after_it_in_the_same_place() {
    let _watchdog = watchdog();
    in_own_process(|| {
        let (_keeper, arena) = a_lock();
        let open = |record: &Vec<u8>| {
            RawHandle::open(record, &mut |_| Ok(arena.fds[0].try_clone().unwrap()))
        };
        // Three in a row, of which only the handles stay. A fork that is under way in a process that has the arena,
        // too, would keep the objects: once more then.
        let mut stale: Vec<Vec<u8>> = Vec::new();
        until("nobody holds them", || {
            let locks: Vec<RawLock> = (0..3).map(|_| RawLock::create(false).unwrap()).collect();
            stale = locks.iter().map(|lock| sent(|table| lock.record(table)).record).collect();
            // The first one last: the next object lies where it was.
            locks.into_iter().rev().for_each(drop);
            stale.iter().all(|record| open(record).is_err())
        });
        let refused = |when: &str| {
            for record in &stale {
                let opened = open(record);
                let error = opened.err().unwrap_or_else(|| panic!("opened {when}")).to_string();
                assert!(error.contains("gone"), "{error}");
            }
        };
        for round in 0..5 {
            refused("at once");
            // Objects of several slots come and go there, and others of one.
            let run = RawValue::create(element::OPAQUE, 64 * (3 + round)).unwrap();
            refused("inside a run");
            drop(run);
            refused("after a run");
            let locks: Vec<RawLock> = (0..8).map(|_| RawLock::create(false).unwrap()).collect();
            refused("where other locks are");
            drop(locks);
        }
    });
}
