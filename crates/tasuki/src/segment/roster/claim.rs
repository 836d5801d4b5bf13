//! Who takes a row: a process that comes to the segment, in turn with all others, once those of the dead are free
//! again.

use super::my_row::process_name;
use super::row::{CLAIMING, FREE, LIVE, ROW, STATE, Token, generation, pack, worker};
use super::{Roster, TABLE};
use crate::error::Error;
use crate::segment::Kind;
use crate::segment::arena::geometry;
use crate::sync::atomic::Ordering;
use crate::sys::identity::{self, Identity};
use crate::sys::memory::PAGE;

/// Rows are handed out in turn among so many at least, though fewer would do.
pub(super) const TURN: usize = 64;

impl Roster<'_> {
    /// Frees the rows of the dead, and says how many those were.
    pub(crate) fn reap(self) -> usize {
        let mut reaped = 0;
        for index in 0..self.high() {
            let Some(row) = self.row(index) else { continue };
            let state = row.state.load(Ordering::Acquire);
            let dead = match state & STATE {
                FREE => false,
                LIVE => !identity::is_alive(&row.identity()),
                CLAIMING => !identity::thread_exists(worker(state)),
                _ => true, // garbage from a broken peer
            };
            let free = pack(FREE, generation(state) + 1, 0);
            if dead
                && row
                    .state
                    .compare_exchange(state, free, Ordering::AcqRel, Ordering::Relaxed)
                    .is_ok()
            {
                reaped += 1;
            }
        }
        reaped
    }

    /// A row for this process.
    pub(super) fn claim(self) -> Result<Token, Error> {
        let me = identity::current();
        let high = self.high();
        // After a burst of killed processes the table is cleaned before it grows further.
        if high >= 64 && high.is_power_of_two() && (0..high).all(|index| self.is_taken(index)) {
            self.reap();
        }
        loop {
            let next = &self.segment.header().roster_next;
            // In this order: what is next is at most one beyond those that were ever used.
            let first = next.load(Ordering::SeqCst) as usize;
            let turn = self.high().max(TURN.min(self.segment.rows));
            let first = first % turn;
            for index in (first..turn).chain(0..first).chain(turn..self.segment.rows) {
                if let Some(token) = self.claim_row(index, &me)? {
                    next.store(index as u32 + 1, Ordering::SeqCst);
                    return Ok(token);
                }
            }
            if self.reap() == 0 {
                return Err(Error::Limit(format!(
                    "{} processes use this object already, which is the most it allows",
                    self.segment.rows
                )));
            }
        }
    }

    /// Takes a row for this process, if it is free.
    fn claim_row(self, index: usize, me: &Identity) -> Result<Option<Token>, Error> {
        if index >= self.high() && index.is_multiple_of(PAGE / ROW) {
            self.segment.commit(TABLE + index * ROW, PAGE)?;
        }
        let row = self.row(index).expect("a row of the table");
        let state = row.state.load(Ordering::Relaxed);
        if state & STATE != FREE {
            return Ok(None);
        }
        let generation = generation(state);
        let claiming = pack(CLAIMING, generation, me.pid);
        if row.state.compare_exchange(state, claiming, Ordering::AcqRel, Ordering::Relaxed).is_err()
        {
            return Ok(None);
        }
        self.segment.header().roster_high.fetch_max(index as u32 + 1, Ordering::SeqCst);
        row.clear(generation);
        if self.segment.kind == Kind::Arena {
            if let Err(error) = geometry::forget_row(self.segment, index) {
                // Nobody has seen a token of it: it is free as it was.
                row.state.store(pack(FREE, generation, 0), Ordering::Release);
                return Err(error);
            }
        }
        process_name().write(&row.name);
        row.pid.store(me.pid, Ordering::Relaxed);
        row.start.store(me.start, Ordering::Relaxed);
        row.pidfd_inode.store(me.pidfd_inode, Ordering::Relaxed);
        // SYNC: Release, with the Acquire loads of `state`: a LIVE row has its identity.
        row.state.store(pack(LIVE, generation, 0), Ordering::Release);
        Ok(Some(Token::new(index, generation)))
    }
}
