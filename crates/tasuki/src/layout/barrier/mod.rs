//! A barrier: a table of seats that is filled once in each round, and one word whose store ends a round for everybody.
//!
//! ```text
//! state u64   bits 0-1   FILLING, ACTION (all have come, one of them runs the action) or BROKEN
//!             bits 2-31  how the last 30 rounds ended, the latest in bit 2: 0 passed, 1 reset
//!             bits 32-63 the round's number
//! seat u64    bits 0-31 token of the process that waits there | bits 32-63 the round in which it sat down
//!             free unless the round is the current one; seats of even and of odd rounds lie apart
//! changes u32 counts changes of `state`; what sleepers sleep on
//! ```
//! The number of a seat is the index that `wait` returns, so no index comes twice. Who may do what, what a death at each
//! step leaves behind and why nobody waits for the dead is in `README.md`, "Barrier". `dead.rs` looks for them.
#![allow(unsafe_code)] // declares which types may lie in shared memory

mod dead;

use std::fmt;
use std::time::Duration;

use super::failure::AcquireFailure;
use crate::error::Error;
use crate::segment::death::{Death, DeathWords};
use crate::segment::{Segment, Shared, Token};
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::sync::{GaveUp, Held, RobustLock, Spin, Wait, futex, kill_point};

const FILLING: u64 = 0;
const ACTION: u64 = 1;
const BROKEN: u64 = 2;
const PHASE: u64 = 0b11;
const HISTORY: u64 = 0xffff_fffc;
const LAST_WAS_RESET: u64 = 1 << 2;
const REMEMBERED: u32 = 30;
/// In `abandoned`: not a timeout, a check ended the wait.
const INTERRUPTED: u32 = 1 << 31;
/// How long one whose time is over tries to get in, to say so. A section takes some 100 ns; who is inside longer is stopped.
const GRACE: Duration = Duration::from_millis(20);

/// What all parties share, before the seats.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct BarrierWords {
    lock: RobustLock,
    changes: AtomicU32,
    state: AtomicU64,
    /// Token of the process that has the lock, so that its death inside has a name.
    inside: AtomicU32,
    /// Token of the process that runs the action.
    runner: AtomicU32,
    /// How many seats are taken in this round. Counted again from the seats after a death inside.
    arrived: AtomicU32,
    /// In which look at the dead the last one looked: one look for all sleepers.
    looked: AtomicU32,
    /// Why the barrier is broken, and the pid of who broke it.
    why: AtomicU32,
    by: AtomicU32,
    died: DeathWords,
    /// Who gave up while nobody could get in, since one was stopped inside: the pid, [`INTERRUPTED`] or not, and the round
    /// in the upper half. The next one inside breaks the barrier for it.
    abandoned: AtomicU64,
}

// SAFETY: a lock word and atomics.
unsafe impl Shared for BarrierWords {}

/// Why a barrier is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Broken {
    /// This process called `abort`.
    Aborted {
        /// Its process id.
        pid: u32,
    },
    /// This process waited as long as it wanted to.
    TimedOut {
        /// Its process id.
        pid: u32,
    },
    /// The action failed in this process.
    ActionFailed {
        /// Its process id.
        pid: u32,
    },
    /// This process took part, and ended.
    Died(Death),
    /// Somebody called `reset` while the caller waited.
    Reset,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::Aborted { pid } => {
                write!(f, "the barrier is broken: process {pid} aborted it")
            }
            Broken::TimedOut { pid } => {
                write!(f, "the barrier is broken: the timeout of process {pid} ran out")
            }
            Broken::ActionFailed { pid } => {
                write!(f, "the barrier is broken: its action failed in process {pid}")
            }
            Broken::Died(death) => write!(f, "the barrier is broken: {death}, which was a party"),
            Broken::Reset => f.write_str("the barrier was reset while this party waited"),
        }
    }
}

const ABORTED: u32 = 1;
const TIMED_OUT: u32 = 2;
const ACTION_FAILED: u32 = 3;
const DIED: u32 = 4;

/// Why a party did not come through a barrier.
#[derive(Debug)]
pub enum NotPassed {
    /// The time was over, which broke the barrier for the others; or the caller's check called the wait off, and its seat
    /// is free again.
    GaveUp(GaveUp),
    /// The barrier is broken.
    Broken(Broken),
    /// It cannot be waited for.
    Failed(Error),
}

impl From<Error> for NotPassed {
    fn from(error: Error) -> NotPassed {
        NotPassed::Failed(error)
    }
}

/// A seat that the caller has, in which round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) index: u32,
    round: u32,
}

/// What arriving was for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Arrived {
    /// As the last one: everybody goes on.
    Passed(u32),
    /// As the last one, and the others wait until `action_ended`.
    RunAction(Place),
    /// The others are still to come: `await_others` comes next, or `leave`.
    Waits(Place),
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

/// The barrier's lock with the note who has it.
struct Inside<'a> {
    words: &'a BarrierWords,
    _held: Held<'a>,
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.words.inside.store(0, Ordering::Relaxed);
    }
}

fn round_of(word: u64) -> u32 {
    (word >> 32) as u32
}

/// The state after a round that ended: passed, or reset.
fn next(state: u64, reset: u64) -> u64 {
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

    /// Takes a seat. `has_action` says that the caller runs an action if it is the last one.
    pub(crate) fn arrive(
        self,
        has_action: bool,
        wait: &mut Wait<'_>,
    ) -> Result<Arrived, NotPassed> {
        let me = self.segment.my_row()?;
        loop {
            let inside = match self.enter(me, wait) {
                Ok(inside) => inside,
                Err(why) => {
                    if why == GaveUp::TimedOut {
                        self.abandon(round_of(self.state()), why);
                    }
                    return Err(NotPassed::GaveUp(why));
                }
            };
            let state = self.state();
            match state & PHASE {
                FILLING => return self.sit_down(state, me, has_action, inside),
                ACTION => drop(inside), // of a round that is full: the next one begins after it
                _ => return Err(NotPassed::Broken(self.why())),
            }
            self.sleep_while(state, wait)?;
        }
    }

    fn sit_down(
        self,
        state: u64,
        me: Token,
        has_action: bool,
        inside: Inside<'_>,
    ) -> Result<Arrived, NotPassed> {
        let round = round_of(state);
        let arrived = self.words.arrived.load(Ordering::Relaxed);
        let Some(index) = self.free_seat(round, arrived) else {
            // Nobody takes the last seat and leaves the round open, but for a broken peer.
            let unknown = Broken::Died(Death::of_pid(0));
            self.break_round(state, unknown, inside);
            return Err(NotPassed::Broken(unknown));
        };
        self.seat(round, index)
            .store(u64::from(me.bits()) | u64::from(round) << 32, Ordering::Release);
        kill_point!(BarrierSeated);
        let arrived = arrived.saturating_add(1);
        self.words.arrived.store(arrived, Ordering::Relaxed);
        let place = Place { index, round };
        if arrived < self.parties() {
            return Ok(Arrived::Waits(place));
        }
        if let Some(broken) = self.abandoned(state) {
            self.break_round(state, broken, inside);
            return Err(NotPassed::Broken(broken));
        }
        if has_action {
            self.words.runner.store(me.bits(), Ordering::Relaxed);
            // SYNC: Release, with the Acquire in `state`: who sees ACTION sees who runs it.
            self.words.state.store(state | ACTION, Ordering::Release);
            return Ok(Arrived::RunAction(place));
        }
        self.commit(next(state, 0), inside);
        Ok(Arrived::Passed(index))
    }

    /// Ends the round whose action the caller ran, well or not.
    pub(crate) fn action_ended(self, place: Place, well: bool) -> Result<u32, NotPassed> {
        let inside = self.enter_for_sure()?;
        let state = self.state();
        if state & PHASE == ACTION && round_of(state) == place.round {
            if well {
                self.commit(next(state, 0), inside);
                return Ok(place.index);
            }
            let broken = Broken::ActionFailed { pid: self.segment.known_pid() };
            self.break_round(state, broken, inside);
            return Err(NotPassed::Broken(broken));
        }
        match self.outcome(state, place) {
            Some(outcome) => outcome.map_err(NotPassed::Broken),
            None => Err(NotPassed::Broken(Broken::Reset)), // a broken peer's doing
        }
    }

    /// Waits until the round ends in which the caller has this seat.
    pub(crate) fn await_others(self, place: Place, wait: &mut Wait<'_>) -> Result<u32, NotPassed> {
        if !wait.is_now() {
            self.spin.until(|| self.outcome(self.state(), place).is_some());
        }
        loop {
            let state = self.state();
            if let Some(outcome) = self.outcome(state, place) {
                return outcome.map_err(NotPassed::Broken);
            }
            match self.sleep_while(state, wait) {
                Ok(()) => {}
                // The seat is the parent's.
                Err(why) if wait.has_forked() => return Err(why),
                Err(NotPassed::GaveUp(why)) => {
                    if let Some(outcome) = self.give_up(place, why)? {
                        return outcome;
                    }
                }
                Err(other) => return Err(other),
            }
        }
    }

    /// Gives the seat up, if the round is not over yet.
    pub(crate) fn leave(self, place: Place) {
        let _ = self.give_up(place, GaveUp::Interrupted);
    }

    /// Breaks the barrier for all who wait and all who come, until `reset`. Nothing is done if the wait is given up.
    pub(crate) fn abort(self, wait: &mut Wait<'_>) -> Result<(), AcquireFailure> {
        let inside = self.enter(self.segment.my_row()?, wait)?;
        let broken = Broken::Aborted { pid: self.segment.known_pid() };
        self.break_round(self.state(), broken, inside);
        Ok(())
    }

    /// Begins a new round; who waits in the current one gets the error. Nothing is done if the wait is given up.
    pub(crate) fn reset(self, wait: &mut Wait<'_>) -> Result<(), AcquireFailure> {
        let inside = self.enter(self.segment.my_row()?, wait)?;
        self.commit(next(self.state(), LAST_WAS_RESET), inside);
        Ok(())
    }

    #[inline]
    fn state(self) -> u64 {
        // SYNC: Acquire, with the Release stores: what led to a state is visible with it.
        self.words.state.load(Ordering::Acquire)
    }

    /// How the round ended in which the caller sat down; None while it has not.
    fn outcome(self, state: u64, place: Place) -> Option<Result<u32, Broken>> {
        let behind = round_of(state).wrapping_sub(place.round);
        if behind == 0 {
            return (state & PHASE == BROKEN).then(|| Err(self.why()));
        }
        // Thirty rounds without this party: it takes more parties than the barrier has. Then nobody knows any more.
        let passed = behind <= REMEMBERED && (state & HISTORY) >> (1 + behind) & 1 == 0;
        Some(if passed { Ok(place.index) } else { Err(Broken::Reset) })
    }

    fn why(self) -> Broken {
        let pid = self.words.by.load(Ordering::Relaxed);
        match self.words.why.load(Ordering::Relaxed) {
            ABORTED => Broken::Aborted { pid },
            TIMED_OUT => Broken::TimedOut { pid },
            ACTION_FAILED => Broken::ActionFailed { pid },
            _ => Broken::Died(self.words.died.read().unwrap_or_else(|| Death::of_pid(0))),
        }
    }

    /// Sleeps while the state is `state`, at most for a slice; looks for the dead before.
    fn sleep_while(self, state: u64, wait: &mut Wait<'_>) -> Result<(), NotPassed> {
        // SYNC: Acquire, with the Release in `count_change`: a count that went up shows the state it went up for. Read before
        // the state, so that a change after this one makes the futex not sleep.
        let changes = self.words.changes.load(Ordering::Acquire);
        if self.state() != state {
            return Ok(());
        }
        if self.look_for_the_dead(state, wait)? {
            return Ok(());
        }
        let slice = match wait.slice() {
            // An action cannot be hurried: all have come.
            Err(GaveUp::TimedOut) if state & PHASE == ACTION => wait.overtime(),
            other => other,
        };
        kill_point!(BarrierAsleep);
        futex::wait(&self.words.changes, changes, Some(slice.map_err(NotPassed::GaveUp)?));
        Ok(())
    }

    /// Ends the caller's part in the round. None: it is to wait on, since all have come.
    #[allow(clippy::type_complexity)]
    fn give_up(
        self,
        place: Place,
        why: GaveUp,
    ) -> Result<Option<Result<u32, NotPassed>>, NotPassed> {
        let Ok(inside) = self.enter(self.segment.my_row()?, &mut Wait::timeout(GRACE)) else {
            let state = self.state();
            if let Some(outcome) = self.outcome(state, place) {
                return Ok(Some(outcome.map_err(NotPassed::Broken)));
            }
            if state & PHASE == ACTION && why == GaveUp::TimedOut {
                return Ok(None);
            }
            self.abandon(place.round, why);
            return Ok(Some(Err(NotPassed::GaveUp(why))));
        };
        let state = self.state();
        if let Some(outcome) = self.outcome(state, place) {
            return Ok(Some(outcome.map_err(NotPassed::Broken)));
        }
        match (state & PHASE, why) {
            (ACTION, GaveUp::TimedOut) => return Ok(None),
            (ACTION, GaveUp::Interrupted) => {}
            (_, GaveUp::TimedOut) => {
                let broken = Broken::TimedOut { pid: self.segment.known_pid() };
                self.break_round(state, broken, inside);
            }
            (_, GaveUp::Interrupted) => {
                self.seat(place.round, place.index).store(0, Ordering::Relaxed);
                kill_point!(BarrierSeatLeft);
                let arrived = self.words.arrived.load(Ordering::Relaxed);
                self.words.arrived.store(arrived.saturating_sub(1), Ordering::Relaxed);
            }
        }
        Ok(Some(Err(NotPassed::GaveUp(why))))
    }

    /// Takes the barrier's lock. A death inside breaks the barrier: the dead one was about to wait, or to leave.
    fn enter(self, me: Token, wait: &mut Wait<'_>) -> Result<Inside<'a>, GaveUp> {
        let held = self.words.lock.lock_within(wait)?;
        Ok(self.entered(held, me))
    }

    fn enter_for_sure(self) -> Result<Inside<'a>, Error> {
        let me = self.segment.my_row()?;
        Ok(self.entered(self.words.lock.lock(), me))
    }

    fn entered(self, held: Held<'a>, me: Token) -> Inside<'a> {
        let must_repair = held.must_repair();
        let before = self.words.inside.swap(me.bits(), Ordering::Relaxed);
        let inside = Inside { words: self.words, _held: held };
        kill_point!(BarrierEntered);
        if must_repair {
            let death = self.death_of(Token::from_bits(before));
            self.note_broken(self.state(), Broken::Died(death));
            self.count_change();
            futex::wake(&self.words.changes, u32::MAX);
        }
        if self.words.abandoned.load(Ordering::Relaxed) != 0 {
            let state = self.state();
            if let Some(broken) = self.abandoned(state) {
                self.note_broken(state, broken);
                self.count_change();
                futex::wake(&self.words.changes, u32::MAX);
            }
        }
        inside
    }

    /// Gives up in this round without getting in: the next one inside says so to the others.
    #[cold]
    fn abandon(self, round: u32, why: GaveUp) {
        let interrupted = if why == GaveUp::Interrupted { INTERRUPTED } else { 0 };
        let who = u64::from(self.segment.known_pid() | interrupted);
        // SYNC: Release, with the Acquire in `abandoned`.
        self.words.abandoned.store(who | u64::from(round) << 32, Ordering::Release);
    }

    /// Why this round is to be broken for one that gave up. The caller is inside.
    fn abandoned(self, state: u64) -> Option<Broken> {
        if self.words.abandoned.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let abandoned = self.words.abandoned.swap(0, Ordering::Acquire);
        if abandoned == 0 || round_of(abandoned) != round_of(state) || state & PHASE != FILLING {
            return None;
        }
        let who = abandoned as u32;
        let pid = who & !INTERRUPTED;
        Some(if who == pid { Broken::TimedOut { pid } } else { Broken::Aborted { pid } })
    }

    fn death_of(self, token: Option<Token>) -> Death {
        token.map_or_else(|| Death::of_pid(0), |token| self.segment.roster().death_of(token, 0))
    }

    /// Breaks the round, if it is neither over nor broken, and wakes everybody.
    fn break_round(self, state: u64, why: Broken, inside: Inside<'_>) {
        self.note_broken(state, why);
        self.count_change();
        drop(inside);
        futex::wake(&self.words.changes, u32::MAX);
    }

    fn note_broken(self, state: u64, broken: Broken) {
        if state & PHASE == BROKEN {
            return; // the first reason stays
        }
        let (why, pid) = match broken {
            Broken::Aborted { pid } => (ABORTED, pid),
            Broken::TimedOut { pid } => (TIMED_OUT, pid),
            Broken::ActionFailed { pid } => (ACTION_FAILED, pid),
            Broken::Died(death) => {
                self.words.died.note(&death);
                (DIED, death.pid())
            }
            Broken::Reset => return,
        };
        self.words.why.store(why, Ordering::Relaxed);
        self.words.by.store(pid, Ordering::Relaxed);
        self.words.arrived.store(0, Ordering::Relaxed);
        self.words.state.store(state & !PHASE | BROKEN, Ordering::Release);
        kill_point!(BarrierCommitted);
    }

    /// Ends the round: this one store, and all seats are free.
    fn commit(self, state: u64, inside: Inside<'_>) {
        self.words.arrived.store(0, Ordering::Relaxed);
        self.words.state.store(state, Ordering::Release);
        kill_point!(BarrierCommitted);
        self.count_change();
        drop(inside);
        kill_point!(BarrierUnlocked);
        futex::wake(&self.words.changes, u32::MAX);
    }

    fn count_change(self) {
        // SYNC: Release, with the Acquire in `sleep_while`.
        self.words.changes.fetch_add(1, Ordering::Release);
    }

    fn seat(self, round: u32, index: u32) -> &'a AtomicU64 {
        &self.seats[(round % 2 * self.parties() + index) as usize]
    }

    fn table(self, round: u32) -> &'a [AtomicU64] {
        let (even, odd) = self.seats.split_at(self.seats.len() / 2);
        if round % 2 == 0 { even } else { odd }
    }

    /// Who sits in a seat in this round.
    fn sitter(seat: &AtomicU64, round: u32) -> Option<Token> {
        let word = seat.load(Ordering::Acquire);
        if round_of(word) == round { Token::from_bits(word as u32) } else { None }
    }

    /// The next free seat: the one after those who came, unless one of them left again.
    fn free_seat(self, round: u32, arrived: u32) -> Option<u32> {
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
