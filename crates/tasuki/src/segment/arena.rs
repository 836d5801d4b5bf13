//! Many small objects in one segment: ten thousand locks cost a handful of descriptors.
//!
//! An arena has 4096 slots, all of a cache line or all of a page; an object takes a run of them. A slot is in use while
//! any live process holds it (a bit in that process's bitmap) or a lease on it is in flight inside a message. So the slots
//! of killed processes need no funeral: when an arena runs full, those without a holder are found and used again.
//!
//! This file makes arenas, takes slots and lets them go; where all that lies is in `geometry.rs`. A `Slot` (`slot.rs`) stands
//! for one reference to an object, and decides which arena serves it.

pub(super) mod geometry;
pub(super) mod pages;

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use geometry::{
    BITMAP, Control, INSIDE_RUN, KIND_SHIFT, LEASED, PAGE_SLOT, RUN, SLOT, SLOTS, SlotAddress,
    SlotKind, bitmaps, data, kind_of, table_of,
};
use pages::{OF_PAGE, Pages};

use super::part::Part;
use super::roster::{self, Token};
use super::{Kind, Segment, Shape, payload};
use crate::error::Error;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Held, Wait, kill_point};
use crate::sys::kept_fd::KeptFd;
use crate::sys::lease;
use crate::sys::memory::{self, PAGE};

/// How long one who makes or drops an object waits for another one inside. A section takes microseconds, so it is enough for
/// everybody but those who are stopped.
pub(super) const PATIENCE: Duration = Duration::from_millis(50);

/// The lease that says: a fork is under way, its child will hold what its parent does.
const FORK_LEASE: u64 = SLOTS as u64;

/// A process's view of one arena: how often it refers to each slot. Guarded by `local`.
pub(super) struct LocalArena {
    segment: Arc<Segment>,
    references: Box<[u32; SLOTS]>,
    used: usize,
    swept: Cell<Option<Instant>>,
    /// No run was found, and this process freed none since.
    full: Cell<bool>,
    /// Somebody was inside, perhaps stopped, for longer than `PATIENCE` when the lock was asked for last.
    busy: Cell<bool>,
    /// Slots that this process refers to no more, and could not leave while the lock was busy. Its row still says that it
    /// holds them; no slot is here twice.
    to_leave: RefCell<Vec<usize>>,
    /// Leases on slots that this process marked as held without the lock, since that was busy. They end when it has the lock:
    /// who was inside then, and had looked at the marks before, has looked for leases, too.
    leases: RefCell<Vec<KeptFd>>,
    /// Keeps every slot while this process, which was forked, has none of the rows, in which it would say what it holds.
    instead_of_row: Option<KeptFd>,
}

pub(super) fn too_large() -> Error {
    Error::Limit("an object of that size does not fit in memory".into())
}

/// An object that is large enough to matter gets an error where the kernel would kill somebody instead.
fn refuse_more_than_is_free(len: u64) -> Result<(), Error> {
    const MATTERS: u64 = 64 << 20;
    if len < MATTERS {
        return Ok(());
    }
    let free = memory::available();
    if len <= free {
        return Ok(());
    }
    let gib = |bytes: u64| bytes as f64 / (1_u64 << 30) as f64;
    Err(Error::Limit(format!(
        "an object of {:.1} GiB does not fit in memory, of which {:.1} GiB are free",
        gib(len),
        gib(free)
    )))
}

/// Makes the segment of an arena that nobody knows of yet. Where files may not be long, it has fewer rows and slots.
pub(super) fn new_arena(slot_size: usize) -> Result<Arc<Segment>, Error> {
    let longest = memory::longest_file();
    let rows = roster::rows_for(longest);
    let room = usize::try_from(longest).unwrap_or(usize::MAX).saturating_sub(data(rows));
    let (label, slots) = match slot_size {
        SLOT => ("small", (room / SLOT).clamp(1, SLOTS)),
        PAGE_SLOT => ("medium", (room / PAGE_SLOT).clamp(1, SLOTS)),
        _ => ("large", 1),
    };
    let capacity = slot_size
        .checked_mul(slots)
        .and_then(|len| len.checked_add(data(rows)))
        .filter(|&len| isize::try_from(len).is_ok())
        .ok_or_else(too_large)?;
    refuse_more_than_is_free(slot_size as u64)?;
    let size = u32::try_from(slot_size / SLOT).map_err(|_| too_large())?;
    let segment = Segment::create_unlisted(Kind::Arena, label, Shape { rows, capacity })?;
    segment.commit(payload(rows), bitmaps(rows) - payload(rows))?;
    if slot_size != PAGE_SLOT {
        segment.commit(data(rows), capacity - data(rows))?;
    }
    segment.place::<Control>(payload(rows)).slot_size.store(size, Ordering::Relaxed);
    Ok(segment)
}

/// Gives a forked child its own row and marks there what it inherited. Without a row it keeps the lease, and so it does for
/// a while if somebody is stopped inside. `wait` is for all arenas of this process.
pub(super) fn hold_again_after_fork(
    arena: &mut LocalArena,
    lease: Option<OwnedFd>,
    wait: &mut Wait<'_>,
) {
    arena.to_leave.get_mut().clear(); // the parent's row holds them, so the parent leaves them
    let lease = lease.map(|lease| KeptFd::new(lease, arena.segment.file_id()));
    let Ok(me) = arena.segment.my_row() else {
        // This cannot be told to anybody here; the next use of an object of this arena tells it.
        arena.instead_of_row = lease.or_else(|| arena.instead_of_row.take());
        return;
    };
    for (slot, references) in arena.references.iter().enumerate() {
        if *references > 0 {
            arena.mark(me.row(), slot, true);
        }
    }
    // A sweep looks at the rows first and for the lease later: this row must not come, and the lease go, in between.
    let kept = [lease, arena.instead_of_row.take()];
    arena.leases.get_mut().extend(kept.into_iter().flatten());
    drop(arena.enter(wait));
}

impl LocalArena {
    /// Of a segment that was made for an arena or is checked to be one.
    pub(super) fn new(segment: Arc<Segment>) -> LocalArena {
        let references = vec![0; SLOTS].into_boxed_slice().try_into().expect("SLOTS numbers");
        LocalArena {
            segment,
            references,
            used: 0,
            swept: Cell::new(None),
            full: Cell::new(false),
            busy: Cell::new(false),
            to_leave: RefCell::default(),
            leases: RefCell::default(),
            instead_of_row: None,
        }
    }

    pub(super) fn is_in(&self, segment: &Arc<Segment>) -> bool {
        Arc::ptr_eq(&self.segment, segment)
    }

    /// Whether an object in it can go to another process: not once the program closed the descriptor.
    pub(super) fn can_travel(&self) -> bool {
        self.segment.fd().is_ok()
    }

    /// Whether this process refers to none of its slots.
    pub(super) fn is_unused(&self) -> bool {
        self.used == 0
    }

    pub(super) fn lease_for_fork(&self) -> Option<OwnedFd> {
        // SYNC: with the load in `is_leased`, as in `note_lease`.
        self.control().forked.store(1, Ordering::SeqCst);
        lease::take(self.segment.fd().ok()?, FORK_LEASE).ok()
    }

    fn control(&self) -> &Control {
        self.segment.place(self.segment.payload())
    }

    /// Bytes per slot; what a broken peer wrote there cannot reach beyond the segment, see `room`.
    pub(super) fn slot_size(&self) -> usize {
        self.control().slot_size.load(Ordering::Relaxed) as usize * SLOT
    }

    fn slots(&self) -> usize {
        let room = self.segment.capacity() - data(self.segment.rows());
        room.checked_div(self.slot_size()).unwrap_or(0).min(SLOTS)
    }

    fn entry(&self, slot: usize) -> &AtomicU64 {
        &table_of(&self.segment)[slot]
    }

    /// The offset and the checked room of a run.
    fn room(&self, slot: usize, run: usize) -> Option<(usize, usize)> {
        let size = self.slot_size();
        let offset = slot.checked_mul(size)?.checked_add(data(self.segment.rows()))?;
        let len = run.checked_mul(size)?;
        self.segment.bytes(offset, len)?;
        Some((offset, len))
    }

    /// The object at an offset that `room` gave.
    fn part(&self, offset: usize, len: usize) -> Result<Part, Error> {
        Part::new(self.segment.clone(), offset, len)
            .ok_or_else(|| Error::Invalid("an arena whose slot size was overwritten".into()))
    }

    /// Enters the section, unless somebody is inside for longer than the caller waits. There is nothing to repair after a death inside:
    /// every step below leaves a slot free, or taken without a holder, which a sweep finds.
    fn enter(&self, wait: &mut Wait<'_>) -> Option<Held<'_>> {
        let held = self.control().lock.lock_within(wait).ok()?;
        self.busy.set(false);
        self.leases.borrow_mut().clear();
        Some(held)
    }

    /// As `enter`, where another arena or a later moment will do: whoever makes or drops an object does not wait for somebody
    /// who was stopped inside.
    fn lock_soon(&self) -> Option<Held<'_>> {
        let mut patience = if self.busy.get() { Wait::attempt() } else { Wait::timeout(PATIENCE) };
        let held = self.enter(&mut patience);
        self.busy.set(held.is_none());
        held
    }

    /// A run for an object of `len` bytes, of which `backed` have memory and are zero; `None` if there is no room, or
    /// none soon.
    pub(super) fn take(
        &mut self,
        kind: SlotKind,
        run: usize,
        len: usize,
        backed: usize,
    ) -> Result<Option<(Part, SlotAddress)>, Error> {
        let mut found = None;
        if !self.full.get() {
            found = self.take_run(kind, run, len, backed)?;
        }
        if found.is_none() && !self.busy.get() && self.may_sweep() {
            self.sweep();
            found = self.take_run(kind, run, len, backed)?;
        }
        self.full.set(found.is_none() && !self.busy.get());
        let Some((address, offset)) = found else { return Ok(None) };
        let part = self.part(offset, len)?;
        self.references[address.slot as usize] = 1;
        self.used += 1;
        Ok(Some((part, address)))
    }

    fn take_run(
        &self,
        kind: SlotKind,
        run: usize,
        len: usize,
        backed: usize,
    ) -> Result<Option<(SlotAddress, usize)>, Error> {
        let me = self.segment.my_row()?;
        let Some(_held) = self.lock_soon() else { return Ok(None) };
        if !self.to_leave.borrow().is_empty() {
            self.leave_all_locked(me);
        }
        let Some(slot) = self.find_free(run) else { return Ok(None) };
        let (offset, room) = self
            .room(slot, run)
            .filter(|(_, room)| *room >= len)
            .ok_or_else(|| Error::Invalid("an arena whose slot size was overwritten".into()))?;
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
    fn zero(&self, offset: usize, len: usize) {
        for line in 0..len / SLOT {
            let line: &[AtomicU64; SLOT / 8] = self.segment.place(offset + line * SLOT);
            line.iter().for_each(|word| word.store(0, Ordering::Relaxed));
        }
    }

    /// The object that a handle names. `carrier` came with it, and is a lease on the slot in all likelihood.
    pub(super) fn open(
        &mut self,
        kind: SlotKind,
        address: SlotAddress,
        len: usize,
        carrier: BorrowedFd<'_>,
    ) -> Result<Part, Error> {
        let slot = address.slot as usize;
        if slot >= self.slots() {
            return Err(Error::Invalid("a handle to a slot that does not exist".into()));
        }
        let me = self.segment.my_row()?;
        let held = self.enter(&mut Wait::attempt());
        // Nobody frees the slot meanwhile: not without the lock, nor what this process has, nor while there is this lease.
        let is_ours = self.references[slot] > 0 || self.to_leave.borrow().contains(&slot);
        if held.is_none() && !is_ours && !lease::holds(carrier, slot as u64) {
            return Err(Error::Busy(
                "a process was stopped while it made or dropped an object, and a handle that came without a message cannot be \
                 opened until it goes on"
                    .into(),
            ));
        }
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
        let part = self.part(offset, len)?;
        if held.is_none() && !is_ours {
            self.keep_lease(carrier, slot)?;
        }
        self.mark(me.row(), slot, true);
        drop(held);
        // Whoever drops it leaves it, and once is enough.
        self.to_leave.borrow_mut().retain(|&left| left != slot);
        if self.references[slot] == 0 {
            self.used += 1;
        }
        self.references[slot] += 1;
        Ok(part)
    }

    /// One reference more to a slot that this process refers to.
    pub(super) fn refer_again(&mut self, slot: usize) {
        self.references[slot] += 1;
    }

    /// One reference less; with the last one this process leaves the slot.
    pub(super) fn let_go(&mut self, slot: usize) {
        self.references[slot] -= 1;
        if self.references[slot] == 0 {
            self.used -= 1;
            self.leave(slot);
        }
    }

    /// Makes a lease that keeps a slot until this process was inside once. It is not the message's, of which others have copies.
    fn keep_lease(&self, carrier: BorrowedFd<'_>, slot: usize) -> Result<(), Error> {
        let mut leases = self.leases.borrow_mut();
        let known = leases.last().and_then(|lease| lease.get().ok());
        if known.is_some_and(|known| lease::extend(known, slot as u64).is_ok()) {
            return Ok(());
        }
        let lease = lease::take(carrier, slot as u64)
            .map_err(|error| Error::os("keep an object that came in a message", error))?;
        leases.push(KeptFd::new(lease, self.segment.file_id()));
        Ok(())
    }

    /// This process refers to the slot no more; frees it if nobody does.
    fn leave(&self, slot: usize) {
        let Ok(me) = self.segment.my_row() else { return };
        self.to_leave.borrow_mut().push(slot);
        let Some(_held) = self.lock_soon() else { return };
        self.leave_all_locked(me);
    }

    fn leave_all_locked(&self, me: Token) {
        for slot in self.to_leave.borrow_mut().drain(..) {
            // A broken peer may have freed one that this process got anew.
            if self.references[slot] == 0 {
                self.leave_locked(me, slot);
            }
        }
    }

    fn leave_locked(&self, me: Token, slot: usize) {
        self.mark(me.row(), slot, false);
        kill_point!(SlotDropped);
        let roster = self.segment.roster();
        let held = (0..roster.high()).any(|row| self.is_marked(row, slot) && roster.is_taken(row));
        if !held && !self.is_leased(slot) {
            self.free(slot);
            self.full.set(false);
        }
    }

    /// A sweep looks at every row and slot: once a second at most, a new arena serves meanwhile.
    fn may_sweep(&self) -> bool {
        let now = Instant::now();
        let due = self.swept.get().is_none_or(|last| now - last > Duration::from_secs(1));
        if due {
            self.swept.set(Some(now));
        }
        due
    }

    /// Frees every slot that no live process holds and no lease keeps.
    fn sweep(&self) {
        let roster = self.segment.roster();
        roster.reap();
        let Some(_held) = self.lock_soon() else { return };
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
    fn is_leased(&self, slot: usize) -> bool {
        // SYNC: with the changes in `note_lease` and `lease_for_fork`.
        let may_be = self.entry(slot).load(Ordering::SeqCst) & LEASED != 0;
        let may_fork = self.control().forked.load(Ordering::SeqCst) != 0;
        // An unreadable answer keeps the slot: it costs 64 bytes.
        let exists =
            |byte| self.segment.fd().and_then(|fd| lease::exists(fd, byte)).unwrap_or(true);
        (may_be && exists(slot as u64)) || (may_fork && exists(FORK_LEASE))
    }

    /// Frees the run that begins at `slot`, and its memory, unless that is kept. The head goes first: dying
    /// in between leaves slots inside no run, which a sweep finds; the other order would leave a run over slots that are
    /// another's by then.
    fn free(&self, slot: usize) {
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

    /// How long the run is that begins at `slot`. None does if a broken peer wrote over an entry: then what is there stays,
    /// since freeing a run that is none would free other objects.
    fn run_at(&self, slot: usize) -> Option<usize> {
        let run = (self.entry(slot).load(Ordering::Relaxed) & RUN) as usize;
        let table = table_of(&self.segment).get(..self.slots())?;
        let inside = table.get(slot + 1..slot.checked_add(run)?)?;
        let is_inside = |entry: &AtomicU64| entry.load(Ordering::Relaxed) & RUN == INSIDE_RUN;
        inside.iter().all(is_inside).then_some(run)
    }

    /// Makes slots free, or ones that are inside a run. Their generations stay: a handle to what one was must not fit what it
    /// will be. So does what is known of their pages.
    fn mark_inside(&self, slots: Range<usize>, run: u64) {
        for entry in &table_of(&self.segment)[slots] {
            let before = entry.load(Ordering::Relaxed);
            entry.store(before >> 32 << 32 | before & OF_PAGE | run, Ordering::Relaxed);
        }
    }

    /// The pages, if the slots are such.
    fn pages(&self) -> Option<Pages<'_>> {
        let is_pages = self.slot_size() == PAGE_SLOT;
        is_pages.then(|| Pages::of(&self.segment, table_of(&self.segment)))
    }

    fn find_free(&self, run: usize) -> Option<usize> {
        let (slots, table) = (self.slots(), table_of(&self.segment));
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

    fn bit(&self, row: usize, slot: usize) -> (&AtomicU64, u64) {
        let bitmap = bitmaps(self.segment.rows()) + row * BITMAP;
        let word = self.segment.place(bitmap + slot / 64 * 8);
        (word, 1 << (slot % 64))
    }

    fn mark(&self, row: usize, slot: usize, holds: bool) {
        let (word, bit) = self.bit(row, slot);
        if holds {
            word.fetch_or(bit, Ordering::SeqCst);
        } else {
            word.fetch_and(!bit, Ordering::SeqCst);
        }
    }

    fn is_marked(&self, row: usize, slot: usize) -> bool {
        let (word, bit) = self.bit(row, slot);
        word.load(Ordering::SeqCst) & bit != 0
    }
}
