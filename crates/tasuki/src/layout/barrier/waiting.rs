//! Waiting for the others in a seat, and giving it up.

use std::time::Duration;

use super::words::{ACTION, BarrierView, PHASE};
use super::{Broken, NotPassed, Place};
use crate::sync::atomic::Ordering;
use crate::sync::{GaveUp, Wait, futex, kill_point};

/// How long one whose time is over tries to get in, to say so. A section takes some 100 ns; who is inside longer is
/// stopped.
const GRACE: Duration = Duration::from_millis(20);

impl BarrierView<'_> {
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

    /// Sleeps while the state is `state`, at most for a slice; looks for the dead before.
    pub(super) fn sleep_while(self, state: u64, wait: &mut Wait<'_>) -> Result<(), NotPassed> {
        // SYNC: Acquire, with the Release in `count_change`: a count that went up shows the state it went up for. Read
        // before the state, so that a change after this one makes the futex not sleep.
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
}
