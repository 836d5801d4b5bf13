//! Which pages of an arena of middle-sized objects have memory, and how much of it is kept when its object is gone.
//!
//! Asking the kernel for pages and giving them back costs more than all the rest of making and dropping an object. So
//! some stay with their free slots, for the next objects; what is beyond that goes back.
//!
//! ```text
//! bits 16-31 of the entry of a slot that is free or inside a run; the head of a run has its kind there, and its memory
//!   bit 16  BACKED  the page has memory
//!   bit 17  ASKED   the kernel may have been asked for it: set before BACKED, cleared after the page was given back
//! ```
//! Changed with the arena's lock; inside a run also by the process that has the object. One that is killed between
//! leaves ASKED without BACKED: the next object there asks again, and a sweep gives the page back.

use super::geometry::{Control, RUN, SLOTS, Table, data};
use crate::error::Error;
use crate::segment::{Segment, payload};
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::sync::kill_point;
use crate::sys::memory::PAGE;

const BACKED: u64 = 1 << 16;
const ASKED: u64 = 1 << 17;

/// How many pages with memory free slots may have. More go back.
const MOST_KEPT: usize = 256;

/// What is known of a slot's page while the slot is free or inside a run.
pub(crate) const OF_PAGE: u64 = BACKED | ASKED;

/// The pages of an arena whose slots are pages.
pub(crate) struct Pages<'a> {
    segment: &'a Segment,
    table: &'a Table,
}

fn is_backed(entry: &AtomicU64) -> bool {
    entry.load(Ordering::Relaxed) & BACKED != 0
}

/// Whether somebody was killed, or refused, between asking for the page and having it noted.
fn is_half_done(entry: &AtomicU64) -> bool {
    entry.load(Ordering::Relaxed) & OF_PAGE == ASKED
}

impl<'a> Pages<'a> {
    pub(crate) fn of(segment: &'a Segment, table: &'a Table) -> Pages<'a> {
        Pages { segment, table }
    }

    /// Where a slot's page is in the segment.
    pub(crate) fn offset(&self, slot: usize) -> usize {
        data(self.segment.rows()) + slot * PAGE
    }

    /// How many pages of free slots have memory: never too few, and recounted before memory is given back for it.
    fn kept(&self) -> &AtomicU32 {
        &self.segment.place::<Control>(payload(self.segment.rows())).kept
    }

    /// Gives slots that are inside a run their memory. What had some keeps it, also on an error.
    pub(crate) fn back(&self, from: usize, to: usize) -> Result<(), Error> {
        self.back_each(from, to, |_| ())
    }

    /// As `back`, for slots that are free and about to be taken: they count as kept until then.
    pub(crate) fn back_free(&self, from: usize, to: usize) -> Result<(), Error> {
        self.back_each(from, to, |more| self.count_more(more))
    }

    /// So many more pages of free slots have memory, or will.
    pub(crate) fn count_more(&self, more: usize) {
        let kept = self.kept();
        kept.store(kept.load(Ordering::Relaxed).saturating_add(more as u32), Ordering::Relaxed);
    }

    /// `count` is told how many pages get memory before that is noted.
    fn back_each(&self, from: usize, to: usize, count: impl Fn(usize)) -> Result<(), Error> {
        let mut slot = from;
        while let Some(bare) = (slot..to).find(|&slot| !is_backed(&self.table[slot])) {
            let end = (bare..to).find(|&slot| is_backed(&self.table[slot])).unwrap_or(to);
            let entries = &self.table[bare..end];
            entries.iter().for_each(|entry| _ = entry.fetch_or(ASKED, Ordering::Relaxed));
            kill_point!(SlotAsked);
            self.segment.commit(self.offset(bare), (end - bare) * PAGE)?;
            kill_point!(SlotBacked);
            count(end - bare);
            entries.iter().for_each(|entry| _ = entry.fetch_or(BACKED, Ordering::Relaxed));
            slot = end;
        }
        Ok(())
    }

    /// How many of a run's pages have memory, while its slots are free.
    pub(crate) fn count_backed(&self, from: usize, to: usize) -> usize {
        self.table[from..to].iter().filter(|entry| is_backed(entry)).count()
    }

    /// After a run is taken: so many of its pages are kept no more.
    pub(crate) fn taken(&self, backed: usize) {
        let kept = self.kept();
        let rest = (kept.load(Ordering::Relaxed) as usize).saturating_sub(backed);
        kept.store(rest as u32, Ordering::Relaxed);
    }

    /// Whether the pages of a run whose object is gone stay with its slots; they are counted then.
    pub(crate) fn keep(&self, head: usize, end: usize) -> bool {
        if self.table[head + 1..end].iter().any(is_half_done) {
            return false;
        }
        let more = 1 + self.count_backed(head + 1, end);
        let kept = self.kept();
        if kept.load(Ordering::Relaxed) as usize + more > MOST_KEPT {
            // Those who were killed may have left it too high.
            self.count_kept();
        }
        let sum = kept.load(Ordering::Relaxed) as usize + more;
        if sum <= MOST_KEPT {
            kept.store(sum as u32, Ordering::Relaxed);
        }
        sum <= MOST_KEPT
    }

    fn count_kept(&self) {
        let is_kept = |entry: &&AtomicU64| is_backed(entry) && is_free(entry);
        let count = self.table.iter().filter(is_kept).count();
        self.kept().store(count as u32, Ordering::Relaxed);
    }

    /// What the entry of a run's first slot says of its page once it is free: that it has memory, or may have until
    /// `give_back`.
    pub(crate) fn of_head(kept: bool) -> u64 {
        if kept { OF_PAGE } else { ASKED }
    }

    /// Notes that the pages of slots go, before the slots are free: they are not counted.
    pub(crate) fn let_go(&self, from: usize, to: usize) {
        let entries = &self.table[from..to];
        entries.iter().for_each(|entry| _ = entry.fetch_and(!BACKED, Ordering::Relaxed));
    }

    /// Gives the pages of free slots back, which were let go.
    pub(crate) fn give_back(&self, from: usize, to: usize) {
        let entries = &self.table[from..to];
        kill_point!(SlotBare);
        self.segment.give_back(self.offset(from), (to - from) * PAGE);
        entries.iter().for_each(|entry| _ = entry.fetch_and(!OF_PAGE, Ordering::Relaxed));
    }

    /// Gives back what those who were killed left with free slots, if it is not whole or more than may be kept.
    pub(crate) fn sweep(&self) {
        let mut kept = 0;
        for slot in 0..SLOTS {
            let entry = &self.table[slot];
            if !is_free(entry) {
                continue;
            }
            if is_backed(entry) && kept < MOST_KEPT {
                kept += 1;
            } else if is_backed(entry) || is_half_done(entry) {
                self.let_go(slot, slot + 1);
                self.give_back(slot, slot + 1);
            }
        }
        self.kept().store(kept as u32, Ordering::Relaxed);
    }
}

fn is_free(entry: &AtomicU64) -> bool {
    entry.load(Ordering::Relaxed) & RUN == 0
}
