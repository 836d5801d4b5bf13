//! A barrier: a table of seats that is filled once in each round, and one word whose store ends a round for everybody.
//!
//! Who may do what, what a death at each step leaves behind and why nobody waits for the dead is in `README.md`,
//! "Barrier". This file is the steps that a party takes; what it sees is in `words.rs`, and all of them change that as
//! `inside.rs` says. In between they wait (`waiting.rs`) and look for the dead (`dead.rs`).

mod broken;
mod dead;
mod inside;
mod waiting;
mod words;

use super::failure::AcquireFailure;
use crate::segment::Token;
use crate::segment::death::Death;
use crate::sync::atomic::Ordering;
use crate::sync::{GaveUp, Wait, kill_point};

pub use broken::{Broken, NotPassed};
use inside::Inside;
use words::{ACTION, FILLING, LAST_WAS_RESET, PHASE, next, round_of};
pub(crate) use words::{BarrierView, BarrierWords};

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

impl BarrierView<'_> {
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
            // SYNC: Release, with the Acquire in `state`: a party that sees ACTION sees who runs it.
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

    /// Breaks the barrier for all that wait and all that come, until `reset`. Nothing is done if the wait is given up.
    pub(crate) fn abort(self, wait: &mut Wait<'_>) -> Result<(), AcquireFailure> {
        let inside = self.enter(self.segment.my_row()?, wait)?;
        let broken = Broken::Aborted { pid: self.segment.known_pid() };
        self.break_round(self.state(), broken, inside);
        Ok(())
    }

    /// Begins a new round; a party that waits in the current one gets the error. Nothing is done if the wait is given
    /// up.
    pub(crate) fn reset(self, wait: &mut Wait<'_>) -> Result<(), AcquireFailure> {
        let inside = self.enter(self.segment.my_row()?, wait)?;
        self.commit(next(self.state(), LAST_WAS_RESET), inside);
        Ok(())
    }
}
