//! Beacons with a kernel of one word: a poller that sleeps there is told of every message, whoever dies, by level and by edge.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use loom::thread;

use super::models::explore;
use super::side::{Beacon, DARKENS, LIGHTS, Position, SHUT, Side};
use crate::sync::{Held, RobustLock, futex};

/// What the kernel knows of a beacon: bit 0 lit; bits 1-31 how often it was lit, which is what edges are made of.
struct Kernel(AtomicU32);

impl Beacon for Kernel {
    fn light(&self) {
        let mut seen = self.0.load(Ordering::SeqCst);
        while let Err(now) =
            self.0.compare_exchange(seen, (seen | 1) + 2, Ordering::SeqCst, Ordering::SeqCst)
        {
            seen = now;
        }
        futex::wake(&self.0, u32::MAX);
    }

    fn darken(&self) {
        self.0.fetch_and(!1, Ordering::SeqCst);
    }
}

#[derive(Clone, Copy, PartialEq)]
enum By {
    Level,
    Edge,
}

impl Kernel {
    /// Sleeps until it is lit, or was lit once more than `edges` times; returns how often it was lit.
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
    BeforeLight,
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

/// `PutHeld`: whoever was in the section when nobody polled yet does not look whether something was left to it.
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
        if self.put.flags() & LIGHTS == 0 {
            let held = self.get.lock.lock();
            self.get.flag(&held, DARKENS);
            drop(held);
            let held = self.lock_put();
            self.settle(&held.held);
            self.put.flag(&held.held, LIGHTS);
            drop(held.held);
            self.darken_left(); // this holder did not know yet that it is polled
        }
    }

    fn settle(&self, held: &Held<'_>) {
        let lit = self.has_message() || self.put.flags() & SHUT != 0;
        self.put.settle(held, lit, &self.messages);
    }

    fn lock_put(&self) -> PutHeld<'_> {
        let held = self.put_held(self.put.lock.lock());
        self.repair_put(&held.held);
        held
    }

    fn put_held<'a>(&self, held: Held<'a>) -> PutHeld<'a> {
        PutHeld { held, is_polled: self.put.flags() & LIGHTS != 0 }
    }

    fn repair_put(&self, held: &Held<'_>) {
        if held.must_repair() && self.put.flags() & LIGHTS != 0 {
            self.settle(held);
        }
    }

    fn has_message(&self) -> bool {
        self.put.ticket.load(Ordering::SeqCst) != self.get.ticket.load(Ordering::SeqCst)
    }

    fn put(&self, number: u64, dies: Dies) {
        let held = self.lock_put();
        let tail = self.put.position();
        self.frames[tail.offset as usize].store(number, Ordering::Relaxed);
        if dies == Dies::BeforeLight {
            return RobustLock::owner_dies(held.held);
        }
        if self.put.flags() & LIGHTS != 0 {
            self.put.light(&held.held, &self.messages);
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
                if self.get.flags() & DARKENS != 0 {
                    self.darken_seen_empty();
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
            if flags & DARKENS != 0 {
                self.darken_if_empty();
            }
            return Some(number);
        }
    }

    /// After a get, which must not wait for anybody.
    fn darken_if_empty(&self) {
        if self.has_message() || !self.put.may_be_lit() {
            return;
        }
        match self.put.lock.try_lock() {
            Some(held) => {
                let held = self.put_held(held);
                self.repair_put(&held.held);
                if !self.has_message() {
                    self.put.darken(&held.held, &self.messages);
                }
                self.leave_put(held);
            }
            None => {
                self.put.leave_darkening();
                self.darken_left();
            }
        }
    }

    /// `SharedQueue::darken_messages_left`.
    fn darken_left(&self) {
        while self.put.is_darkening_left() {
            let Some(held) = self.put.lock.try_lock() else { return };
            self.repair_put(&held);
            if self.put.take_darkening(&held) && !self.has_message() {
                self.put.darken(&held, &self.messages);
            }
        }
    }

    fn leave_put(&self, held: PutHeld<'_>) {
        drop(held.held);
        if held.is_polled {
            self.darken_left();
        }
    }

    /// Goes in and leaves, as one who finds no room.
    fn visit_put(&self) {
        let held = self.lock_put();
        self.leave_put(held);
    }

    fn darken_seen_empty(&self) {
        if self.put.may_be_lit() {
            let held = self.lock_put();
            if !self.has_message() {
                self.put.darken(&held.held, &self.messages);
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
        assert_eq!(queue.messages.0.load(Ordering::SeqCst) & 1, 0, "dark, as nothing is there");
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

/// One takes without polling while another one polls: whoever is left polling is dark or has a message.
#[test]
fn a_message_that_another_one_takes_leaves_the_beacon_dark() {
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

/// The last message is taken while somebody is in the producers' section who puts nothing: the descriptor is dark when both are done,
/// also if that one came before anybody asked for it.
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
            assert_eq!(queue.messages.0.load(Ordering::SeqCst) & 1, 0, "dark, as nothing is there");
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
    a_producer_dies(Dies::BeforeLight, By::Level);
    a_producer_dies(Dies::BeforeLight, By::Edge);
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
