//! Messages of one producer arrive in the order in which it put them, each once, and a put is done when it returns.

mod support;

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use support::messages::{Ledger, get, message, put};
use support::queues::queue_of;
use support::{Ended, end_well, fork, until, watchdog};
use tasuki::raw::{RawQueue, Wait};
use tasuki::{Process, Queue};

tasuki::enable_tests!();

const SIZES: [usize; 5] = [24, 100, 3 << 10, 4097, 20 << 10];

/// Takes until it is told to stop and nothing is left; fails when a producer's message comes before an earlier one.
fn take_in_order(queue: &RawQueue, ledger: &Ledger, producers: usize, stop: &AtomicBool) {
    let mut next = vec![0; producers];
    loop {
        let Some((bytes, _)) = get(queue, &mut Wait::timeout(Duration::from_millis(100))) else {
            if stop.load(SeqCst) {
                return;
            }
            continue;
        };
        let (producer, sequence) = ledger.take(&bytes);
        assert!(sequence >= next[producer as usize], "{sequence} of {producer} came late");
        next[producer as usize] = sequence + 1;
    }
}

#[test]
fn each_producers_messages_come_in_its_order() {
    let _watchdog = watchdog();
    const PRODUCERS: usize = 8;
    const EACH: u32 = 2000;
    let never = AtomicBool::new(false);
    for (capacity, consumers) in [(None, 1), (Some(16), 1), (None, 4), (Some(3), 4)] {
        let queue = queue_of(capacity);
        let ledger = Ledger::new(PRODUCERS, EACH as usize);
        let mut takers: Vec<_> = (0..consumers)
            .map(|_| fork(|| take_in_order(&queue, &ledger, PRODUCERS, &never)))
            .collect();
        let mut putters: Vec<_> = (0..PRODUCERS as u32)
            .map(|producer| {
                let (queue, ledger) = (&queue, &ledger);
                fork(move || {
                    for sequence in 0..EACH {
                        let len = SIZES[(sequence + producer) as usize % SIZES.len()];
                        put(queue, &message(producer, sequence, len), &[]);
                        ledger.acknowledge(producer, sequence);
                    }
                })
            })
            .collect();
        end_well(&mut putters);
        until("everything is taken", || ledger.lost().is_empty());
        assert!(queue.is_empty());
        for taker in &mut takers {
            assert!(taker.has_ended().is_none(), "a consumer found fault");
        }
    }
}

#[test]
fn a_put_is_done_when_it_returns_so_the_producer_may_be_killed_the_next_instant() {
    let _watchdog = watchdog();
    let queue = queue_of(None);
    for (round, len) in (0..200).zip(SIZES.into_iter().cycle()) {
        let mut producer = fork(|| {
            put(&queue, &message(0, round, len), &[]);
            support::die();
        });
        assert_eq!(producer.wait(), Ended::DEAD);
        let (bytes, _) = get(&queue, &mut Wait::now()).expect("what was put before the kill");
        assert_eq!(bytes, message(0, round, len));
    }
}

#[tasuki::task]
fn put_and_be_killed(queue: Queue<Vec<u64>>, numbers: Vec<u64>) {
    queue.put(numbers).unwrap();
    support::die();
}

#[test]
fn the_same_holds_for_a_process_that_was_started_and_not_forked() {
    let _watchdog = watchdog();
    let queue = Queue::unbounded().unwrap();
    for len in [1, 1000, 40_000] {
        let numbers: Vec<u64> = (0..len).collect();
        let process = Process::spawn(put_and_be_killed, (queue.clone(), numbers.clone())).unwrap();
        process.join().unwrap_err();
        assert_eq!(queue.try_get().unwrap(), numbers);
    }
}

#[test]
fn several_threads_and_processes_may_use_one_handle() {
    let _watchdog = watchdog();
    let queue = queue_of(Some(10));
    let ledger = Ledger::new(8, 500);
    let stop = AtomicBool::new(false);
    let put_from = |first: u32| {
        std::thread::scope(|scope| {
            for producer in first..first + 4 {
                let (queue, ledger) = (&queue, &ledger);
                scope.spawn(move || {
                    for sequence in 0..500 {
                        put(queue, &message(producer, sequence, 24), &[]);
                        ledger.acknowledge(producer, sequence);
                    }
                });
            }
        });
    };
    let mut other = fork(|| put_from(4));
    std::thread::scope(|scope| {
        scope.spawn(|| put_from(0));
        for _ in 0..3 {
            scope.spawn(|| take_in_order(&queue, &ledger, 8, &stop));
        }
        until("everything is taken", || (0..8).all(|producer| ledger.taken(producer, 500) == 500));
        stop.store(true, SeqCst);
    });
    assert_eq!(other.wait(), Ended::WELL);
}
