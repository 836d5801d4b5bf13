//! A count in shared memory that becomes valid together with the commit of another word, and not before.
//!
//! ```text
//! mark   u64 at | u64 total      two of them; the count is `total` once the other word is beyond `at`
//! ```
//! A process's tally of taken messages, say, belongs to the queue's head: it is prepared for the head as it is, and
//! counts as soon as the head moves. Killed in between, it does not count, and whoever repairs makes it void before the
//! head can move for another reason. All under one lock, which guards the other word as well. Nothing here knows
//! queues, so that loom can explore it as it is (`crates/tasuki-model`).

use crate::sync::atomic::{AtomicU64, Ordering, fence};

/// The `at` of a mark that never counts.
const VOID: u64 = u64::MAX;

/// See the file's head. Zero is the fresh state: nothing counted.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Tally {
    marks: [Mark; 2],
}

#[derive(Debug)]
#[repr(C)]
struct Mark {
    at: AtomicU64,
    total: AtomicU64,
}

impl Mark {
    /// What this mark says when the other word is `committed`; 0 is as good as nothing.
    fn value(&self, committed: u64) -> u64 {
        let counts = self.at.load(Ordering::Acquire) < committed;
        if counts { self.total.load(Ordering::Relaxed) } else { 0 }
    }
}

impl Tally {
    #[cfg(loom)]
    pub(super) fn new() -> Tally {
        let mark = || Mark { at: AtomicU64::new(0), total: AtomicU64::new(0) };
        Tally { marks: [mark(), mark()] }
    }

    /// The count when the other word is `committed`. Exact for the holder of the lock, a guess for others.
    #[inline]
    pub(super) fn value(&self, committed: u64) -> u64 {
        // Counts never fall, so of two marks that count the larger one is the later.
        self.marks[0].value(committed).max(self.marks[1].value(committed))
    }

    /// Adds `count` as soon as the other word goes beyond `committed`, which is what it is now. The caller holds the
    /// lock.
    #[inline]
    pub(super) fn prepare(&self, committed: u64, count: u64) {
        let (first, second) = (self.marks[0].value(committed), self.marks[1].value(committed));
        let unused = &self.marks[usize::from(first > second)];
        // At every instant of what follows one may be killed: the mark counts for nothing, or is whole.
        unused.at.store(VOID, Ordering::Relaxed);
        fence(Ordering::Release);
        unused.total.store(first.max(second).wrapping_add(count), Ordering::Relaxed);
        // SYNC: Release, with the Acquire in `Mark::value`.
        unused.at.store(committed, Ordering::Release);
    }

    /// Takes back what was prepared by one who died before the other word moved on from `committed`.
    pub(super) fn void_prepared(&self, committed: u64) {
        for mark in &self.marks {
            if mark.at.load(Ordering::Relaxed) >= committed {
                mark.at.store(VOID, Ordering::Relaxed);
            }
        }
    }

    /// Nothing is counted from here on.
    pub(super) fn clear(&self) {
        for mark in &self.marks {
            mark.at.store(VOID, Ordering::Relaxed);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn fresh() -> Tally {
        let mark = || Mark { at: AtomicU64::new(0), total: AtomicU64::new(0) };
        Tally { marks: [mark(), mark()] }
    }

    #[test]
    fn what_is_prepared_counts_when_the_other_word_moves_on() {
        let tally = fresh();
        let mut head = 0;
        for (step, count) in [(1, 1), (5, 5), (2, 2), (1, 0), (7, 7)] {
            let before = tally.value(head);
            tally.prepare(head, count);
            assert_eq!(tally.value(head), before, "not yet");
            head += step;
            assert_eq!(tally.value(head), before + count);
        }
        assert_eq!((tally.value(head), head), (15, 16));
    }

    #[test]
    fn what_the_dead_prepared_never_counts_whoever_moves_the_word() {
        let tally = fresh();
        tally.prepare(0, 3);
        let mut head = 3;
        for _ in 0..3 {
            tally.prepare(head, 4);
            tally.void_prepared(head);
            head += 1; // somebody else's
            assert_eq!(tally.value(head), 3);
        }
        tally.prepare(head, 4);
        assert_eq!(tally.value(head + 4), 7);
        tally.clear();
        assert_eq!(tally.value(u64::MAX - 1), 0);
    }
}
