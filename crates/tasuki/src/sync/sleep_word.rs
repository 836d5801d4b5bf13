//! A word one can sleep on until somebody rings: the bell of a queue's side.
//!
//! ```text
//! bit 0      somebody may be sleeping
//! bits 1-31  how often the bell was rung to sleepers, modulo 2^31
//! ```
//!
//! A sleeper: `announce`, look again, go through the ringer's lock if that is held, `sleep`. A ringer, holding its
//! lock: `ring`, then commit, then unlock. Why no wake-up is lost, a killed ringer included, is in `README.md`.

use std::time::Duration;

use super::atomic::{AtomicU32, Ordering, in_single_order};
use super::futex::{self, Woken};
use super::wait::{GaveUp, SLICE, Wait};

const SLEEPERS: u32 = 1;
const ONE_RING: u32 = 2;

/// See the file's head.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct SleepWord(AtomicU32);

/// Evidence that a sleeper announced itself, and what the word was then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Announced(u32);

impl SleepWord {
    pub(crate) fn new() -> SleepWord {
        SleepWord(AtomicU32::new(0))
    }

    /// Says that the caller is about to sleep. It must look for what it waits for once more after this.
    pub(crate) fn announce(&self) -> Announced {
        // SYNC: SeqCst, with the load in `ring`: either the ringer sees the bit, or the caller, who looks at the
        // ringer's lock after this, sees it held or the commit done.
        let announced = Announced(self.0.fetch_or(SLEEPERS, Ordering::SeqCst) | SLEEPERS);
        in_single_order();
        announced
    }

    /// Sleeps unless the bell was rung since `announce`; returns after a ring, a slice of time, a signal, or for
    /// no reason.
    pub(crate) fn sleep(&self, announced: Announced, wait: &mut Wait<'_>) -> Result<(), GaveUp> {
        self.sleep_for(announced, wait, SLICE * 2)
    }

    /// As `sleep`, at most for so long.
    pub(crate) fn sleep_for(
        &self,
        announced: Announced,
        wait: &mut Wait<'_>,
        longest: Duration,
    ) -> Result<(), GaveUp> {
        let slice = wait.slice()?.min(longest);
        let _: Woken = futex::wait(&self.0, announced.0, Some(slice));
        Ok(())
    }

    /// Wakes up to `count` sleepers, if there are any. The caller holds the lock that sleepers go through.
    #[inline]
    pub(crate) fn ring(&self, count: u32) {
        if self.has_sleepers() {
            self.ring_sleepers(count);
        }
    }

    /// Whether a `ring` would do anything; for a ringer that leaves its section without a commit if so.
    #[inline]
    pub(crate) fn has_sleepers(&self) -> bool {
        // SYNC: SeqCst, with the fetch_or in `announce`.
        in_single_order();
        self.0.load(Ordering::SeqCst) & SLEEPERS != 0
    }

    #[cold]
    fn ring_sleepers(&self, count: u32) {
        let rung = self.0.fetch_add(ONE_RING, Ordering::SeqCst).wrapping_add(ONE_RING);
        if futex::wake(&self.0, count) < count as usize {
            // Nobody sleeps any more. Whoever announced itself since has a value that no longer matches and
            // does not fall asleep.
            let _ = self.0.compare_exchange(
                rung,
                rung.wrapping_add(ONE_RING) & !SLEEPERS,
                Ordering::SeqCst,
                Ordering::Relaxed,
            );
        }
    }

    /// Wakes everybody, announced or not: what a repair does, since the dead one may have rung half a bell.
    pub(crate) fn ring_all(&self) {
        self.0.fetch_add(ONE_RING, Ordering::SeqCst);
        futex::wake(&self.0, u32::MAX);
    }
}
