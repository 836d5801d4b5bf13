//! Queues, locks and values as arguments and results of processes: shared, not copied.

mod support;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use support::watchdog;
use tasuki::{Lock, Process, Queue, Value};

tasuki::enable_tests!();

#[derive(Clone, Serialize, Deserialize)]
struct Desk {
    jobs: Queue<u64>,
    results: Queue<(u64, u64)>,
    done: Value<u64>,
    tally: Lock<[u64; 2]>,
}

#[tasuki::task]
fn clerk(desk: Desk) -> u64 {
    let mut served = 0;
    while let Ok(job) = desk.jobs.try_get() {
        desk.results.put((job, job * job)).unwrap();
        desk.done.update(|done| *done += 1).unwrap();
        let mut tally = desk.tally.lock().unwrap();
        tally[0] += 1;
        tally[1] += job;
        served += 1;
    }
    served
}

#[test]
fn handles_in_a_struct_are_shared_by_all_processes() {
    let _watchdog = watchdog();
    let desk = Desk {
        jobs: Queue::unbounded().unwrap(),
        results: Queue::unbounded().unwrap(),
        done: Value::new(0).unwrap(),
        tally: Lock::new([0, 0]).unwrap(),
    };
    for job in 0..1000 {
        desk.jobs.put(job).unwrap();
    }
    let clerks: Vec<_> = (0..4).map(|_| Process::spawn(clerk, (desk.clone(),)).unwrap()).collect();
    let served: u64 = clerks.into_iter().map(|clerk| clerk.join().unwrap()).sum();
    assert_eq!(served, 1000);
    assert_eq!(desk.done.get(), 1000);
    assert_eq!(*desk.tally.lock().unwrap(), [1000, 499_500]);
    let mut squares = Vec::new();
    while let Ok((job, square)) = desk.results.try_get() {
        assert_eq!(square, job * job);
        squares.push(job);
    }
    squares.sort_unstable();
    assert_eq!(squares, (0..1000).collect::<Vec<_>>());
}

#[tasuki::task]
fn opens(text: String) -> (Queue<String>, Value<u32>) {
    let queue = Queue::unbounded().unwrap();
    queue.put(text).unwrap();
    (queue, Value::new(7).unwrap())
}

#[test]
fn what_a_process_made_outlives_it_in_its_result() {
    let _watchdog = watchdog();
    let process = Process::spawn(opens, ("made there".to_owned(),)).unwrap();
    process.wait().unwrap();
    let (queue, value) = process.join().unwrap();
    assert_eq!(queue.get_timeout(Duration::from_secs(60)).unwrap(), "made there");
    assert_eq!(value.get(), 7);
}

#[tasuki::task]
fn holds_and_waits(lock: Lock<u32>, started: Queue<()>) {
    let mut guard = lock.lock().unwrap();
    *guard = 5;
    started.put(()).unwrap();
    std::thread::sleep(Duration::from_secs(600));
}

#[test]
fn a_lock_of_a_killed_process_is_handed_on_as_poisoned() {
    let _watchdog = watchdog();
    let lock = Lock::new(0).unwrap();
    let started = Queue::unbounded().unwrap();
    let process = Process::spawn(holds_and_waits, (lock.clone(), started.clone())).unwrap();
    started.get().unwrap();
    process.kill().unwrap();
    assert!(lock.lock().is_err(), "the owner died");
    assert!(process.join().is_err());
}
