//! An event count that knows how many may be sleeping, for notifiers that have no lock: a semaphore's.
//!
//! ```text
//! bits 0-9    how many have called `prepare`; 1023 stays: so many or more
//! bits 10-15  how often that number was put right
//! bits 16-31  how often sleepers were notified
//! ```
//!
//! A waiter counts itself before it sleeps and off again afterwards, so that a notification for nobody is no system
//! call. Why no wake-up is lost, and what the killed leave, is in `README.md`.

use std::time::Duration;

use super::atomic::{AtomicU32, Ordering, in_single_order};
use super::futex::{self, Woken};

const COUNT: u32 = (1 << 10) - 1;
const ONE_CORRECTION: u32 = 1 << 10;
const CORRECTIONS: u32 = (1 << 16) - ONE_CORRECTION;
const ONE_NOTIFICATION: u32 = 1 << 16;
/// At each of so many notifications the number is put right if it is wrong.
const CORRECTED_EVERY: u32 = if cfg!(loom) { 1 } else { 16 };

/// See the file's head.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct CountedEventCount(AtomicU32);

/// Evidence that a waiter called `prepare`, and what the word was when it began to look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prepared {
    seen: u32,
    /// Not when there were too many to count.
    is_counted: bool,
}

impl CountedEventCount {
    #[cfg(loom)]
    pub(crate) fn new() -> CountedEventCount {
        CountedEventCount(AtomicU32::new(0))
    }

    /// Says that the caller is about to sleep. It must look for what it waits for once more after this.
    pub(crate) fn prepare(&self) -> Prepared {
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            let is_counted = seen & COUNT < COUNT;
            let next = seen + u32::from(is_counted);
            // SYNC: SeqCst, with the load in `notify`: either the notifier sees the count, or the caller sees what it
            // notifies of.
            match self.0.compare_exchange_weak(seen, next, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => {
                    in_single_order();
                    return Prepared { seen: next, is_counted };
                }
                Err(other) => seen = other,
            }
        }
    }

    /// As `prepare`, by one that did so before and is going to sleep again.
    pub(crate) fn prepare_again(&self, before: Prepared) -> Prepared {
        // SYNC: SeqCst, before the caller's look: with the notification, which comes after what it tells of.
        let seen = self.0.load(Ordering::SeqCst);
        if (seen ^ before.seen) & CORRECTIONS != 0 {
            return self.prepare();
        }
        in_single_order();
        Prepared { seen, ..before }
    }

    /// Says that the caller does not sleep any more.
    pub(crate) fn cancel(&self, prepared: Prepared) {
        let order = Ordering::Relaxed;
        let mut seen = self.0.load(order);
        let stands = |seen: u32| {
            (seen ^ prepared.seen) & CORRECTIONS == 0 && (1..COUNT).contains(&(seen & COUNT))
        };
        while prepared.is_counted && stands(seen) {
            match self.0.compare_exchange_weak(seen, seen - 1, order, order) {
                Ok(_) => return,
                Err(other) => seen = other,
            }
        }
    }

    /// Sleeps unless there was a notification since `prepare`, so long at most; returns after one, a signal, or for no
    /// reason.
    pub(crate) fn wait(&self, prepared: Prepared, slice: Duration) {
        let _: Woken = futex::wait(&self.0, prepared.seen, Some(slice));
    }

    /// Wakes up to `count` sleepers, if there are any, after what they wait for has come. Killed in between, sleepers
    /// learn of it when their slice ends.
    #[inline]
    pub(crate) fn notify(&self, count: u32) {
        // SYNC: SeqCst, with the swap in `prepare`.
        in_single_order();
        if self.0.load(Ordering::SeqCst) & COUNT != 0 {
            self.notify_sleepers(count);
        }
    }

    #[cold]
    fn notify_sleepers(&self, count: u32) {
        let notified =
            self.0.fetch_add(ONE_NOTIFICATION, Ordering::SeqCst).wrapping_add(ONE_NOTIFICATION);
        let woken = futex::wake(&self.0, count);
        let is_its_turn = (notified / ONE_NOTIFICATION).is_multiple_of(CORRECTED_EVERY);
        if woken == 0 && is_its_turn && (1..COUNT).contains(&(notified & COUNT)) {
            self.correct(notified);
        }
    }

    /// Forgets the waiters that the word counted when nobody slept: they are awake, or dead.
    fn correct(&self, notified: u32) {
        let corrections = notified.wrapping_add(ONE_CORRECTION) & CORRECTIONS;
        let corrected = notified & !(COUNT | CORRECTIONS) | corrections;
        if self.0.compare_exchange(notified, corrected, Ordering::SeqCst, Ordering::Relaxed).is_ok()
        {
            // A waiter that was awake may have fallen asleep just before the swap.
            futex::wake(&self.0, u32::MAX);
        }
    }

    /// Wakes everybody, counted or not: what a repair does.
    pub(crate) fn notify_all(&self) {
        self.0.fetch_add(ONE_NOTIFICATION, Ordering::SeqCst);
        futex::wake(&self.0, u32::MAX);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn event_count(word: u32) -> CountedEventCount {
        CountedEventCount(AtomicU32::new(word))
    }

    fn word(event: &CountedEventCount) -> u32 {
        event.0.load(Ordering::Relaxed)
    }

    #[test]
    fn nobody_is_notified_when_all_who_slept_have_gone_on() {
        let event = event_count(0);
        let (one, other) = (event.prepare(), event.prepare());
        event.notify(1);
        assert_eq!(word(&event) / ONE_NOTIFICATION, 1, "somebody may be sleeping");
        event.cancel(one);
        event.cancel(other);
        event.notify(1);
        assert_eq!(word(&event), ONE_NOTIFICATION, "nobody is");
    }

    #[test]
    fn the_number_is_put_right_when_the_killed_are_counted() {
        let event = event_count(0);
        for _ in 0..5 {
            let _killed = event.prepare();
        }
        (0..CORRECTED_EVERY).for_each(|_| event.notify(1));
        let corrected = (CORRECTED_EVERY * ONE_NOTIFICATION) | ONE_CORRECTION;
        assert_eq!(word(&event), corrected);
        event.notify(1);
        assert_eq!(word(&event), corrected, "nobody is notified any more");
    }

    #[test]
    fn a_waiter_counted_before_a_correction_takes_nobody_off_after_it() {
        let event = event_count(0);
        let early = event.prepare();
        (0..CORRECTED_EVERY).for_each(|_| event.notify(1));
        let late = event.prepare();
        event.cancel(early);
        assert_eq!(word(&event) & COUNT, 1);
        let again = event.prepare_again(early);
        assert_eq!(word(&event) & COUNT, 2, "it is counted anew");
        event.cancel(again);
        event.cancel(late);
        assert_eq!(word(&event) & COUNT, 0);
    }

    #[test]
    fn too_many_to_count_are_notified_always() {
        let event = event_count(COUNT - 1);
        let (last, beyond) = (event.prepare(), event.prepare());
        event.cancel(beyond);
        event.cancel(last);
        (0..2 * CORRECTED_EVERY).for_each(|_| event.notify(1));
        assert_eq!(word(&event) & COUNT, COUNT);
        assert_eq!(word(&event) / ONE_NOTIFICATION, 2 * CORRECTED_EVERY);
    }
}
