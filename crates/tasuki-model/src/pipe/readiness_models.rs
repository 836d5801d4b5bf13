//! The pipe's readiness as a selector sees it: set before a message is there, and when all is quiet exactly while one
//! is.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering, fence};
use loom::thread;

use super::readiness::{Readiness, ReadinessFd};
use super::wait_word::{self, Frame, WaitWord, Wake};

/// A direction whose turn to send is the user's lock as far as `acquire_or_mark` and `release_telling` see it.
struct Direction {
    stamps: [AtomicU32; 2],
    head: AtomicU32,
    waiters: WaitWord,
    readiness: Readiness,
    eventfd: Eventfd,
    turn: AtomicU32,
}

/// A system call orders as little as the model allows.
struct Eventfd(AtomicU32);

impl ReadinessFd for Eventfd {
    fn set_readable(&self) {
        self.0.swap(1, Ordering::AcqRel);
    }

    fn clear_readable(&self) {
        self.0.swap(0, Ordering::AcqRel);
    }
}

const FREE: u32 = 0;
const TAKEN: u32 = 1;
const MARKED: u32 = 2;

/// Whether a thread plays a process that dies, and where.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dies {
    Not,
    Set,
    Committed,
}

impl Direction {
    fn new() -> Arc<Direction> {
        Arc::new(Direction {
            stamps: [AtomicU32::new(0), AtomicU32::new(0)],
            head: AtomicU32::new(0),
            waiters: WaitWord::new(),
            readiness: Readiness::new(),
            eventfd: Eventfd(AtomicU32::new(0)),
            turn: AtomicU32::new(FREE),
        })
    }

    fn has_frame(&self) -> bool {
        let head = wait_word::stamp(&self.head) as usize;
        head < self.stamps.len() && wait_word::stamp(&self.stamps[head]) != 0
    }

    fn is_set(&self) -> bool {
        self.eventfd.0.load(Ordering::Acquire) == 1
    }

    fn try_turn(&self) -> bool {
        self.turn.compare_exchange(FREE, TAKEN, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    fn give_back(&self) {
        if self.turn.swap(FREE, Ordering::Release) & MARKED != 0 {
            fence(Ordering::SeqCst);
            if self.waiters.is_polled() {
                self.resync();
            }
        }
    }

    /// As `Direction::resync` of the engine.
    fn resync(&self) {
        loop {
            if self.try_turn() {
                self.readiness.resync(&self.waiters, || self.has_frame(), &self.eventfd);
                self.give_back();
                return;
            }
            let seen = self.turn.load(Ordering::Relaxed);
            let marked = seen | MARKED;
            if seen != FREE
                && self
                    .turn
                    .compare_exchange(seen, marked, Ordering::Release, Ordering::Relaxed)
                    .is_ok()
            {
                return;
            }
        }
    }

    fn send(&self, frame: usize, dies: Dies) {
        while !self.try_turn() {
            thread::yield_now();
        }
        if self.waiters.is_polled() {
            self.readiness.set(&self.eventfd);
        }
        if dies == Dies::Set {
            return;
        }
        wait_word::commit(&self.stamps[frame], 1);
        if dies == Dies::Committed {
            return;
        }
        self.give_back();
        if self.waiters.take(Frame::First) == Wake(true) {
            self.readiness.set_without_turn(&self.eventfd);
            if self.waiters.is_polled() {
                self.resync();
            }
        }
    }

    /// Takes a message if there is one. One thread at a time has the turn to receive.
    fn receive(&self) {
        if self.has_frame() {
            wait_word::commit(&self.head, wait_word::stamp(&self.head) + 1);
            if self.waiters.is_polled() && !self.has_frame() {
                self.resync();
            }
        }
    }

    /// `pollable`.
    fn ask(&self) {
        self.waiters.set_polled();
        self.eventfd.set_readable();
        self.resync();
    }
}

fn run(
    direction: &Arc<Direction>,
    work: impl FnOnce(&Direction) + 'static,
) -> thread::JoinHandle<()> {
    let direction = direction.clone();
    thread::spawn(move || work(&direction))
}

fn explore(work: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(work);
}

#[test]
fn when_all_is_quiet_readiness_says_what_the_ring_does() {
    explore(|| {
        let direction = Direction::new();
        direction.ask();
        let receiver = run(&direction, |direction| {
            direction.receive();
            direction.receive();
        });
        direction.send(0, Dies::Not);
        direction.send(1, Dies::Not);
        receiver.join().unwrap();
        assert_eq!(direction.is_set(), direction.has_frame());
    });
}

/// One sleeps, and the write that wakes it comes when the message is taken and somebody else asks.
#[test]
fn a_light_for_sleepers_does_not_last_when_somebody_asks() {
    explore(|| {
        let direction = Direction::new();
        direction.waiters.prepare_asleep();
        let asker = run(&direction, Direction::ask);
        let receiver = run(&direction, Direction::receive);
        direction.send(0, Dies::Not);
        asker.join().unwrap();
        receiver.join().unwrap();
        assert_eq!(direction.is_set(), direction.has_frame());
    });
}

#[test]
fn who_asks_while_others_send_and_receive_is_told_the_truth() {
    explore(|| {
        let direction = Direction::new();
        let asker = run(&direction, Direction::ask);
        let receiver = run(&direction, Direction::receive);
        direction.send(0, Dies::Not);
        asker.join().unwrap();
        receiver.join().unwrap();
        assert_eq!(direction.is_set(), direction.has_frame());
    });
}

/// Whatever is between: the readiness is never clear with a message in the ring and nobody about to set it or to look.
#[test]
fn a_dead_sender_leaves_no_message_in_the_dark() {
    for dies in [Dies::Set, Dies::Committed] {
        explore(move || {
            let direction = Direction::new();
            let asker = run(&direction, Direction::ask);
            let receiver = run(&direction, Direction::receive);
            direction.send(0, dies);
            asker.join().unwrap();
            receiver.join().unwrap();
            assert!(direction.is_set() || !direction.has_frame());
            // The next look takes the turn over.
            direction.turn.store(FREE, Ordering::Relaxed);
            direction.resync();
            assert_eq!(direction.is_set(), direction.has_frame());
        });
    }
}
