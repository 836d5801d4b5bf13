//! A process is killed while shutting a queue down: it is shut down or it is not, nobody waits for ever, and what was
//! thrown away is free.
#![cfg(feature = "kill-points")]

mod support;

use std::fs::File;

use support::messages::{Ledger, get, message, put};
use support::{Child, Ended, end_well, fork, is_readable, is_writable, memory_of, watchdog};
use tasuki::kill_points::{KillPoint, arm};
use tasuki::queues::Shutdown;
use tasuki::raw::{QueueOptions, RawQueue, TransportFailure, Wait};

fn dies_shutting_down(queue: &RawQueue, point: KillPoint, nth: u32, how: Shutdown) {
    let mut victim = fork(|| {
        arm(point, nth);
        queue.shutdown(how).unwrap();
    });
    assert_eq!(victim.wait(), Ended::DEAD, "{point:?} was not reached");
}

/// A bounded queue with two messages in it, one of which is large and has a descriptor.
fn full_queue() -> RawQueue {
    let queue =
        RawQueue::create(QueueOptions { capacity: Some(2), ..QueueOptions::default() }).unwrap();
    put(&queue, &message(0, 0, 24), &[]);
    put(&queue, &message(0, 1, 70 << 20), &[File::open("/dev/null").unwrap().into()]);
    queue
}

/// The points in the order in which they are passed.
const POINTS: [(KillPoint, u32); 6] = [
    (KillPoint::LockTaken, 1),
    (KillPoint::ShutDownHalf, 1),
    (KillPoint::LockTaken, 2),
    (KillPoint::ShutDownThrown, 1),
    (KillPoint::ReadinessSet, 1),
    (KillPoint::ReadinessSet, 2),
];

#[test]
fn who_waits_is_woken_and_a_second_call_makes_it_whole() {
    let _watchdog = watchdog();
    for (point, nth) in POINTS {
        for polled in [false, true] {
            if point == KillPoint::ReadinessSet && !polled {
                continue;
            }
            eprintln!("{point:?} {nth} {polled}");
            let queue = full_queue();
            let empty = RawQueue::create(QueueOptions::default()).unwrap();
            if polled {
                for queue in [&queue, &empty] {
                    queue.pollable().unwrap();
                    queue.pollable_for_put().unwrap();
                }
            }
            let mut producer = fork(|| {
                let refused = queue.put(1, &[b"x"], &[], &mut Wait::forever());
                assert!(matches!(refused, Err(TransportFailure::ShutDown)), "{refused:?}");
            });
            let mut consumer = fork(|| {
                let got = empty.get(&mut Vec::new(), &mut Wait::forever());
                assert!(matches!(got, Err(TransportFailure::ShutDown)), "{got:?}");
            });
            producer.wait_until_asleep();
            consumer.wait_until_asleep();
            dies_shutting_down(&queue, point, nth, Shutdown::Immediate);
            // What only the consumers' side passes is not passed where that has nothing to set.
            if !(point == KillPoint::ReadinessSet && nth == 2) {
                dies_shutting_down(&empty, point, nth, Shutdown::Immediate);
            }
            let begun = queue.is_shut_down();
            assert_eq!(begun, (point, nth) != (KillPoint::LockTaken, 1));
            if begun {
                assert_eq!(producer.wait(), Ended::WELL, "without anybody's help");
            }
            for queue in [&queue, &empty] {
                queue.shutdown(Shutdown::Immediate).unwrap();
                let got = queue.get(&mut Vec::new(), &mut Wait::forever());
                assert!(matches!(got, Err(TransportFailure::ShutDown)), "{got:?}");
                let refused = queue.put(1, &[b"x"], &[], &mut Wait::forever());
                assert!(matches!(refused, Err(TransportFailure::ShutDown)), "{refused:?}");
                assert!(is_readable(queue.pollable().unwrap()));
                assert!(is_writable(queue.pollable_for_put().unwrap()));
            }
            assert_eq!(producer.wait(), Ended::WELL);
            assert_eq!(consumer.wait(), Ended::WELL);
            // A block that large keeps no memory.
            assert!(memory_of(queue.descriptors()[0]) < 10 << 20);
        }
    }
}

#[test]
fn messages_are_taken_once_or_thrown_away() {
    let _watchdog = watchdog();
    for (point, nth) in POINTS {
        if point == KillPoint::ReadinessSet {
            continue;
        }
        let queue = full_queue();
        let ledger = Ledger::new(1, 2);
        dies_shutting_down(&queue, point, nth, Shutdown::Immediate);
        let mut consumers: Vec<Child> = (0..2)
            .map(|_| {
                fork(|| {
                    let mut bytes = Vec::new();
                    while let Ok(taken) = queue.get(&mut bytes, &mut Wait::now()) {
                        let large = taken.large.map(|large| large.to_vec());
                        ledger.take(large.as_deref().unwrap_or(&bytes));
                    }
                })
            })
            .collect();
        end_well(&mut consumers);
        let thrown = point == KillPoint::ShutDownThrown;
        assert_eq!(ledger.taken(0, 2), if thrown { 0 } else { 2 });
        if point == KillPoint::LockTaken && nth == 1 {
            assert!(get(&queue, &mut Wait::now()).is_none(), "nothing had been said yet");
        }
    }
}
