//! A process is killed at a step of taking, reporting or counting tasks: one that joins goes on, and is told of
//! exactly the tasks that nobody did.
#![cfg(feature = "kill-points")]

mod support;

use std::sync::atomic::Ordering::SeqCst;

use support::messages::get;
use support::queues::{joinable, put_tasks};
use support::victims::dies_at;
use support::{Child, Ended, Words, fork, watchdog};
use tasuki::kill_points::KillPoint;
use tasuki::raw::{JoinFailure, RawQueue, Shutdown, Wait};

const TASKS: u64 = 20;

/// Where a worker that takes one task after the other dies, when it passes there for the nth time, and how many tasks
/// it has in flight then.
const WORKER: &[(KillPoint, u32, u64)] = &[
    // The lock is taken for the table's row first, then for each get and each report.
    (KillPoint::LockTaken, 1, 0),
    (KillPoint::LockTaken, 2, 0),
    (KillPoint::LockTaken, 3, 1),
    (KillPoint::LockTaken, 4, 0),
    (KillPoint::GetLocked, 3, 0),
    (KillPoint::GetCopied, 3, 0),
    (KillPoint::GetTallied, 1, 0),
    (KillPoint::GetTallied, 2, 0),
    (KillPoint::GetTallied, 3, 0),
    (KillPoint::GetInFlight, 3, 0),
    (KillPoint::GetNotified, 3, 0),
    (KillPoint::GetCommitted, 1, 1),
    (KillPoint::GetCommitted, 2, 1),
    (KillPoint::GetCommitted, 3, 1),
    (KillPoint::GetUnlocked, 3, 1),
    (KillPoint::TaskTallied, 1, 1),
    (KillPoint::TaskTallied, 2, 1),
    (KillPoint::TaskTallied, 3, 1),
    (KillPoint::TaskNotified, 3, 1),
    (KillPoint::TaskCommitted, 1, 0),
    (KillPoint::TaskCommitted, 3, 0),
    (KillPoint::TaskRowCleared, 1, 0),
];

/// Where one dies who counts the tasks of another one as lost.
const COUNTER: &[KillPoint] =
    &[KillPoint::TaskLossNoted, KillPoint::TaskNotified, KillPoint::TaskCommitted];

/// Works until nothing is left, and says how many tasks that were.
fn work(queue: &RawQueue) -> u64 {
    let mut worked = 0;
    while get(queue, &mut Wait::now()).is_some() {
        queue.task_done(1, &mut Wait::forever()).unwrap();
        worked += 1;
    }
    worked
}

/// A worker that is killed with one task in flight.
fn one_dies_with_a_task(queue: &RawQueue) -> u32 {
    dies_at(KillPoint::GetUnlocked, 1, || drop(get(queue, &mut Wait::forever())))
}

/// Joins until all is done, and says how many tasks were lost meanwhile.
fn join_all(queue: &RawQueue) -> u64 {
    let mut lost = 0;
    loop {
        match queue.join(&mut Wait::timeout(support::NEVER)) {
            Ok(()) => return lost,
            Err(JoinFailure::Lost(more)) => lost += more.count(),
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_join_goes_on_wherever_a_worker_dies_and_counts_what_it_had() {
    let _watchdog = watchdog();
    for &(point, nth, in_flight) in WORKER {
        eprintln!("{point:?}, {nth}");
        let queue = joinable();
        put_tasks(&queue, TASKS);
        let words = Words::new(1);
        let mut joiner = fork(|| words[0].store(join_all(&queue) + 1, SeqCst));
        joiner.wait_until_asleep();
        dies_at(point, nth, || _ = work(&queue));
        work(&queue);
        assert_eq!(joiner.wait(), Ended::WELL);
        assert_eq!((words[0].load(SeqCst) - 1, queue.unfinished()), (in_flight, 0));
        assert_eq!(join_all(&queue), 0, "each loss is told once");
    }
}

#[test]
fn the_last_task_is_reported_by_one_who_dies() {
    let _watchdog = watchdog();
    for (point, lost) in [(KillPoint::TaskNotified, 1), (KillPoint::TaskCommitted, 0)] {
        let queue = joinable();
        put_tasks(&queue, 1);
        let words = Words::new(3);
        let queue = &queue;
        let joiners: Vec<Child> = words[..]
            .iter()
            .map(|word| fork(move || word.store(join_all(queue) + 1, SeqCst)))
            .collect();
        joiners.iter().for_each(Child::wait_until_asleep);
        dies_at(point, 1, || _ = work(queue));
        for mut joiner in joiners {
            assert_eq!(joiner.wait(), Ended::WELL);
        }
        let told: u64 = words.iter().map(|word| word.load(SeqCst) - 1).sum();
        assert_eq!(told, lost, "one of them is told");
    }
}

#[test]
fn whoever_counts_the_tasks_of_the_dead_may_be_killed_as_well() {
    let _watchdog = watchdog();
    for &point in COUNTER {
        let queue = joinable();
        put_tasks(&queue, 3);
        let dead = one_dies_with_a_task(&queue);
        dies_at(point, 1, || _ = join_all(&queue));
        match queue.join(&mut Wait::timeout(support::NEVER)) {
            Err(JoinFailure::Lost(lost)) => {
                assert_eq!((lost.count(), lost.death().pid()), (1, dead), "{point:?}");
            }
            other => panic!("{point:?}: {other:?}"),
        }
        assert_eq!((work(&queue), join_all(&queue)), (2, 0));
    }
}

#[test]
fn whoever_takes_over_the_row_of_a_dead_process_may_be_killed_as_well() {
    let _watchdog = watchdog();
    for &point in COUNTER.iter().chain([&KillPoint::TaskRowCleared]) {
        let queue = joinable();
        // So many that their rows are cleaned up and used again.
        let dead = 70;
        put_tasks(&queue, dead + TASKS);
        for _ in 0..dead {
            one_dies_with_a_task(&queue);
        }
        // The row of one of them is taken over, and with it its task counted.
        dies_at(point, 1, || _ = work(&queue));
        let mut worker = fork(|| _ = work(&queue));
        assert_eq!((worker.wait(), join_all(&queue)), (Ended::WELL, dead), "{point:?}");
        assert_eq!((queue.len(), queue.unfinished()), (0, 0));
    }
}

#[test]
fn whoever_shuts_the_queue_down_may_be_killed_when_the_tasks_are_gone() {
    let _watchdog = watchdog();
    let queue = joinable();
    put_tasks(&queue, TASKS);
    let mut joiner = fork(|| assert_eq!(join_all(&queue), 0));
    joiner.wait_until_asleep();
    dies_at(KillPoint::ShutDownThrown, 1, || queue.shutdown(Shutdown::Immediate).unwrap());
    assert_eq!(joiner.wait(), Ended::WELL);
    assert_eq!(queue.unfinished(), 0);
}
