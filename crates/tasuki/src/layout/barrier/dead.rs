//! Those who wait at a barrier look for a party that is dead, without whom the round does not end, and break the
//! barrier for it. It is one look for all sleepers in each slice; who is expected at all is in `README.md`, "Barrier".

use super::words::{ACTION, BarrierView, LAST_WAS_RESET, PHASE, round_of};
use super::{Broken, NotPassed};
use crate::segment::Token;
use crate::segment::death::Death;
use crate::sync::Wait;
use crate::sync::atomic::Ordering;
use crate::sync::wait::is_first_to_look;

impl BarrierView<'_> {
    /// Whether the barrier was broken just now because a party is dead. One of the sleepers looks in each slice.
    pub(super) fn look_for_the_dead(
        self,
        state: u64,
        wait: &mut Wait<'_>,
    ) -> Result<bool, NotPassed> {
        if is_first_to_look(&self.words.looked) {
            self.break_if_dead(state, wait)
        } else {
            Ok(false)
        }
    }

    /// The look itself.
    fn break_if_dead(self, state: u64, wait: &mut Wait<'_>) -> Result<bool, NotPassed> {
        let me = self.segment.my_row()?;
        if let Some(held) = self.words.lock.try_lock() {
            drop(self.entered(held, me)); // somebody may have died inside
        }
        let Some(death) = self.find_dead(state, me) else { return Ok(self.state() != state) };
        let inside = self.enter(me, wait).map_err(NotPassed::GaveUp)?;
        if self.state() == state {
            self.break_round(state, Broken::Died(death), inside);
        }
        Ok(true)
    }

    /// A dead process without whom the round does not end.
    fn find_dead(self, state: u64, me: Token) -> Option<Death> {
        let roster = self.segment.roster();
        let round = round_of(state);
        if state & PHASE == ACTION {
            let runner = Token::from_bits(self.words.runner.load(Ordering::Relaxed));
            let runs = runner.is_some_and(|runner| roster.is_alive(runner));
            return (!runs).then(|| self.death_of(runner));
        }
        // Threads of one process often sit side by side.
        let mut last = (me, true);
        let mut lives = |token: Token| {
            if token != last.0 {
                last = (token, roster.is_alive(token));
            }
            last.1
        };
        for seat in self.table(round) {
            if let Some(token) = Self::sitter(seat, round) {
                if !lives(token) {
                    return Some(self.death_of(Some(token)));
                }
            }
        }
        if state & LAST_WAS_RESET != 0 {
            return None;
        }
        // A party that passed the last round is expected again, unless it ended by itself or others came in its stead.
        let before = round.wrapping_sub(1);
        let mut missing = 0;
        let mut killed = None;
        for seat in self.table(before) {
            let Some(token) = Self::sitter(seat, before) else { continue };
            if !lives(token) && roster.has_left(token) == Some(false) {
                missing += 1;
                killed = killed.or_else(|| Some(self.death_of(Some(token))));
            }
        }
        killed.filter(|_| missing > self.newcomers(round, before))
    }

    /// How many sit in this round whose process was not in the one before.
    fn newcomers(self, round: u32, before: u32) -> usize {
        let sits = |token: Token| {
            self.table(before).iter().any(|seat| Self::sitter(seat, before) == Some(token))
        };
        let now = self.table(round).iter().filter_map(|seat| Self::sitter(seat, round));
        now.filter(|&token| !sits(token)).count()
    }
}

#[cfg(loom)]
impl BarrierView<'_> {
    /// What a sleeper does when its slice ends.
    pub(crate) fn look(self) -> Result<bool, NotPassed> {
        self.break_if_dead(self.state(), &mut Wait::forever())
    }
}
