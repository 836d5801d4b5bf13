//! Tasks of a joinable queue: a join wakes up when all is done, and is told of exactly the tasks of the dead.
//!
//! As `layout/queue/joining.rs` does it, with the engine's own tallies, sides and waiting: two workers, whose rows are
//! tallies of the head and of `done`.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use loom::thread;

use super::models::explore;
use super::side::{Position, Side, sleep_until};
use super::tally::Tally;
use crate::sync::{EventCount, GaveUp, Held, RobustLock, Wait};

#[derive(Clone, Copy, PartialEq)]
enum Dies {
    Never,
    TakingBeforeCommit,
    TakingBeforeUnlock,
    WithATask,
    DoneBeforeCommit,
    DoneBeforeUnlock,
}

struct Model {
    put: AtomicU64,
    get: Side,
    done: AtomicU64,
    alldone: EventCount,
    taken: [Tally; 2],
    of: [Tally; 2],
    lost: Tally,
    dead: AtomicBool,
}

impl Model {
    fn new(tasks: u64) -> Arc<Model> {
        Arc::new(Model {
            put: AtomicU64::new(tasks),
            get: Side::new(),
            done: AtomicU64::new(0),
            alldone: EventCount::new(),
            taken: [Tally::new(), Tally::new()],
            of: [Tally::new(), Tally::new()],
            lost: Tally::new(),
            dead: AtomicBool::new(false),
        })
    }

    fn lock(&self) -> Held<'_> {
        let held = self.get.lock.lock();
        if held.must_repair() {
            let (head, done) = (self.get.position().ticket, self.done());
            self.taken.iter().for_each(|tally| tally.void_prepared(head));
            self.of.iter().for_each(|tally| tally.void_prepared(done));
            self.lost.void_prepared(done);
            self.alldone.notify_all();
        }
        held
    }

    fn done(&self) -> u64 {
        self.done.load(Ordering::Acquire)
    }

    fn all_done(&self) -> bool {
        let done = self.done.load(Ordering::SeqCst);
        done == self.put.load(Ordering::SeqCst)
    }

    fn dies(&self, held: Held<'_>) {
        RobustLock::owner_dies(held);
        self.dead.store(true, Ordering::SeqCst);
    }

    /// Takes one task and does it, or dies; says whether it got one.
    fn work(&self, worker: usize, dies: Dies) -> bool {
        let held = self.lock();
        let head = self.get.position();
        if head.ticket == self.put.load(Ordering::Acquire) {
            return false;
        }
        self.taken[worker].prepare(head.ticket, 1);
        if dies == Dies::TakingBeforeCommit {
            self.dies(held);
            return true;
        }
        self.get.commit(&held, Position { ticket: head.ticket + 1, ..head });
        if dies == Dies::TakingBeforeUnlock {
            self.dies(held);
            return true;
        }
        drop(held);
        if dies == Dies::WithATask {
            self.dead.store(true, Ordering::SeqCst);
            return true;
        }
        let held = self.lock();
        let done = self.done();
        self.of[worker].prepare(done, 1);
        if done + 1 == self.put.load(Ordering::Acquire) {
            self.alldone.notify(u32::MAX);
        }
        if dies == Dies::DoneBeforeCommit {
            self.dies(held);
            return true;
        }
        self.done.store(done + 1, Ordering::Release);
        if dies == Dies::DoneBeforeUnlock {
            self.dies(held);
        }
        true
    }

    /// Waits until all is done. No time passes in a model: the look at the dead comes when `is_dead` says so.
    fn join(&self) {
        while !self.all_done() {
            let enter = |_: &mut Wait<'_>| Ok::<_, GaveUp>(self.lock());
            let (event, notifier) = (&self.alldone, &self.get.lock);
            let wait = &mut Wait::forever();
            sleep_until(event, notifier, || self.all_done(), enter, wait).unwrap();
        }
    }

    /// What a join does about the death of worker 0.
    fn settle(&self) -> u64 {
        let held = self.lock();
        let (head, done) = (self.get.position().ticket, self.done());
        let in_flight = |worker: usize| {
            self.taken[worker].value(head).saturating_sub(self.of[worker].value(done))
        };
        let lost = in_flight(0).min(head - done - in_flight(1));
        if lost > 0 {
            self.lost.prepare(done, lost);
            self.of[0].prepare(done, lost);
            self.alldone.notify(u32::MAX);
            self.done.store(done + lost, Ordering::Release);
        }
        drop(held);
        self.lost.value(self.done())
    }
}

#[test]
fn a_join_sleeps_until_the_last_task_is_done_and_no_longer() {
    explore(|| {
        let queue = Model::new(2);
        let workers = [0, 1].map(|worker| {
            let queue = queue.clone();
            thread::spawn(move || queue.work(worker, Dies::Never))
        });
        queue.join();
        assert_eq!(queue.get.position().ticket, 2);
        for worker in workers {
            assert!(worker.join().unwrap());
        }
    });
}

/// Worker 0 dies at the given step while worker 1 works and one joins; afterwards its tasks are counted.
fn worker_dies(dies: Dies, lost: u64) {
    explore(move || {
        let queue = Model::new(2);
        let dying = thread::spawn({
            let queue = queue.clone();
            move || queue.work(0, dies)
        });
        let joining = thread::spawn({
            let queue = queue.clone();
            move || queue.join()
        });
        while queue.work(1, Dies::Never) {}
        dying.join().unwrap();
        let died_with_a_task = queue.settle();
        // A task that it put back by dying is done by the next one to come.
        while queue.work(1, Dies::Never) {}
        joining.join().unwrap();
        assert!(died_with_a_task <= lost);
        assert_eq!(
            queue.taken[0].value(2) + queue.taken[1].value(2),
            2,
            "each task was taken once"
        );
        assert_eq!(queue.done(), 2, "and counted once");
        if queue.dead.load(Ordering::SeqCst) {
            assert_eq!(died_with_a_task, lost);
        }
    });
}

#[test]
fn a_worker_killed_before_it_has_the_task_leaves_it_to_others() {
    worker_dies(Dies::TakingBeforeCommit, 0);
}

#[test]
fn a_worker_killed_right_after_it_took_the_task_is_counted() {
    worker_dies(Dies::TakingBeforeUnlock, 1);
}

#[test]
fn a_worker_killed_at_work_is_counted() {
    worker_dies(Dies::WithATask, 1);
}

#[test]
fn a_worker_killed_before_its_report_counts_is_counted() {
    worker_dies(Dies::DoneBeforeCommit, 1);
}

#[test]
fn a_worker_killed_after_its_report_counts_has_done_its_task() {
    worker_dies(Dies::DoneBeforeUnlock, 0);
}
