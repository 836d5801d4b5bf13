//! The queue's two sides with a frame of one number: nothing lost, torn or twice, and nobody sleeps for ever.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;

use super::side::{Position, Side, sleep_until};
use crate::sync::{EventCount, GaveUp, RobustLock, Wait};

const ROOM: usize = 4;

/// Where a producer stops for ever.
#[derive(Clone, Copy, PartialEq)]
enum Dies {
    Never,
    BeforeNotify,
    BeforeCommit,
    BeforeUnlock,
}

struct Model {
    put: Side,
    get: Side,
    nonempty: EventCount,
    nonfull: EventCount,
    capacity: u64,
    frames: [AtomicU64; ROOM],
}

impl Model {
    fn new(capacity: u64) -> Arc<Model> {
        Arc::new(Model {
            put: Side::new(),
            get: Side::new(),
            nonempty: EventCount::new(),
            nonfull: EventCount::new(),
            capacity,
            frames: std::array::from_fn(|_| AtomicU64::new(0)),
        })
    }

    fn put(&self, number: u64, dies: Dies) {
        loop {
            let held = self.put.lock.lock();
            self.repair(held.must_repair(), &self.nonempty);
            let tail = self.put.position();
            let head = self.get.ticket.load(Ordering::Acquire);
            if tail.ticket - head < self.capacity {
                self.frames[tail.offset as usize % ROOM].store(number, Ordering::Relaxed);
                if dies == Dies::BeforeNotify {
                    return RobustLock::owner_dies(held);
                }
                self.nonempty.notify(1);
                if dies == Dies::BeforeCommit {
                    return RobustLock::owner_dies(held);
                }
                self.put.commit(&held, next(tail));
                if dies == Dies::BeforeUnlock {
                    return RobustLock::owner_dies(held);
                }
                return;
            }
            drop(held);
            let changed = || self.get.ticket.load(Ordering::SeqCst) != head;
            let enter = |_: &mut Wait<'_>| {
                let held = self.get.lock.lock();
                self.repair(held.must_repair(), &self.nonfull);
                Ok::<_, GaveUp>(held)
            };
            let wait = &mut Wait::forever();
            sleep_until(&self.nonfull, &self.get.lock, changed, enter, wait).unwrap();
        }
    }

    /// The short way, and the other one where that does not go on.
    fn put_fast(&self, number: u64) {
        let is_put = self.put.lock.lock_fast().is_some_and(|held| {
            let (tail, unused) = self.put.held_marks(&held);
            let head = self.get.ticket.load(Ordering::Acquire);
            if self.nonempty.has_sleepers() || tail.ticket - head >= self.capacity {
                return false;
            }
            self.frames[tail.offset as usize % ROOM].store(number, Ordering::Relaxed);
            self.put.commit_in(unused, next(tail));
            drop(held.leave());
            true
        });
        if !is_put {
            self.put(number, Dies::Never);
        }
    }

    /// As `put_fast`.
    fn get_fast(&self) -> u64 {
        let number = self.get.lock.lock_fast().and_then(|held| {
            let (head, unused) = self.get.held_marks(&held);
            let tail = self.put.ticket.load(Ordering::Acquire);
            if self.nonfull.has_sleepers() || tail == head.ticket {
                return None;
            }
            let number = self.frames[head.offset as usize % ROOM].load(Ordering::Relaxed);
            self.get.commit_in(unused, next(head));
            drop(held.leave());
            Some(number)
        });
        number.unwrap_or_else(|| self.get(Dies::Never))
    }

    fn get(&self, dies: Dies) -> u64 {
        let has_message =
            || self.put.ticket.load(Ordering::SeqCst) != self.get.ticket.load(Ordering::SeqCst);
        loop {
            while !has_message() {
                let enter = |_: &mut Wait<'_>| {
                    let held = self.put.lock.lock();
                    self.repair(held.must_repair(), &self.nonempty);
                    Ok::<_, GaveUp>(held)
                };
                let wait = &mut Wait::forever();
                sleep_until(&self.nonempty, &self.put.lock, has_message, enter, wait).unwrap();
            }
            let held = self.get.lock.lock();
            self.repair(held.must_repair(), &self.nonfull);
            let head = self.get.position();
            if self.put.ticket.load(Ordering::Acquire) == head.ticket {
                drop(held);
                continue;
            }
            let number = self.frames[head.offset as usize % ROOM].load(Ordering::Relaxed);
            self.nonfull.notify(1);
            if dies == Dies::BeforeCommit {
                RobustLock::owner_dies(held);
                return 0;
            }
            self.get.commit(&held, next(head));
            if dies == Dies::BeforeUnlock {
                RobustLock::owner_dies(held);
            }
            return number;
        }
    }

    fn repair(&self, needed: bool, event: &EventCount) {
        if needed {
            event.notify_all();
        }
    }
}

fn next(from: Position) -> Position {
    Position { ticket: from.ticket + 1, offset: from.offset + 1, bytes: from.bytes + 8 }
}

pub(super) fn explore(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.max_branches = 20_000;
    builder.check(model);
}

#[test]
fn a_sleeping_consumer_gets_what_is_put() {
    explore(|| {
        let queue = Model::new(ROOM as u64);
        let producer = thread::spawn({
            let queue = queue.clone();
            move || {
                queue.put(1, Dies::Never);
                queue.put(2, Dies::Never);
            }
        });
        assert_eq!([queue.get(Dies::Never), queue.get(Dies::Never)], [1, 2]);
        producer.join().unwrap();
    });
}

#[test]
fn a_producer_of_a_full_queue_goes_on_when_something_is_taken() {
    explore(|| {
        let queue = Model::new(1);
        let producer = thread::spawn({
            let queue = queue.clone();
            move || {
                queue.put(1, Dies::Never);
                queue.put(2, Dies::Never);
            }
        });
        assert_eq!([queue.get(Dies::Never), queue.get(Dies::Never)], [1, 2]);
        producer.join().unwrap();
    });
}

#[test]
fn two_consumers_share_two_messages() {
    explore(|| {
        let queue = Model::new(ROOM as u64);
        let consumer = thread::spawn({
            let queue = queue.clone();
            move || queue.get(Dies::Never)
        });
        queue.put(1, Dies::Never);
        queue.put(2, Dies::Never);
        let mine = queue.get(Dies::Never);
        let other = consumer.join().unwrap();
        assert_eq!([mine.min(other), mine.max(other)], [1, 2]);
    });
}

#[test]
fn on_the_short_way_nobody_sleeps_for_ever() {
    // With room for all, and for one.
    for capacity in [ROOM as u64, 1] {
        explore(move || {
            let queue = Model::new(capacity);
            let producer = thread::spawn({
                let queue = queue.clone();
                move || {
                    queue.put_fast(1);
                    queue.put_fast(2);
                }
            });
            assert_eq!([queue.get_fast(), queue.get_fast()], [1, 2]);
            producer.join().unwrap();
        });
    }
}

/// One producer dies at the given step, another one puts 2: a waiting consumer always gets what was committed.
fn producer_dies(dies: Dies) {
    explore(move || {
        let queue = Model::new(ROOM as u64);
        let dying = thread::spawn({
            let queue = queue.clone();
            move || queue.put(1, dies)
        });
        let other = thread::spawn({
            let queue = queue.clone();
            move || queue.put(2, Dies::Never)
        });
        let expected = if dies == Dies::BeforeUnlock { 2 } else { 1 };
        let got: Vec<u64> = (0..expected).map(|_| queue.get(Dies::Never)).collect();
        dying.join().unwrap();
        other.join().unwrap();
        assert!(got.contains(&2), "what a living producer put is delivered");
        assert_eq!(got.contains(&1), dies == Dies::BeforeUnlock, "committed means delivered");
    });
}

#[test]
fn a_producer_killed_before_it_notifies_delays_nobody() {
    producer_dies(Dies::BeforeNotify);
}

#[test]
fn a_producer_killed_between_notify_and_commit_delays_nobody() {
    producer_dies(Dies::BeforeCommit);
}

#[test]
fn a_producer_killed_after_the_commit_has_delivered() {
    producer_dies(Dies::BeforeUnlock);
}

#[test]
fn a_consumer_killed_after_the_commit_has_made_room() {
    explore(|| {
        let queue = Model::new(1);
        queue.put(1, Dies::Never);
        let producer = thread::spawn({
            let queue = queue.clone();
            move || queue.put(2, Dies::Never)
        });
        queue.get(Dies::BeforeUnlock);
        assert_eq!(queue.get(Dies::Never), 2);
        producer.join().unwrap();
    });
}

#[test]
fn a_consumer_killed_before_the_commit_leaves_the_message() {
    explore(|| {
        let queue = Model::new(1);
        queue.put(1, Dies::Never);
        let dying = thread::spawn({
            let queue = queue.clone();
            move || {
                queue.get(Dies::BeforeCommit);
            }
        });
        dying.join().unwrap();
        let producer = thread::spawn({
            let queue = queue.clone();
            move || queue.put(2, Dies::Never)
        });
        assert_eq!([queue.get(Dies::Never), queue.get(Dies::Never)], [1, 2]);
        producer.join().unwrap();
    });
}

#[test]
fn a_position_is_read_whole_however_many_messages_a_commit_is_about() {
    explore(|| {
        let side = Arc::new(Side::new());
        let at = |ticket: u64| Position { ticket, offset: 10 * ticket, bytes: 100 * ticket };
        let committing = thread::spawn({
            let side = side.clone();
            move || {
                let held = side.lock.lock();
                for ticket in [2, 4, 5, 8] {
                    side.commit(&held, at(ticket));
                }
            }
        });
        let seen = side.position();
        assert_eq!(seen, at(seen.ticket));
        committing.join().unwrap();
        assert_eq!(side.position(), at(8));
    });
}
