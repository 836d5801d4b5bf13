//! Some bytes of shared memory with a lock beside them: one value, or an array of equal ones.
#![allow(unsafe_code)] // hands out the address of the bytes

use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;

use super::synchronize::{LOCK_KIND, RLOCK_KIND};
use super::{AcquireFailure, element};
use crate::error::Error;
use crate::handle;
use crate::layout::condition::UserLock;
use crate::layout::lock::{Acquired, LockView};
use crate::protocol::transfer::{Outgoing, TransferError};
use crate::segment::slot::{SLOT, Slot, SlotAddress, SlotKind};
use crate::sync::{Spin, Wait};

/// Some bytes of shared memory with a lock beside them: one value, or an array of equal ones.
#[derive(Debug)]
pub struct RawValue {
    slot: Slot,
    spin: Spin,
    element: u16,
    len: usize,
    /// The size of an array's elements; None for a value.
    item: Option<NonZeroUsize>,
}

/// Values have kinds from here on: this plus what the element is.
const VALUE_KIND: u16 = 0x100;
/// Arrays have kinds from here on, so that an array of one element is not opened as a value.
const ARRAY_KIND: u16 = 0x200;

impl RawValue {
    /// Makes `len` zero bytes. `element` says what they are, so that another program does not open an integer as a
    /// float; see [`element`].
    pub fn create(element: u16, len: usize) -> Result<RawValue, Error> {
        RawValue::make(element, len, None)
    }

    /// Makes an array of `count` elements of `item` zero bytes each; `element` says what one of them is.
    pub fn create_array(element: u16, item: usize, count: usize) -> Result<RawValue, Error> {
        let size = NonZeroUsize::new(item)
            .ok_or_else(|| Error::Invalid("an array of elements without bytes".into()))?;
        let len = count.checked_mul(item).ok_or_else(too_large)?;
        RawValue::make(element, len, Some(size))
    }

    fn make(element: u16, len: usize, item: Option<NonZeroUsize>) -> Result<RawValue, Error> {
        let slot = Slot::allocate(slot_kind(element, item)?, whole(len)?)?;
        Ok(RawValue { slot, spin: Spin::new(), element, len, item })
    }

    /// A lock, seen as a value without bytes.
    pub(crate) fn of_lock(slot: Slot, spin: Spin) -> RawValue {
        RawValue { slot, spin, element: element::OPAQUE, len: 0, item: None }
    }

    /// Opens what a handle names: a value, or an array when `item` says how large its elements are.
    pub(crate) fn open(
        arena: OwnedFd,
        address: SlotAddress,
        element: u16,
        len: usize,
        item: Option<usize>,
    ) -> Result<RawValue, Error> {
        let item = match item {
            None => None,
            Some(size) => match NonZeroUsize::new(size) {
                Some(item) if len.is_multiple_of(size) => Some(item),
                _ => return Err(Error::Invalid("an array of broken elements".into())),
            },
        };
        let slot = Slot::open(arena, slot_kind(element, item)?, address, whole(len)?)?;
        Ok(RawValue { slot, spin: Spin::new(), element, len, item })
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether this is an array, of however many elements.
    pub fn is_array(&self) -> bool {
        self.item.is_some()
    }

    /// How many bytes an element has: all of them when this is a value.
    pub fn item(&self) -> usize {
        self.item.map_or(self.len, NonZeroUsize::get)
    }

    /// How many elements there are: one when this is a value.
    pub fn count(&self) -> usize {
        self.item.map_or(1, |item| self.len / item)
    }

    /// What the bytes are.
    pub fn element(&self) -> u16 {
        self.element
    }

    /// The address of the bytes, aligned to 64, valid as long as this value lives. Other processes may change them at
    /// any moment.
    pub fn address(&self) -> NonNull<u8> {
        // SAFETY: the object is `whole(len)` bytes long, checked when it was opened: the words and then the bytes.
        unsafe { self.slot.bytes().add(SLOT) }
    }

    #[inline]
    fn view(&self) -> LockView<'_> {
        LockView { words: self.slot.place(0), segment: self.slot.segment(), spin: &self.spin }
    }

    /// The lock for a condition that is about to give it up.
    pub(super) fn user_lock(&self, recursive: bool) -> UserLock<'_> {
        UserLock { view: self.view(), recursive }
    }

    /// Takes the value's lock, recursively.
    #[inline]
    pub fn acquire(&self, wait: &mut Wait<'_>) -> Result<Acquired, AcquireFailure> {
        self.view().acquire_recursive(wait)
    }

    /// Takes the value's lock, recursively, if that is a matter of a few instructions; see
    /// [`RawLock::acquire_quickly`](super::RawLock::acquire_quickly).
    #[inline]
    #[must_use]
    pub fn acquire_quickly(&self) -> bool {
        self.view().acquire_free_recursive()
    }

    /// Runs `work`, some loads and stores that cannot panic, under the value's lock if that is free or this thread's; None
    /// says nothing but that it was not run.
    #[inline]
    pub fn briefly<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        self.view().briefly(work)
    }

    /// Frees the value's lock; false when this thread does not hold it.
    #[inline]
    #[must_use]
    pub fn release(&self) -> bool {
        self.view().release_recursive().is_ok()
    }

    /// Takes the value's lock if it is free, never was poisoned and this process is known to it; else try `acquire_once`.
    #[inline]
    pub(crate) fn acquire_free(&self) -> bool {
        self.view().acquire_free()
    }

    /// Takes the value's lock for this process; taking it twice in one thread waits for ever.
    #[inline]
    pub(crate) fn acquire_once(&self, wait: &mut Wait<'_>) -> Result<Acquired, AcquireFailure> {
        self.view().acquire(wait)
    }

    /// Whether this process holds the value's lock.
    #[inline]
    pub(crate) fn is_mine_once(&self) -> bool {
        self.view().is_owned_by_this_process().unwrap_or(false)
    }

    /// Undoes `acquire_once`, after `work`, which must not panic, if nobody waits and nothing is poisoned; when it is false,
    /// nothing was done: try `release_once`.
    #[inline]
    pub(crate) fn release_own(&self, work: impl FnOnce()) -> bool {
        self.view().release_own(work)
    }

    /// Undoes `acquire_once`.
    pub(crate) fn release_once(&self) -> bool {
        self.view().release().is_ok()
    }

    /// Whether an owner of the lock died and nobody cleared that.
    pub fn is_poisoned(&self) -> bool {
        self.view().is_poisoned()
    }

    /// Marks the value's lock as if its owner had died.
    pub fn poison(&self) {
        self.view().poison();
    }

    /// Declares that the value is whole again.
    pub fn clear_poison(&self) {
        self.view().clear_poison();
    }

    /// Whether this thread holds the value's lock, and how often.
    pub fn depth(&self) -> Result<u32, Error> {
        let view = self.view();
        Ok(if view.is_mine()? { view.depth() } else { 0 })
    }

    /// How often any thread of this process holds the value's lock.
    pub fn depth_in_process(&self) -> Result<u32, Error> {
        self.view().depth_in_process(true)
    }

    /// Whether anybody holds the value's lock.
    pub fn is_locked(&self) -> bool {
        self.view().is_locked()
    }

    /// The record that names this value in a message; the descriptor that keeps it alive goes into `table`.
    pub fn record(&self, table: &mut Outgoing) -> Result<Vec<u8>, TransferError> {
        // A lock around nothing stays what it was made as.
        if self.slot.kind() == LOCK_KIND || self.slot.kind() == RLOCK_KIND {
            return handle::write_lock(&self.slot, self.slot.kind() == RLOCK_KIND, table);
        }
        let item = self.item.map(NonZeroUsize::get);
        handle::write_value(&self.slot, self.element, self.len, item, table)
    }

    /// What distinguishes this value from all others of this process.
    pub fn key(&self) -> (u64, u32) {
        (self.slot.segment().file_id().1, self.slot.address().slot)
    }
}

impl Clone for RawValue {
    fn clone(&self) -> RawValue {
        RawValue { slot: self.slot.clone(), spin: Spin::new(), ..*self }
    }
}

/// The lock's words have a slot of their own, so that the bytes are aligned and nobody spins on their cache line.
fn whole(len: usize) -> Result<usize, Error> {
    len.max(1).checked_add(SLOT).ok_or_else(too_large)
}

fn too_large() -> Error {
    Error::Limit("a value of that size does not fit in memory".into())
}

fn slot_kind(element: u16, item: Option<NonZeroUsize>) -> Result<SlotKind, Error> {
    let base = if item.is_some() { ARRAY_KIND } else { VALUE_KIND };
    if element >= ARRAY_KIND - VALUE_KIND {
        return Err(Error::Invalid(format!("an unknown kind of value: {element}")));
    }
    Ok(SlotKind(base + element))
}
