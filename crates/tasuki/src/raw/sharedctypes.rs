//! Some bytes of shared memory with a lock beside them.
#![allow(unsafe_code)] // hands out the address of the bytes, and reads and writes there

use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

use super::synchronize::{LOCK_KIND, RLOCK_KIND};
use super::{Failure, element};
use crate::error::Error;
use crate::handle;
use crate::layout::lock::{Acquired, LockView};
use crate::plain::Plain;
use crate::protocol::transfer::{Outgoing, TransferError};
use crate::segment::arena::{SLOT, Slot, SlotAddress, SlotKind};
use crate::sync::{Spin, Wait};

/// Some bytes of shared memory with a lock beside them.
#[derive(Debug)]
pub struct RawValue {
    slot: Slot,
    spin: Spin,
    element: u16,
    len: usize,
}

/// Values have kinds from here on: this plus what the element is.
const VALUE_KIND: u16 = 0x100;

impl RawValue {
    /// Makes `len` zero bytes. `element` says what they are, so that another program does not open an integer as a
    /// float; see [`element`].
    pub fn create(element: u16, len: usize) -> Result<RawValue, Error> {
        let kind = value_kind(element)?;
        let slot = Slot::allocate(kind, whole(len)?)?;
        Ok(RawValue { slot, spin: Spin::new(), element, len })
    }

    /// A lock, seen as a value without bytes.
    pub(crate) fn of_lock(slot: Slot, spin: Spin) -> RawValue {
        RawValue { slot, spin, element: element::OPAQUE, len: 0 }
    }

    pub(crate) fn open(
        arena: OwnedFd,
        address: SlotAddress,
        element: u16,
        len: usize,
    ) -> Result<RawValue, Error> {
        let slot = Slot::open(arena, value_kind(element)?, address, whole(len)?)?;
        Ok(RawValue { slot, spin: Spin::new(), element, len })
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
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

    /// Takes the value's lock, recursively.
    #[inline]
    pub fn acquire(&self, wait: &mut Wait<'_>) -> Result<Acquired, Failure> {
        Ok(self.view().acquire_recursive(wait)?)
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
    pub(crate) fn acquire_once(&self, wait: &mut Wait<'_>) -> Result<Acquired, Failure> {
        Ok(self.view().acquire(wait)?)
    }

    /// Whether this process holds the value's lock.
    #[inline]
    pub(crate) fn is_mine_once(&self) -> bool {
        self.view().is_owned_by_this_process().unwrap_or(false)
    }

    /// Undoes `acquire_once` if nobody waits and nothing is poisoned; else try `release_once`.
    #[inline]
    pub(crate) fn release_own(&self) -> bool {
        self.view().release_own()
    }

    /// Undoes `acquire_once`.
    pub(crate) fn release_once(&self) -> bool {
        self.view().release().is_ok()
    }

    /// A copy of the bytes; up to 8 of them in one piece.
    #[inline]
    pub(crate) fn read<T: Plain>(&self) -> T {
        assert!(size_of::<T>() == self.len, "a value of this type");
        let mut value = T::new_zeroed();
        match value.as_mut_bytes() {
            [] => {}
            [byte] => *byte = self.atomic::<AtomicU8>().load(Ordering::Relaxed),
            bytes => match bytes.len() {
                2 => bytes.copy_from_slice(
                    &self.atomic::<AtomicU16>().load(Ordering::Relaxed).to_ne_bytes(),
                ),
                4 => bytes.copy_from_slice(
                    &self.atomic::<AtomicU32>().load(Ordering::Relaxed).to_ne_bytes(),
                ),
                8 => bytes.copy_from_slice(
                    &self.atomic::<AtomicU64>().load(Ordering::Relaxed).to_ne_bytes(),
                ),
                // SAFETY: the source is `len` bytes of the mapping, the target a private value of the same size, for
                // which any bytes are valid.
                len => unsafe {
                    bytes.as_mut_ptr().copy_from_nonoverlapping(self.address().as_ptr(), len);
                },
            },
        }
        value
    }

    /// Replaces the bytes; up to 8 of them in one piece.
    #[inline]
    pub(crate) fn write<T: Plain>(&self, value: T) {
        assert!(size_of::<T>() == self.len, "a value of this type");
        let bytes = value.as_bytes();
        let exactly = "as many bytes as the length says";
        match bytes.len() {
            0 => {}
            1 => self.atomic::<AtomicU8>().store(bytes[0], Ordering::Relaxed),
            2 => self
                .atomic::<AtomicU16>()
                .store(u16::from_ne_bytes(bytes.try_into().expect(exactly)), Ordering::Relaxed),
            4 => self
                .atomic::<AtomicU32>()
                .store(u32::from_ne_bytes(bytes.try_into().expect(exactly)), Ordering::Relaxed),
            8 => self
                .atomic::<AtomicU64>()
                .store(u64::from_ne_bytes(bytes.try_into().expect(exactly)), Ordering::Relaxed),
            // SAFETY: the target is `len` bytes of the mapping, and the source is private.
            len => unsafe {
                self.address().as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), len);
            },
        }
    }

    fn atomic<A: Atomic>(&self) -> &A {
        assert!(size_of::<A>() <= self.len, "inside the value");
        // SAFETY: the address is aligned to a cache line and the bytes lie in the mapping, which `self` keeps; every
        // bit pattern is a valid atomic integer.
        unsafe { self.address().cast::<A>().as_ref() }
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
        handle::write_value(&self.slot, self.element, self.len, table)
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

/// Atomic integers, to read and write small values in one piece.
trait Atomic {}
impl Atomic for AtomicU8 {}
impl Atomic for AtomicU16 {}
impl Atomic for AtomicU32 {}
impl Atomic for AtomicU64 {}

/// The lock's words have a slot of their own, so that the bytes are aligned and nobody spins on their cache line.
fn whole(len: usize) -> Result<usize, Error> {
    len.max(1)
        .checked_add(SLOT)
        .ok_or_else(|| Error::Limit("a value of that size does not fit in memory".into()))
}

fn value_kind(element: u16) -> Result<SlotKind, Error> {
    VALUE_KIND
        .checked_add(element)
        .map(SlotKind)
        .ok_or_else(|| Error::Invalid(format!("an unknown kind of value: {element}")))
}
