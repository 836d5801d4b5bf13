//! The section in which a barrier is changed: how a round ends there or breaks, and what is made good after a death
//! inside.

use super::Broken;
use super::words::{
    ABORTED, ACTION_FAILED, BROKEN, BarrierView, BarrierWords, DIED, FILLING, INTERRUPTED, PHASE,
    TIMED_OUT, round_of,
};
use crate::error::Error;
use crate::segment::Token;
use crate::segment::death::Death;
use crate::sync::atomic::Ordering;
use crate::sync::{GaveUp, Held, Wait, futex, kill_point};

/// The barrier's lock with the note who has it.
pub(super) struct Inside<'a> {
    words: &'a BarrierWords,
    _held: Held<'a>,
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.words.inside.store(0, Ordering::Relaxed);
    }
}

impl<'a> BarrierView<'a> {
    /// Takes the barrier's lock. A death inside breaks the barrier: the dead one was about to wait, or to leave.
    pub(super) fn enter(self, me: Token, wait: &mut Wait<'_>) -> Result<Inside<'a>, GaveUp> {
        let held = self.words.lock.lock_within(wait)?;
        Ok(self.entered(held, me))
    }

    pub(super) fn enter_for_sure(self) -> Result<Inside<'a>, Error> {
        let me = self.segment.my_row()?;
        Ok(self.entered(self.words.lock.lock(), me))
    }

    pub(super) fn entered(self, held: Held<'a>, me: Token) -> Inside<'a> {
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
    pub(super) fn abandon(self, round: u32, why: GaveUp) {
        let interrupted = if why == GaveUp::Interrupted { INTERRUPTED } else { 0 };
        let who = u64::from(self.segment.known_pid() | interrupted);
        // SYNC: Release, with the Acquire in `abandoned`.
        self.words.abandoned.store(who | u64::from(round) << 32, Ordering::Release);
    }

    /// Why this round is to be broken for one that gave up. The caller is inside.
    pub(super) fn abandoned(self, state: u64) -> Option<Broken> {
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

    pub(super) fn death_of(self, token: Option<Token>) -> Death {
        token.map_or_else(|| Death::of_pid(0), |token| self.segment.roster().death_of(token, 0))
    }

    /// Breaks the round, if it is neither over nor broken, and wakes everybody.
    pub(super) fn break_round(self, state: u64, why: Broken, inside: Inside<'_>) {
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
    pub(super) fn commit(self, state: u64, inside: Inside<'_>) {
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
}
