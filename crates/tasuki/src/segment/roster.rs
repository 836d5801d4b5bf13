//! The table of the processes that use a segment: what turns "the owner died" into a fact that can be looked up.
//!
//! This file answers questions about others: who a token names, whether that one lives, how it ended. What a row says
//! is in `row.rs`; rows are taken in `claim.rs`, and the one of this process is remembered in `my_row.rs`.

mod claim;
mod my_row;
mod row;

use super::Segment;
use super::death::{Death, ProcessName};
use crate::sync::atomic::{Ordering, fence};
use crate::sys::identity;
use crate::sys::memory::PAGE;

pub(super) use my_row::{MyRow, hold_for_fork, release_after_fork, set_process_name};
use row::{CLAIMING, FREE, GENERATIONS, LIVE, STATE, generation, left_bit, pack, worker};
pub(crate) use row::{FEWEST, NO_WRITER, READER, ROW, ROWS, Row, Token, rows_for};

const TABLE: usize = PAGE;

/// The roster of one segment.
#[derive(Clone, Copy)]
pub(crate) struct Roster<'a> {
    segment: &'a Segment,
}

impl<'a> Roster<'a> {
    #[inline]
    pub(super) fn new(segment: &'a Segment) -> Roster<'a> {
        Roster { segment }
    }

    /// Rows that were ever used are below this.
    pub(crate) fn high(self) -> usize {
        (self.segment.header().roster_high.load(Ordering::SeqCst) as usize).min(self.segment.rows)
    }

    /// The row with this number, if there is such a row.
    #[inline]
    pub(crate) fn row(self, index: usize) -> Option<&'a Row> {
        if index >= self.segment.rows {
            return None;
        }
        self.segment.get(TABLE + index * ROW)
    }

    /// Whether the process that a token names still runs.
    pub(crate) fn is_alive(self, token: Token) -> bool {
        let Some(row) = self.row(token.row()) else { return false };
        let state = row.state.load(Ordering::Acquire);
        if state & STATE != LIVE || generation(state) != token.generation() {
            return false;
        }
        let alive = identity::is_alive(&row.identity());
        alive && row.state.load(Ordering::Acquire) == state
    }

    /// The pid that a token names, 0 when its row is another's by now. A row that was freed and not claimed since
    /// still says whose it was.
    pub(crate) fn pid(self, token: Token) -> u32 {
        let Some(row) = self.row(token.row()) else { return 0 };
        let before = row.state.load(Ordering::Acquire);
        let pid = row.pid.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        let freed = pack(FREE, token.generation() + 1, 0);
        let its_own = generation(before) == token.generation() || before == freed;
        if its_own && row.state.load(Ordering::Relaxed) == before { pid } else { 0 }
    }

    /// Who the owner that a token names was, noticed as dead just now. `known_pid` is what the caller knows of it
    /// should its row be another's by now, or 0.
    pub(crate) fn death_of(self, token: Token, known_pid: u32) -> Death {
        let left = self.has_left(token).unwrap_or(false);
        let death = Death { left, ..Death::of_pid(known_pid) };
        let Some(row) = self.row(token.row()) else { return death };
        let name = ProcessName::read(&row.name);
        // Last: only if the row still is that process's was what we read its own.
        match self.pid(token) {
            0 => death,
            pid => Death { pid, name, ..death },
        }
    }

    /// Whether a process that is not alive ended by itself; None when its row was too many others' since.
    pub(crate) fn has_left(self, token: Token) -> Option<bool> {
        let row = self.row(token.row())?;
        // SYNC: Acquire, with the Release where a process leaves; the fence keeps the look at the state behind this
        // one.
        let left = row.left.load(Ordering::Acquire) & left_bit(token.generation()) != 0;
        fence(Ordering::Acquire);
        let now = generation(row.state.load(Ordering::Acquire));
        // The last one is left out: its bit may be being cleared for the next.
        let since = (now + GENERATIONS - token.generation() % GENERATIONS) % GENERATIONS;
        (since < 63).then_some(left)
    }

    /// Whether a row is in use by anybody, alive or not yet reaped.
    pub(crate) fn is_taken(self, index: usize) -> bool {
        self.row(index).is_some_and(|row| row.state.load(Ordering::Acquire) & STATE != FREE)
    }

    /// Whether there is a row of a process that lives, and that is not `me`.
    pub(crate) fn names_another(self, me: Option<Token>) -> bool {
        let is_other = |&index: &usize| me.is_none_or(|me| me.row() != index);
        (0..self.high()).filter(is_other).filter_map(|index| self.row(index)).any(|row| {
            let state = row.state.load(Ordering::Acquire);
            match state & STATE {
                LIVE => identity::is_alive(&row.identity()),
                CLAIMING => identity::thread_exists(worker(state)),
                _ => false,
            }
        })
    }

    /// The pids of all processes that live, if all of them have this role. It costs little if one has not, however many
    /// have: whether a process lives is asked of the kernel.
    pub(crate) fn pids_if_all(self, role: u32) -> Option<Vec<u32>> {
        let rows = || (0..self.high()).filter_map(|index| self.row(index));
        let lacks_it = |row: &Row| row.roles.load(Ordering::SeqCst) & role == 0;
        let is_another = |row: &Row| {
            let state = row.state.load(Ordering::Acquire);
            match state & STATE {
                LIVE => lacks_it(row) && identity::is_alive(&row.identity()),
                CLAIMING => identity::thread_exists(worker(state)),
                _ => false,
            }
        };
        if rows().any(is_another) {
            return None;
        }
        let mut pids = Vec::new();
        for row in rows() {
            let is_live = row.state.load(Ordering::Acquire) & STATE == LIVE;
            if is_live && identity::is_alive(&row.identity()) {
                // It may have come in between.
                if lacks_it(row) {
                    return None;
                }
                pids.push(row.pid.load(Ordering::Relaxed));
            }
        }
        Some(pids)
    }
}

#[cfg(test)]
mod tests;
