//! The semaphore: so many and no more, nobody sleeps beside a permit, and what the dead owned is there once.

use std::sync::Arc;

use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use loom::thread;

use super::lock::Acquired;
use super::semaphore::{Permit, SemaphoreView, SemaphoreWords};
use crate::segment::{Dead, Segment};
use crate::sync::{RobustLock, Spin, Wait};

const MOST: u32 = 9;

/// What a process has done when it stops for ever.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Dies {
    Early,
    Committed,
    Summed,
}

struct Model {
    words: SemaphoreWords,
    ledger: [AtomicU64; 2],
    dead: Dead,
    inside: AtomicU32,
    told: AtomicU32,
    spin: Spin,
}

/// The semaphore as one process has it.
struct Process {
    model: Arc<Model>,
    segment: Segment,
}

impl Model {
    fn new(permits: u32) -> Arc<Model> {
        let words = SemaphoreWords::new();
        words.begin(permits);
        Arc::new(Model {
            words,
            ledger: [AtomicU64::new(0), AtomicU64::new(0)],
            dead: Dead::nobody(),
            inside: AtomicU32::new(0),
            told: AtomicU32::new(0),
            spin: Spin::new(),
        })
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
    fn view(&self) -> SemaphoreView<'_> {
        SemaphoreView {
            words: &self.model.words,
            ledger: &self.model.ledger,
            segment: &self.segment,
            spin: &self.model.spin,
            max: MOST,
        }
    }

    fn mine(&self) -> Permit {
        Permit::Owned(self.segment.known_row().unwrap())
    }

    fn acquire(&self, permit: Permit) {
        let acquired = self.view().acquire(permit, &mut Wait::forever()).unwrap();
        if acquired != Acquired::Clean {
            self.model.told.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// In and out, alone.
    fn enter(&self) {
        self.acquire(self.mine());
        assert_eq!(self.model.inside.fetch_add(1, Ordering::Relaxed), 0, "one too many");
        self.model.inside.fetch_sub(1, Ordering::Relaxed);
        let me = self.segment.known_row().unwrap();
        self.view().release_owned(me, &mut Wait::forever()).unwrap().unwrap();
    }

    fn signal(&self, permits: u32) {
        self.view().release(permits).unwrap();
    }

    /// Takes a permit, its own process's, and dies with it.
    fn acquire_and_die(&self) {
        self.acquire(self.mine());
        self.segment.die();
    }

    /// A release of its only permit that does not come to its end: the steps of `release_owned`.
    fn release_and_die(&self, dies: Dies) {
        let words = &self.model.words;
        let held = words.lock.lock();
        let place = &self.model.ledger[self.segment.known_row().unwrap().row() % 2];
        'steps: {
            if dies == Dies::Early {
                break 'steps;
            }
            assert_ne!(place.load(Ordering::Relaxed), 0);
            place.store(0, Ordering::Relaxed);
            if dies == Dies::Committed {
                break 'steps;
            }
            words.permits.fetch_sub(1 << 32, Ordering::SeqCst);
        }
        // In the machine the process may count as alive for a moment after its lock was handed on; those who
        // look too early look again when their slice ends, and there are no slices here.
        self.segment.die();
        RobustLock::owner_dies(held);
    }
}

fn explore(preemptions: usize, work: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(work);
}

#[test]
fn one_permit_lets_one_in_at_a_time_and_everyone_once() {
    explore(2, || {
        let model = Model::new(1);
        let others = [model.run(1, Process::enter), model.run(2, Process::enter)];
        model.process(0).enter();
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(model.process(0).view().value(), 1);
    });
}

#[test]
fn a_signal_wakes_who_waits_for_it() {
    explore(3, || {
        let model = Model::new(0);
        let waiter = model.run(1, |process| process.acquire(Permit::Bare));
        model.process(0).signal(1);
        waiter.join().unwrap();
        assert_eq!(model.process(0).view().value(), 0);
    });
}

#[test]
fn two_signals_at_once_or_one_after_the_other_wake_both() {
    for at_once in [true, false] {
        explore(2, move || {
            let model = Model::new(0);
            let wait = |process: &Process| process.acquire(Permit::Bare);
            let waiters = [model.run(1, wait), model.run(2, wait)];
            let process = model.process(0);
            if at_once {
                process.signal(2);
            } else {
                process.signal(1);
                process.signal(1);
            }
            waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
            assert_eq!(process.view().value(), 0);
        });
    }
}

#[test]
fn a_waiter_that_sleeps_again_after_a_notification_for_nothing_is_not_forgotten() {
    explore(5, || {
        let model = Model::new(0);
        let waiter = model.run(1, |process| process.acquire(Permit::Bare));
        let thief = model.run(2, |process| {
            let _ = process.view().take_fast(Permit::Bare);
        });
        let process = model.process(0);
        process.signal(1); // puts the number right when it wakes nobody
        process.signal(1);
        waiter.join().unwrap();
        thief.join().unwrap();
    });
}

#[test]
fn wherever_a_releaser_dies_the_one_who_waits_gets_the_permit() {
    for dies in [Dies::Early, Dies::Committed, Dies::Summed] {
        explore(3, move || {
            let model = Model::new(1);
            let victim = model.process(1);
            victim.acquire(victim.mine());
            let dying = model.run(1, move |process| process.release_and_die(dies));
            dying.join().unwrap();
            model.process(0).enter();
            assert_eq!(model.process(0).view().value(), 1);
        });
    }
}

#[test]
fn who_sleeps_while_a_releaser_dies_is_woken() {
    // Killed before its commit it still owns the permit: then a sleeper has to look whether it lives, when its slice
    // ends.
    for dies in [Dies::Committed, Dies::Summed] {
        explore(3, move || {
            let model = Model::new(1);
            let victim = model.process(1);
            victim.acquire(victim.mine());
            let waiter = model.run(0, Process::enter);
            victim.release_and_die(dies);
            model.words.waiters.notify_all(); // stands for the end of a slice
            waiter.join().unwrap();
            assert_eq!(model.process(0).view().value(), 1);
        });
    }
}

#[test]
fn two_heirs_give_back_a_permit_once_and_one_of_them_is_told() {
    explore(3, || {
        let model = Model::new(1);
        model.process(1).acquire_and_die();
        let other = model.run(2, Process::enter);
        model.process(0).enter();
        other.join().unwrap();
        assert_eq!(model.process(0).view().value(), 1);
        assert_eq!(model.told.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn an_owner_that_dies_before_the_sum_is_known_owns_its_permit() {
    explore(3, || {
        let model = Model::new(1);
        let victim = model.process(1);
        let held = model.words.lock.lock();
        let entry = u64::from(victim.segment.known_row().unwrap().bits()) | 1 << 32;
        model.ledger[1].store(entry, Ordering::Relaxed);
        let other = model.run(2, Process::enter);
        victim.segment.die();
        RobustLock::owner_dies(held);
        model.process(0).enter();
        other.join().unwrap();
        assert_eq!(model.process(0).view().value(), 1);
        assert_eq!(model.told.load(Ordering::Relaxed), 1);
    });
}
