//! What the words of a barrier say, and its table of seats.
//!
//! ```text
//! state u64   bits 0-1   FILLING, ACTION (all have come, one of them runs the action) or BROKEN
//!             bits 2-31  how the last 30 rounds ended, the latest in bit 2: 0 passed, 1 reset
//!             bits 32-63 the round's number
//! seat u64    bits 0-31 token of the process that waits there | bits 32-63 the round in which it sat down
//!             free unless the round is the current one; seats of even and of odd rounds lie apart
//! changes u32 counts changes of `state`; what sleepers sleep on
//! ```
//! The number of a seat is the index that `wait` returns, so no index comes twice.
#![allow(unsafe_code)] // declares which types may lie in shared memory

use super::{Broken, Place};
use crate::segment::death::{Death, DeathWords};
use crate::segment::{Segment, Shared, Token};
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::sync::{RobustLock, Spin};

pub(super) const FILLING: u64 = 0;
pub(super) const ACTION: u64 = 1;
pub(super) const BROKEN: u64 = 2;
pub(super) const PHASE: u64 = 0b11;
const HISTORY: u64 = 0xffff_fffc;
pub(super) const LAST_WAS_RESET: u64 = 1 << 2;
const REMEMBERED: u32 = 30;
/// In `abandoned`: not a timeout, a check ended the wait.
pub(super) const INTERRUPTED: u32 = 1 << 31;

// In `why`.
pub(super) const ABORTED: u32 = 1;
pub(super) const TIMED_OUT: u32 = 2;
pub(super) const ACTION_FAILED: u32 = 3;
pub(super) const DIED: u32 = 4;

/// What all parties share, before the seats.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct BarrierWords {
    pub(super) lock: RobustLock,
    pub(super) changes: AtomicU32,
    pub(super) state: AtomicU64,
    /// Token of the process that has the lock, so that its death inside has a name.
    pub(super) inside: AtomicU32,
    /// Token of the process that runs the action.
    pub(super) runner: AtomicU32,
    /// How many seats are taken in this round. Counted again from the seats after a death inside.
    pub(super) arrived: AtomicU32,
    /// In which look at the dead the last one looked: one look for all sleepers.
    pub(super) looked: AtomicU32,
    /// Why the barrier is broken, and the pid of who broke it.
    pub(super) why: AtomicU32,
    pub(super) by: AtomicU32,
    pub(super) died: DeathWords,
    /// Who gave up while nobody could get in, since one was stopped inside: the pid, [`INTERRUPTED`] or not, and the
    /// round in the upper half. The next one inside breaks the barrier for it.
    pub(super) abandoned: AtomicU64,
}

// SAFETY: a lock word and atomics.
unsafe impl Shared for BarrierWords {}

#[cfg(loom)]
impl BarrierWords {
    pub(crate) fn new() -> BarrierWords {
        BarrierWords {
            lock: RobustLock::new(),
            changes: AtomicU32::new(0),
            state: AtomicU64::new(0),
            inside: AtomicU32::new(0),
            runner: AtomicU32::new(0),
            arrived: AtomicU32::new(0),
            looked: AtomicU32::new(0),
            why: AtomicU32::new(0),
            by: AtomicU32::new(0),
            died: DeathWords::new(),
            abandoned: AtomicU64::new(0),
        }
    }
}

/// A barrier's words with the segment whose roster says who lives.
#[derive(Clone, Copy)]
pub(crate) struct BarrierView<'a> {
    pub(crate) words: &'a BarrierWords,
    /// Two tables of as many seats as there are parties.
    pub(crate) seats: &'a [AtomicU64],
    pub(crate) segment: &'a Segment,
    pub(crate) spin: &'a Spin,
}

pub(super) fn round_of(word: u64) -> u32 {
    (word >> 32) as u32
}

/// The state after a round that ended: passed, or reset.
pub(super) fn next(state: u64, reset: u64) -> u64 {
    let history = (state & HISTORY) << 1 & HISTORY;
    u64::from(round_of(state).wrapping_add(1)) << 32 | history | reset
}

impl<'a> BarrierView<'a> {
    pub(crate) fn parties(self) -> u32 {
        (self.seats.len() / 2) as u32
    }

    /// How many wait at this moment; none while the barrier is broken.
    pub(crate) fn waiting(self) -> u32 {
        match self.state() & PHASE {
            FILLING => self.words.arrived.load(Ordering::Relaxed).min(self.parties()),
            ACTION => self.parties(),
            _ => 0,
        }
    }

    pub(crate) fn is_broken(self) -> bool {
        self.state() & PHASE == BROKEN
    }

    #[inline]
    pub(super) fn state(self) -> u64 {
        // SYNC: Acquire, with the Release stores: what led to a state is visible with it.
        self.words.state.load(Ordering::Acquire)
    }

    /// How the round ended in which the caller sat down; None while it has not.
    pub(super) fn outcome(self, state: u64, place: Place) -> Option<Result<u32, Broken>> {
        let behind = round_of(state).wrapping_sub(place.round);
        if behind == 0 {
            return (state & PHASE == BROKEN).then(|| Err(self.why()));
        }
        // Thirty rounds without this party: it takes more parties than the barrier has. Then nobody knows any more.
        let passed = behind <= REMEMBERED && (state & HISTORY) >> (1 + behind) & 1 == 0;
        Some(if passed { Ok(place.index) } else { Err(Broken::Reset) })
    }

    pub(super) fn why(self) -> Broken {
        let pid = self.words.by.load(Ordering::Relaxed);
        match self.words.why.load(Ordering::Relaxed) {
            ABORTED => Broken::Aborted { pid },
            TIMED_OUT => Broken::TimedOut { pid },
            ACTION_FAILED => Broken::ActionFailed { pid },
            _ => Broken::Died(self.words.died.read().unwrap_or_else(|| Death::of_pid(0))),
        }
    }

    pub(super) fn seat(self, round: u32, index: u32) -> &'a AtomicU64 {
        &self.seats[(round % 2 * self.parties() + index) as usize]
    }

    pub(super) fn table(self, round: u32) -> &'a [AtomicU64] {
        let (even, odd) = self.seats.split_at(self.seats.len() / 2);
        if round % 2 == 0 { even } else { odd }
    }

    /// Who sits in a seat in this round.
    pub(super) fn sitter(seat: &AtomicU64, round: u32) -> Option<Token> {
        let word = seat.load(Ordering::Acquire);
        if round_of(word) == round { Token::from_bits(word as u32) } else { None }
    }

    /// The next free seat: the one after those who came, unless one of them left again.
    pub(super) fn free_seat(self, round: u32, arrived: u32) -> Option<u32> {
        let table = self.table(round);
        let is_free = |index: u32| {
            table.get(index as usize).is_some_and(|seat| Self::sitter(seat, round).is_none())
        };
        if is_free(arrived) {
            return Some(arrived);
        }
        (0..self.parties()).find(|&index| is_free(index))
    }
}
