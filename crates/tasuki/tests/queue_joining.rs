//! Tasks that are reported done: joining waits for all of them, says when some are lost, and never waits for the dead.

mod support;

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use support::messages::get;
use support::queues::{joinable, put_tasks};
use support::{Child, Ended, Words, fork, until, watchdog};
use tasuki::raw::{
    GaveUp, JoinFailure, LostTasks, QueueOptions, RawQueue, Shutdown, TaskDoneFailure, Wait,
};

fn take(queue: &RawQueue, count: usize) {
    (0..count).for_each(|_| assert!(get(queue, &mut Wait::forever()).is_some()));
}

fn done(queue: &RawQueue, count: u64) {
    queue.task_done(count, &mut Wait::forever()).unwrap();
}

fn timed_out(result: Result<(), JoinFailure>) -> bool {
    matches!(result, Err(JoinFailure::GaveUp(GaveUp::TimedOut)))
}

fn join_lost(queue: &RawQueue) -> LostTasks {
    match queue.join(&mut Wait::timeout(support::NEVER)) {
        Err(JoinFailure::Lost(lost)) => *lost,
        other => panic!("{other:?}"),
    }
}

#[test]
fn join_of_a_queue_that_nothing_was_put_into_returns_at_once() {
    joinable().join(&mut Wait::now()).unwrap();
}

#[test]
fn join_waits_until_every_task_is_reported_and_not_only_taken() {
    let _watchdog = watchdog();
    let queue = joinable();
    put_tasks(&queue, 3);
    assert!(timed_out(queue.join(&mut Wait::now())));
    take(&queue, 3);
    assert!(timed_out(queue.join(&mut Wait::timeout(Duration::from_millis(20)))));
    done(&queue, 2);
    assert_eq!(queue.unfinished(), 1);
    assert!(timed_out(queue.join(&mut Wait::now())));
    done(&queue, 1);
    queue.join(&mut Wait::now()).unwrap();
}

#[test]
fn a_task_may_be_reported_before_it_is_taken_as_the_standard_library_allows() {
    let queue = joinable();
    put_tasks(&queue, 1);
    done(&queue, 1);
    queue.join(&mut Wait::now()).unwrap();
    take(&queue, 1);
}

#[test]
fn reports_beyond_what_was_put_are_refused_and_count_nothing() {
    let queue = joinable();
    let too_many =
        |count| matches!(queue.task_done(count, &mut Wait::now()), Err(TaskDoneFailure::TooMany));
    assert!(too_many(1));
    put_tasks(&queue, 2);
    assert!(too_many(3));
    assert_eq!(queue.unfinished(), 2);
    done(&queue, 0);
    done(&queue, 2);
    assert!(too_many(1) && too_many(u64::MAX));
}

#[test]
fn a_queue_that_does_not_count_tasks_refuses_to() {
    let queue = RawQueue::create(QueueOptions::default()).unwrap();
    assert!(!queue.is_joinable() && joinable().is_joinable());
    put_tasks(&queue, 1);
    let refused = queue.task_done(1, &mut Wait::now()).unwrap_err();
    assert!(matches!(refused, TaskDoneFailure::Failed(_)), "{refused:?}");
    let refused = queue.join(&mut Wait::now()).unwrap_err();
    assert!(matches!(refused, JoinFailure::Failed(_)), "{refused:?}");
}

#[test]
fn all_who_join_are_woken_in_every_process() {
    let _watchdog = watchdog();
    let queue = joinable();
    put_tasks(&queue, 100);
    let mut joiners: Vec<Child> =
        (0..3).map(|_| fork(|| queue.join(&mut Wait::forever()).unwrap())).collect();
    joiners.iter().for_each(Child::wait_until_asleep);
    let mut workers: Vec<Child> = (0..4)
        .map(|_| {
            fork(|| {
                while get(&queue, &mut Wait::now()).is_some() {
                    done(&queue, 1);
                }
            })
        })
        .collect();
    for child in workers.iter_mut().chain(&mut joiners) {
        assert_eq!(child.wait(), Ended::WELL);
    }
    assert_eq!(queue.unfinished(), 0);
}

#[test]
fn joining_again_and_again_while_others_put_is_right_every_time() {
    let _watchdog = watchdog();
    let queue = joinable();
    let worker = fork(|| {
        loop {
            take(&queue, 1);
            done(&queue, 1);
        }
    });
    for round in 0..2000 {
        put_tasks(&queue, 1 + round % 3);
        queue.join(&mut Wait::forever()).unwrap();
        assert_eq!((queue.len(), queue.unfinished()), (0, 0), "nobody else puts");
    }
    drop(worker);
}

#[test]
fn a_join_learns_of_the_tasks_of_a_killed_worker_and_who_it_was() {
    let _watchdog = watchdog();
    let queue = joinable();
    put_tasks(&queue, 5);
    let words = Words::new(1);
    let worker = fork(|| {
        take(&queue, 3);
        done(&queue, 1);
        words[0].store(1, SeqCst);
        take(&queue, 1_000_000); // the last two, and then it sleeps
    });
    until("it works", || words[0].load(SeqCst) == 1 && queue.is_empty());
    worker.wait_until_asleep();
    let mut joiner = fork(|| {
        let lost = join_lost(&queue);
        assert_eq!((lost.count(), lost.death().pid()), (4, worker.pid()));
        assert!(!lost.death().left_normally());
        words[0].store(2, SeqCst);
        queue.join(&mut Wait::forever()).unwrap();
    });
    joiner.wait_until_asleep();
    worker.kill();
    assert_eq!(joiner.wait(), Ended::WELL);
    assert_eq!(words[0].load(SeqCst), 2);
    queue.join(&mut Wait::now()).unwrap(); // said once
}

#[test]
fn tasks_that_are_still_in_the_queue_are_not_lost_with_their_consumer() {
    let _watchdog = watchdog();
    let queue = joinable();
    put_tasks(&queue, 4);
    let mut worker = fork(|| {
        take(&queue, 1);
        std::process::abort();
    });
    worker.wait();
    assert_eq!(join_lost(&queue).count(), 1);
    assert_eq!((queue.len(), queue.unfinished()), (3, 3));
    assert!(timed_out(queue.join(&mut Wait::now())));
    take(&queue, 3);
    done(&queue, 3);
    queue.join(&mut Wait::now()).unwrap();
}

#[test]
fn a_row_that_is_used_again_does_not_forget_whose_tasks_were_lost() {
    let _watchdog = watchdog();
    let queue = joinable();
    put_tasks(&queue, 400);
    // More processes than rows are looked at before the table is cleaned.
    for _ in 0..200 {
        let mut worker = fork(|| {
            take(&queue, 1);
            std::process::abort();
        });
        assert!(matches!(worker.wait(), Ended::Killed(_)));
    }
    let mut lost = 0;
    while lost < 200 {
        lost += join_lost(&queue).count();
    }
    assert_eq!((lost, queue.unfinished()), (200, 200));
    assert!(timed_out(queue.join(&mut Wait::now())));
}

#[test]
fn a_task_that_another_process_did_is_not_counted_twice_when_its_taker_is_killed() {
    let _watchdog = watchdog();
    let queue = joinable();
    put_tasks(&queue, 2);
    let mut taker = fork(|| {
        take(&queue, 1);
        std::process::abort();
    });
    done(&queue, 1); // on its behalf
    taker.wait();
    assert!(timed_out(queue.join(&mut Wait::timeout(Duration::from_millis(700)))));
    take(&queue, 1);
    assert!(timed_out(queue.join(&mut Wait::timeout(Duration::from_millis(700)))));
    assert_eq!(queue.unfinished(), 1);
    done(&queue, 1);
    queue.join(&mut Wait::now()).unwrap();
}

#[test]
fn a_worker_that_ended_by_itself_has_left_its_tasks_to_others() {
    let _watchdog = watchdog();
    let queue = joinable();
    put_tasks(&queue, 1);
    let mut taker = fork(|| {
        take(&queue, 1);
        tasuki::raw::note_leaving();
    });
    assert_eq!(taker.wait(), Ended::WELL);
    assert!(timed_out(queue.join(&mut Wait::timeout(Duration::from_millis(700)))));
    done(&queue, 1);
    queue.join(&mut Wait::now()).unwrap();
}

#[test]
fn a_join_can_be_called_off() {
    let _watchdog = watchdog();
    let queue = joinable();
    put_tasks(&queue, 1);
    let mut looked = 0;
    let mut stop = || {
        looked += 1;
        looked == 2
    };
    let ended = queue.join(&mut Wait::forever().interruptible(&mut stop)).unwrap_err();
    assert!(matches!(ended, JoinFailure::GaveUp(GaveUp::Interrupted)), "{ended:?}");
}

#[test]
fn what_an_immediate_shutdown_throws_away_is_done() {
    let _watchdog = watchdog();
    let queue = joinable();
    put_tasks(&queue, 5);
    take(&queue, 1);
    let mut joiner = fork(|| queue.join(&mut Wait::forever()).unwrap());
    joiner.wait_until_asleep();
    queue.shutdown(Shutdown::Drain).unwrap();
    assert_eq!(queue.unfinished(), 5, "what can still be taken is not done");
    queue.shutdown(Shutdown::Immediate).unwrap();
    queue.shutdown(Shutdown::Immediate).unwrap();
    assert_eq!(queue.unfinished(), 1, "the one that was taken");
    done(&queue, 1);
    assert_eq!(joiner.wait(), Ended::WELL);
    let nothing_left = queue.task_done(1, &mut Wait::now());
    assert!(matches!(nothing_left, Err(TaskDoneFailure::TooMany)), "{nothing_left:?}");
}
