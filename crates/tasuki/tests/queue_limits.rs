//! A queue holds as much as it was told to, and every call that may wait keeps the caller's time.

mod support;

use std::time::{Duration, Instant};

use support::{Ended, end_well, fork, until, watchdog};
use tasuki::raw::{GaveUp, QueueOptions, RawQueue, TransportFailure, Wait};
use tasuki::{Error, Queue};

const SHORT: Duration = Duration::from_millis(50);

#[test]
fn a_bounded_queue_holds_its_capacity_and_no_more() {
    for capacity in [1, 2, 100] {
        let queue = Queue::bounded(capacity).unwrap();
        assert_eq!(queue.capacity(), Some(capacity));
        for round in 0..3 * capacity {
            for n in 0..capacity {
                assert_eq!(queue.len(), n);
                queue.try_put(round * n).unwrap();
            }
            let refused = queue.try_put(7).unwrap_err();
            assert!(refused.is_full());
            assert_eq!(refused.into_inner(), 7);
            for n in 0..capacity {
                assert_eq!(queue.try_get().unwrap(), round * n);
            }
            assert!(queue.try_get().unwrap_err().is_empty());
        }
    }
}

#[test]
fn a_capacity_of_nothing_is_refused() {
    let refused = Queue::<u8>::bounded(0).unwrap_err();
    assert!(refused.to_string().contains("at least 1"), "{refused}");
}

#[test]
fn a_byte_limit_counts_bytes_small_and_large() {
    let queue = Queue::<Vec<u8>>::builder().byte_limit(100_000).create().unwrap();
    for len in [10, 1000, 5000, 50_000, 100_000] {
        let fit = 100_000 / len;
        for _ in 0..fit {
            queue.try_put(vec![1; len]).unwrap();
        }
        let rest = 100_000 - fit * len;
        assert!(queue.try_put(vec![1; rest + 1]).unwrap_err().is_full());
        queue.try_put(vec![1; rest]).unwrap();
        for _ in 0..=fit {
            queue.try_get().unwrap();
        }
    }
    let refused = queue.put(vec![1; 100_001]).unwrap_err();
    assert!(!refused.is_full(), "it would wait for ever");
    assert!(refused.to_string().contains("never fits"), "{refused}");
}

#[test]
fn a_small_message_that_never_fits_is_refused_in_a_batch_too() {
    let _watchdog = watchdog();
    let queue = Queue::<Vec<u8>>::builder().byte_limit(10).create().unwrap();
    let refused = queue.put_many([vec![1; 3], vec![2; 11]]).unwrap_err();
    assert!(!refused.is_full(), "it would wait for ever");
    assert_eq!(refused.into_inner(), [vec![2; 11]]);
    assert_eq!(queue.get().unwrap(), [1; 3]);
}

#[test]
fn room_for_many_small_messages_wakes_many_producers() {
    let _watchdog = watchdog();
    // Were it one at a time, each round would cost the sleepers' half second several times over: two minutes.
    let queue = Queue::<Vec<u8>>::builder().byte_limit(100_000).create().unwrap();
    let mut waking = Duration::ZERO;
    for _ in 0..60 {
        queue.put(vec![0; 100_000]).unwrap();
        let mut waiting: Vec<_> =
            (0..5).map(|_| fork(|| queue.put(vec![1; 10]).unwrap())).collect();
        waiting.iter().for_each(support::Child::wait_until_asleep);
        let start = Instant::now();
        assert_eq!(queue.get().unwrap().len(), 100_000);
        end_well(&mut waiting);
        waking += start.elapsed();
        (0..5).for_each(|_| drop(queue.get().unwrap()));
    }
    assert!(waking < Duration::from_secs(60), "{waking:?}");
}

#[test]
fn a_call_with_a_timeout_waits_that_long_and_then_says_so() {
    let _watchdog = watchdog();
    let queue = Queue::bounded(1).unwrap();
    for time in [Duration::ZERO, SHORT, Duration::from_millis(700)] {
        let start = Instant::now();
        assert!(queue.get_timeout(time).unwrap_err().is_empty());
        assert!(start.elapsed() >= time);
        queue.put("full".to_owned()).unwrap();
        let start = Instant::now();
        let refused = queue.put_timeout("no".to_owned(), time).unwrap_err();
        assert!(refused.is_full() && start.elapsed() >= time);
        assert_eq!(queue.get().unwrap(), "full");
    }
}

#[test]
fn a_timeout_too_long_for_the_clock_is_for_ever() {
    let _watchdog = watchdog();
    let queue = Queue::bounded(1).unwrap();
    let consumer = fork(|| assert_eq!(queue.get_timeout(Duration::MAX).unwrap(), 5));
    consumer.wait_until_asleep();
    queue.put_timeout(5, Duration::MAX).unwrap();
    let mut consumer = consumer;
    assert_eq!(consumer.wait(), Ended::WELL);
}

#[test]
fn a_message_within_the_time_is_taken() {
    let _watchdog = watchdog();
    let queue = Queue::unbounded().unwrap();
    let mut consumer = fork(|| assert_eq!(queue.get_timeout(support::NEVER).unwrap(), 5));
    consumer.wait_until_asleep();
    queue.put(5).unwrap();
    assert_eq!(consumer.wait(), Ended::WELL);
}

#[test]
fn a_wait_can_be_called_off() {
    let _watchdog = watchdog();
    let queue = RawQueue::create(QueueOptions { capacity: Some(1), ..Default::default() }).unwrap();
    for on_put in [false, true] {
        if on_put {
            queue.put(1, &[b"full"], &[], &mut Wait::now()).unwrap();
        }
        let mut looked = 0;
        let mut stop = || {
            looked += 1;
            looked == 3
        };
        let mut wait = Wait::forever().interruptible(&mut stop);
        let failure = if on_put {
            queue.put(1, &[b"no"], &[], &mut wait).unwrap_err()
        } else {
            queue.get(&mut Vec::new(), &mut wait).unwrap_err()
        };
        assert!(matches!(failure, TransportFailure::GaveUp(GaveUp::Interrupted)), "{failure:?}");
    }
    assert_eq!(queue.len(), 1);
}

#[test]
fn a_stopped_process_in_a_call_does_not_stop_the_others() {
    let _watchdog = watchdog();
    let queue = Queue::<u32>::unbounded().unwrap();
    let sleeper = fork(|| drop(queue.get()));
    sleeper.wait_until_asleep();
    sleeper.signal(libc::SIGSTOP);
    for n in 0..100 {
        queue.put(n).unwrap();
    }
    (0..100).for_each(|n| assert_eq!(queue.get_timeout(support::NEVER).unwrap(), n));
    queue.put(100).unwrap();
    sleeper.signal(libc::SIGCONT);
    until("the one that was stopped gets it", || queue.is_empty());
}

#[test]
fn the_tag_that_marks_the_rings_own_frames_is_refused() {
    let queue = RawQueue::create(QueueOptions::default()).unwrap();
    let refused = queue.put(u16::MAX, &[b"x"], &[], &mut Wait::now()).unwrap_err();
    assert!(
        matches!(refused, TransportFailure::Failed(ref error) if matches!(**error, Error::Invalid(_))),
        "{refused:?}"
    );
    queue.put(u16::MAX - 1, &[b"y"], &[], &mut Wait::now()).unwrap();
    assert_eq!(queue.get(&mut Vec::new(), &mut Wait::now()).unwrap().codec, u16::MAX - 1);
}
