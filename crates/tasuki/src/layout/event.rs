//! The users' event: set or not, in one word, and whoever waited when it was set has seen it.
//!
//! ```text
//! bit 0      SET       by `set`, cleared by `clear`
//! bit 1      WAITERS   somebody may sleep on the word: by a waiter, cleared by `set`, which wakes all
//! bits 2-31  how often the event was set, modulo 2^30: a waiter that sees it change was released
//! ```
//! All zero is an event that is not set. There is no lock and no step that can be half done; `README.md` says what
//! becomes of those who wait when a setter is killed.

use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::{GaveUp, Spin, Wait, futex, kill_point};

const SET: u32 = 1;
const WAITERS: u32 = 2;
const ONE_TIME: u32 = 4;
const TIMES: u32 = !(SET | WAITERS);

/// An event's word with this process's experience of waiting for it.
#[derive(Clone, Copy)]
pub(crate) struct EventView<'a> {
    pub(crate) word: &'a AtomicU32,
    pub(crate) spin: &'a Spin,
}

impl EventView<'_> {
    #[inline]
    pub(crate) fn is_set(self) -> bool {
        // SYNC: Acquire, with the Release in `set`: what the setter did before is visible.
        self.word.load(Ordering::Acquire) & SET != 0
    }

    /// Sets the event and releases everybody who waits, also those who run only after it was cleared again.
    pub(crate) fn set(self) {
        let mut seen = self.word.load(Ordering::Relaxed);
        loop {
            // Set already: nobody waits. The store is for what this setter did before: it is visible to who looks next.
            let next =
                if seen & SET != 0 { seen } else { (seen & TIMES).wrapping_add(ONE_TIME) | SET };
            // SYNC: Release, with the Acquire loads in `is_set` and `wait`.
            match self.word.compare_exchange_weak(seen, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => break,
                Err(other) => seen = other,
            }
        }
        // SET and WAITERS at once is what a broken peer wrote: then somebody may sleep, too.
        if seen & WAITERS != 0 {
            kill_point!(EventSet);
            futex::wake(self.word, u32::MAX);
        }
    }

    pub(crate) fn clear(self) {
        self.word.fetch_and(!SET, Ordering::AcqRel);
    }

    /// Returns once the event is set, or was since this call began.
    pub(crate) fn wait(self, wait: &mut Wait<'_>) -> Result<(), GaveUp> {
        let first = self.word.load(Ordering::Acquire);
        if first & SET != 0 {
            return Ok(());
        }
        let released = |seen: u32| seen & SET != 0 || seen & TIMES != first & TIMES;
        if !wait.is_now() && self.spin.until(|| released(self.word.load(Ordering::Acquire))) {
            return Ok(());
        }
        loop {
            // SYNC: Acquire, with the Release in `set`.
            let seen = self.word.load(Ordering::Acquire);
            if released(seen) {
                return Ok(());
            }
            let slice = match wait.slice() {
                Ok(slice) => slice,
                // Set in the last moment is set.
                Err(_) if released(self.word.load(Ordering::Acquire)) => {
                    wait.forget_fork();
                    return Ok(());
                }
                Err(why) => return Err(why),
            };
            let marked = seen | WAITERS;
            if seen != marked
                && self
                    .word
                    .compare_exchange(seen, marked, Ordering::Relaxed, Ordering::Relaxed)
                    .is_err()
            {
                continue;
            }
            kill_point!(EventMarked);
            futex::wait(self.word, marked, Some(slice));
        }
    }
}
