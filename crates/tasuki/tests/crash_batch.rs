//! A process is killed while it puts or takes many messages: each part is there whole or not at all, in both
//! directions, and everybody else goes on.
#![cfg(feature = "kill-points")]

mod support;

use std::os::fd::OwnedFd;

use support::messages::{CODEC, Ledger, get, message, put};
use support::victims::dies_at;
use support::{Ended, fork, memory_of, until, watchdog};
use tasuki::kill_points::KillPoint;
use tasuki::raw::{Batch, JoinFailure, OutboundMessage, QueueOptions, RawQueue, Wait};

/// How many messages are put, and taken, at a time: one part.
const PART: u32 = 7;
const VICTIM: u32 = 0;
const SURVIVOR: u32 = 1;

/// Where a producer dies, when it passes there for the nth time, and whether the part that it is about is delivered
/// then.
const PUTTING: &[(KillPoint, u32, bool)] = &[
    (KillPoint::PutBlockClaimed, 2, false),
    (KillPoint::PutBlockFilled, 2, false),
    (KillPoint::PutLocked, 2, false),
    (KillPoint::PutHalfWritten, 1, false),
    (KillPoint::PutHalfWritten, 4, false),
    (KillPoint::PutHalfWritten, 7, false),
    (KillPoint::PutHalfWritten, 10, false),
    (KillPoint::PutWritten, 11, false),
    (KillPoint::PutHandlesSent, 1, false),
    (KillPoint::PutHandlesSent, 8, false),
    (KillPoint::PutHandlesSent, 14, false),
    (KillPoint::PutSomeQueued, 1, false),
    (KillPoint::PutSomeQueued, 2, false),
    (KillPoint::PutSomeQueued, 3, false),
    (KillPoint::PutNotified, 1, false),
    (KillPoint::PutNotified, 2, false),
    (KillPoint::PutCommitted, 1, true),
    (KillPoint::PutCommitted, 2, true),
    (KillPoint::PutUnlocked, 2, true),
];

/// Where a consumer dies, and whether the part is lost with it.
const TAKING: &[(KillPoint, u32, bool)] = &[
    (KillPoint::GetLocked, 2, false),
    (KillPoint::GetCopied, 2, false),
    (KillPoint::GetTallied, 1, false),
    (KillPoint::GetTallied, 2, false),
    (KillPoint::GetInFlight, 2, false),
    (KillPoint::GetNotified, 2, false),
    (KillPoint::GetCommitted, 1, true),
    (KillPoint::GetCommitted, 2, true),
    (KillPoint::GetSomeHeld, 1, true),
    (KillPoint::GetSomeHeld, 2, true),
    (KillPoint::GetBlockHeld, 2, true),
    (KillPoint::GetUnlocked, 2, true),
];

fn queue_of(options: QueueOptions) -> RawQueue {
    RawQueue::create(options).unwrap()
}

/// A part has small messages, two large ones, and one chunk does not hold many of it.
fn len(sequence: u32) -> usize {
    [24, 3000, 20_000, 24, 4000, 300_000, 100][sequence as usize % 7]
}

/// Puts the part that begins with message `first`; each of `with_handles` carries a descriptor.
fn put_part(queue: &RawQueue, producer: u32, first: u32, with_handles: &[u32]) {
    let sent: Vec<_> = (first..first + PART).map(|n| message(producer, n, len(n))).collect();
    let parts: Vec<[&[u8]; 1]> = sent.iter().map(|bytes| [&bytes[..]]).collect();
    let null: [OwnedFd; 1] = [std::fs::File::open("/dev/null").unwrap().into()];
    let fds = |index: u32| if with_handles.contains(&index) { &null[..] } else { &[] };
    let outbound: Vec<_> = (0..PART)
        .zip(&parts)
        .map(|(index, parts)| OutboundMessage { codec: CODEC, parts, fds: fds(index) })
        .collect();
    queue.put_many(&outbound, &mut Wait::forever()).1.unwrap();
}

fn put_parts(queue: &RawQueue, ledger: &Ledger, producer: u32, parts: u32) {
    for part in 0..parts {
        put_part(queue, producer, part * PART, &[0]);
        ledger.acknowledge(producer, part * PART + PART - 1);
    }
}

/// Takes up to a part; false when there is nothing in time.
fn take_part(queue: &RawQueue, ledger: &Ledger, wait: &mut Wait<'_>) -> bool {
    let mut batch = Batch::new();
    let taken = queue.get_many(PART as usize, &mut batch, wait).is_ok();
    for message in batch.drain() {
        match message.large {
            Some(large) => ledger.take(&large.to_vec()),
            None => ledger.take(message.bytes),
        };
    }
    taken
}

#[test]
fn a_part_whose_producer_dies_is_delivered_whole_or_not_at_all() {
    let _watchdog = watchdog();
    for &(point, nth, delivered) in PUTTING {
        eprintln!("{point:?}, {nth}");
        let queue = queue_of(QueueOptions::default());
        let ledger = Ledger::new(2, 1000);
        let sleeper = fork(|| while take_part(&queue, &ledger, &mut Wait::forever()) {});
        sleeper.wait_until_asleep();
        dies_at(point, nth, || put_parts(&queue, &ledger, VICTIM, 100));
        put_parts(&queue, &ledger, SURVIVOR, 3);
        until("the consumer has what the survivor put", || {
            ledger.taken(SURVIVOR, 3 * PART) == 3 * PART
        });
        let expected = ledger.acknowledged(VICTIM) + if delivered { PART } else { 0 };
        assert_eq!(ledger.taken(VICTIM, 999), expected, "{point:?}, {nth}");
        assert_eq!(ledger.taken(VICTIM, expected), expected);
    }
}

#[test]
fn a_part_whose_consumer_dies_is_lost_whole_or_not_at_all_and_counted() {
    let _watchdog = watchdog();
    for &(point, nth, lost) in TAKING {
        eprintln!("{point:?}, {nth}");
        let capacity = Some(u64::from(4 * PART));
        let queue = queue_of(QueueOptions { capacity, joinable: true, ..QueueOptions::default() });
        let ledger = Ledger::new(2, 1000);
        let total = 6 * PART;
        for part in 0..4 {
            put_part(&queue, VICTIM, part * PART, &[]);
        }
        let mut producer = fork(|| (4..6).for_each(|n| put_part(&queue, VICTIM, n * PART, &[])));
        producer.wait_until_asleep();
        // What it takes before it dies is reported done, so that only the last part is in flight.
        let dead = dies_at(point, nth, || {
            while take_part(&queue, &ledger, &mut Wait::forever()) {
                queue.task_done(u64::from(PART), &mut Wait::forever()).unwrap();
            }
        });
        let expected = total - if lost { PART } else { 0 };
        until("all the others are taken", || {
            while take_part(&queue, &ledger, &mut Wait::now()) {}
            ledger.taken(VICTIM, total) == expected
        });
        assert_eq!(producer.wait(), Ended::WELL);
        assert!(queue.is_empty());
        let ours = queue.unfinished() - if lost { u64::from(PART) } else { 0 };
        queue.task_done(ours, &mut Wait::now()).unwrap();
        match queue.join(&mut Wait::timeout(support::NEVER)) {
            Ok(()) => assert!(!lost),
            Err(JoinFailure::Lost(tasks)) => {
                assert_eq!((tasks.count(), tasks.death().pid()), (u64::from(PART), dead));
                assert!(lost);
            }
            Err(other) => panic!("{other:?}"),
        }
        assert_eq!(queue.unfinished(), 0);
    }
}

#[test]
fn descriptors_of_parts_that_never_came_do_not_stand_in_the_way() {
    let _watchdog = watchdog();
    let queue = queue_of(QueueOptions::default());
    for nth in 1..=PART {
        // Every message has one: each is a part of its own, and the nth is killed after it was sent.
        dies_at(KillPoint::PutHandlesSent, nth, || {
            put_part(&queue, VICTIM, 0, &(0..PART).collect::<Vec<_>>());
        });
        put(&queue, &message(SURVIVOR, nth, 24), &[]);
        put_part(&queue, SURVIVOR, 0, &[0, 3, 6]);
        let mut fds = Vec::new();
        while let Some((bytes, with)) = get(&queue, &mut Wait::now()) {
            if support::messages::read(&bytes).0 == SURVIVOR {
                fds.push(with.len());
            }
        }
        assert_eq!(fds, [0, 1, 0, 0, 1, 0, 0, 1]);
    }
}

#[test]
fn memory_of_the_killed_is_used_again() {
    let _watchdog = watchdog();
    let putting = PUTTING.iter().map(|&(point, nth, _)| (point, nth, true));
    let taking = TAKING.iter().map(|&(point, _, _)| (point, 1, false));
    let taking = taking.filter(|(point, ..)| *point != KillPoint::GetTallied);
    for (point, nth, puts) in putting.chain(taking) {
        let queue = queue_of(QueueOptions::default());
        let ledger = || Ledger::new(2, 1000);
        let round = || {
            if !puts {
                put_part(&queue, VICTIM, 0, &[]);
            }
            dies_at(point, nth, || match puts {
                true => put_parts(&queue, &ledger(), VICTIM, 100),
                false => while take_part(&queue, &ledger(), &mut Wait::now()) {},
            });
            put_part(&queue, SURVIVOR, 0, &[]);
            let mut batch = Batch::new();
            while queue.get_many(100, &mut batch, &mut Wait::now()).is_ok() {}
        };
        (0..6).for_each(|_| round());
        let before = memory_of(queue.descriptors()[0]);
        (0..14).for_each(|_| round());
        let after = memory_of(queue.descriptors()[0]);
        assert!(after <= before + (1 << 20), "{point:?}: {before} bytes grew to {after}");
    }
}
