//! Many small objects in one segment: ten thousand locks cost a handful of descriptors.
//!
//! An arena has 4096 slots, all of a cache line or all of a page; an object takes a run of them. A slot is in use while
//! any live process holds it (a bit in that process's bitmap) or a lease on it is in flight inside a message. So the
//! slots of killed processes need no funeral: when an arena runs full, those without a holder are found and used again.
//!
//! This file is one process's part in an arena: how often it refers to each slot, when it goes inside and what it does
//! while it cannot. `create.rs` makes arenas, `allocator.rs` takes and frees slots, `pages.rs` their memory; where all
//! that lies is in `geometry.rs`. A `Slot` (`slot.rs`) stands for one reference to an object, and decides which arena
//! serves it.

mod allocator;
mod create;
pub(super) mod geometry;
pub(super) mod pages;

use std::cell::{Cell, RefCell};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use allocator::{Allocator, FORK_LEASE, overwritten};
pub(super) use create::{new_arena, too_large};
use geometry::{SLOTS, SlotAddress, SlotKind};

use super::Segment;
use super::part::Part;
use super::roster::Token;
use crate::error::Error;
use crate::sync::atomic::Ordering;
use crate::sync::{Held, Wait};
use crate::sys::kept_fd::KeptFd;
use crate::sys::lease;

/// How long a process that makes or drops an object waits for another one inside. A section takes microseconds, so it
/// is enough for everybody but those that are stopped.
pub(super) const LOCK_TIMEOUT: Duration = Duration::from_millis(50);

/// A process's view of one arena: how often it refers to each slot. Guarded by `local`.
pub(super) struct LocalArena {
    segment: Arc<Segment>,
    references: Box<[u32; SLOTS]>,
    used: usize,
    swept: Cell<Option<Instant>>,
    /// No run was found, and this process freed none since.
    full: Cell<bool>,
    /// Somebody was inside, perhaps stopped, for longer than `LOCK_TIMEOUT` when the lock was asked for last.
    busy: Cell<bool>,
    /// Slots that this process refers to no more, and could not leave while the lock was busy. Its row still says that
    /// it holds them; no slot is here twice.
    to_leave: RefCell<Vec<usize>>,
    /// Leases on slots that this process marked as held without the lock, since that was busy. They end when it has the
    /// lock: a process that was inside then, and had looked at the marks before, has looked for leases, too.
    leases: RefCell<Vec<KeptFd>>,
    /// Keeps every slot while this process, which was forked, has none of the rows, in which it would say what it
    /// holds.
    instead_of_row: Option<KeptFd>,
}

/// Gives a forked child its own row and marks there what it inherited. Without a row it keeps the lease, and so it does
/// for a while if somebody is stopped inside. `wait` is for all arenas of this process.
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
            arena.allocator().mark(me.row(), slot, true);
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
        self.allocator().control().forked.store(1, Ordering::SeqCst);
        lease::take(self.segment.fd().ok()?, FORK_LEASE).ok()
    }

    fn allocator(&self) -> Allocator<'_> {
        Allocator::of(&self.segment)
    }

    /// Bytes per slot.
    pub(super) fn slot_size(&self) -> usize {
        self.allocator().slot_size()
    }

    /// The object at an offset that the allocator gave.
    fn part(&self, offset: usize, len: usize) -> Result<Part, Error> {
        Part::new(self.segment.clone(), offset, len).ok_or_else(overwritten)
    }

    /// Enters the section, unless somebody is inside for longer than the caller waits.
    fn enter(&self, wait: &mut Wait<'_>) -> Option<Held<'_>> {
        let held = self.allocator().control().lock.lock_within(wait).ok()?;
        self.busy.set(false);
        self.leases.borrow_mut().clear();
        Some(held)
    }

    /// As `enter`, where another arena or a later moment will do: a process that makes or drops an object does not wait
    /// for one that was stopped inside.
    fn lock_soon(&self) -> Option<Held<'_>> {
        let mut wait = if self.busy.get() { Wait::attempt() } else { Wait::timeout(LOCK_TIMEOUT) };
        let held = self.enter(&mut wait);
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
        self.allocator().take(me, kind, run, len, backed)
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
        if slot >= self.allocator().slots() {
            return Err(Error::Invalid("a handle to a slot that does not exist".into()));
        }
        let me = self.segment.my_row()?;
        let held = self.enter(&mut Wait::attempt());
        // Nobody frees the slot meanwhile: not without the lock, nor what this process has, nor while there is this
        // lease.
        let is_ours = self.references[slot] > 0 || self.to_leave.borrow().contains(&slot);
        if held.is_none() && !is_ours && !lease::holds(carrier, slot as u64) {
            return Err(Error::Busy(
                "a process was stopped while it made or dropped an object, and a handle that came without a message cannot be \
                 opened until it goes on"
                    .into(),
            ));
        }
        let offset = self.allocator().find(kind, address, len)?;
        let part = self.part(offset, len)?;
        if held.is_none() && !is_ours {
            self.keep_lease(carrier, slot)?;
        }
        self.allocator().mark(me.row(), slot, true);
        drop(held);
        // The process that drops it leaves it, and once is enough.
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

    /// Makes a lease that keeps a slot until this process was inside once. It is not the message's, of which others
    /// have copies.
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
            if self.references[slot] == 0 && self.allocator().leave(me, slot) {
                self.full.set(false);
            }
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
        self.segment.roster().reap();
        let Some(_held) = self.lock_soon() else { return };
        self.allocator().sweep();
    }
}
