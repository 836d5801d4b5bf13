//! An event count: a word on which waiters sleep until somebody notifies them. A queue has one for each of its sides.
//!
//! ```text
//! bit 0      somebody may be sleeping
//! bits 1-31  how often sleepers were notified, modulo 2^31
//! ```
//!
//! A waiter: `prepare`, look again, go through the notifier's lock if that is held, `wait`. A notifier, holding its
//! lock: `notify`, then commit, then unlock. Why no wake-up is lost, with a killed notifier too, is in `README.md`.

use std::time::Duration;

use super::atomic::{AtomicU32, Ordering, in_single_order};
use super::futex::{self, Woken};
use super::wait::{GaveUp, SLICE, Wait};

const SLEEPERS: u32 = 1;
const ONE_NOTIFICATION: u32 = 2;

/// See the file's head.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct EventCount(AtomicU32);

/// Evidence that a waiter called `prepare`, and what the word was then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prepared(u32);

impl EventCount {
    pub(crate) fn new() -> EventCount {
        EventCount(AtomicU32::new(0))
    }

    /// Says that the caller is about to sleep. It must look for what it waits for once more after this.
    pub(crate) fn prepare(&self) -> Prepared {
        // SYNC: SeqCst, with the load in `notify`: either the notifier sees the bit, or the caller, which looks at the
        // notifier's lock after this, sees it held or the commit done.
        let prepared = Prepared(self.0.fetch_or(SLEEPERS, Ordering::SeqCst) | SLEEPERS);
        in_single_order();
        prepared
    }

    /// Sleeps unless there was a notification since `prepare`; returns after a notification, a slice of time, a signal,
    /// or for no reason.
    pub(crate) fn wait(&self, prepared: Prepared, wait: &mut Wait<'_>) -> Result<(), GaveUp> {
        self.wait_for(prepared, wait, SLICE * 2)
    }

    /// As `wait`, at most for so long.
    pub(crate) fn wait_for(
        &self,
        prepared: Prepared,
        wait: &mut Wait<'_>,
        longest: Duration,
    ) -> Result<(), GaveUp> {
        let slice = wait.slice()?.min(longest);
        let _: Woken = futex::wait(&self.0, prepared.0, Some(slice));
        Ok(())
    }

    /// Wakes up to `count` sleepers, if there are any. The caller holds the lock that sleepers go through.
    #[inline]
    pub(crate) fn notify(&self, count: u32) {
        if self.has_sleepers() {
            self.notify_sleepers(count);
        }
    }

    /// Whether a `notify` would do anything; for a notifier that leaves its section without a commit if so.
    #[inline]
    pub(crate) fn has_sleepers(&self) -> bool {
        // SYNC: SeqCst, with the fetch_or in `prepare`.
        in_single_order();
        self.0.load(Ordering::SeqCst) & SLEEPERS != 0
    }

    #[cold]
    fn notify_sleepers(&self, count: u32) {
        let notified =
            self.0.fetch_add(ONE_NOTIFICATION, Ordering::SeqCst).wrapping_add(ONE_NOTIFICATION);
        if futex::wake(&self.0, count) < count as usize {
            // Nobody sleeps any more. A waiter that called `prepare` since has a value that no longer matches and does
            // not fall asleep.
            let _ = self.0.compare_exchange(
                notified,
                notified.wrapping_add(ONE_NOTIFICATION) & !SLEEPERS,
                Ordering::SeqCst,
                Ordering::Relaxed,
            );
        }
    }

    /// Wakes everybody, prepared or not: what a repair does, since the dead one may have notified and woken nobody.
    pub(crate) fn notify_all(&self) {
        self.0.fetch_add(ONE_NOTIFICATION, Ordering::SeqCst);
        futex::wake(&self.0, u32::MAX);
    }
}
