//! Processes are killed at random instants, and every message and every count is accounted for.
//!
//! The instants come from a printed seed; the kernel's scheduling does not, so a failure may need several runs to show
//! again. `TASUKI_SOAK=1` (`make soak`) runs for minutes instead of seconds.

mod support;

use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use support::messages::{Ledger, get, message, put};
use support::{Child, Dice, Ended, Words, fork, memory_of, soaking, until, watchdog_of};
use tasuki::Lock;
use tasuki::raw::{QueueOptions, RawQueue, Wait};
use tasuki::synchronize::LockError;

fn time_for(share: u32) -> Duration {
    if soaking() { Duration::from_secs(150) } else { Duration::from_secs(7) / share }
}

fn a_moment(dice: &mut Dice) {
    std::thread::sleep(Duration::from_micros(dice.below(3000)));
}

const SIZES: [usize; 8] = [24, 24, 24, 3 << 10, 3 << 10, 20 << 10, 20 << 10, 300 << 10];

/// Storms until the time is over.
fn storms(capacity: Option<u64>, kill_consumers: bool, mut seed: Dice) {
    let start = Instant::now();
    while start.elapsed() < time_for(3) {
        storm(capacity, kill_consumers, Dice(seed.next()));
    }
}

/// Producers and consumers on one queue, each of them killed and replaced again and again.
fn storm(capacity: Option<u64>, kill_consumers: bool, seed: Dice) {
    const PLACES: usize = 3;
    const LIVES: usize = 3000;
    const EACH: usize = 40_000;
    let mut dice = seed;
    let queue = RawQueue::create(QueueOptions { capacity, ..Default::default() }).unwrap();
    let ledger = Ledger::new(LIVES, EACH);
    let produce = |producer: usize, mut dice: Dice| {
        for sequence in 0..EACH as u32 {
            let len = SIZES[dice.below(SIZES.len() as u64) as usize];
            put(&queue, &message(producer as u32, sequence, len), &[]);
            ledger.acknowledge(producer as u32, sequence);
        }
    };
    let consume = || {
        while let Some((bytes, _)) = get(&queue, &mut Wait::forever()) {
            ledger.take(&bytes);
        }
    };
    let mut lives = 0;
    let mut killed_consumers = 0;
    let mut producers: Vec<Child> = Vec::new();
    let mut consumers: Vec<Child> = (0..PLACES).map(|_| fork(consume)).collect();
    let start = Instant::now();
    while start.elapsed() < time_for(3) && lives < LIVES {
        while producers.len() < PLACES {
            let (life, dice) = (lives, Dice(dice.next()));
            producers.push(fork(|| produce(life, dice)));
            lives += 1;
        }
        a_moment(&mut dice);
        let place = dice.below(PLACES as u64) as usize;
        if kill_consumers && dice.below(2) == 0 {
            consumers[place].kill();
            assert_eq!(consumers[place].wait(), Ended::DEAD, "a consumer found fault");
            consumers[place] = fork(consume);
            killed_consumers += 1;
        } else {
            let mut producer = producers.swap_remove(place);
            producer.kill();
            assert_ne!(producer.wait(), Ended::Exited(101), "a producer found fault");
        }
        // An unbounded queue whose producers live longer than its consumers can keep up with.
        if queue.len() > 5000 {
            producers.clear();
            until("the consumers catch up", || queue.len() < 100);
        }
    }
    producers.clear();
    until("everything is taken", || queue.is_empty());
    let lost = || ledger.lost().len();
    until("every message is accounted for", || lost() <= killed_consumers);
    std::thread::sleep(Duration::from_millis(20)); // what was taken last is being noted
    let lost = lost();
    println!(
        "{lives} producers and {killed_consumers} consumers; {lost} messages gone with theirs"
    );
    assert!(kill_consumers || lost == 0);
    assert!(consumers.iter_mut().all(|consumer| consumer.has_ended().is_none()));
    drop(consumers);
    // And what the dead left is used again: the queue's memory is that of what is in it, and what it keeps.
    let memory = memory_of(queue.descriptors()[0]);
    assert!(memory < 160 << 20, "{memory} bytes behind an empty queue");
}

#[test]
fn nothing_is_lost_when_producers_are_killed() {
    let _watchdog = watchdog_of(time_for(1) + Duration::from_secs(120));
    storms(None, false, Dice::roll("producers killed"));
}

#[test]
fn only_what_was_in_hand_is_lost_when_consumers_are_killed() {
    let _watchdog = watchdog_of(time_for(1) + Duration::from_secs(120));
    storms(None, true, Dice::roll("consumers killed"));
}

#[test]
fn the_same_holds_for_a_queue_that_is_full_most_of_the_time() {
    let _watchdog = watchdog_of(time_for(1) + Duration::from_secs(120));
    storms(Some(4), true, Dice::roll("both killed, full queue"));
}

#[test]
fn a_killed_owner_is_named_and_the_count_stays_right() {
    let _watchdog = watchdog_of(time_for(1) + Duration::from_secs(120));
    const PLACES: usize = 3;
    const NAMED: usize = 0;
    const DONE: usize = 1;
    const MAYBE: usize = 2;
    let mut dice = Dice::roll("owners killed");
    let lock = Lock::new([0_u64; 4]).unwrap();
    // Pids that were named as dead owners, one word for each pid there can be.
    let named = Words::new(1 << 22);
    let words = Words::new(3);
    let work = || {
        loop {
            let mut guard = match lock.lock() {
                Ok(guard) => guard,
                Err(LockError::Poisoned(poisoned)) => {
                    named[poisoned.pid() as usize].fetch_add(1, SeqCst);
                    words[NAMED].fetch_add(1, SeqCst);
                    lock.clear_poison();
                    let mut guard = poisoned.into_inner();
                    // 32 bytes may be half written: the first number is right, the others follow it.
                    let count = guard[0];
                    *guard = [count; 4];
                    guard
                }
                Err(other) => panic!("{other:?}"),
            };
            assert!(guard.iter().all(|&count| count == guard[0]), "a torn section: {guard:?}");
            words[MAYBE].fetch_add(1, SeqCst);
            *guard = [guard[0] + 1; 4];
            drop(guard);
            words[DONE].fetch_add(1, SeqCst);
        }
    };
    let mut workers: Vec<Child> = (0..PLACES).map(|_| fork(work)).collect();
    let mut killed: Vec<u32> = Vec::new();
    let start = Instant::now();
    while start.elapsed() < time_for(3) {
        a_moment(&mut dice);
        let place = dice.below(PLACES as u64) as usize;
        workers[place].kill();
        assert_eq!(workers[place].wait(), Ended::DEAD, "a worker found fault");
        killed.push(workers[place].pid());
        workers[place] = fork(work);
    }
    for worker in &mut workers {
        worker.kill();
        assert_eq!(worker.wait(), Ended::DEAD);
        killed.push(worker.pid());
    }
    let count = match lock.lock() {
        Ok(guard) => guard[0],
        Err(error) => error.into_guard().expect("it can be taken")[0],
    };
    // Each section that was counted as done is in the count; one that was only begun may be.
    let (done, maybe) = (words[DONE].load(SeqCst), words[MAYBE].load(SeqCst));
    assert!(done <= count && count <= maybe, "{done} <= {count} <= {maybe}");
    assert_eq!(named[0].load(SeqCst), 0, "an owner that died and whose pid nobody knew");
    for pid in 1..1 << 22 {
        let times = named[pid].load(SeqCst);
        if times == 0 {
            continue;
        }
        let deaths = killed.iter().filter(|&&killed| killed as usize == pid).count() as u64;
        assert!(times <= deaths, "{pid} was named {times} times and died {deaths} times");
    }
    println!(
        "{} killed, {} of them owners, {count} sections",
        killed.len(),
        words[NAMED].load(SeqCst)
    );
}
