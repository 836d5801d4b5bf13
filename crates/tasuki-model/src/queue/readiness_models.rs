//! Readiness with a kernel of one word: a poller that sleeps there is told of every message, whatever process dies, by
//! level and by edge.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use loom::thread;

use super::models::explore;
use super::side::{CLEARS_READINESS, Position, Readiness, SETS_READINESS, SHUT, Side};
use crate::sync::{Held, RobustLock, futex};

/// What the kernel knows of an eventfd: bit 0 set; bits 1-31 how often it was set, which is what edges are made of.
struct Kernel(AtomicU32);

impl Readiness for Kernel {
    fn set(&self) {
        let mut seen = self.0.load(Ordering::SeqCst);
        while let Err(now) =
            self.0.compare_exchange(seen, (seen | 1) + 2, Ordering::SeqCst, Ordering::SeqCst)
        {
            seen = now;
        }
        futex::wake(&self.0, u32::MAX);
    }

    fn clear(&self) {
        self.0.fetch_and(!1, Ordering::SeqCst);
    }
}

#[derive(Clone, Copy, PartialEq)]
enum By {
    Level,
    Edge,
}

impl Kernel {
    /// Sleeps until it is set, or was set once more than `edges` times; returns how often it was set.
    fn poll(&self, by: By, edges: u32) -> u32 {
        loop {
            let seen = self.0.load(Ordering::SeqCst);
            let ready = match by {
                By::Level => seen & 1 != 0,
                By::Edge => seen >> 1 != edges,
            };
            if ready {
                return seen >> 1;
            }
            futex::wait(&self.0, seen, None);
        }
    }
}

/// Where a producer stops for ever.
#[derive(Clone, Copy, PartialEq)]
enum Dies {
    Never,
    BeforeSet,
    BeforeCommit,
    BeforeUnlock,
}

/// A queue of numbers, in `layout/queue`'s steps, that is never full.
struct Model {
    put: Side,
    get: Side,
    messages: Kernel,
    frames: [AtomicU64; 4],
}

/// `PutHeld`: a process that was in the section when nobody polled yet does not look whether something was left to it.
struct PutHeld<'a> {
    held: Held<'a>,
    is_polled: bool,
}

impl Model {
    fn new() -> Arc<Model> {
        Arc::new(Model {
            put: Side::new(),
            get: Side::new(),
            messages: Kernel(AtomicU32::new(0)),
            frames: std::array::from_fn(|_| AtomicU64::new(0)),
        })
    }

    /// `SharedQueue::pollable`.
    fn ask(&self) {
        if self.put.flags() & SETS_READINESS == 0 {
            let held = self.get.lock.lock();
            self.get.flag(&held, CLEARS_READINESS);
            drop(held);
            let held = self.lock_put();
            self.resync(&held.held);
            self.put.flag(&held.held, SETS_READINESS);
            drop(held.held);
            self.clear_left(); // this holder did not know yet that it is polled
        }
    }

    fn resync(&self, held: &Held<'_>) {
        let ready = self.has_message() || self.put.flags() & SHUT != 0;
        self.put.resync_readiness(held, ready, &self.messages);
    }

    fn lock_put(&self) -> PutHeld<'_> {
        let held = self.put_held(self.put.lock.lock());
        self.repair_put(&held.held);
        held
    }

    fn put_held<'a>(&self, held: Held<'a>) -> PutHeld<'a> {
        PutHeld { held, is_polled: self.put.flags() & SETS_READINESS != 0 }
    }

    fn repair_put(&self, held: &Held<'_>) {
        if held.must_repair() && self.put.flags() & SETS_READINESS != 0 {
            self.resync(held);
        }
    }

    fn has_message(&self) -> bool {
        self.put.ticket.load(Ordering::SeqCst) != self.get.ticket.load(Ordering::SeqCst)
    }

    fn put(&self, number: u64, dies: Dies) {
        let held = self.lock_put();
        let tail = self.put.position();
        self.frames[tail.offset as usize].store(number, Ordering::Relaxed);
        if dies == Dies::BeforeSet {
            return RobustLock::owner_dies(held.held);
        }
        if self.put.flags() & SETS_READINESS != 0 {
            self.put.set_readiness(&held.held, &self.messages);
        }
        if dies == Dies::BeforeCommit {
            return RobustLock::owner_dies(held.held);
        }
        self.put.commit(&held.held, next(tail));
        if dies == Dies::BeforeUnlock {
            return RobustLock::owner_dies(held.held);
        }
        self.leave_put(held);
    }

    /// A get that does not wait.
    fn try_get(&self) -> Option<u64> {
        loop {
            if !self.has_message() {
                if self.get.flags() & CLEARS_READINESS != 0 {
                    self.clear_seen_empty();
                }
                if !self.has_message() {
                    return None;
                }
            }
            let held = self.get.lock.lock();
            let head = self.get.position();
            if self.put.ticket.load(Ordering::Acquire) == head.ticket {
                drop(held);
                continue;
            }
            let number = self.frames[head.offset as usize].load(Ordering::Relaxed);
            self.get.commit(&held, next(head));
            let flags = self.get.flags();
            drop(held);
            if flags & CLEARS_READINESS != 0 {
                self.clear_if_empty();
            }
            return Some(number);
        }
    }

    /// After a get, which must not wait for anybody.
    fn clear_if_empty(&self) {
        if self.has_message() || !self.put.may_be_set() {
            return;
        }
        match self.put.lock.try_lock() {
            Some(held) => {
                let held = self.put_held(held);
                self.repair_put(&held.held);
                if !self.has_message() {
                    self.put.clear_readiness(&held.held, &self.messages);
                }
                self.leave_put(held);
            }
            None => {
                self.put.leave_clearing();
                self.clear_left();
            }
        }
    }

    /// `SharedQueue::clear_readable_left`.
    fn clear_left(&self) {
        while self.put.is_clearing_left() {
            let Some(held) = self.put.lock.try_lock() else { return };
            self.repair_put(&held);
            if self.put.take_clearing(&held) && !self.has_message() {
                self.put.clear_readiness(&held, &self.messages);
            }
        }
    }

    fn leave_put(&self, held: PutHeld<'_>) {
        drop(held.held);
        if held.is_polled {
            self.clear_left();
        }
    }

    /// Goes in and leaves, as one that finds no room.
    fn visit_put(&self) {
        let held = self.lock_put();
        self.leave_put(held);
    }

    fn clear_seen_empty(&self) {
        if self.put.may_be_set() {
            let held = self.lock_put();
            if !self.has_message() {
                self.put.clear_readiness(&held.held, &self.messages);
            }
            self.leave_put(held);
        }
    }

    /// As an event loop does it: sleep in the kernel, then take all that is there.
    fn take(&self, by: By, count: usize) -> Vec<u64> {
        let (mut taken, mut edges) = (Vec::new(), 0);
        while taken.len() < count {
            edges = self.messages.poll(by, edges);
            taken.extend(std::iter::from_fn(|| self.try_get()));
        }
        taken
    }
}

fn next(from: Position) -> Position {
    Position { ticket: from.ticket + 1, offset: from.offset + 1, bytes: from.bytes + 8 }
}

fn a_poller_gets_two_messages(by: By) {
    explore(move || {
        let queue = Model::new();
        queue.ask();
        let producer = thread::spawn({
            let queue = queue.clone();
            move || {
                queue.put(1, Dies::Never);
                queue.put(2, Dies::Never);
            }
        });
        assert_eq!(queue.take(by, 2), [1, 2]);
        producer.join().unwrap();
        assert_eq!(queue.messages.0.load(Ordering::SeqCst) & 1, 0, "clear, as nothing is there");
    });
}

#[test]
fn a_poller_by_level_gets_two_messages() {
    a_poller_gets_two_messages(By::Level);
}

#[test]
fn a_poller_by_edge_gets_two_messages() {
    a_poller_gets_two_messages(By::Edge);
}

#[test]
fn a_message_put_while_somebody_asks_is_told() {
    explore(|| {
        let queue = Model::new();
        let producer = thread::spawn({
            let queue = queue.clone();
            move || queue.put(1, Dies::Never)
        });
        queue.ask();
        assert_eq!(queue.take(By::Level, 1), [1]);
        producer.join().unwrap();
    });
}

/// One takes without polling while another one polls: the one that is left polling sees it clear or has a message.
#[test]
fn a_message_that_another_one_takes_leaves_readiness_clear() {
    explore(|| {
        let queue = Model::new();
        let other = thread::spawn({
            let queue = queue.clone();
            move || queue.try_get()
        });
        queue.put(1, Dies::Never);
        queue.ask();
        let mine = queue.try_get();
        let other = other.join().unwrap();
        assert_eq!(mine.or(other), Some(1));
        assert_eq!(queue.messages.0.load(Ordering::SeqCst) & 1, 0);
    });
}

/// The last message is taken while somebody is in the producers' section that puts nothing: the descriptor is clear
/// when both are done, also if that one came before anybody asked for it.
#[test]
fn what_is_left_to_a_holder_is_done() {
    for asked_before in [true, false] {
        explore(move || {
            let queue = Model::new();
            queue.put(1, Dies::Never);
            if asked_before {
                queue.ask();
            }
            let visitor = thread::spawn({
                let queue = queue.clone();
                move || queue.visit_put()
            });
            queue.ask();
            assert_eq!(queue.try_get(), Some(1));
            visitor.join().unwrap();
            assert_eq!(
                queue.messages.0.load(Ordering::SeqCst) & 1,
                0,
                "clear, as nothing is there"
            );
        });
    }
}

fn a_producer_dies(dies: Dies, by: By) {
    explore(move || {
        let queue = Model::new();
        queue.ask();
        let dying = thread::spawn({
            let queue = queue.clone();
            move || {
                queue.put(1, dies);
                queue.put(2, Dies::Never);
            }
        });
        let expected: &[u64] = if dies == Dies::BeforeUnlock { &[1, 2] } else { &[2] };
        assert_eq!(queue.take(by, expected.len()), expected);
        dying.join().unwrap();
        assert_eq!(queue.try_get(), None);
        assert_eq!(queue.messages.0.load(Ordering::SeqCst) & 1, 0);
    });
}

#[test]
fn a_producer_killed_before_it_lights_delays_nobody() {
    a_producer_dies(Dies::BeforeSet, By::Level);
    a_producer_dies(Dies::BeforeSet, By::Edge);
}

#[test]
fn a_producer_killed_before_its_commit_delays_nobody() {
    a_producer_dies(Dies::BeforeCommit, By::Level);
    a_producer_dies(Dies::BeforeCommit, By::Edge);
}

#[test]
fn a_message_whose_producer_was_killed_after_the_commit_is_told() {
    a_producer_dies(Dies::BeforeUnlock, By::Level);
    a_producer_dies(Dies::BeforeUnlock, By::Edge);
}

/// The last thing that happens is a commit whose producer dies: nobody comes afterwards to repair.
#[test]
fn nobody_is_needed_after_the_last_commit() {
    for by in [By::Level, By::Edge] {
        explore(move || {
            let queue = Model::new();
            queue.ask();
            let dying = thread::spawn({
                let queue = queue.clone();
                move || queue.put(1, Dies::BeforeUnlock)
            });
            assert_eq!(queue.take(by, 1), [1]);
            dying.join().unwrap();
        });
    }
}
