//! The internal lock: exclusion, and the way of its repair from a dead owner to the next.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::sync::RobustLock;

struct Guarded {
    lock: RobustLock,
    inside: AtomicUsize,
    entered: AtomicUsize,
    repaired: AtomicUsize,
}

impl Guarded {
    fn new() -> Arc<Guarded> {
        Arc::new(Guarded {
            lock: RobustLock::new(),
            inside: AtomicUsize::new(0),
            entered: AtomicUsize::new(0),
            repaired: AtomicUsize::new(0),
        })
    }

    fn enter(&self) {
        let held = self.lock.lock();
        if held.must_repair() {
            self.repaired.fetch_add(1, Ordering::Relaxed);
            self.inside.store(0, Ordering::Relaxed);
        }
        assert_eq!(self.inside.fetch_add(1, Ordering::Relaxed), 0, "two owners at once");
        // Not an atomic step: a second owner would be seen.
        let entered = self.entered.load(Ordering::Relaxed);
        self.entered.store(entered + 1, Ordering::Relaxed);
        self.inside.store(0, Ordering::Relaxed);
        drop(held);
    }

    fn enter_and_die(&self) {
        let held = self.lock.lock();
        self.inside.store(1, Ordering::Relaxed);
        RobustLock::owner_dies(held);
    }
}

#[test]
fn one_owner_at_a_time_and_everyone_gets_in() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let guarded = Guarded::new();
        let others: Vec<_> = (0..2)
            .map(|_| {
                let guarded = guarded.clone();
                thread::spawn(move || guarded.enter())
            })
            .collect();
        guarded.enter();
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(guarded.entered.load(Ordering::Relaxed), 3);
    });
}

#[test]
fn exactly_one_successor_repairs_after_a_death_and_the_others_get_in() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let guarded = Guarded::new();
        let others = [
            thread::spawn({
                let guarded = guarded.clone();
                move || guarded.enter_and_die()
            }),
            thread::spawn({
                let guarded = guarded.clone();
                move || guarded.enter()
            }),
        ];
        guarded.enter();
        others.into_iter().for_each(|other| other.join().unwrap());
        let died_last = guarded.lock.is_held();
        let repaired = guarded.repaired.load(Ordering::Relaxed);
        assert_eq!(repaired, usize::from(!died_last), "a death is repaired once");
        guarded.enter();
        assert_eq!(guarded.entered.load(Ordering::Relaxed), 3);
    });
}

#[test]
fn a_free_lock_is_got_at_once_and_a_held_one_is_not() {
    loom::model(|| {
        let guarded = Guarded::new();
        let held = guarded.lock.lock();
        assert!(guarded.lock.try_lock().is_none());
        drop(held);
        assert!(guarded.lock.try_lock().is_some());
    });
}
