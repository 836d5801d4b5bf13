//! A word one can sleep on that knows how many may be sleeping, for ringers that have no lock: a semaphore's bell.
//!
//! ```text
//! bits 0-9    how many have announced themselves; 1023 stays: so many or more
//! bits 10-15  how often that number was put right
//! bits 16-31  how often the bell was rung to sleepers
//! ```
//!
//! Who sleeps counts itself before and off again afterwards, so that a ring to nobody is no system call. Why no wake-up is
//! lost, and what the killed leave, is in `README.md`.

use std::time::Duration;

use super::atomic::{AtomicU32, Ordering, in_single_order};
use super::futex::{self, Woken};

const COUNT: u32 = (1 << 10) - 1;
const ONE_CORRECTION: u32 = 1 << 10;
const CORRECTIONS: u32 = (1 << 16) - ONE_CORRECTION;
const ONE_RING: u32 = 1 << 16;
/// At each of so many rings the number is put right if it is wrong.
const CORRECTED_EVERY: u32 = if cfg!(loom) { 1 } else { 16 };

/// See the file's head.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct CountedBell(AtomicU32);

/// Evidence that a sleeper announced itself, and what the word was when it began to look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    seen: u32,
    /// Not when there were too many to count.
    is_counted: bool,
}

impl CountedBell {
    #[cfg(loom)]
    pub(crate) fn new() -> CountedBell {
        CountedBell(AtomicU32::new(0))
    }

    /// Says that the caller is about to sleep. It must look for what it waits for once more after this.
    pub(crate) fn announce(&self) -> Counted {
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            let is_counted = seen & COUNT < COUNT;
            let next = seen + u32::from(is_counted);
            // SYNC: SeqCst, with the load in `ring`: either the ringer sees the count, or the caller sees what it rings for.
            match self.0.compare_exchange_weak(seen, next, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => {
                    in_single_order();
                    return Counted { seen: next, is_counted };
                }
                Err(other) => seen = other,
            }
        }
    }

    /// As `announce`, by one that did so before and is going to sleep again.
    pub(crate) fn announce_again(&self, before: Counted) -> Counted {
        // SYNC: SeqCst, before the caller's look: with the ring, which comes after what it rings for.
        let seen = self.0.load(Ordering::SeqCst);
        if (seen ^ before.seen) & CORRECTIONS != 0 {
            return self.announce();
        }
        in_single_order();
        Counted { seen, ..before }
    }

    /// Says that the caller does not sleep any more.
    pub(crate) fn retract(&self, counted: Counted) {
        let order = Ordering::Relaxed;
        let mut seen = self.0.load(order);
        let stands = |seen: u32| {
            (seen ^ counted.seen) & CORRECTIONS == 0 && (1..COUNT).contains(&(seen & COUNT))
        };
        while counted.is_counted && stands(seen) {
            match self.0.compare_exchange_weak(seen, seen - 1, order, order) {
                Ok(_) => return,
                Err(other) => seen = other,
            }
        }
    }

    /// Sleeps unless the bell was rung since `counted`, so long at most; returns after a ring, a signal, or for no reason.
    pub(crate) fn sleep(&self, counted: Counted, slice: Duration) {
        let _: Woken = futex::wait(&self.0, counted.seen, Some(slice));
    }

    /// Wakes up to `count` sleepers, if there are any, after what they wait for has come. Killed in between, sleepers learn
    /// of it when their slice ends.
    #[inline]
    pub(crate) fn ring(&self, count: u32) {
        // SYNC: SeqCst, with the swap in `announce`.
        in_single_order();
        if self.0.load(Ordering::SeqCst) & COUNT != 0 {
            self.ring_sleepers(count);
        }
    }

    #[cold]
    fn ring_sleepers(&self, count: u32) {
        let rung = self.0.fetch_add(ONE_RING, Ordering::SeqCst).wrapping_add(ONE_RING);
        let woken = futex::wake(&self.0, count);
        let is_its_turn = (rung / ONE_RING).is_multiple_of(CORRECTED_EVERY);
        if woken == 0 && is_its_turn && (1..COUNT).contains(&(rung & COUNT)) {
            self.correct(rung);
        }
    }

    /// Forgets whom the word counted when nobody slept: they are awake, or dead.
    fn correct(&self, rung: u32) {
        let corrections = rung.wrapping_add(ONE_CORRECTION) & CORRECTIONS;
        let corrected = rung & !(COUNT | CORRECTIONS) | corrections;
        if self.0.compare_exchange(rung, corrected, Ordering::SeqCst, Ordering::Relaxed).is_ok() {
            // Who was awake may have fallen asleep just before the swap.
            futex::wake(&self.0, u32::MAX);
        }
    }

    /// Wakes everybody, counted or not: what a repair does.
    pub(crate) fn ring_all(&self) {
        self.0.fetch_add(ONE_RING, Ordering::SeqCst);
        futex::wake(&self.0, u32::MAX);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn bell(word: u32) -> CountedBell {
        CountedBell(AtomicU32::new(word))
    }

    fn word(bell: &CountedBell) -> u32 {
        bell.0.load(Ordering::Relaxed)
    }

    #[test]
    fn nobody_is_rung_for_when_all_who_slept_have_gone_on() {
        let bell = bell(0);
        let (one, other) = (bell.announce(), bell.announce());
        bell.ring(1);
        assert_eq!(word(&bell) / ONE_RING, 1, "somebody may be sleeping");
        bell.retract(one);
        bell.retract(other);
        bell.ring(1);
        assert_eq!(word(&bell), ONE_RING, "nobody is");
    }

    #[test]
    fn the_number_is_put_right_when_the_killed_are_counted() {
        let bell = bell(0);
        for _ in 0..5 {
            let _killed = bell.announce();
        }
        (0..CORRECTED_EVERY).for_each(|_| bell.ring(1));
        let corrected = (CORRECTED_EVERY * ONE_RING) | ONE_CORRECTION;
        assert_eq!(word(&bell), corrected);
        bell.ring(1);
        assert_eq!(word(&bell), corrected, "nobody is rung for any more");
    }

    #[test]
    fn who_was_counted_before_a_correction_takes_nobody_off_after_it() {
        let bell = bell(0);
        let early = bell.announce();
        (0..CORRECTED_EVERY).for_each(|_| bell.ring(1));
        let late = bell.announce();
        bell.retract(early);
        assert_eq!(word(&bell) & COUNT, 1);
        let again = bell.announce_again(early);
        assert_eq!(word(&bell) & COUNT, 2, "it is counted anew");
        bell.retract(again);
        bell.retract(late);
        assert_eq!(word(&bell) & COUNT, 0);
    }

    #[test]
    fn too_many_to_count_are_rung_for_always() {
        let bell = bell(COUNT - 1);
        let (last, beyond) = (bell.announce(), bell.announce());
        bell.retract(beyond);
        bell.retract(last);
        (0..2 * CORRECTED_EVERY).for_each(|_| bell.ring(1));
        assert_eq!(word(&bell) & COUNT, COUNT);
        assert_eq!(word(&bell) / ONE_RING, 2 * CORRECTED_EVERY);
    }
}
