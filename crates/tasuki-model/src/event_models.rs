//! The event: one `set` releases all who wait, with what came before it, whatever is cleared meanwhile.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;

use crate::event::EventView;
use crate::sync::{Spin, Wait};

struct Event {
    word: AtomicU32,
    before: AtomicU32,
    spin: Spin,
}

impl Event {
    fn new() -> Arc<Event> {
        Arc::new(Event { word: AtomicU32::new(0), before: AtomicU32::new(0), spin: Spin::new() })
    }

    fn view(&self) -> EventView<'_> {
        EventView { word: &self.word, spin: &self.spin }
    }

    fn wait(&self) {
        assert_eq!(self.view().wait(&mut Wait::forever()), Ok(()));
    }
}

fn run(event: &Arc<Event>, work: impl FnOnce(&Event) + 'static) -> thread::JoinHandle<()> {
    let event = event.clone();
    thread::spawn(move || work(&event))
}

fn explore(work: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(work);
}

#[test]
fn one_set_releases_all_who_wait() {
    explore(|| {
        let event = Event::new();
        let waiters = [run(&event, Event::wait), run(&event, Event::wait)];
        event.view().set();
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    });
}

#[test]
fn a_waiter_is_released_though_it_is_cleared_at_once() {
    explore(|| {
        let event = Event::new();
        let waiter = run(&event, Event::wait);
        while event.word.load(Ordering::Relaxed) & 2 == 0 {
            thread::yield_now();
        }
        event.view().set();
        event.view().clear();
        waiter.join().unwrap();
        assert!(!event.view().is_set());
    });
}

#[test]
fn two_setters_and_a_clearer_leave_nobody_asleep() {
    explore(|| {
        let event = Event::new();
        let waiter = run(&event, Event::wait);
        let other = run(&event, |event| {
            event.view().set();
            event.view().clear();
        });
        event.view().set();
        other.join().unwrap();
        // In the worst order both were cleared before the waiter came.
        event.view().set();
        waiter.join().unwrap();
    });
}

#[test]
fn what_was_written_before_it_was_set_is_seen() {
    explore(|| {
        let event = Event::new();
        let waiter = run(&event, |event| {
            event.wait();
            assert_ne!(event.before.load(Ordering::Relaxed), 0);
        });
        let other = run(&event, |event| event.view().clear());
        event.before.store(1, Ordering::Relaxed);
        event.view().set();
        // A clear in between may send the waiter to sleep; the next set is as good.
        other.join().unwrap();
        event.view().set();
        waiter.join().unwrap();
    });
}
