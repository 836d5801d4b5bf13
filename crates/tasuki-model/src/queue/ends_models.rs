//! The end of a channel: a receiver that sleeps is told when the last sender closes, and not before it has what was
//! sent.
//!
//! The kernel's part is a count of copies of the senders' socket. Nobody looks now and then here, so an end that is
//! missed is a deadlock.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use loom::thread;

use super::models::explore;
use super::side::{Position, Side, sleep_until};
use crate::sync::{EventCount, GaveUp, Wait};

struct Channel {
    put: Side,
    get: Side,
    nonempty: EventCount,
    /// Copies of the senders' socket.
    copies: AtomicU32,
    numbers: [AtomicU64; 2],
}

impl Channel {
    fn new(senders: u32) -> Arc<Channel> {
        Arc::new(Channel {
            put: Side::new(),
            get: Side::new(),
            nonempty: EventCount::new(),
            copies: AtomicU32::new(senders),
            numbers: [AtomicU64::new(0), AtomicU64::new(0)],
        })
    }

    fn send(&self, number: u64) {
        let held = self.put.lock.lock();
        let tail = self.put.position();
        self.numbers[tail.ticket as usize].store(number, Ordering::Relaxed);
        self.nonempty.notify(1);
        self.put.commit(&held, next(tail));
        drop(held);
    }

    /// Steps D1 and D3.
    fn close(&self) {
        self.copies.fetch_sub(1, Ordering::SeqCst);
        self.nonempty.notify_all();
    }

    /// The next number, or None at the end.
    fn recv(&self) -> Option<u64> {
        let has_message =
            || self.put.ticket.load(Ordering::SeqCst) != self.get.ticket.load(Ordering::SeqCst);
        let enter = |_: &mut Wait<'_>| Ok::<_, GaveUp>(self.put.lock.lock());
        while !has_message() {
            let mut is_alone = || self.copies.load(Ordering::SeqCst) == 0;
            let slept = Wait::forever().unless(&mut is_alone, |wait| {
                sleep_until(&self.nonempty, &self.put.lock, has_message, enter, wait)
            });
            if slept.is_err() && !has_message() {
                return None;
            }
        }
        let held = self.get.lock.lock();
        let head = self.get.position();
        let number = self.numbers[head.ticket as usize].load(Ordering::Relaxed);
        self.get.commit(&held, next(head));
        drop(held);
        Some(number)
    }
}

fn next(position: Position) -> Position {
    Position { ticket: position.ticket + 1, offset: position.offset + 1, bytes: 0 }
}

#[test]
fn what_was_sent_comes_and_then_the_end() {
    explore(|| {
        let channel = Channel::new(1);
        let sender = {
            let channel = channel.clone();
            thread::spawn(move || {
                channel.send(7);
                channel.close();
            })
        };
        assert_eq!(channel.recv(), Some(7));
        assert_eq!(channel.recv(), None);
        sender.join().unwrap();
    });
}

#[test]
fn the_end_comes_with_the_last_of_two() {
    explore(|| {
        let channel = Channel::new(2);
        let senders = [None, Some(7)].map(|number| {
            let channel = channel.clone();
            thread::spawn(move || {
                number.into_iter().for_each(|number| channel.send(number));
                channel.close();
            })
        });
        assert_eq!(channel.recv(), Some(7));
        assert_eq!(channel.recv(), None);
        senders.into_iter().for_each(|sender| sender.join().unwrap());
    });
}
