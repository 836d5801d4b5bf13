//! The pipe's wait words: whatever the order, a sleeper is woken by what it waits for.

use loom::sync::atomic::{AtomicU32, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use super::readiness::{Readiness, ReadinessFd};
use super::wait_word::{self, Frame, WaitWord, Wake};
use crate::sync::Wait;

/// A direction with room for two frames.
struct Direction {
    stamps: [AtomicU32; 2],
    waiters: WaitWord,
    readiness: Readiness,
    eventfd: Eventfd,
    room: WaitWord,
    head: AtomicU32,
    turn_taken: AtomicU32,
    sending: Mutex<()>,
    receiving: Mutex<()>,
}

/// The descriptor, for a receiver that sleeps on it.
struct Eventfd {
    readable: Mutex<bool>,
    changed: Condvar,
}

impl ReadinessFd for Eventfd {
    fn set_readable(&self) {
        *self.readable.lock().unwrap() = true;
        self.changed.notify_all();
    }

    fn clear_readable(&self) {
        *self.readable.lock().unwrap() = false;
    }
}

impl Direction {
    fn new() -> Arc<Direction> {
        Arc::new(Direction {
            stamps: [AtomicU32::new(0), AtomicU32::new(0)],
            waiters: WaitWord::new(),
            readiness: Readiness::new(),
            eventfd: Eventfd { readable: Mutex::new(false), changed: Condvar::new() },
            room: WaitWord::new(),
            head: AtomicU32::new(0),
            turn_taken: AtomicU32::new(1),
            sending: Mutex::new(()),
            receiving: Mutex::new(()),
        })
    }

    fn is_there(&self, frame: usize) -> bool {
        wait_word::stamp(&self.stamps[frame]) != 0
    }

    /// S6 to S8, for a frame that begins a message.
    fn send(&self, frame: usize) {
        let _turn = self.sending.lock().unwrap();
        wait_word::commit(&self.stamps[frame], 1);
        if self.waiters.take(Frame::First) == Wake(true) {
            self.readiness.set(&self.eventfd);
        }
    }

    /// Whether there is a frame at the head.
    fn has_frame(&self) -> bool {
        let head = wait_word::stamp(&self.head) as usize;
        head < self.stamps.len() && self.is_there(head)
    }

    /// Takes the next message, sleeping on the eventfd as long as there is none.
    fn receive(&self) {
        loop {
            {
                let _turn = self.receiving.lock().unwrap();
                if self.has_frame() {
                    wait_word::commit(&self.head, wait_word::stamp(&self.head) + 1);
                    return;
                }
            }
            if self.readiness.may_be_set() {
                self.resync();
            }
            self.waiters.prepare_asleep();
            if self.has_frame() {
                continue;
            }
            // The poll.
            let mut readable = self.eventfd.readable.lock().unwrap();
            while !*readable {
                readable = self.eventfd.changed.wait(readable).unwrap();
            }
            drop(readable);
            if !self.has_frame() {
                self.resync();
            }
        }
    }

    /// A1. What is done while the turn is another's, `readiness_models` explores.
    fn resync(&self) {
        let _turn = self.sending.lock().unwrap();
        self.readiness.resync(&self.waiters, || self.has_frame(), &self.eventfd);
    }

    fn set_head(&self, head: u32) {
        wait_word::commit(&self.head, head);
        self.room.notify_here();
    }

    /// Sleeps until that much was consumed.
    fn wait_for_room(&self, head: u32) {
        while wait_word::stamp(&self.head) < head {
            let prepared = self.room.prepare_here();
            if wait_word::stamp(&self.head) >= head {
                return;
            }
            self.room.wait_here(prepared, &mut Wait::forever()).unwrap();
        }
    }

    /// Waits for the next frame of a message; false: it is torn.
    fn wait_midway(&self, frame: usize) -> bool {
        loop {
            let prepared = self.waiters.prepare_here();
            loom::sync::atomic::fence(Ordering::SeqCst);
            let nobody_sends = self.turn_taken.load(Ordering::Relaxed) == 0;
            loom::sync::atomic::fence(Ordering::Acquire);
            if self.is_there(frame) {
                return true;
            }
            if nobody_sends {
                return false;
            }
            self.waiters.wait_here(prepared, &mut Wait::forever()).unwrap();
        }
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
    model.preemption_bound = Some(2);
    model.check(work);
}

#[test]
fn a_receiver_that_sleeps_on_the_eventfd_is_woken_by_each_message() {
    explore(|| {
        let direction = Direction::new();
        let receiver = run(&direction, |direction| {
            direction.receive();
            direction.receive();
        });
        direction.send(0);
        direction.send(1);
        receiver.join().unwrap();
    });
}

#[test]
fn two_who_sleep_on_one_end_are_both_woken() {
    explore(|| {
        let direction = Direction::new();
        let receivers = [run(&direction, Direction::receive), run(&direction, Direction::receive)];
        direction.send(0);
        direction.send(1);
        receivers.into_iter().for_each(|receiver| receiver.join().unwrap());
    });
}

/// A receiver that clears the readiness which another was about to poll sets the flag of sleepers again: without that
/// the second message wakes nobody.
#[test]
fn one_that_only_looks_takes_no_wake_up_along() {
    explore(|| {
        let direction = Direction::new();
        let sleeper = run(&direction, Direction::receive);
        let looker = run(&direction, |direction| {
            let _turn = direction.receiving.lock().unwrap();
            if direction.has_frame() {
                wait_word::commit(&direction.head, wait_word::stamp(&direction.head) + 1);
            }
            direction.resync();
        });
        direction.send(0);
        direction.send(1);
        looker.join().unwrap();
        sleeper.join().unwrap();
    });
}

#[test]
fn a_receiver_that_sleeps_midway_is_woken_by_the_next_frame() {
    explore(|| {
        let direction = Direction::new();
        let receiver = run(&direction, |direction| assert!(direction.wait_midway(0)));
        wait_word::commit(&direction.stamps[0], 1);
        let _ = direction.waiters.take(Frame::Later);
        receiver.join().unwrap();
    });
}

#[test]
fn a_receiver_that_sleeps_midway_learns_that_the_sender_gave_up() {
    explore(|| {
        let direction = Direction::new();
        let receiver = run(&direction, |direction| {
            assert!(direction.wait_midway(0), "it was committed before the turn was given back");
            assert!(!direction.wait_midway(1));
        });
        wait_word::commit(&direction.stamps[0], 1);
        let _ = direction.waiters.take(Frame::Later);
        // The lock's release.
        direction.turn_taken.store(0, Ordering::Release);
        loom::sync::atomic::fence(Ordering::SeqCst);
        direction.waiters.notify_here();
        receiver.join().unwrap();
    });
}

/// The first version slept on a `EventCount` here, and missed the second wake-up.
#[test]
fn a_sender_is_woken_again_until_there_is_enough_room() {
    explore(|| {
        let direction = Direction::new();
        let sender = run(&direction, |direction| direction.wait_for_room(2));
        direction.set_head(1);
        direction.set_head(2);
        sender.join().unwrap();
    });
}
