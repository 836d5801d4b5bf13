//! The first to come after a death may be unable to repair what it left: what it cannot do, a later one does.
#![cfg(feature = "kill-points")]

mod support;

use std::os::fd::AsRawFd;
use std::time::Duration;

use support::messages::{CODEC, get, message, put, read};
use support::{Child, Ended, Words, fork, in_own_process, memory_of, until, watchdog};
use tasuki::kill_points::{KillPoint, arm};
use tasuki::raw::{QueueOptions, RawQueue, Wait};

/// A process that has closed the queue's memory: what it has not mapped by now it never will.
struct Poor {
    child: Child,
    turn: Words,
}

impl Poor {
    /// One that does `work` when it is told to.
    fn new(queue: &RawQueue, work: impl FnOnce()) -> Poor {
        let turn = Words::new(2);
        let child = fork(|| {
            // SAFETY: closes a descriptor, as daemons do with all; the queue bears it.
            #[allow(unsafe_code)]
            unsafe {
                libc::close(queue.descriptors()[0].as_raw_fd())
            };
            until("it is this process's turn", || turn.told(0));
            work();
        });
        Poor { child, turn }
    }

    fn work(mut self) {
        self.turn.tell(0);
        assert_eq!(self.child.wait(), Ended::WELL);
    }
}

fn die_at(point: KillPoint, work: impl FnOnce()) {
    let mut victim = fork(|| {
        arm(point, 1);
        work();
    });
    assert_eq!(victim.wait(), Ended::DEAD, "{point:?} was not reached");
}

fn small(number: u32) -> Vec<u8> {
    message(0, number, 4000)
}

#[test]
fn the_circle_of_chunks_is_repaired_by_who_can() {
    let _watchdog = watchdog();
    in_own_process(|| {
        let queue = RawQueue::create(QueueOptions::default()).unwrap();
        let poor = Poor::new(&queue, || {
            let soon = || Wait::timeout(Duration::from_millis(100));
            for _ in 0..2 {
                assert!(queue.put(CODEC, &[&[0; 24]], &[], &mut soon()).is_err());
            }
            // It does not need the ring for that.
            queue.pollable_within(&mut soon()).unwrap();
        });
        // More chunks than have their entries in the part of the memory that everybody has mapped.
        (0..6000).for_each(|number| put(&queue, &small(number), &[]));
        // A chunk is out of the ring and still counted.
        die_at(KillPoint::TrimUnlinked, || while get(&queue, &mut Wait::now()).is_some() {});
        poor.work();
        (6000..6400).for_each(|number| put(&queue, &small(number), &[]));
        let mut next = None;
        while let Some((bytes, _)) = get(&queue, &mut Wait::now()) {
            let (_, number) = read(&bytes);
            assert_eq!(number, next.unwrap_or(number));
            next = Some(number + 1);
        }
        assert_eq!(next, Some(6400));
    });
}

#[test]
fn blocks_of_a_message_that_was_never_put_are_freed_by_who_can() {
    let _watchdog = watchdog();
    in_own_process(|| {
        const LEN: usize = (4 << 20) + 1;
        let queue = RawQueue::create(QueueOptions::default()).unwrap();
        let poor = Poor::new(&queue, || {
            // Whether it can or cannot: what others find is the same.
            let _ = queue.put(CODEC, &[&message(0, 99, 24)], &[], &mut Wait::now());
        });
        // More blocks of one size than have their entries in the part that everybody has mapped.
        (0..34).for_each(|number| put(&queue, &message(0, number, LEN), &[]));
        die_at(KillPoint::PutNotified, || put(&queue, &message(0, 34, LEN), &[]));
        poor.work();
        put(&queue, &message(0, 99, 24), &[]);
        while get(&queue, &mut Wait::now()).is_some() {}
        // Free blocks keep 64 MiB: 15 of these, and the one of the dead would be the 16th.
        until("the block is free", || {
            assert!(get(&queue, &mut Wait::timeout(Duration::from_millis(600))).is_none());
            memory_of(queue.descriptors()[0]) < 62 << 20
        });
    });
}
