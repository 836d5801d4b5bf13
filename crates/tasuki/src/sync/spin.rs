//! How long to spin before sleeping: a budget in time, learned at each place from how spinning went before.
//!
//! Waking a sleeper costs 5 to 25 us, so to spin for longer does not pay, with one exception: two sides that answer
//! each other, each of which would fall asleep just before its answer comes (`UNTIL_SERVED`). Spinning at all pays only
//! where the other side runs on another processor. Where it shares this one's, it runs while this one yields, which
//! costs half of a sleep, unless a third program uses the time.
//!
//! Where spinning does not help, the place rests: so many waits sleep at once, then one tries the other way, and if
//! that does not help either, the next rest is twice as long.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const SHORTEST: u32 = 500;

/// Rests, in waits.
const FIRST_REST: u32 = 4;
const LONGEST_REST: u32 = 256;
/// After a yield that a third program used, which may have taken milliseconds.
const LONGEST_REST_BESIDE_OTHERS: u32 = 8192;

/// How a waiter spins for something.
struct SpinPattern {
    /// How many pauses come after each look, again and again from the first. A look takes the line away from the
    /// process that writes to it, so looks get rarer.
    pauses: [u32; 6],
    /// The longest budget, in nanoseconds.
    longest: u32,
    longest_rest: u32,
}

const UNTIL_WRITTEN: SpinPattern =
    SpinPattern { pauses: [1, 2, 4, 4, 4, 4], longest: 20_000, longest_rest: LONGEST_REST };
/// A lock is cheapest for the thread that gave it back last: the longer others leave it alone, the more is done in all.
const UNTIL_RELEASED: SpinPattern =
    SpinPattern { pauses: [4, 16, 32, 32, 32, 32], ..UNTIL_WRITTEN };
/// A trial costs as much as a sleep, and an answer that it finds is ten times as fast.
const UNTIL_ANSWERED: SpinPattern = SpinPattern { longest_rest: 32, ..UNTIL_WRITTEN };
/// Each look is a system call, and the other side is woken by the kernel before it can answer.
const UNTIL_SERVED: SpinPattern = SpinPattern { pauses: [4; 6], longest: 80_000, longest_rest: 32 };

/// No other side takes so long for its turn.
const TAKEN_BY_OTHERS: Duration = Duration::from_micros(100);

/// The learned budget of one waiting place, in nanoseconds. Private to a process.
#[derive(Debug)]
pub(crate) struct Spin {
    budget: AtomicU32,
    /// Bits 0-14: how many waits do not spin; bit 15: then yield instead; bits 16-31: how many waits they were at the
    /// beginning, 0 when spinning helps.
    rest: AtomicU32,
}

const LEFT: u32 = (1 << 15) - 1;
const YIELDS: u32 = 1 << 15;

impl Spin {
    pub(crate) const fn new() -> Spin {
        Spin { budget: AtomicU32::new(UNTIL_WRITTEN.longest / 2), rest: AtomicU32::new(0) }
    }

    /// As `until`, where nobody writes to the line that is looked at until `ready`: looks are frequent at first. It
    /// never yields: the other side has more to do than to give a lock back, and one that sleeps is woken on another
    /// processor if there is an idle one.
    pub(crate) fn until_answered(&self, mut ready: impl FnMut() -> bool) -> bool {
        /// About what a message takes to be answered by a process that only spins for it.
        const FREQUENT: u32 = 80;
        if ready() {
            return true;
        }
        // While the place rests, even few spins keep the other side from running, if it shares this processor.
        if cfg!(loom) || processors() < 2 || self.rests() {
            return false;
        }
        for _ in 0..FREQUENT {
            if ready() {
                self.helped();
                return true;
            }
            std::hint::spin_loop();
        }
        self.spin_until(ready, &UNTIL_ANSWERED)
    }

    /// As `until_answered`, where each look asks the kernel.
    pub(crate) fn until_served(&self, ready: impl FnMut() -> bool) -> bool {
        if cfg!(loom) || processors() < 2 || self.rests() {
            return false;
        }
        self.spin_until(ready, &UNTIL_SERVED)
    }

    /// Spins until `ready` or the budget is used up; says which.
    pub(crate) fn until(&self, ready: impl FnMut() -> bool) -> bool {
        self.until_with(ready, &UNTIL_WRITTEN)
    }

    /// As `until`, for a lock to be free.
    pub(crate) fn until_released(&self, ready: impl FnMut() -> bool) -> bool {
        self.until_with(ready, &UNTIL_RELEASED)
    }

    fn until_with(&self, mut ready: impl FnMut() -> bool, pattern: &SpinPattern) -> bool {
        if ready() {
            return true;
        }
        if cfg!(loom) || self.rests() {
            return false;
        }
        let yields = self.rest.load(Ordering::Relaxed) & YIELDS != 0;
        if yields || processors() < 2 {
            self.yield_until(ready)
        } else {
            self.spin_until(ready, pattern)
        }
    }

    fn spin_until(&self, mut ready: impl FnMut() -> bool, pattern: &SpinPattern) -> bool {
        let budget = self.budget.load(Ordering::Relaxed);
        let start = Instant::now();
        let limit = Duration::from_nanos(u64::from(budget));
        loop {
            for times in pattern.pauses {
                if ready() {
                    self.budget
                        .store((budget + budget / 2).min(pattern.longest), Ordering::Relaxed);
                    self.helped();
                    return true;
                }
                for _ in 0..times {
                    std::hint::spin_loop();
                }
            }
            if start.elapsed() >= limit {
                let less = budget - budget / 4;
                if less >= SHORTEST && !self.is_on_trial() {
                    self.budget.store(less, Ordering::Relaxed);
                } else {
                    // The next trial has to last as long as it takes to wake the other side.
                    self.budget.store(pattern.longest / 2, Ordering::Relaxed);
                    self.rest_after(pattern.longest_rest, 2);
                }
                return false;
            }
        }
    }

    fn yield_until(&self, mut ready: impl FnMut() -> bool) -> bool {
        let start = Instant::now();
        std::thread::yield_now();
        let is_ready = ready();
        if start.elapsed() > TAKEN_BY_OTHERS {
            self.rest_after(LONGEST_REST_BESIDE_OTHERS, 8);
        } else if is_ready {
            self.helped();
        } else {
            self.rest_after(LONGEST_REST, 2);
        }
        is_ready
    }

    /// Whether this wait is one of those that do not spin.
    fn rests(&self) -> bool {
        let rest = self.rest.load(Ordering::Relaxed);
        let rests = rest & LEFT != 0;
        if rests {
            self.rest.store(rest - 1, Ordering::Relaxed);
        }
        rests
    }

    /// Whether spinning did not help the last time, before the rest.
    fn is_on_trial(&self) -> bool {
        self.rest.load(Ordering::Relaxed) >> 16 != 0
    }

    fn helped(&self) {
        if self.is_on_trial() {
            self.rest.fetch_and(YIELDS, Ordering::Relaxed);
        }
    }

    fn rest_after(&self, longest: u32, times: u32) {
        let before = self.rest.load(Ordering::Relaxed);
        let waits = ((before >> 16) * times).clamp(FIRST_REST, longest);
        let other_way = (before ^ YIELDS) & YIELDS;
        self.rest.store(waits | other_way | waits << 16, Ordering::Relaxed);
    }
}

/// How many processors this process may use, by affinity and control group, read once.
pub(crate) fn processors() -> usize {
    // A cell that is only ever filled cannot be torn by a fork: losing the race means computing it again.
    static COUNT: AtomicU32 = AtomicU32::new(0);
    match COUNT.load(Ordering::Relaxed) {
        0 => {
            let count = std::thread::available_parallelism().map_or(1, |n| n.get());
            COUNT.store(u32::try_from(count).unwrap_or(u32::MAX), Ordering::Relaxed);
            count
        }
        count => count as usize,
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn spins_in_vain(spin: &Spin) -> u32 {
        let mut spins = 0;
        assert!(!spin.until(|| {
            spins += 1;
            false
        }));
        spins
    }

    #[test]
    fn where_spinning_does_not_help_most_waits_look_once_and_some_try_again() {
        let spin = Spin::new();
        for _ in 0..100 {
            spins_in_vain(&spin);
        }
        let spins: Vec<u32> =
            (0..2 * LONGEST_REST_BESIDE_OTHERS).map(|_| spins_in_vain(&spin)).collect();
        let rests = spins.iter().filter(|&&count| count == 1).count();
        assert!(rests > spins.len() * 3 / 4, "{rests} of {}", spins.len());
        assert!(rests < spins.len(), "it tries again");
    }

    #[test]
    fn once_spinning_helps_no_wait_is_left_out() {
        let spin = Spin::new();
        (0..100).for_each(|_| _ = spins_in_vain(&spin));
        while spin.rests() {}
        assert!(spin.is_on_trial());
        assert!(spin.spin_until(|| true, &UNTIL_WRITTEN));
        assert!(!spin.is_on_trial() && !spin.rests());
    }
}
