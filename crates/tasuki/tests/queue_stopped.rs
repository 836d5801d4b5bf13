//! A process was stopped in the middle of a put or a get: a caller that does not want to wait for it does not.
#![cfg(feature = "kill-points")]

mod support;

use std::time::Duration;

use support::messages::{CODEC, get, message, put};
use support::{Child, Ended, fork, watchdog};
use tasuki::kill_points::{KillPoint, arm_stop};
use tasuki::raw::{GaveUp, QueueOptions, RawQueue, Shutdown, TransportFailure, Wait};

fn soon() -> Wait<'static> {
    Wait::timeout(Duration::from_millis(100))
}

fn stopped(point: KillPoint, work: impl FnOnce()) -> Child {
    let child = fork(|| {
        arm_stop(point, 1);
        work();
    });
    child.wait_until_stopped();
    child
}

fn assert_gave_up<R: std::fmt::Debug>(result: Result<R, TransportFailure>) {
    assert!(matches!(result, Err(TransportFailure::GaveUp(GaveUp::TimedOut))), "{result:?}");
}

#[test]
fn nobody_waits_for_a_stopped_producer_longer_than_he_wants() {
    let _watchdog = watchdog();
    for point in [KillPoint::PutLocked, KillPoint::PutHalfWritten, KillPoint::PutNotified] {
        let queue = RawQueue::create(QueueOptions { capacity: Some(9), ..Default::default() });
        let queue = queue.unwrap();
        let mut producer = stopped(point, || put(&queue, &message(0, 0, 24), &[]));
        for wait in [soon, Wait::attempt] {
            assert_gave_up(queue.put(CODEC, &[&message(1, 0, 24)], &[], &mut wait()));
            assert_gave_up(queue.put(CODEC, &[&message(1, 0, 9000)], &[], &mut wait()));
            assert_gave_up(queue.get(&mut Vec::new(), &mut wait()));
            assert_gave_up(queue.pollable_within(&mut wait()));
            assert_gave_up(queue.pollable_for_put_within(&mut wait()));
            assert_gave_up(queue.shutdown_within(Shutdown::Drain, &mut wait()));
        }
        assert!(!queue.is_surely_full());
        producer.signal(libc::SIGCONT);
        assert_eq!(producer.wait(), Ended::WELL);
        assert_eq!(get(&queue, &mut Wait::now()).unwrap().0, message(0, 0, 24));
        queue.pollable().unwrap();
        queue.shutdown(Shutdown::Drain).unwrap();
    }
}

#[test]
fn nobody_waits_for_a_stopped_consumer_longer_than_he_wants() {
    let _watchdog = watchdog();
    for point in [KillPoint::GetLocked, KillPoint::GetCopied, KillPoint::GetNotified] {
        let queue = RawQueue::create(QueueOptions { capacity: Some(9), ..Default::default() });
        let queue = queue.unwrap();
        (0..2).for_each(|number| put(&queue, &message(0, number, 24), &[]));
        let mut consumer = stopped(point, || drop(get(&queue, &mut Wait::now()).unwrap()));
        for wait in [soon, Wait::attempt] {
            assert_gave_up(queue.get(&mut Vec::new(), &mut wait()));
            assert_gave_up(queue.pollable_within(&mut wait()));
            assert!(!queue.is_surely_empty());
        }
        // A producer is not in its way.
        put(&queue, &message(0, 2, 24), &[]);
        assert_gave_up(queue.shutdown_within(Shutdown::Immediate, &mut soon()));
        consumer.signal(libc::SIGCONT);
        assert_eq!(consumer.wait(), Ended::WELL);
        assert_eq!(get(&queue, &mut Wait::now()).unwrap().0, message(0, 1, 24));
        queue.shutdown(Shutdown::Immediate).unwrap();
        assert!(queue.is_empty() && queue.is_shut_down());
    }
}

#[test]
fn what_is_taken_or_put_does_not_wait_for_one_who_was_stopped_at_the_other_side() {
    let _watchdog = watchdog();
    let queue = RawQueue::create(QueueOptions { capacity: Some(1), ..Default::default() }).unwrap();
    queue.pollable().unwrap();
    queue.pollable_for_put().unwrap();
    put(&queue, &message(0, 0, 24), &[]);
    // It waits for room, and was stopped inside the producers' section.
    let mut producer = stopped(KillPoint::PutLocked, || {
        while queue.put(CODEC, &[&message(0, 1, 24)], &[], &mut Wait::forever()).is_err() {}
    });
    assert_eq!(get(&queue, &mut Wait::now()).unwrap().0, message(0, 0, 24));
    producer.signal(libc::SIGCONT);
    assert_eq!(producer.wait(), Ended::WELL);
    assert_eq!(get(&queue, &mut Wait::now()).unwrap().0, message(0, 1, 24));
}

#[test]
fn nobody_waits_longer_than_he_wants_for_one_who_was_stopped_while_it_looked_for_room() {
    let _watchdog = watchdog();
    let queue = RawQueue::create(QueueOptions::default()).unwrap();
    put(&queue, &message(0, 0, 5000), &[]);
    let mut producer = stopped(KillPoint::PutPlaceCut, || put(&queue, &message(1, 0, 9000), &[]));
    for wait in [soon, Wait::attempt] {
        assert_gave_up(queue.put(CODEC, &[&message(0, 1, 9000)], &[], &mut wait()));
    }
    put(&queue, &message(0, 1, 24), &[]);
    assert_eq!(get(&queue, &mut Wait::now()).unwrap().0, message(0, 0, 5000));
    // What is free already needs no place.
    put(&queue, &message(0, 2, 5000), &[]);
    producer.signal(libc::SIGCONT);
    assert_eq!(producer.wait(), Ended::WELL);
    for bytes in [message(0, 1, 24), message(0, 2, 5000), message(1, 0, 9000)] {
        assert_eq!(get(&queue, &mut Wait::now()).unwrap().0, bytes);
    }
}
