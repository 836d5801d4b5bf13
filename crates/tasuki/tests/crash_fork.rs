//! A forked child shares its parent's queues, locks and values and is another process in all of them; a fork at any
//! moment harms neither.

mod support;

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use support::{Ended, Words, fork, in_own_process, until, watchdog};
use tasuki::raw::{RawLock, Wait};
use tasuki::synchronize::LockError;
use tasuki::{Lock, Queue, Value};

#[test]
fn a_child_uses_what_its_parent_made_and_the_parent_what_the_child_changes() {
    let _watchdog = watchdog();
    let queue = Queue::unbounded().unwrap();
    let value = Value::new(1_i64).unwrap();
    let lock = Lock::new([7_u8; 100]).unwrap();
    let mut child = fork(|| {
        value.update(|value| *value += 1).unwrap();
        lock.lock().unwrap()[99] = 8;
        queue.put("from the child".to_owned()).unwrap();
    });
    assert_eq!(queue.get().unwrap(), "from the child");
    assert_eq!(value.get(), 2);
    assert_eq!(lock.lock().unwrap()[99], 8);
    assert_eq!(child.wait(), Ended::WELL);
}

#[test]
fn forks_at_any_moment_harm_neither_parent_nor_child() {
    let _watchdog = watchdog();
    in_own_process(|| {
        let queue = Queue::<Vec<u8>>::bounded(64).unwrap();
        let handles = Queue::<(Queue<u8>, Lock<u32>)>::bounded(8).unwrap();
        let counter = Lock::new(0_u64).unwrap();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(SeqCst) {
                    queue.put(vec![1; 10_000]).unwrap();
                }
            });
            scope.spawn(|| {
                while !stop.load(SeqCst) || !queue.is_empty() {
                    let _ = queue.get_timeout(Duration::from_millis(10));
                }
            });
            scope.spawn(|| {
                while !stop.load(SeqCst) {
                    let lock = Lock::new(5_u32).unwrap();
                    handles.put((Queue::unbounded().unwrap(), lock)).unwrap();
                    let (_queue, lock) = handles.get().unwrap();
                    assert_eq!(*lock.lock().unwrap(), 5);
                }
            });
            scope.spawn(|| {
                while !stop.load(SeqCst) {
                    *counter.lock().unwrap() += 1;
                }
            });
            for round in 0..300_u32 {
                let mut child = fork(|| {
                    let own = Value::new(round).unwrap();
                    let mine = Queue::unbounded().unwrap();
                    mine.put(own.clone()).unwrap();
                    assert_eq!(mine.get().unwrap().get(), round);
                    queue.put(vec![2; 5000]).unwrap();
                    *counter.lock().unwrap() += 1;
                    drop(own);
                    let _again: Vec<Value<u32>> = (0..10).map(|n| Value::new(n).unwrap()).collect();
                });
                assert_eq!(child.wait(), Ended::WELL, "round {round}");
            }
            stop.store(true, SeqCst);
        });
    });
}

#[test]
fn a_child_keeps_what_its_parent_drops_right_after_the_fork() {
    let _watchdog = watchdog();
    in_own_process(|| {
        let words = Words::new(1);
        for round in 0..300_u64 {
            let value = Value::new(round).unwrap();
            let queue = Queue::unbounded().unwrap();
            queue.put(round).unwrap();
            let mut child = fork(|| {
                // Others have been made meanwhile, where the value would be if it had been freed.
                while words[0].load(SeqCst) <= round {
                    std::hint::spin_loop();
                }
                assert_eq!(value.get(), round, "the value is another's");
                value.update(|value| *value += 1).unwrap();
                assert_eq!(value.get(), round + 1);
                assert_eq!(queue.get().unwrap(), round);
            });
            drop(value);
            drop(queue);
            let others: Vec<Value<u64>> = (0..20).map(|_| Value::new(u64::MAX).unwrap()).collect();
            words[0].store(round + 1, SeqCst);
            assert_eq!(child.wait(), Ended::WELL);
            assert!(others.iter().all(|other| other.get() == u64::MAX));
        }
    });
}

#[test]
fn a_guard_of_the_parent_is_none_of_the_child() {
    let _watchdog = watchdog();
    let lock = Lock::new(1_u64).unwrap();
    let mut guard = lock.lock().unwrap();
    *guard = 2;
    let mut inherited = Some(guard);
    in_own_process(|| {
        // The copy of the guard changes nothing and frees nothing.
        let mut copy = inherited.take().unwrap();
        *copy = 99;
        drop(copy);
        assert!(matches!(lock.try_lock(), Err(LockError::TimedOut)), "the parent holds it");
    });
    assert!(lock.try_lock().is_err_and(|error| error.is_timed_out()), "it is still held here");
    drop(inherited);
    assert_eq!(*lock.try_lock().unwrap(), 2);
    assert!(!lock.is_poisoned());
}

#[test]
fn a_recursive_lock_of_the_parent_is_not_the_childs_to_take_again() {
    let _watchdog = watchdog();
    let lock = RawLock::create(true).unwrap();
    assert!(lock.acquire(&mut Wait::now()).is_ok());
    in_own_process(|| {
        assert_eq!(lock.depth().unwrap(), 0);
        assert!(!lock.release(), "not the child's to release");
        assert!(lock.acquire(&mut Wait::now()).is_err());
    });
    assert_eq!(lock.depth().unwrap(), 1);
    assert!(lock.release());
}

#[test]
fn a_lock_that_a_dead_child_held_is_not_taken_for_the_parents() {
    let _watchdog = watchdog();
    let lock = Lock::new(()).unwrap();
    drop(lock.lock().unwrap()); // the parent has a row of its own
    let mut child = fork(|| std::mem::forget(lock.lock()));
    assert_eq!(child.wait(), Ended::WELL);
    match lock.lock() {
        Err(LockError::Poisoned(poisoned)) => assert_eq!(poisoned.pid(), child.pid()),
        other => panic!("{other:?}"),
    };
}

#[test]
fn a_grandchild_is_a_process_of_its_own_as_well() {
    let _watchdog = watchdog();
    let lock = Lock::new(0_u64).unwrap();
    in_own_process(|| {
        *lock.lock().unwrap() += 1;
        let mut grandchild = fork(|| {
            *lock.lock().unwrap() += 1;
            std::mem::forget(lock.lock());
        });
        assert_eq!(grandchild.wait(), Ended::WELL);
        let guard = lock.lock().unwrap_err().into_guard().unwrap();
        assert_eq!(*guard, 2);
        lock.clear_poison();
    });
    assert_eq!(*lock.lock().unwrap(), 2);
}

#[test]
fn a_message_that_the_parent_is_reading_is_not_given_back_by_a_child() {
    let _watchdog = watchdog();
    let queue = tasuki::raw::RawQueue::create(Default::default()).unwrap();
    queue.put(1, &[&[5; 50_000]], &[], &mut Wait::now()).unwrap();
    let taken = queue.get(&mut Vec::new(), &mut Wait::now()).unwrap();
    let mut large = taken.large;
    in_own_process(|| {
        drop(large.take());
        for _ in 0..10 {
            queue.put(1, &[&[6; 50_000]], &[], &mut Wait::now()).unwrap();
        }
    });
    assert_eq!(large.unwrap().to_vec(), [5; 50_000]);
    until("the child's are all there", || queue.len() == 10);
}
