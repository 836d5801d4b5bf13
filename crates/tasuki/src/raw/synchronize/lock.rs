//! A lock without data: recursive or not.

use super::condition::{CONDITION, CONDITION_KIND};
use crate::error::Error;
use crate::layout::condition::UserLock;
use crate::layout::lock::{Acquired, LockView, LockWords};
use crate::protocol::transfer::TransferError;
use crate::raw::record::{RecordReader, RecordWriter, Transferable};
use crate::raw::{AcquireFailure, RawValue};
use crate::segment::slot::{Slot, SlotKind};
use crate::sync::{Spin, Wait};

/// A lock that any process may hold: recursive or not, with recovery when its owner died.
#[derive(Debug)]
pub struct RawLock {
    slot: Slot,
    spin: Spin,
    recursive: bool,
}

pub(in crate::raw) const LOCK_KIND: SlotKind = SlotKind(1);
pub(in crate::raw) const RLOCK_KIND: SlotKind = SlotKind(2);
/// What the record of a lock begins with, and that of a recursive one.
const LOCK: u8 = 2;
const RLOCK: u8 = 3;

impl RawLock {
    /// Makes a free lock.
    pub fn create(recursive: bool) -> Result<RawLock, Error> {
        let kind = if recursive { RLOCK_KIND } else { LOCK_KIND };
        Ok(RawLock::of(Slot::allocate(kind, size_of::<LockWords>())?, recursive))
    }

    /// Whether a thread that holds the lock may take it again.
    pub fn is_recursive(&self) -> bool {
        self.recursive
    }

    /// The lock whose words are the first in a slot: of its own, a value's or a condition's.
    pub(in crate::raw) fn of(slot: Slot, recursive: bool) -> RawLock {
        RawLock { slot, spin: Spin::new(), recursive }
    }

    /// The same lock for one who takes it once in a thread, whatever others do.
    pub(in crate::raw) fn taken_once(self) -> RawLock {
        RawLock { recursive: false, ..self }
    }

    #[inline]
    pub(in crate::raw) fn slot(&self) -> &Slot {
        &self.slot
    }

    /// The lock for a condition that is about to give it up.
    pub(super) fn user_lock(&self) -> UserLock<'_> {
        UserLock { view: self.view(), recursive: self.recursive }
    }

    #[inline]
    pub(super) fn view(&self) -> LockView<'_> {
        LockView { words: self.slot.place(0), segment: self.slot.segment(), spin: &self.spin }
    }

    /// Takes the lock.
    #[inline]
    pub fn acquire(&self, wait: &mut Wait<'_>) -> Result<Acquired, AcquireFailure> {
        let view = self.view();
        if self.recursive { view.acquire_recursive(wait) } else { view.acquire(wait) }
    }

    /// Takes the lock if that is a matter of a few instructions: it is free and nobody has to be told anything. False
    /// says nothing but that [`acquire`](RawLock::acquire) has to look.
    #[inline(always)]
    #[must_use]
    pub fn acquire_fast(&self) -> bool {
        let view = self.view();
        if self.recursive { view.acquire_recursive_fast() } else { view.acquire_fast() }
    }

    /// Runs `work`, some loads and stores that cannot panic, with the lock held if it is free or this thread's; None
    /// says nothing but that it was not run.
    #[inline]
    pub fn with_lock_fast<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        self.view().with_lock_fast(work)
    }

    /// Frees a lock that is taken once, after `work`, which must not panic, if this process has it and nobody waits;
    /// when it is false, nothing was done: try [`release`](RawLock::release).
    #[inline]
    pub(crate) fn release_fast(&self, work: impl FnOnce()) -> bool {
        debug_assert!(!self.recursive, "the depth would stay");
        self.view().release_fast(work)
    }

    /// Frees the lock, or undoes one of several takes; false when it was not held (recursive: by this thread).
    #[inline]
    #[must_use]
    pub fn release(&self) -> bool {
        let view = self.view();
        if self.recursive { view.release_recursive().is_ok() } else { view.release().is_ok() }
    }

    /// Whether anybody holds it.
    pub fn is_locked(&self) -> bool {
        self.view().is_locked()
    }

    /// Whether this process holds it; for a recursive lock, whether this thread does.
    pub fn is_mine(&self) -> Result<bool, Error> {
        let view = self.view();
        if self.recursive { view.is_mine() } else { view.is_owned_by_this_process() }
    }

    /// How often the calling thread holds a recursive lock; 1 or 0 for this process and any other lock.
    pub fn depth(&self) -> Result<u32, Error> {
        Ok(match (self.is_mine()?, self.recursive) {
            (false, _) => 0,
            (true, false) => 1,
            (true, true) => self.view().depth(),
        })
    }

    /// How often any thread of this process holds it.
    pub fn depth_in_process(&self) -> Result<u32, Error> {
        self.view().depth_in_process(self.recursive)
    }

    /// Whether an owner died and nobody cleared that.
    pub fn is_poisoned(&self) -> bool {
        self.view().is_poisoned()
    }

    /// Marks the lock as if its owner had died.
    pub fn poison(&self) {
        self.view().poison();
    }

    /// Declares that what the lock guards is whole again.
    pub fn clear_poison(&self) {
        self.view().clear_poison();
    }

    /// The same lock as a value without bytes.
    pub(crate) fn into_value(self) -> RawValue {
        RawValue::of_lock(self)
    }

    /// What distinguishes this lock from all others of this process.
    pub fn key(&self) -> (u64, u32) {
        (self.slot.segment().file_id().1, self.slot.address().slot)
    }
}

impl Clone for RawLock {
    fn clone(&self) -> RawLock {
        RawLock::of(self.slot.clone(), self.recursive)
    }
}

impl Transferable for RawLock {
    const KINDS: &'static [u8] = &[LOCK, RLOCK];
    const SLOTS: &'static [(SlotKind, SlotKind)] =
        &[(LOCK_KIND, LOCK_KIND), (RLOCK_KIND, RLOCK_KIND)];

    fn kind(&self) -> u8 {
        match self.slot.kind() {
            CONDITION_KIND => CONDITION, // the lock is a part of it
            RLOCK_KIND => RLOCK,
            _ => LOCK,
        }
    }

    fn write_record(&self, record: &mut RecordWriter<'_>) -> Result<(), TransferError> {
        record.slot(&self.slot)
    }

    fn read_record(record: &mut RecordReader<'_>) -> Result<RawLock, Error> {
        let recursive = record.kind() == RLOCK;
        let kind = if recursive { RLOCK_KIND } else { LOCK_KIND };
        let (arena, address) = record.slot()?;
        Ok(RawLock::of(Slot::open(arena, kind, address, size_of::<LockWords>())?, recursive))
    }

    fn name(&self) -> &'static str {
        if self.recursive { "a recursive lock" } else { "a lock" }
    }
}
