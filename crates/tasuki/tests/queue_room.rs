//! Room for large messages is used again for messages of any size, and its memory given back, whoever held it last.

mod support;

use std::time::Duration;

use support::messages::{get, message, put};
use support::{fork, in_own_process, memory_of, park, watchdog};
use tasuki::raw::{GaveUp, QueueOptions, RawQueue, Wait};

const MIB: usize = 1 << 20;

/// A queue whose file may not become longer than this, so that its room is soon used up.
fn small_queue(most: u64) -> RawQueue {
    let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
    // SAFETY: sets a limit of this process, which is one of the test's own; the pointer is to a local.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) }, 0);
    RawQueue::create(QueueOptions::default()).unwrap()
}

fn burst(queue: &RawQueue, len: usize, count: u32) {
    (0..count).for_each(|number| put(queue, &message(7, number, len), &[]));
    for number in 0..count {
        let (bytes, _) = get(queue, &mut Wait::now()).expect("what was put");
        assert_eq!(bytes, message(7, number, len), "{number} of {len} bytes");
    }
}

#[test]
fn drained_bursts_of_growing_and_shrinking_sizes_fit_for_ever() {
    let _watchdog = watchdog();
    in_own_process(|| {
        let queue = small_queue(64 << 20);
        // Half of the file or so is for large messages. Blocks of one size alone would use it up in each round.
        for _ in 0..3 {
            for order in (13..=23).chain((13..23).rev()) {
                let len = (1 << order) + 1;
                burst(&queue, len, ((12 * MIB) >> order).clamp(1, 400) as u32);
            }
        }
        assert!(queue.is_empty());
    });
}

#[test]
fn what_is_in_use_stays_where_it_is_while_room_is_found() {
    let _watchdog = watchdog();
    in_own_process(|| {
        let queue = small_queue(64 << 20);
        let other = RawQueue::create(QueueOptions::default()).unwrap();
        let mut held = Vec::new();
        for (number, order) in (13..=20).enumerate() {
            burst(&queue, (1 << order) + 1, 40.min(((10 * MIB) >> order) as u32));
            // One is held by this process, one waits in the queue.
            let bytes = message(9, number as u32, 9000 << number.min(6));
            put(&queue, &bytes, &[]);
            let taken = queue.get(&mut Vec::new(), &mut Wait::now()).unwrap();
            held.push((taken.large.expect("a large one"), bytes));
        }
        (0..5).for_each(|number| put(&queue, &message(3, number, 100_000), &[]));
        // Sizes that had no place before.
        let large = message(4, 0, MIB + MIB / 2);
        put(&queue, &large, &[]);
        for (view, bytes) in &held {
            assert!(view.to_vec() == *bytes, "a message that is held has changed");
        }
        for number in 0..5 {
            assert!(get(&queue, &mut Wait::now()).unwrap().0 == message(3, number, 100_000));
        }
        assert!(get(&queue, &mut Wait::now()).unwrap().0 == large);
        drop(other);
    });
}

#[test]
fn the_memory_that_a_killed_consumer_held_is_given_back_though_nobody_needs_its_size() {
    let _watchdog = watchdog();
    let queue = RawQueue::create(QueueOptions::default()).unwrap();
    let ready = RawQueue::create(QueueOptions::default()).unwrap();
    (0..4).for_each(|number| put(&queue, &message(0, number, 48 * MIB), &[]));
    let holder = fork(|| {
        let mut held = Vec::new();
        (0..4).for_each(|_| held.push(queue.get(&mut Vec::new(), &mut Wait::forever()).unwrap()));
        put(&ready, &message(0, 0, 24), &[]);
        park()
    });
    assert!(get(&ready, &mut Wait::forever()).is_some());
    assert!(memory_of(queue.descriptors()[0]) >= (4 * 48) << 20);
    holder.kill();
    drop(holder);
    // Somebody waits for small messages, and nothing else happens. 64 MiB are kept for the next ones.
    support::until("the memory is given back", || {
        let empty = queue.get(&mut Vec::new(), &mut Wait::timeout(Duration::from_millis(700)));
        assert!(matches!(empty, Err(tasuki::raw::TransportFailure::GaveUp(GaveUp::TimedOut))));
        memory_of(queue.descriptors()[0]) < 80 << 20
    });
}

/// A process dies between getting memory for a large message and saying so: nothing of it stays.
#[test]
#[cfg(feature = "kill-points")]
fn memory_that_a_dead_process_had_just_got_is_given_back() {
    use support::Ended;
    use tasuki::kill_points::{KillPoint, arm};

    let _watchdog = watchdog();
    let queue = support::queues::queue_of(None);
    let mut victim = fork(|| {
        arm(KillPoint::PutBlockBacked, 1);
        put(&queue, &vec![1; 200 << 20], &[]);
    });
    assert_eq!(victim.wait(), Ended::DEAD);
    assert!(memory_of(queue.descriptors()[0]) >= 200 << 20);
    support::until("the memory is given back", || {
        let empty = queue.get(&mut Vec::new(), &mut Wait::timeout(Duration::from_millis(700)));
        assert!(matches!(empty, Err(tasuki::raw::TransportFailure::GaveUp(GaveUp::TimedOut))));
        memory_of(queue.descriptors()[0]) < 80 << 20
    });
}

/// The steps of one who looks for a place.
#[cfg(feature = "kill-points")]
const AROUND_A_PLACE: [tasuki::kill_points::KillPoint; 5] = {
    use tasuki::kill_points::KillPoint::*;
    [PutPlaceTaken, PutGapMoved, PutPlaceCut, PutBlockClaimed, PutBlockFilled]
};

/// A process dies while places are taken away and found: the room is not less afterwards.
#[test]
#[cfg(feature = "kill-points")]
fn room_is_found_again_after_a_death_in_the_search() {
    use support::Ended;
    use tasuki::kill_points::arm;

    let _watchdog = watchdog();
    in_own_process(|| {
        for point in AROUND_A_PLACE {
            for nth in [1, 2, 5] {
                let queue = small_queue(32 << 20);
                burst(&queue, 9000, 200);
                for _ in 0..4 {
                    let mut victim = fork(|| {
                        arm(point, nth);
                        for order in (14..=21).cycle().take(100) {
                            burst(&queue, (1 << order) + 1, ((4 * MIB) >> order).max(1) as u32);
                        }
                    });
                    assert_eq!(victim.wait(), Ended::DEAD, "{point:?} was not reached");
                    while get(&queue, &mut Wait::now()).is_some() {}
                    burst(&queue, 4 * MIB, 1);
                    burst(&queue, 17_000, 100);
                }
            }
        }
    });
}

/// Whoever is only stopped there goes on with what it had: it shares no byte with those who looked for room meanwhile.
#[test]
#[cfg(feature = "kill-points")]
fn no_two_messages_share_a_place_when_one_was_stopped_in_the_search() {
    use std::sync::atomic::Ordering;

    use support::messages::{CODEC, read};
    use support::{Ended, Words};
    use tasuki::kill_points::arm_stop;
    use tasuki::raw::TransportFailure;

    /// Puts what finds room in time, and counts it.
    fn put_some(queue: &RawQueue, put: &Words, producer: u32, len: usize, wait: Duration) -> bool {
        let count = &put[producer as usize];
        let bytes = message(producer, count.load(Ordering::SeqCst) as u32, len);
        match queue.put(CODEC, &[&bytes], &[], &mut Wait::timeout(wait)) {
            Ok(()) => count.fetch_add(1, Ordering::SeqCst),
            Err(TransportFailure::GaveUp(GaveUp::TimedOut) | TransportFailure::Failed(_)) => {
                return false;
            }
            Err(other) => panic!("{other:?}"),
        };
        true
    }
    /// Takes anybody's message, which is as it was put, and counts it.
    fn take(queue: &RawQueue, taken: &Words) -> bool {
        let Some((bytes, _)) = get(queue, &mut Wait::now()) else { return false };
        let (producer, number) = read(&bytes);
        assert!(bytes == message(producer, number, bytes.len()), "{number} of {producer}");
        taken[producer as usize].fetch_add(1, Ordering::SeqCst);
        true
    }

    let _watchdog = watchdog();
    in_own_process(|| {
        for (point, nth) in AROUND_A_PLACE.into_iter().flat_map(|p| [(p, 1), (p, 2), (p, 5)]) {
            let queue = small_queue(32 << 20);
            let (puts, gets) = (Words::new(2), Words::new(2));
            // Free blocks, so that there are places to take away.
            burst(&queue, 9000, 200);
            let mut stopped = fork(|| {
                arm_stop(point, nth);
                for order in (14..=21).cycle().take(40) {
                    for _ in 0..((4 * MIB) >> order) {
                        put_some(&queue, &puts, 0, (1 << order) + 1, support::NEVER);
                    }
                    while take(&queue, &gets) {}
                }
            });
            stopped.wait_until_stopped();
            // The others use the room up; who finds no place in time has put nothing.
            for order in (13..=20).rev() {
                let soon = Duration::from_millis(20);
                while put_some(&queue, &puts, 1, (1 << order) + 1, soon) {}
            }
            stopped.signal(libc::SIGCONT);
            assert_eq!(stopped.wait(), Ended::WELL, "{point:?} {nth}");
            while take(&queue, &gets) {}
            for producer in 0..2 {
                let count = |words: &Words| words[producer].load(Ordering::SeqCst);
                assert_eq!(count(&puts), count(&gets), "{point:?} {nth}");
            }
            // The room is all there for the next ones.
            burst(&queue, 4 * MIB, 1);
        }
    });
}
