//! Quiescence, as a table: whenever all calls have returned, each descriptor says exactly what its object is, in every
//! process that has it.
//!
//! ```text
//! a queue's pollable           readable exactly when a get would not wait
//! a queue's pollable_for_put   writable exactly when a put would not wait
//! a pipe's pollable            readable exactly when a recv would not wait
//! a channel's pollable         readable exactly when a recv would not wait; writable, when a send would not
//! ```
//! Random calls of several processes and threads; then all wait for each other, look at the descriptors alone, wait
//! again, and only then ask the objects. The same table for Python is in `python/tests/test_table_quiescence.py`.

mod support;

use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;

use support::{Dice, Words, end_well, fork, is_readable, is_writable, soaking, until, watchdog_of};
use tasuki::raw::connection::{Mode, RawConnection};
use tasuki::raw::{QueueOptions, RawQueue, RawReceiver, RawSender, Shutdown, Wait, channel};

/// Processes beside this one.
const OTHERS: usize = 3;
/// Looks at one object.
const ROUNDS: usize = 6;
/// What a pipe has room for in any case.
const MOST: u64 = 200;

enum Thing {
    Queue(RawQueue, bool),
    Channel(RawSender, RawReceiver),
    /// With the number of messages inside, by which nobody has to wait for room.
    Pipe(RawConnection, RawConnection, Words),
}

/// A descriptor, which way it is polled, and what it is called.
type Asked<'a> = (&'static str, BorrowedFd<'a>, fn(BorrowedFd<'_>) -> bool);

impl Thing {
    fn act(&self, dice: &mut Dice) {
        let mut wait = match dice.below(2) {
            0 => Wait::now(),
            _ => Wait::timeout(Duration::from_micros(500)),
        };
        let length = if dice.below(10) == 0 { 50 << 10 } else { 8 };
        let message = vec![7; length];
        let mut buffer = Vec::new();
        match self {
            Thing::Queue(queue, may_end) => match dice.below(2) {
                _ if *may_end && dice.below(40) == 0 => queue.shutdown(Shutdown::Drain).unwrap(),
                0 => drop(queue.put(0, &[&message], &[], &mut wait)),
                _ => drop(queue.get(&mut buffer, &mut wait)),
            },
            Thing::Channel(sender, receiver) => match dice.below(2) {
                0 => drop(sender.send(0, &[&message], &[], &mut wait)),
                _ => drop(receiver.recv(&mut buffer, &mut wait)),
            },
            Thing::Pipe(here, there, inside) => match dice.below(2) {
                0 if inside[0].fetch_add(1, SeqCst) < MOST => {
                    here.send(0, &[&[7; 8]], &[], &mut Wait::forever()).unwrap();
                }
                0 => drop(inside[0].fetch_sub(1, SeqCst)),
                _ => {
                    if there.recv(&mut buffer, usize::MAX, &mut wait).is_ok() {
                        inside[0].fetch_sub(1, SeqCst);
                    }
                }
            },
        }
    }

    fn descriptors(&self) -> Vec<Asked<'_>> {
        match self {
            Thing::Queue(queue, _) => vec![
                ("to get", queue.pollable().unwrap(), is_readable),
                ("to put", queue.pollable_for_put().unwrap(), is_writable),
            ],
            Thing::Channel(sender, receiver) => vec![
                ("to receive", receiver.pollable().unwrap(), is_readable),
                ("to send", sender.pollable().unwrap(), is_writable),
            ],
            Thing::Pipe(_, there, _) => {
                vec![("to receive", there.pollable().unwrap(), is_readable)]
            }
        }
    }

    fn truth(&self) -> Vec<bool> {
        match self {
            Thing::Queue(queue, _) => {
                let ended = queue.is_shut_down();
                vec![!queue.is_empty() || ended, !queue.is_full() || ended]
            }
            Thing::Channel(sender, receiver) => vec![!receiver.is_empty(), !sender.is_full()],
            Thing::Pipe(.., inside) => vec![inside[0].load(SeqCst) > 0],
        }
    }
}

fn queue(capacity: Option<u64>, may_end: bool) -> Thing {
    let options = QueueOptions { capacity, ..QueueOptions::default() };
    Thing::Queue(RawQueue::create(options).unwrap(), may_end)
}

fn channel_of(capacity: Option<u64>) -> Thing {
    let (sender, receiver) = channel(QueueOptions { capacity, ..QueueOptions::default() }).unwrap();
    Thing::Channel(sender, receiver)
}

fn pipe(mode: Mode) -> Thing {
    let (one, other) = RawConnection::pipe(mode).unwrap();
    let (receives, sends) = if mode == Mode::Simplex { (one, other) } else { (other, one) };
    Thing::Pipe(sends, receives, Words::new(1))
}

/// Waits until all processes are here; counts in a word how many came ever.
fn meet(came: &Words, number: &mut u64) {
    *number += OTHERS as u64 + 1;
    came[0].fetch_add(1, SeqCst);
    until("the others come", || came[0].load(SeqCst) >= *number);
}

/// `threads` is the most that this process may start: none in a child of a program with several, since the standard
/// library takes a lock to start one, which another thread may have had at the fork.
fn play(thing: &Thing, came: &Words, number: &mut u64, dice: &mut Dice, threads: u64) {
    // Before anything happened, or in the middle of it.
    let asks_after = dice.below(3) as usize;
    let mut descriptors = Vec::new();
    for round in 0..ROUNDS {
        if round == asks_after {
            descriptors = thing.descriptors();
        }
        // A process that does nothing hears only of others.
        let acts = dice.below(3) > 0;
        thread::scope(|scope| {
            for _ in 0..dice.below(threads + 1) {
                let mut dice = Dice(dice.next());
                scope.spawn(move || (0..dice.below(12)).for_each(|_| thing.act(&mut dice)));
            }
            if acts {
                (0..dice.below(12)).for_each(|_| thing.act(dice));
            }
        });
        meet(came, number);
        let said: Vec<_> = descriptors.iter().map(|(name, fd, is)| (*name, is(*fd))).collect();
        meet(came, number);
        for ((name, said), so) in said.into_iter().zip(thing.truth()) {
            assert_eq!(said, so, "round {round}: what the descriptor {name} says, and what is so");
        }
        meet(came, number);
    }
}

fn descriptors_say_what_is_so(make: impl Fn() -> Thing) {
    let _watchdog = watchdog_of(Duration::from_secs(if soaking() { 3600 } else { 120 }));
    let mut dice = Dice::roll("quiescence");
    for _ in 0..if soaking() { 3000 } else { 40 } {
        let (thing, came) = (make(), Words::new(1));
        let mut others: Vec<_> = (0..OTHERS)
            .map(|_| {
                let mut dice = Dice(dice.next());
                let (thing, came) = (&thing, &came);
                fork(move || play(thing, came, &mut 0, &mut dice, 0))
            })
            .collect();
        play(&thing, &came, &mut 0, &mut dice, 2);
        end_well(&mut others);
    }
}

#[test]
fn of_a_queue() {
    descriptors_say_what_is_so(|| queue(None, false));
}

#[test]
fn of_a_queue_for_one() {
    descriptors_say_what_is_so(|| queue(Some(1), false));
}

#[test]
fn of_a_queue_that_is_shut_down() {
    descriptors_say_what_is_so(|| queue(Some(3), true));
}

#[test]
fn of_a_channel() {
    descriptors_say_what_is_so(|| channel_of(Some(2)));
}

#[test]
fn of_a_pipe() {
    descriptors_say_what_is_so(|| pipe(Mode::Simplex));
}

#[test]
fn of_a_pipe_both_ways() {
    descriptors_say_what_is_so(|| pipe(Mode::Duplex));
}
