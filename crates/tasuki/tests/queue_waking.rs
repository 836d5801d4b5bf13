//! Nobody sleeps while there is something for him: no wake-up is lost, whatever sleeps and however many there are.
//!
//! A sleeper that missed its wake-up would notice by itself within half a second. So these tests repeat what must wake
//! somebody so often that half a second each time would never end.

mod support;

use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use support::{Child, Ended, Words, fork, until, watchdog};
use tasuki::{Lock, Queue};

fn all_well(children: &mut [Child]) -> bool {
    children.iter_mut().all(|child| child.wait() == Ended::WELL)
}

#[test]
fn two_processes_wake_each_other_a_hundred_thousand_times() {
    let _watchdog = watchdog();
    const ROUNDS: u32 = 100_000;
    let (there, back) = (Queue::unbounded().unwrap(), Queue::unbounded().unwrap());
    let mut other = fork(|| {
        for n in 0..ROUNDS {
            assert_eq!(there.get().unwrap(), n);
            back.put(n).unwrap();
        }
    });
    for n in 0..ROUNDS {
        there.put(n).unwrap();
        assert_eq!(back.get().unwrap(), n);
    }
    assert_eq!(other.wait(), Ended::WELL);
}

/// Several see each message come, and one takes it: the others go on waiting, whatever they saw.
#[test]
fn who_waits_is_never_told_that_the_queue_is_empty() {
    let _watchdog = watchdog();
    const EACH: u32 = 20_000;
    for timeout in [None, Some(support::NEVER)] {
        let queue = Queue::<u32>::unbounded().unwrap();
        let mut consumers: Vec<Child> = (0..4)
            .map(|_| {
                fork(|| {
                    for _ in 0..EACH {
                        match timeout {
                            None => queue.get().unwrap(),
                            Some(time) => queue.get_timeout(time).unwrap(),
                        };
                    }
                })
            })
            .collect();
        for number in 0..4 * EACH {
            queue.put(number).unwrap();
            // Seldom more than one at a time, so that all wait for the same one.
            while queue.len() > 1 {
                std::hint::spin_loop();
            }
            assert!(
                consumers
                    .iter_mut()
                    .all(|consumer| consumer.has_ended() != Some(Ended::Exited(101)))
            );
        }
        assert!(all_well(&mut consumers));
    }
}

#[test]
fn a_process_that_fell_asleep_is_woken_every_time() {
    let _watchdog = watchdog();
    const ROUNDS: u32 = 1000;
    let (there, back) = (Queue::bounded(1).unwrap(), Queue::bounded(1).unwrap());
    let mut other = fork(|| {
        for n in 0..ROUNDS {
            assert_eq!(there.get().unwrap(), n);
            std::thread::sleep(Duration::from_micros(200)); // beyond all spinning
            back.put(n).unwrap();
        }
    });
    let start = Instant::now();
    for n in 0..ROUNDS {
        std::thread::sleep(Duration::from_micros(u64::from(n % 300)));
        there.put(n).unwrap();
        assert_eq!(back.get().unwrap(), n);
    }
    // Half a second each, which is when a sleeper looks by itself, would be 500 s.
    assert!(start.elapsed() < Duration::from_secs(400), "{:?}", start.elapsed());
    assert_eq!(other.wait(), Ended::WELL);
}

#[test]
fn eight_producers_and_eight_consumers_keep_each_other_awake() {
    let _watchdog = watchdog();
    const EACH: u64 = 3000;
    for capacity in [1, 2, 7, 1000] {
        let queue = Queue::<u64>::bounded(capacity).unwrap();
        let sums = Words::new(8);
        let mut children: Vec<Child> = (0..16)
            .map(|index| {
                let (queue, sums) = (&queue, &sums);
                fork(move || {
                    if index < 8 {
                        (0..EACH).for_each(|n| queue.put(n).unwrap());
                    } else {
                        for _ in 0..EACH {
                            sums[index - 8].fetch_add(queue.get().unwrap(), SeqCst);
                        }
                    }
                })
            })
            .collect();
        assert!(all_well(&mut children));
        let sum: u64 = sums.iter().map(|sum| sum.load(SeqCst)).sum();
        assert_eq!(sum, 8 * EACH * (EACH - 1) / 2);
    }
}

#[test]
fn one_message_wakes_one_of_many_sleepers_and_ten_wake_ten() {
    let _watchdog = watchdog();
    let queue = Queue::unbounded().unwrap();
    for burst in [1, 10] {
        let mut sleepers: Vec<Child> =
            (0..burst).map(|_| fork(|| assert_eq!(queue.get().unwrap(), 9))).collect();
        sleepers.iter().for_each(Child::wait_until_asleep);
        (0..burst).for_each(|_| queue.put(9).unwrap());
        assert!(all_well(&mut sleepers));
        assert!(queue.is_empty());
    }
}

#[test]
fn a_message_after_a_long_silence_arrives() {
    let _watchdog = watchdog();
    let queue = Queue::unbounded().unwrap();
    let mut sleeper = fork(|| assert_eq!(queue.get().unwrap(), "at last"));
    std::thread::sleep(Duration::from_millis(2300)); // several slices
    queue.put("at last".to_owned()).unwrap();
    assert_eq!(sleeper.wait(), Ended::WELL);
}

#[test]
fn a_sleeper_that_is_killed_takes_its_wake_up_along_for_a_slice_at_most() {
    let _watchdog = watchdog();
    let queue = Queue::unbounded().unwrap();
    let got = Words::new(1);
    for round in 0..20 {
        let first = fork(|| drop(queue.get()));
        first.wait_until_asleep();
        let mut second = fork(|| {
            if queue.get().is_ok() {
                got[0].fetch_add(1, SeqCst);
            }
        });
        second.wait_until_asleep();
        if round % 2 == 0 {
            first.kill();
            queue.put(round).unwrap();
        } else {
            queue.put(round).unwrap();
            first.kill();
        }
        // If the killed one had taken the message, another one must do.
        drop(first);
        if got[0].load(SeqCst) == 0 && queue.is_empty() {
            queue.put(round).unwrap();
        }
        until("the living sleeper has it", || second.has_ended().is_some());
        got[0].store(0, SeqCst);
        while queue.try_get().is_ok() {}
    }
}

#[test]
fn a_released_lock_wakes_who_waits_for_it() {
    let _watchdog = watchdog();
    let lock = Lock::new(0_u64).unwrap();
    let start = Instant::now();
    let mut children: Vec<Child> = (0..4)
        .map(|_| {
            fork(|| {
                for _ in 0..250 {
                    let mut guard = lock.lock().unwrap();
                    *guard += 1;
                    std::thread::sleep(Duration::from_micros(300)); // the others fall asleep
                }
            })
        })
        .collect();
    assert!(all_well(&mut children));
    assert_eq!(*lock.lock().unwrap(), 1000);
    // As above.
    assert!(start.elapsed() < Duration::from_secs(400), "{:?}", start.elapsed());
}
