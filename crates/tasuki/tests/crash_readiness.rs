//! A process is killed while readiness is being set or cleared: those who only poll get every message, all the room,
//! and are not told of nothing for long.
#![cfg(feature = "kill-points")]

mod support;

use std::os::fd::BorrowedFd;

use support::messages::{CODEC, Ledger, get, message, put};
use support::victims::victim;
use support::{Ended, fork, is_readable, is_writable, poll, until, watchdog};
use tasuki::kill_points::{KillPoint, arm, arm_stop};
use tasuki::raw::{GaveUp, QueueOptions, RawQueue, Shutdown, TransportFailure, Wait};

const VICTIM: u32 = 0;
const SURVIVOR: u32 = 1;

/// Every step around readiness, in a put and in a get.
const POINTS: [KillPoint; 10] = [
    KillPoint::LockTaken,
    KillPoint::ReadinessSetting,
    KillPoint::ReadinessSet,
    KillPoint::ReadinessClearing,
    KillPoint::ReadinessClear,
    KillPoint::PutNotified,
    KillPoint::PutCommitted,
    KillPoint::PutUnlocked,
    KillPoint::GetCommitted,
    KillPoint::GetUnlocked,
];

fn queue_of(capacity: Option<u64>) -> RawQueue {
    let queue = RawQueue::create(QueueOptions { capacity, ..QueueOptions::default() }).unwrap();
    queue.pollable().unwrap();
    queue.pollable_for_put().unwrap();
    queue
}

/// Sleeps in poll, never in the queue, and takes what is there, until the queue is shut down.
fn take_by_polling(queue: &RawQueue, ledger: &Ledger) {
    loop {
        poll(queue.pollable().unwrap(), libc::POLLIN, None);
        let mut bytes = Vec::new();
        match queue.get(&mut bytes, &mut Wait::now()) {
            Ok(_) => drop(ledger.take(&bytes)),
            Err(TransportFailure::GaveUp(GaveUp::TimedOut)) => {}
            Err(TransportFailure::ShutDown) => return,
            Err(other) => panic!("{other:?}"),
        }
    }
}

/// As `take_by_polling`, with messages of its own, `count` of them.
fn put_by_polling(queue: &RawQueue, ledger: &Ledger, producer: u32, count: u32) {
    let mut sequence = 0;
    while sequence < count {
        poll(queue.pollable_for_put().unwrap(), libc::POLLOUT, None);
        let bytes = message(producer, sequence, 24);
        match queue.put(CODEC, &[&bytes], &[], &mut Wait::now()) {
            Ok(()) => {
                ledger.acknowledge(producer, sequence);
                sequence += 1;
            }
            Err(TransportFailure::GaveUp(GaveUp::TimedOut)) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
}

/// Runs `work` in a process that dies at `point`; false if it came to its end without passing there.
fn dies_at(point: KillPoint, nth: u32, work: impl FnOnce()) -> bool {
    let ended = victim(point, nth, work).wait();
    assert!(ended == Ended::DEAD || ended == Ended::WELL, "{ended:?}");
    ended == Ended::DEAD
}

/// A consumer polls while a producer dies; it gets what was put, and what another one puts afterwards.
#[test]
fn a_polling_consumer_gets_everything() {
    let _watchdog = watchdog();
    let mut died = Vec::new();
    for point in POINTS {
        for nth in 1..=4 {
            for capacity in [None, Some(1), Some(3)] {
                let queue = queue_of(capacity);
                let ledger = Ledger::new(2, 100);
                let mut consumer = fork(|| take_by_polling(&queue, &ledger));
                consumer.wait_until_asleep();
                if dies_at(point, nth, || put_by_polling(&queue, &ledger, VICTIM, 20)) {
                    died.push(point);
                }
                let acknowledged = ledger.acknowledged(VICTIM);
                until("what was put is taken", || {
                    ledger.taken(VICTIM, acknowledged) == acknowledged
                });
                put_by_polling(&queue, &ledger, SURVIVOR, 20);
                until("all is taken", || ledger.taken(SURVIVOR, 20) == 20);
                until("nothing is left", || queue.is_empty());
                nobody_is_told_of_nothing(&queue);
                queue.shutdown(Shutdown::Drain).unwrap();
                assert_eq!(consumer.wait(), Ended::WELL);
            }
        }
    }
    for point in [KillPoint::ReadinessSetting, KillPoint::ReadinessSet, KillPoint::ReadinessClear] {
        assert!(died.contains(&point), "nobody came by {point:?}");
    }
}

/// A producer is stopped between its looks whether the queue is full, and everything is taken meanwhile: when it goes
/// on, it does not hide the room that there is.
#[test]
fn room_that_is_made_while_a_producer_looks_is_seen() {
    let _watchdog = watchdog();
    for capacity in [1, 2] {
        let queue = queue_of(Some(capacity));
        let room = queue.pollable_for_put().unwrap();
        let mut producer = fork(|| {
            arm_stop(KillPoint::ReadinessRoomSeen, capacity as u32);
            (0..capacity).for_each(|number| put(&queue, &message(0, number as u32, 24), &[]));
        });
        producer.wait_until_stopped();
        for left in (0..capacity).rev() {
            assert!(get(&queue, &mut Wait::now()).is_some());
            assert_eq!(queue.len(), left);
        }
        producer.signal(libc::SIGCONT);
        assert_eq!(producer.wait(), Ended::WELL);
        assert!(!queue.is_full() && is_writable(room), "clear, and there is room");
    }
}

/// The queue becomes full while a process is stopped in the consumers' section, where it takes nothing. Whoever made it
/// full cannot get in: when the stopped one leaves, the descriptor says what is so, even if the other one was killed
/// meanwhile.
#[test]
fn a_holder_does_what_was_left_to_it() {
    let _watchdog = watchdog();
    for dies in [false, true] {
        let options = QueueOptions { capacity: Some(1), joinable: true, ..QueueOptions::default() };
        let queue = RawQueue::create(options).unwrap();
        let room = queue.pollable_for_put().unwrap();
        put(&queue, &message(0, 0, 24), &[]);
        assert!(get(&queue, &mut Wait::now()).is_some());
        assert!(is_writable(room));
        let mut holder = fork(|| {
            arm_stop(KillPoint::TaskTallied, 1);
            queue.task_done(1, &mut Wait::forever()).unwrap();
        });
        holder.wait_until_stopped();
        let mut producer = fork(|| {
            if dies {
                arm(KillPoint::ReadinessClearLeft, 1);
            }
            put(&queue, &message(0, 1, 24), &[]);
        });
        assert_eq!(producer.wait(), if dies { Ended::DEAD } else { Ended::WELL });
        assert!(queue.is_full());
        holder.signal(libc::SIGCONT);
        assert_eq!(holder.wait(), Ended::WELL);
        assert!(!is_writable(room), "there is no room");
        assert!(get(&queue, &mut Wait::now()).is_some());
        assert!(is_writable(room), "there is room again");
    }
}

/// A producer polls for room while a consumer dies.
#[test]
fn a_polling_producer_gets_its_turn() {
    let _watchdog = watchdog();
    let mut died = Vec::new();
    for point in POINTS {
        for nth in 1..=4 {
            for capacity in [1, 3] {
                let queue = queue_of(Some(capacity));
                let ledger = Ledger::new(2, 100);
                put_by_polling(&queue, &ledger, VICTIM, capacity as u32);
                let mut producer = fork(|| put_by_polling(&queue, &ledger, SURVIVOR, 30));
                producer.wait_until_asleep();
                let work = || {
                    for _ in 0..8 {
                        poll(queue.pollable().unwrap(), libc::POLLIN, None);
                        if let Some((bytes, _)) = get(&queue, &mut Wait::now()) {
                            ledger.take(&bytes);
                        }
                    }
                };
                if dies_at(point, nth, work) {
                    died.push(point);
                }
                if !queue.is_full() {
                    // Room that was made is told of, though nobody comes any more to tell of it.
                    until("the producer fills it", || queue.is_full());
                }
                let mut consumer = fork(|| take_by_polling(&queue, &ledger));
                assert_eq!(producer.wait(), Ended::WELL);
                until("nothing is left", || queue.is_empty());
                let gone =
                    capacity as u32 + 30 - ledger.taken(VICTIM, 3) - ledger.taken(SURVIVOR, 30);
                assert!(gone <= 1, "{gone} were lost");
                nobody_is_told_of_nothing(&queue);
                queue.shutdown(Shutdown::Drain).unwrap();
                assert_eq!(consumer.wait(), Ended::WELL);
            }
        }
    }
    for point in [KillPoint::ReadinessSetting, KillPoint::ReadinessSet, KillPoint::ReadinessClear] {
        assert!(died.contains(&point), "nobody came by {point:?}");
    }
}

/// Whatever a death left set is clear once somebody came for nothing; and the queue works.
fn nobody_is_told_of_nothing(queue: &RawQueue) {
    assert!(get(queue, &mut Wait::now()).is_none());
    assert!(!is_readable(queue.pollable().unwrap()));
    assert!(is_writable(queue.pollable_for_put().unwrap()));
}

/// A process that dies while asking for the descriptor leaves it to the next one to ask.
#[test]
fn asking_can_be_interrupted_by_death_anywhere() {
    let _watchdog = watchdog();
    type Ask = fn(&RawQueue) -> BorrowedFd<'_>;
    let asks: [Ask; 2] =
        [|queue| queue.pollable().unwrap(), |queue| queue.pollable_for_put().unwrap()];
    for point in [
        KillPoint::LockTaken,
        KillPoint::ReadinessHalfAsked,
        KillPoint::ReadinessSetting,
        KillPoint::ReadinessSet,
        KillPoint::ReadinessClearing,
        KillPoint::ReadinessClear,
    ] {
        let mut died = 0;
        for ask in asks {
            for full in [false, true] {
                for nth in 1..=2 {
                    let options = QueueOptions { capacity: Some(1), ..QueueOptions::default() };
                    let queue = RawQueue::create(options).unwrap();
                    if full {
                        put(&queue, &message(0, 0, 24), &[]);
                    }
                    died += u32::from(dies_at(point, nth, || {
                        ask(&queue);
                    }));
                    // The first thing that is done with the queue afterwards is to poll it.
                    let ask = ask(&queue);
                    assert_eq!(is_readable(queue.pollable().unwrap()), full);
                    assert_eq!(is_writable(queue.pollable_for_put().unwrap()), !full);
                    assert!(
                        poll(ask, libc::POLLIN | libc::POLLOUT, Some(std::time::Duration::ZERO))
                            != 0
                    );
                }
            }
        }
        assert!(died > 0, "nobody came by {point:?}");
    }
}
