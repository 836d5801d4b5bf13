//! Many readers or one writer: exclusion, waking, deaths, forks and refusals.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use support::handles::sent;
use support::{Child, Ended, Words, end_well, fork, until, watchdog};
use tasuki::protocol::transfer::{self, Incoming, Outgoing};
use tasuki::raw::{GaveUp, RawHandle, RawRwLock, Wait, element};
use tasuki::synchronize::LockError;
use tasuki::{Lock, Process, Queue, RwLock};

tasuki::enable_tests!();

const MOMENT: Duration = Duration::from_millis(30);

#[test]
fn readers_read_together_and_a_writer_is_alone() {
    let _watchdog = watchdog();
    let lock = RwLock::new([7_u64; 3]).unwrap();
    let (one, other) = (lock.read().unwrap(), lock.try_read().unwrap());
    let mut child = fork(|| assert_eq!(*lock.read().unwrap(), [7; 3]));
    assert_eq!(child.wait(), Ended::WELL);
    assert!(lock.try_write().unwrap_err().is_timed_out());
    assert!(lock.write_timeout(MOMENT).unwrap_err().is_timed_out());
    drop((one, other));
    let mut writer = lock.try_write().unwrap();
    writer[1] = 8;
    assert!(lock.try_read().unwrap_err().is_timed_out());
    assert!(lock.read_timeout(MOMENT).unwrap_err().is_timed_out());
    assert!(lock.try_write().unwrap_err().is_timed_out());
    drop(writer);
    assert_eq!(*lock.read().unwrap(), [7, 8, 7]);
}

#[test]
fn nobody_reads_what_is_half_written() {
    let _watchdog = watchdog();
    let lock = RwLock::new([0_u64; 9]).unwrap();
    let words = Words::new(1);
    let read = || {
        for _ in 0..3000 {
            let data = lock.read().unwrap();
            assert!(data.iter().all(|word| *word == data[0]), "{:?}", *data);
            words[0].fetch_add(1, SeqCst);
        }
    };
    let write = || {
        for _ in 0..1000 {
            let mut data = lock.write().unwrap();
            data.iter_mut().for_each(|word| *word += 1);
        }
    };
    let mut children: Vec<Child> = (0..2).map(|_| fork(write)).collect();
    children.extend((0..2).map(|_| fork(read)));
    std::thread::scope(|scope| {
        scope.spawn(read);
        scope.spawn(write);
    });
    end_well(&mut children);
    assert_eq!(*lock.read().unwrap(), [3000; 9]);
    assert_eq!(words[0].load(SeqCst), 9000);
}

#[test]
fn a_writer_that_waits_goes_before_new_readers() {
    let _watchdog = watchdog();
    let lock = RwLock::new(0_u64).unwrap();
    let words = Words::new(1);
    let reader = lock.read().unwrap();
    let mut writer = fork(|| {
        words[0].store(1, SeqCst);
        *lock.write().unwrap() = 5;
    });
    until("the writer waits", || lock.try_read().is_err_and(|error| error.is_timed_out()));
    let mut late = fork(|| assert_eq!(*lock.read().unwrap(), 5));
    drop(reader);
    assert_eq!(writer.wait(), Ended::WELL);
    assert_eq!(late.wait(), Ended::WELL);
}

#[test]
fn a_writer_that_gives_up_keeps_nobody() {
    let _watchdog = watchdog();
    let lock = RwLock::new(0_u64).unwrap();
    let reader = lock.read().unwrap();
    assert!(lock.write_timeout(MOMENT).unwrap_err().is_timed_out());
    drop(lock.try_read().unwrap());
    drop(reader);
    drop(lock.try_write().unwrap());
}

#[test]
fn a_killed_reader_is_forgotten_and_nobody_is_told() {
    let _watchdog = watchdog();
    let lock = RwLock::new(0_u64).unwrap();
    let words = Words::new(1);
    let child = fork(|| {
        let _guards = (lock.read().unwrap(), lock.read().unwrap());
        words[0].store(1, SeqCst);
        support::park();
    });
    until("the child reads", || words[0].load(SeqCst) == 1);
    assert!(lock.try_write().unwrap_err().is_timed_out());
    drop(child); // killed and gone
    drop(lock.try_write().unwrap());
    drop(lock.write().unwrap());
    assert!(!lock.is_poisoned());
}

#[test]
fn a_killed_writer_poisons_it_for_readers_and_writers() {
    let _watchdog = watchdog();
    let lock = RwLock::new(3_u64).unwrap();
    let words = Words::new(1);
    let child = fork(|| {
        let mut guard = lock.write().unwrap();
        *guard = 4;
        words[0].store(1, SeqCst);
        support::park();
    });
    until("the child writes", || words[0].load(SeqCst) == 1);
    child.kill();
    let Err(LockError::Poisoned(poisoned)) = lock.read() else { panic!("it is not poisoned") };
    assert_eq!(poisoned.pid(), child.pid());
    assert_eq!(*poisoned.into_inner(), 3, "it was not written back");
    let Err(LockError::Poisoned(poisoned)) = lock.try_write() else { panic!("not poisoned") };
    assert_eq!(poisoned.pid(), child.pid());
    drop(poisoned);
    assert!(lock.is_poisoned());
    lock.clear_poison();
    drop(lock.write().unwrap());
    drop(lock.read().unwrap());
}

#[test]
fn a_panic_of_a_writer_poisons_it_and_one_of_a_reader_does_not() {
    let _watchdog = watchdog();
    let lock = RwLock::new(0_u64).unwrap();
    let read = catch_unwind(AssertUnwindSafe(|| {
        let _guard = lock.read().unwrap();
        panic!("on purpose");
    }));
    assert!(read.is_err() && !lock.is_poisoned());
    let written = catch_unwind(AssertUnwindSafe(|| {
        let mut guard = lock.write().unwrap();
        *guard = 1;
        panic!("on purpose");
    }));
    assert!(written.is_err() && lock.is_poisoned());
    let Err(LockError::Poisoned(poisoned)) = lock.read() else { panic!("it is not poisoned") };
    assert_eq!((poisoned.pid(), *poisoned.into_inner()), (0, 0));
}

#[test]
fn a_fork_does_not_end_what_its_parent_holds() {
    let _watchdog = watchdog();
    let lock = RwLock::new(0_u64).unwrap();
    let mut reader = Some(lock.read().unwrap());
    let mut child = fork(|| {
        drop(reader.take());
        assert!(lock.try_write().unwrap_err().is_timed_out());
        drop(lock.read().unwrap()); // its own
        assert!(lock.try_write().unwrap_err().is_timed_out());
    });
    assert_eq!(child.wait(), Ended::WELL);
    drop(reader);
    let mut writer = Some(lock.write().unwrap());
    let mut child = fork(|| {
        drop(writer.take());
        assert!(lock.try_read().unwrap_err().is_timed_out());
    });
    assert_eq!(child.wait(), Ended::WELL);
    assert!(lock.try_read().unwrap_err().is_timed_out());
}

#[test]
fn more_processes_than_places_read_in_turn() {
    let _watchdog = watchdog();
    let lock = RwLock::new(9_u64).unwrap();
    let words = Words::new(2);
    let mut children: Vec<Child> = (0..136)
        .map(|_| {
            fork(|| {
                let guard = lock.read().unwrap();
                words[0].fetch_add(1, SeqCst);
                until("it may go", || words[1].load(SeqCst) == 1);
                assert_eq!(*guard, 9);
            })
        })
        .collect();
    until("all places are taken", || words[0].load(SeqCst) == 128);
    assert!(lock.read_timeout(MOMENT).unwrap_err().is_timed_out());
    // One that is killed makes room for the next one.
    children.swap_remove(0).kill();
    until("the next one reads", || words[0].load(SeqCst) > 128 || children.is_empty());
    words[1].store(1, SeqCst);
    end_well(&mut children);
    drop(lock.write().unwrap());
}

#[test]
fn what_interrupts_a_writer_that_waits_gets_an_error_instead_of_waiting_for_itself() {
    let _watchdog = watchdog();
    let lock = RawRwLock::create(element::OPAQUE, 0).unwrap();
    let _ = lock.read(&mut Wait::forever()).unwrap();
    let mut refused = 0;
    let mut handler = || {
        for asked in [lock.read(&mut Wait::forever()), lock.write(&mut Wait::forever())] {
            let text = tasuki::Error::from(asked.unwrap_err()).to_string();
            assert!(text.contains("would wait for it"), "{text}");
            refused += 1;
        }
        assert!(lock.end_read()); // makes it true
        refused >= 2
    };
    let asked = lock.write(&mut Wait::forever().interruptible(&mut handler));
    assert!(matches!(asked, Err(tasuki::raw::AcquireFailure::GaveUp(GaveUp::Interrupted))));
    assert_eq!(refused, 2);
    // Nothing is held.
    assert_eq!((lock.readers(), lock.is_wanted_by_writer()), (0, false));
    let _ = lock.write(&mut Wait::now()).unwrap();
    assert!(lock.end_write() && !lock.end_write() && !lock.end_read());
}

#[test]
fn a_child_that_a_check_forks_holds_nothing() {
    let _watchdog = watchdog();
    let lock = RawRwLock::create(element::OPAQUE, 0).unwrap();
    let _ = lock.read(&mut Wait::forever()).unwrap();
    let mut child = None;
    let mut fork_once = || {
        if child.is_none() {
            // SAFETY: the child makes calls of the engine and ends.
            match unsafe { libc::fork() } {
                0 => child = Some(0),
                pid => child = Some(pid),
            }
        }
        false
    };
    let mut wait = Wait::timeout(Duration::from_millis(100)).interruptible(&mut fork_once);
    let asked = lock.write(&mut wait);
    let has_forked = wait.has_forked();
    assert!(asked.is_err());
    match child {
        Some(0) => {
            let well =
                has_forked && !lock.is_written_here() && !lock.end_read() && !lock.end_write();
            // SAFETY: ends the child without what the test harness would run.
            unsafe { libc::_exit(if well { 0 } else { 1 }) }
        }
        Some(pid) => {
            let mut status = 0;
            // SAFETY: waits for the child above.
            assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
            assert_eq!(status, 0);
        }
        None => panic!("the check was not asked"),
    }
    assert!(lock.end_read());
    let _ = lock.write(&mut Wait::forever()).unwrap();
}

#[tasuki::task]
fn double(lock: RwLock<[u32; 2]>, done: Queue<u32>) {
    let sum = lock.read().unwrap().iter().sum();
    lock.write().unwrap().iter_mut().for_each(|number| *number *= 2);
    done.put(sum).unwrap();
}

#[test]
fn it_travels_as_what_it_is() {
    let _watchdog = watchdog();
    let lock = RwLock::new([1_u32, 2]).unwrap();
    let done = Queue::unbounded().unwrap();
    Process::spawn(double, (lock.clone(), done.clone())).unwrap().join().unwrap();
    assert_eq!((done.get().unwrap(), *lock.read().unwrap()), (3, [2, 4]));
    let text = format!("{lock:?}");
    assert!(text.contains("readers: 0") && text.contains("writer: false"), "{text}");

    let (bytes, outgoing) = transfer::collect(|| postcard::to_stdvec(&RwLock::new(1_u64).unwrap()));
    assert!(is_refused(&bytes.unwrap(), outgoing), "of another type");
    let (bytes, outgoing) = transfer::collect(|| postcard::to_stdvec(&Lock::new(1_i64).unwrap()));
    assert!(is_refused(&bytes.unwrap(), outgoing), "another object");
}

/// Whether this is no lock of readers and writers of an `i64`.
fn is_refused(bytes: &[u8], outgoing: Outgoing) -> bool {
    let read = || postcard::from_bytes::<RwLock<i64>>(bytes).is_err();
    transfer::provide(Incoming::new(outgoing.into_descriptors()), read)
}

#[test]
fn a_damaged_record_is_refused() {
    let _watchdog = watchdog();
    let lock = RawRwLock::create(element::unsigned(8), 8).unwrap();
    let mut sent = sent(|table| lock.record(table));
    assert!(matches!(sent.open(), Ok(RawHandle::RwLock(_))));
    let len = sent.record.len();
    sent.record[len - 8..].copy_from_slice(&(1_u64 << 40).to_le_bytes());
    assert!(sent.open().is_err());
    sent.record[len - 8..].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(sent.open().is_err());
    assert!(RawRwLock::create(element::unsigned(8), usize::MAX).is_err());
    assert!(RawRwLock::create(0x100, 8).is_err());
}

#[test]
fn a_stopped_reader_or_writer_costs_others_their_timeouts_only() {
    let _watchdog = watchdog();
    let lock = RwLock::new(0_u64).unwrap();
    let words = Words::new(1);
    for writes in [false, true] {
        words[0].store(0, SeqCst);
        let child = fork(|| {
            let _reader = (!writes).then(|| lock.read().unwrap());
            let _writer = writes.then(|| lock.write().unwrap());
            words[0].store(1, SeqCst);
            support::park();
        });
        until("it has it", || words[0].load(SeqCst) == 1);
        child.signal(libc::SIGSTOP);
        child.wait_until_stopped();
        let start = Instant::now();
        assert!(lock.write_timeout(MOMENT).unwrap_err().is_timed_out());
        assert_eq!(lock.read_timeout(MOMENT).is_err(), writes);
        assert!(start.elapsed() >= MOMENT);
        child.kill();
        let _ = lock.write().map_err(LockError::into_guard);
        lock.clear_poison();
    }
}
