//! The slots of an arena as all its processes see them: which are free, who holds one, runs that are taken and freed.
//!
//! A process that changes anything here is inside the arena's lock; only a bit of the process's own row is set without
//! it. After a death inside there is nothing to repair: every step leaves a slot free, or taken without a holder, which
//! a sweep finds.

use std::ops::Range;

use super::geometry::{
    BITMAP, Control, INSIDE_RUN, KIND_SHIFT, LEASED, PAGE_SLOT, RUN, SLOT, SLOTS, SlotAddress,
    SlotKind, bitmaps, data, kind_of, table_of,
};
use super::pages::{OF_PAGE, Pages};
use crate::error::Error;
use crate::segment::{Segment, Token};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::kill_point;
use crate::sys::lease;
use crate::sys::memory::PAGE;

/// The lease that says: a fork is under way, its child will hold what its parent does.
pub(super) const FORK_LEASE: u64 = SLOTS as u64;

/// The slots of one arena.
#[derive(Clone, Copy)]
pub(super) struct Allocator<'a> {
    segment: &'a Segment,
}

pub(super) fn overwritten() -> Error {
    Error::Invalid("an arena whose slot size was overwritten".into())
}

impl<'a> Allocator<'a> {
    /// Of a segment that was made for an arena or is checked to be one.
    pub(super) fn of(segment: &'a Segment) -> Allocator<'a> {
        Allocator { segment }
    }

    pub(super) fn control(self) -> &'a Control {
        self.segment.place(self.segment.payload())
    }

    /// Bytes per slot; what a broken peer wrote there cannot reach beyond the segment, see `room`.
    pub(super) fn slot_size(self) -> usize {
        self.control().slot_size.load(Ordering::Relaxed) as usize * SLOT
    }

    /// How many slots there are.
    pub(super) fn slots(self) -> usize {
        let room = self.segment.capacity() - data(self.segment.rows());
        room.checked_div(self.slot_size()).unwrap_or(0).min(SLOTS)
    }

    fn entry(self, slot: usize) -> &'a AtomicU64 {
        &table_of(self.segment)[slot]
    }

    /// The offset and the checked room of a run.
    fn room(self, slot: usize, run: usize) -> Option<(usize, usize)> {
        let size = self.slot_size();
        let offset = slot.checked_mul(size)?.checked_add(data(self.segment.rows()))?;
        let len = run.checked_mul(size)?;
        self.segment.bytes(offset, len)?;
        Some((offset, len))
    }

    /// Takes a run for an object of `len` bytes, whose holder is `me`, and says where it lies; `None` if no run is
    /// free.
    pub(super) fn take(
        self,
        me: Token,
        kind: SlotKind,
        run: usize,
        len: usize,
        backed: usize,
    ) -> Result<Option<(SlotAddress, usize)>, Error> {
        let Some(slot) = self.find_free(run) else { return Ok(None) };
        let (offset, room) =
            self.room(slot, run).filter(|(_, room)| *room >= len).ok_or_else(overwritten)?;
        let generation = (self.entry(slot).load(Ordering::Relaxed) >> 32) as u32;
        let generation = generation.wrapping_add(1);
        let backed = if backed == len { room } else { backed.next_multiple_of(PAGE).min(room) };
        if let Some(pages) = self.pages() {
            pages.back_free(slot, slot + backed / PAGE)?; // on an error nothing is taken
        }
        // Zero is the fresh state of everything that is put into a slot. A large object's memory comes from the kernel.
        if matches!(self.slot_size(), SLOT | PAGE_SLOT) {
            self.zero(offset, backed);
        }
        let kept = self.pages().map(|pages| (pages.count_backed(slot, slot + run), pages));
        kill_point!(SlotReady);
        self.mark_inside(slot + 1..slot + run, INSIDE_RUN);
        let entry = run as u64 | u64::from(kind.0) << KIND_SHIFT | u64::from(generation) << 32;
        self.entry(slot).store(entry, Ordering::Release);
        if let Some((backed, pages)) = kept {
            pages.taken(backed);
        }
        kill_point!(SlotTaken);
        self.mark(me.row(), slot, true);
        kill_point!(SlotHeld);
        self.control().hint.store((slot + run) as u32, Ordering::Relaxed);
        Ok(Some((SlotAddress { slot: slot as u32, generation }, offset)))
    }

    /// By itself, since inside a larger function the compiler makes the loop a third slower.
    #[inline(never)]
    fn zero(self, offset: usize, len: usize) {
        for line in 0..len / SLOT {
            let line: &[AtomicU64; SLOT / 8] = self.segment.place(offset + line * SLOT);
            line.iter().for_each(|word| word.store(0, Ordering::Relaxed));
        }
    }

    /// Where the object of that kind and address lies, if it is there and has so many bytes.
    pub(super) fn find(
        self,
        kind: SlotKind,
        address: SlotAddress,
        len: usize,
    ) -> Result<usize, Error> {
        let slot = address.slot as usize;
        let entry = self.entry(slot).load(Ordering::Acquire);
        let run = (entry & RUN) as usize;
        if run == 0 || run as u64 == INSIDE_RUN || (entry >> 32) as u32 != address.generation {
            return Err(Error::Invalid(
                "the object behind this handle is gone: nobody held it any more".into(),
            ));
        }
        if kind_of(entry) != kind {
            return Err(Error::Invalid("the handle is to an object of another kind".into()));
        }
        let (offset, _) = self
            .room(slot, run)
            .filter(|(_, room)| *room >= len)
            .ok_or_else(|| Error::Invalid("the object behind this handle is smaller".into()))?;
        Ok(offset)
    }

    /// Ends the hold of `me`, and frees the slot if it was the last one; whether it was.
    pub(super) fn leave(self, me: Token, slot: usize) -> bool {
        self.mark(me.row(), slot, false);
        kill_point!(SlotDropped);
        let roster = self.segment.roster();
        let held = (0..roster.high()).any(|row| self.is_marked(row, slot) && roster.is_taken(row));
        let is_last = !held && !self.is_leased(slot);
        if is_last {
            self.free(slot);
        }
        is_last
    }

    /// Frees every slot that no process in the roster holds and no lease keeps.
    pub(super) fn sweep(self) {
        let roster = self.segment.roster();
        let live: Vec<usize> = (0..roster.high()).filter(|&row| roster.is_taken(row)).collect();
        let mut run_ends = 0;
        for slot in 0..self.slots() {
            let run = self.entry(slot).load(Ordering::Relaxed) & RUN;
            if run == INSIDE_RUN {
                if slot >= run_ends {
                    if let Some(pages) = self.pages() {
                        pages.count_more(1); // if not, it is counted again below
                    }
                    self.mark_inside(slot..slot + 1, 0); // its head was freed by one who died then
                }
            } else if run != 0 {
                run_ends = slot + run as usize;
                let held = live.iter().any(|&row| self.is_marked(row, slot));
                if !held && !self.is_leased(slot) {
                    self.free(slot);
                }
            }
        }
        if let Some(pages) = self.pages() {
            pages.sweep();
        }
    }

    /// Whether a lease keeps the slot; the kernel is asked only if there may be one.
    fn is_leased(self, slot: usize) -> bool {
        // SYNC: with the changes in `note_lease` and `lease_for_fork`.
        let may_be = self.entry(slot).load(Ordering::SeqCst) & LEASED != 0;
        let may_fork = self.control().forked.load(Ordering::SeqCst) != 0;
        // An unreadable answer keeps the slot: it costs 64 bytes.
        let exists =
            |byte| self.segment.fd().and_then(|fd| lease::exists(fd, byte)).unwrap_or(true);
        (may_be && exists(slot as u64)) || (may_fork && exists(FORK_LEASE))
    }

    /// Frees the run that begins at `slot`, and its memory, unless that is kept. The head goes first: dying in between
    /// leaves slots inside no run, which a sweep finds; the other order would leave a run over slots that are another's
    /// by then.
    fn free(self, slot: usize) {
        let Some(run) = self.run_at(slot) else { return };
        let entry = self.entry(slot).load(Ordering::Relaxed);
        let pages = self.pages().filter(|_| self.room(slot, run).is_some());
        let kept = pages.as_ref().is_some_and(|pages| pages.keep(slot, slot + run));
        let of_page = pages.as_ref().map_or(0, |_| Pages::of_head(kept));
        let pages = pages.filter(|_| !kept);
        if let Some(pages) = &pages {
            pages.let_go(slot + 1, slot + run);
        }
        self.entry(slot).store(entry >> 32 << 32 | of_page, Ordering::Release);
        kill_point!(SlotHeadFreed);
        self.mark_inside(slot + 1..slot + run, 0);
        if let Some(pages) = pages {
            pages.give_back(slot, slot + run);
        }
        self.control().hint.store(slot as u32, Ordering::Relaxed);
    }

    /// How long the run is that begins at `slot`. None does if a broken peer wrote over an entry: then what is there
    /// stays, since freeing a run that is none would free other objects.
    fn run_at(self, slot: usize) -> Option<usize> {
        let run = (self.entry(slot).load(Ordering::Relaxed) & RUN) as usize;
        let table = table_of(self.segment).get(..self.slots())?;
        let inside = table.get(slot + 1..slot.checked_add(run)?)?;
        let is_inside = |entry: &AtomicU64| entry.load(Ordering::Relaxed) & RUN == INSIDE_RUN;
        inside.iter().all(is_inside).then_some(run)
    }

    /// Makes slots free, or ones that are inside a run. Their generations stay: a handle to what one was must not fit
    /// what it will be. So does what is known of their pages.
    fn mark_inside(self, slots: Range<usize>, run: u64) {
        for entry in &table_of(self.segment)[slots] {
            let before = entry.load(Ordering::Relaxed);
            entry.store(before >> 32 << 32 | before & OF_PAGE | run, Ordering::Relaxed);
        }
    }

    /// The pages, if the slots are such.
    fn pages(self) -> Option<Pages<'a>> {
        let is_pages = self.slot_size() == PAGE_SLOT;
        is_pages.then(|| Pages::of(self.segment, table_of(self.segment)))
    }

    fn find_free(self, run: usize) -> Option<usize> {
        let (slots, table) = (self.slots(), table_of(self.segment));
        let hint = (self.control().hint.load(Ordering::Relaxed) as usize).min(slots);
        let search = |from: usize, to: usize| {
            let mut length = 0;
            for (slot, entry) in (from..to).zip(&table[from..to]) {
                length = if entry.load(Ordering::Relaxed) & RUN == 0 { length + 1 } else { 0 };
                if length == run {
                    return Some(slot + 1 - run);
                }
            }
            None
        };
        search(hint, slots).or_else(|| search(0, slots))
    }

    fn bit(self, row: usize, slot: usize) -> (&'a AtomicU64, u64) {
        let bitmap = bitmaps(self.segment.rows()) + row * BITMAP;
        let word = self.segment.place(bitmap + slot / 64 * 8);
        (word, 1 << (slot % 64))
    }

    /// Notes whether a process holds a slot.
    pub(super) fn mark(self, row: usize, slot: usize, holds: bool) {
        let (word, bit) = self.bit(row, slot);
        if holds {
            word.fetch_or(bit, Ordering::SeqCst);
        } else {
            word.fetch_and(!bit, Ordering::SeqCst);
        }
    }

    fn is_marked(self, row: usize, slot: usize) -> bool {
        let (word, bit) = self.bit(row, slot);
        word.load(Ordering::SeqCst) & bit != 0
    }
}
