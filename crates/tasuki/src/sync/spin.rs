//! How long to look before sleeping: a budget in time, learned at each place from how looking went before.
//!
//! Waking a sleeper costs 5 to 25 us, so looking longer than that never pays; looking at all pays only where
//! the other side runs on another processor at the same moment.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const LONGEST: u32 = 20_000;
const SHORTEST: u32 = 500;

/// The learned budget of one waiting place, in nanoseconds. Private to a process.
#[derive(Debug)]
pub(crate) struct Spin {
    budget: AtomicU32,
}

impl Spin {
    pub(crate) const fn new() -> Spin {
        Spin { budget: AtomicU32::new(LONGEST / 2) }
    }

    /// As `until`, where nobody writes to the line that is looked at until `ready`: looks are frequent at first.
    pub(crate) fn until_answered(&self, mut ready: impl FnMut() -> bool) -> bool {
        /// About what a message takes to be answered by one who only looks for it.
        const FREQUENT: u32 = 80;
        if !cfg!(loom) && processors() >= 2 {
            for _ in 0..FREQUENT {
                if ready() {
                    return true;
                }
                std::hint::spin_loop();
            }
        }
        self.until(ready)
    }

    /// Looks whether `ready` until it is or the budget is used up; says which.
    pub(crate) fn until(&self, mut ready: impl FnMut() -> bool) -> bool {
        if ready() {
            return true;
        }
        if cfg!(loom) || processors() < 2 {
            return false;
        }
        let budget = self.budget.load(Ordering::Relaxed);
        let start = Instant::now();
        let limit = Duration::from_nanos(u64::from(budget));
        loop {
            for pauses in [1, 2, 4, 8, 8, 8] {
                if ready() {
                    self.budget.store((budget + budget / 2).min(LONGEST), Ordering::Relaxed);
                    return true;
                }
                // Each look takes the line away from the one who writes it, so looks get rarer.
                for _ in 0..pauses {
                    std::hint::spin_loop();
                }
            }
            if start.elapsed() >= limit {
                self.budget.store((budget - budget / 4).max(SHORTEST), Ordering::Relaxed);
                return false;
            }
        }
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
