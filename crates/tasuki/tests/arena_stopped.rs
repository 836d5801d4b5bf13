//! A process was stopped in the middle of a step of an arena: nobody waits for it, and what others had to leave for
//! later is done once, by those who had to do it.
#![cfg(feature = "kill-points")]

mod support;

use std::collections::BTreeSet;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering::SeqCst;

use support::handles::{Sent, sent};
use support::victims::{goes_on, stopped_at};
use support::{Child, Ended, Words, descriptor_count, fork, in_own_process, until, watchdog};
use tasuki::Array;
use tasuki::kill_points::{KillPoint, arm_stop};
use tasuki::raw::{RawHandle, RawLock, Wait};

/// The steps of making and dropping a small object.
const STEPS: [KillPoint; 4] =
    [KillPoint::LockTaken, KillPoint::SlotReady, KillPoint::SlotTaken, KillPoint::SlotDropped];

fn locks(count: usize) -> Vec<RawLock> {
    (0..count).map(|_| RawLock::create(false).unwrap()).collect()
}

/// A process that is stopped in the section of the arena that this process's small objects are in.
fn stopped_inside(point: KillPoint) -> Child {
    stopped_at(point, || drop(locks(1)))
}

fn sent_lock(lock: &RawLock) -> Sent {
    sent(|table| lock.record(table))
}

fn open(sent: &Sent) -> Result<RawLock, tasuki::Error> {
    match sent.open()? {
        RawHandle::Lock(lock) => Ok(lock),
        other => panic!("{} was opened", other.name()),
    }
}

fn assert_all_free_and_apart(locks: &[RawLock]) {
    let places: BTreeSet<_> = locks.iter().map(RawLock::key).collect();
    assert_eq!(places.len(), locks.len(), "two objects in one place");
    for lock in locks {
        assert!(lock.acquire(&mut Wait::now()).is_ok(), "another's place");
    }
    assert!(locks.iter().all(RawLock::release));
}

#[test]
fn what_was_to_be_left_is_left_by_the_parent_and_not_by_its_child_again() {
    let _watchdog = watchdog();
    // Whether the places are free when the child drops something, or inside another object.
    for taken_again in [false, true] {
        in_own_process(|| {
            let mut kept = locks(100);
            let stopped = stopped_inside(KillPoint::SlotTaken);
            drop(kept.drain(..50)); // stays to be left
            goes_on(stopped);
            let words = Words::new(1);
            let mut child = fork(|| {
                until("the parent has left them", || words[0].load(SeqCst) == 1);
                drop(kept.pop());
            });
            child.wait_until_asleep();
            drop(kept.pop());
            let make = |n: u64| Array::from_slice(&[n; 200]).unwrap();
            let arrays: Vec<_> = (0..if taken_again { 155 } else { 0 }).map(make).collect();
            words[0].store(1, SeqCst);
            assert_eq!(child.wait(), Ended::WELL);
            let others = locks(3000);
            kept.extend(others);
            assert_all_free_and_apart(&kept);
            assert!((0..).zip(&arrays).all(|(n, array)| array.to_vec() == [n; 200]));
        });
    }
}

#[test]
fn what_was_to_be_left_and_came_back_is_left_once() {
    let _watchdog = watchdog();
    in_own_process(|| {
        let _arena = locks(1);
        let words = Words::new(1);
        // It does not have what is made after it.
        let stopped = fork(|| {
            until("the others are made", || words[0].load(SeqCst) == 1);
            arm_stop(KillPoint::SlotTaken, 1);
            drop(locks(1));
        });
        stopped.wait_until_asleep();
        let mut kept = locks(10);
        let sent = sent_lock(&kept[0]);
        words[0].store(1, SeqCst);
        stopped.wait_until_stopped();
        let place = kept[0].key();
        drop(kept.remove(0)); // stays to be left
        goes_on(stopped);
        let again = open(&sent).unwrap();
        assert_eq!(again.key(), place);
        drop(sent);
        drop(again);
        kept.extend(locks(1000));
        assert_all_free_and_apart(&kept);
    });
}

/// Where the table of slots begins in an arena with all rows.
const TABLE: u64 = 0x8_2000;

#[test]
fn a_broken_peer_that_writes_over_an_entry_frees_nobody_elses_objects() {
    use std::os::unix::fs::FileExt;
    let _watchdog = watchdog();
    for run in [0_u16, 2, 3, 64, 4096, 0xfffe, 0xffff] {
        in_own_process(|| {
            let mut kept = locks(100);
            let sent = sent_lock(&kept[50]);
            let slot = u32::from_le_bytes(sent.record[6..10].try_into().unwrap());
            let arena = std::fs::File::options()
                .read(true)
                .write(true)
                .open(format!("/proc/self/fd/{}", sent.fds[0].as_raw_fd()))
                .unwrap();
            let at = TABLE + u64::from(slot) * 8;
            let mut before = [0; 2];
            arena.read_exact_at(&mut before, at).unwrap();
            assert_eq!(u16::from_le_bytes(before), 1, "a lock has one slot");
            arena.write_all_at(&run.to_le_bytes(), at).unwrap();
            drop(sent);
            drop(kept.remove(50));
            kept.extend(locks(3900));
            assert_all_free_and_apart(&kept);
        });
    }
}

#[test]
fn whoever_opens_forks_makes_or_drops_does_not_wait_for_a_stopped_one() {
    let _watchdog = watchdog();
    for point in STEPS {
        in_own_process(|| {
            let mut kept = locks(100);
            let sent: Vec<Sent> = kept.drain(..50).map(|lock| sent_lock(&lock)).collect();
            let descriptors = descriptor_count();
            let stopped = stopped_inside(point);
            let mut opened: Vec<RawLock> = sent.iter().map(|sent| open(sent).unwrap()).collect();
            assert_all_free_and_apart(&opened);
            assert!(descriptor_count() <= descriptors + 2, "one lease, and perhaps an arena");
            drop(sent);
            // They are this process's, now that the messages are gone.
            let others = Words::new(2);
            let mut child = fork(|| {
                assert_all_free_and_apart(&opened);
                others.tell(0);
                until("the parent has dropped its own", || others.told(1));
                let before = descriptor_count();
                let mut more = locks(1000);
                more.append(&mut opened);
                assert_all_free_and_apart(&more);
                assert!(descriptor_count() <= before, "the lease of the fork stays");
            });
            until("the child has used them", || others.told(0));
            let mut made = locks(10);
            goes_on(stopped);
            made.extend(locks(100));
            drop(opened);
            made.extend(locks(1000));
            others.tell(1);
            assert_eq!(child.wait(), Ended::WELL);
            assert_all_free_and_apart(&made);
            drop(made);
            drop(kept);
            assert!(descriptor_count() <= descriptors, "a lease stays, or an arena");
        });
    }
}

#[test]
fn what_was_opened_while_somebody_was_stopped_comes_free_again() {
    let _watchdog = watchdog();
    in_own_process(|| {
        let kept = locks(1);
        let arenas = descriptor_count();
        for _ in 0..10 {
            let mut sent: Vec<Sent> = Vec::new();
            for lock in locks(1000) {
                sent.push(sent_lock(&lock));
            }
            let stopped = stopped_inside(KillPoint::SlotTaken);
            let opened: Vec<RawLock> = sent.iter().map(|sent| open(sent).unwrap()).collect();
            drop(sent);
            assert_all_free_and_apart(&opened);
            drop(opened);
            goes_on(stopped);
            drop(locks(1));
        }
        drop(locks(4000));
        assert!(descriptor_count() <= arenas + 1, "slots were lost");
        assert_all_free_and_apart(&kept);
    });
}

#[test]
fn a_handle_without_a_lease_opens_when_the_stopped_one_goes_on() {
    let _watchdog = watchdog();
    in_own_process(|| {
        // Of an arena that this process has, so that another can be stopped in there.
        let kept = locks(1);
        let words = Words::new(1);
        let other = fork(|| {
            until("the message is made", || words[0].load(SeqCst) == 1);
            arm_stop(KillPoint::SlotTaken, 1);
            drop(locks(1));
        });
        other.wait_until_asleep();
        let mut made = locks(2);
        let mut sent: Vec<Sent> = made.iter().map(sent_lock).collect();
        // Another process has them, and this one not.
        let mut holder = fork(|| {
            until("the end", || words[0].load(SeqCst) == 2);
            drop(made.drain(..));
        });
        holder.wait_until_asleep();
        drop(made.drain(..));
        drop(locks(1));
        for sent in &mut sent {
            // As without /proc: a descriptor of the arena, but no lease.
            let path = format!("/proc/self/fd/{}", sent.fds[0].as_raw_fd());
            let file = std::fs::File::options().read(true).write(true).open(path);
            sent.fds[0] = file.unwrap().into();
        }
        words[0].store(1, SeqCst);
        other.wait_until_stopped();
        let error = sent[0].open_now().unwrap_err();
        assert!(matches!(error, tasuki::Error::Busy(_)), "{error}");
        // Neither is this process's own state held meanwhile, nor is the handle gone.
        std::thread::scope(|scope| {
            let opening = scope.spawn(|| open(&sent[1]));
            drop(locks(10));
            goes_on(other);
            let opened = vec![opening.join().unwrap().unwrap(), open(&sent[0]).unwrap()];
            assert_all_free_and_apart(&opened);
        });
        words[0].store(2, SeqCst);
        assert_eq!(holder.wait(), Ended::WELL);
        assert_all_free_and_apart(&kept);
    });
}
