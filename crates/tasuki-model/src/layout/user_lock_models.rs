//! The users' lock: one at a time, and whoever sleeps is woken, also when a releaser took away the mark of several
//! sleepers.

use std::sync::Arc;

use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;

use super::failure::AcquireFailure;
use super::lock::{Acquired, LockView, LockWords};
use crate::segment::{Dead, Segment};
use crate::sync::{GaveUp, Spin, Wait};

struct Model {
    words: LockWords,
    dead: Dead,
    inside: AtomicU32,
    spin: Spin,
}

/// The lock as one process has it.
struct Process {
    model: Arc<Model>,
    segment: Segment,
}

impl Model {
    fn new() -> Arc<Model> {
        let (words, dead) = (LockWords::new(), Dead::nobody());
        Arc::new(Model { words, dead, inside: AtomicU32::new(0), spin: Spin::new() })
    }

    fn process(self: &Arc<Model>, number: u32) -> Process {
        Process { model: self.clone(), segment: Segment::of(number, &self.dead) }
    }

    fn run(
        self: &Arc<Model>,
        number: u32,
        work: impl FnOnce(&Process) + 'static,
    ) -> thread::JoinHandle<()> {
        let process = self.process(number);
        thread::spawn(move || work(&process))
    }
}

impl Process {
    fn view(&self) -> LockView<'_> {
        let model = &self.model;
        LockView { words: &model.words, segment: &self.segment, spin: &model.spin }
    }

    fn acquire(&self) {
        let acquired = self.view().acquire(&mut Wait::forever()).unwrap();
        assert_eq!(acquired, Acquired::Clean);
    }

    /// In and out, alone.
    fn enter(&self) {
        self.acquire();
        assert_eq!(self.model.inside.fetch_add(1, Ordering::Relaxed), 0, "two have the lock");
        self.model.inside.fetch_sub(1, Ordering::Relaxed);
        self.view().release().unwrap();
    }

    /// Wants it, and is called off the second time that it asks.
    fn give_up(&self) {
        let mut asked = 0;
        let mut called_off = || {
            asked += 1;
            asked > 1
        };
        let mut wait = Wait::forever().interruptible(&mut called_off);
        match self.view().acquire(&mut wait) {
            Ok(_) => self.view().release().unwrap(),
            Err(why) => assert!(matches!(why, AcquireFailure::GaveUp(GaveUp::Interrupted))),
        }
    }
}

fn explore(preemptions: usize, work: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(work);
}

#[test]
fn two_who_sleep_both_get_it() {
    explore(3, || {
        let model = Model::new();
        let owner = model.process(0);
        owner.acquire();
        let others = [model.run(1, Process::enter), model.run(2, Process::enter)];
        owner.view().release().unwrap();
        others.into_iter().for_each(|other| other.join().unwrap());
        assert!(!model.process(0).view().is_locked());
    });
}

#[test]
fn who_sleeps_gets_it_though_another_one_comes_in_between() {
    explore(2, || {
        let model = Model::new();
        let owner = model.process(0);
        owner.acquire();
        let others = [model.run(1, Process::enter), model.run(2, Process::enter)];
        owner.view().release().unwrap();
        owner.enter();
        others.into_iter().for_each(|other| other.join().unwrap());
    });
}

#[test]
fn one_who_gives_up_takes_no_wake_up_along() {
    explore(2, || {
        let model = Model::new();
        let owner = model.process(0);
        owner.acquire();
        let others = [model.run(1, Process::give_up), model.run(2, Process::enter)];
        owner.view().release().unwrap();
        owner.enter(); // wakes the one that has slept in its turn
        others.into_iter().for_each(|other| other.join().unwrap());
    });
}
