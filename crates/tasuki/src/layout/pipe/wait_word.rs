//! Whether somebody sleeps, and on what: the word between what one side commits and the sleep of the other.
//!
//! ```text
//! bit 0  ASLEEP   somebody may sleep on the eventfd: set before the last look, taken by the waker, which sets it
//! bit 1  HERE     somebody may sleep on this word: set before the last look, taken by the waker
//! bit 2  POLLED   a selector watches: the readiness is set before a message is committed; never cleared
//! bit 3  CROWDED  a sender waits for room in the socket: a receiver that finds the ring empty drops datagrams without a frame
//! ```
//! A direction has two: one for receivers, and one on which senders wait for room, with HERE alone. It is no
//! `EventCount`: there notifiers commit under a lock that waiters go through, and here they commit before they notify.
//!
//! Nothing here knows bytes or descriptors, so that loom can explore it as it is (`crates/tasuki-model`).

use crate::sync::atomic::{AtomicU32, Ordering, in_single_order};
use crate::sync::{GaveUp, Wait, futex};

const ASLEEP: u32 = 1;
const HERE: u32 = 2;
const POLLED: u32 = 4;
const CROWDED: u32 = 8;

/// See the file's head.
#[derive(Debug)]
#[repr(transparent)]
pub(super) struct WaitWord(AtomicU32);

/// Evidence that a waiter called `prepare_here`, and what the word was then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prepared(u32);

/// Makes a frame visible.
#[inline]
pub(super) fn commit(stamp: &AtomicU32, value: u32) {
    // SYNC: SeqCst, with `is_committed` for the frame's bytes, and before the load in `take`: either that one sees a
    // waiter's flag, or the waiter's look sees this.
    stamp.store(value, Ordering::SeqCst);
    in_single_order();
}

/// The stamp at some place.
#[inline]
pub(super) fn stamp(stamp: &AtomicU32) -> u32 {
    in_single_order();
    // SYNC: with the store in `commit`.
    stamp.load(Ordering::SeqCst)
}

impl WaitWord {
    #[cfg(loom)]
    pub(super) fn new() -> WaitWord {
        WaitWord(AtomicU32::new(0))
    }

    /// Says that the caller is about to sleep on the eventfd. It must look once more after this.
    pub(super) fn prepare_asleep(&self) {
        // SYNC: SeqCst, with the load in `take`.
        self.0.fetch_or(ASLEEP, Ordering::SeqCst);
        in_single_order();
    }

    /// Says that the caller is about to sleep on this word. It must look once more after this.
    pub(super) fn prepare_here(&self) -> Prepared {
        // SYNC: SeqCst, with the load in `take`.
        let prepared = Prepared(self.0.fetch_or(HERE, Ordering::SeqCst) | HERE);
        in_single_order();
        prepared
    }

    /// Sleeps unless the word changed since `prepare_here`; returns after a change, a slice of time, or for no reason.
    pub(super) fn wait_here(&self, prepared: Prepared, wait: &mut Wait<'_>) -> Result<(), GaveUp> {
        let slice = wait.slice()?;
        futex::wait(&self.0, prepared.0, Some(slice));
        Ok(())
    }

    /// From now on the readiness is set before a message is committed.
    pub(super) fn set_polled(&self) {
        // SYNC: SeqCst, with the load in `is_polled`; a sender that looked before has the turn to send, see
        // `README.md`.
        self.0.fetch_or(POLLED, Ordering::SeqCst);
        in_single_order();
    }

    #[inline]
    pub(super) fn is_polled(&self) -> bool {
        // SYNC: with the fetch_or in `set_polled`.
        self.0.load(Ordering::SeqCst) & POLLED != 0
    }

    /// Asks receivers to drop datagrams that no frame has.
    pub(super) fn set_crowded(&self) {
        // SYNC: SeqCst, before the caller's waking; with the load in `is_crowded`.
        self.0.fetch_or(CROWDED, Ordering::SeqCst);
    }

    #[inline]
    pub(super) fn is_crowded(&self) -> bool {
        // SYNC: with the fetch_or in `set_crowded`.
        self.0.load(Ordering::SeqCst) & CROWDED != 0
    }

    /// Before the datagrams are looked at: a sender that finds the socket full after this asks again.
    pub(super) fn clear_crowded(&self) {
        // SYNC: SeqCst, with the fetch_or in `set_crowded`.
        self.0.fetch_and(!CROWDED, Ordering::SeqCst);
    }

    /// After a commit: wakes the waiters that sleep on this word.
    #[inline]
    pub(super) fn notify_here(&self) {
        let _: Wake = self.take(Frame::Later);
    }

    /// After a commit: wakes the waiters that sleep on this word, and says whether some sleep on the eventfd, which the
    /// caller sets. To those the begin of a message matters.
    #[inline]
    pub(super) fn take(&self, what: Frame) -> Wake {
        // SYNC: SeqCst, after `commit`, and with the flags of waiters.
        in_single_order();
        let seen = self.0.load(Ordering::SeqCst);
        let concerned = match what {
            Frame::First => ASLEEP | HERE,
            Frame::Later => HERE,
        };
        if seen & concerned == 0 { Wake(false) } else { self.take_some(concerned) }
    }

    #[cold]
    fn take_some(&self, concerned: u32) -> Wake {
        let before = self.0.fetch_and(!concerned, Ordering::SeqCst) & concerned;
        if before & HERE != 0 {
            futex::wake(&self.0, u32::MAX);
        }
        Wake(before & ASLEEP != 0)
    }
}

/// What was committed, for those that sleep on the eventfd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// The first frame of a message.
    First,
    /// A later frame, or none.
    Later,
}

/// Whether somebody may sleep on the eventfd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) struct Wake(pub(super) bool);
