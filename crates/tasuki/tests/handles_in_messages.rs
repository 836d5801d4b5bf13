//! A queue, lock or value inside a message is the same object on the other side, whoever is gone meanwhile, and costs
//! nobody a descriptor that is not given back.

mod support;

use std::os::fd::AsFd;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use support::{
    Ended, descriptor_count, fork, in_own_process, limit_descriptors, park, until, watchdog,
};
use tasuki::raw::{RawQueue, Wait};
use tasuki::{Lock, Process, Queue, Value};

tasuki::enable_tests!();

#[derive(Serialize, Deserialize)]
enum Handle {
    Queue(Queue<u64>),
    Lock(Lock<u64>),
    Value(Value<f64>),
    All(Vec<Handle>),
    Nothing,
}

fn made(kind: u32) -> Handle {
    match kind {
        0 => {
            let queue = Queue::unbounded().unwrap();
            queue.put(11).unwrap();
            Handle::Queue(queue)
        }
        1 => Handle::Lock(Lock::new(12).unwrap()),
        2 => Handle::Value(Value::new(13.5).unwrap()),
        3 => Handle::All((0..3).map(made).collect()),
        _ => Handle::Nothing,
    }
}

fn check(handle: &Handle) {
    match handle {
        Handle::Queue(queue) => {
            assert_eq!(queue.get_timeout(support::NEVER).unwrap(), 11);
            queue.put(11).unwrap();
        }
        Handle::Lock(lock) => assert_eq!(*lock.lock().unwrap(), 12),
        Handle::Value(value) => assert!((value.get() - 13.5).abs() < 1e-9),
        Handle::All(handles) => handles.iter().for_each(check),
        Handle::Nothing => {}
    }
}

#[test]
fn every_kind_of_handle_arrives_as_what_it_was() {
    let _watchdog = watchdog();
    let queue = Queue::unbounded().unwrap();
    for kind in 0..5 {
        queue.put(made(kind)).unwrap();
    }
    for _ in 0..5 {
        check(&queue.get().unwrap());
    }
}

#[test]
fn a_handle_arrives_after_its_sender_was_killed() {
    let _watchdog = watchdog();
    let queue = Queue::unbounded().unwrap();
    for round in 0..20 {
        let mut sender = fork(|| {
            (0..4).for_each(|kind| queue.put(made(kind)).unwrap());
            park()
        });
        until("all are sent", || queue.len() == 4);
        sender.kill();
        assert_eq!(sender.wait(), Ended::DEAD);
        // Were a slot free now, these would come to lie in it.
        let others: Vec<Lock<u64>> = (0..50).map(|_| Lock::new(round).unwrap()).collect();
        (0..4).for_each(|_| check(&queue.get().unwrap()));
        drop(others);
    }
}

#[tasuki::task]
fn send_and_be_killed(queue: Queue<Handle>) {
    (0..4).for_each(|kind| queue.put(made(kind)).unwrap());
    std::process::abort();
}

#[test]
fn the_same_holds_for_a_sender_that_was_started_and_not_forked() {
    let _watchdog = watchdog();
    let queue = Queue::unbounded().unwrap();
    let process = Process::spawn(send_and_be_killed, (queue.clone(),)).unwrap();
    process.join().unwrap_err();
    (0..4).for_each(|_| check(&queue.get().unwrap()));
}

#[test]
fn handles_pass_through_many_hands() {
    let _watchdog = watchdog();
    let first = Queue::unbounded().unwrap();
    let last = Queue::unbounded().unwrap();
    // Each one gets a queue, and in it the handle, puts both into a new queue of its own, and is gone.
    first.put((Queue::<Handle>::unbounded().unwrap(), made(3))).unwrap();
    for _ in 0..20 {
        let mut hand = fork(|| {
            let (queue, handle) = first.get().unwrap();
            check(&handle);
            queue.put(handle).unwrap();
            last.put(queue).unwrap();
        });
        assert_eq!(hand.wait(), Ended::WELL);
        let queue: Queue<Handle> = last.get().unwrap();
        let handle = queue.get().unwrap();
        first.put((queue, handle)).unwrap();
    }
    check(&first.get().unwrap().1);
}

#[test]
fn more_messages_with_handles_than_the_kernel_lets_wait_are_back_pressure() {
    let _watchdog = watchdog();
    let queue = Queue::unbounded().unwrap();
    let lock = Lock::new(0_u64).unwrap();
    let mut full = 0;
    while queue.try_put(lock.clone()).is_ok() {
        full += 1;
        assert!(full < 100_000, "there is a limit");
    }
    assert!(full >= 100, "{full}");
    let mut producer = fork(|| (0..300).for_each(|_| queue.put(lock.clone()).unwrap()));
    producer.wait_until_asleep();
    for _ in 0..full + 300 {
        *queue.get_timeout(support::NEVER).unwrap().lock().unwrap() += 1;
    }
    assert_eq!(producer.wait(), Ended::WELL);
    assert_eq!(*lock.lock().unwrap(), full + 300);
}

#[test]
fn messages_without_handles_pass_a_full_socket() {
    let _watchdog = watchdog();
    let queue = Queue::unbounded().unwrap();
    let mut full = 0;
    while queue.try_put(Some(made(1))).is_ok() {
        full += 1;
    }
    queue.put(None).unwrap();
    (0..full).for_each(|_| assert!(queue.get().unwrap().is_some()));
    assert!(queue.get().unwrap().is_none());
}

/// Fails to be written after the handle in front of it was.
#[derive(Deserialize)]
struct Unwritable;

impl Serialize for Unwritable {
    fn serialize<S: serde::Serializer>(&self, _serializer: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("it cannot be written"))
    }
}

#[test]
fn a_message_that_cannot_be_written_leaves_no_descriptor_and_does_not_harm_the_next() {
    let _watchdog = watchdog();
    in_own_process(|| {
        let queue = Queue::<(Handle, Option<Unwritable>)>::unbounded().unwrap();
        queue.put((made(3), None)).unwrap(); // whatever is opened once and kept
        drop(queue.get().unwrap());
        let before = descriptor_count();
        for _ in 0..100 {
            let error = queue.put((made(3), Some(Unwritable))).unwrap_err();
            assert!(error.to_string().contains("cannot be written"), "{error}");
            drop(error);
        }
        assert_eq!(descriptor_count(), before);
        assert!(queue.is_empty());
        queue.put((made(0), None)).unwrap();
        check(&queue.get().unwrap().0);
    });
}

#[test]
fn a_handle_outside_a_carrier_says_where_it_can_travel() {
    let error = rmp_serde::to_vec(&Lock::new(0_u64).unwrap()).unwrap_err().to_string();
    assert!(error.contains("through a Queue"), "{error}");
}

#[test]
fn a_process_without_free_descriptors_gets_an_error_and_the_message_stays() {
    let _watchdog = watchdog();
    for kind in [0, 1, 2, 3] {
        for free in 0..16 {
            let queue = Queue::unbounded().unwrap();
            queue.put(made(kind)).unwrap();
            in_own_process(|| {
                let _ = (queue.len(), Lock::new(0_u64)); // what every process opens once
                limit_descriptors(free);
                let before = descriptor_count();
                match queue.try_get() {
                    Ok(handle) => {
                        support::set_descriptor_limit(4096);
                        check(&handle);
                        return;
                    }
                    Err(error) => {
                        assert!(!error.is_empty(), "{free} free: {error}");
                        assert_eq!(descriptor_count(), before);
                        assert_eq!(queue.len(), 1, "kind {kind}, {free} free: lost with {error}");
                    }
                }
                assert!(free < 15, "that is enough for any message here");
                support::set_descriptor_limit(4096);
                check(&queue.get().unwrap());
            });
        }
    }
}

#[test]
fn a_process_without_free_descriptors_cannot_send_a_handle_and_says_why() {
    let _watchdog = watchdog();
    in_own_process(|| {
        let queue = Queue::unbounded().unwrap();
        let handles = [made(0), made(1), made(2)];
        limit_descriptors(0);
        for handle in handles {
            let error = queue.put(handle).unwrap_err();
            assert!(!error.is_full(), "{error}");
            support::set_descriptor_limit(4096);
            queue.put(error.into_inner()).unwrap();
            limit_descriptors(0);
        }
        support::set_descriptor_limit(4096);
        (0..3).for_each(|_| check(&queue.get().unwrap()));
    });
}

#[test]
fn a_process_without_free_descriptors_keeps_the_locks_it_holds() {
    let _watchdog = watchdog();
    in_own_process(|| {
        let lock = Lock::new(0_u64).unwrap();
        assert!(lock.lock().is_ok());
        limit_descriptors(0);
        // It learns who it is, for others to look at, while it can open nothing.
        let holder = fork(|| {
            let _guard = lock.lock().unwrap();
            park()
        });
        support::set_descriptor_limit(4096);
        until("the child has it", || format!("{lock:?}").contains("locked: true"));
        let error = lock.lock_timeout(Duration::from_millis(700)).unwrap_err();
        assert!(error.is_timed_out(), "taken from a living owner: {error:?}");
        holder.kill();
        drop(holder);
        assert!(lock.lock_timeout(support::NEVER).unwrap_err().into_guard().is_some());
    });
}

#[test]
fn handles_that_nobody_takes_are_closed() {
    let _watchdog = watchdog();
    in_own_process(|| {
        let queue = Queue::<Handle>::unbounded().unwrap();
        queue.put(made(3)).unwrap();
        drop(queue.get().unwrap());
        let before = descriptor_count();
        for kind in 0..4 {
            let raw: RawQueue = RawQueue::create(Default::default()).unwrap();
            let own = raw.descriptors().into_iter().map(|fd| fd.try_clone_to_owned().unwrap());
            raw.put(1, &[b"bytes"], &own.collect::<Vec<_>>(), &mut Wait::now()).unwrap();
            queue.put(made(kind)).unwrap();
            let taken = raw.get(&mut Vec::new(), &mut Wait::now()).unwrap();
            assert!(taken.fds.iter().all(|fd| fd.as_fd().try_clone_to_owned().is_ok()));
            drop(queue.get().unwrap());
        }
        assert_eq!(descriptor_count(), before);
    });
}
