//! Some bytes of shared memory with a lock beside them: one value, or an array of equal ones.
#![allow(unsafe_code)] // hands out the address of the bytes

use std::num::NonZeroUsize;
use std::ptr::NonNull;

use super::record::{RecordReader, RecordWriter, Transferable};
use super::synchronize::{LOCK_KIND, RLOCK_KIND};
use super::{RawLock, element};
use crate::error::Error;
use crate::protocol::transfer::TransferError;
use crate::segment::slot::{SLOT, Slot, SlotKind};

/// Some bytes of shared memory with a lock beside them: one value, or an array of equal ones.
#[derive(Clone, Debug)]
pub struct RawValue {
    lock: RawLock,
    element: u16,
    len: usize,
    /// The size of an array's elements; None for a value.
    item: Option<NonZeroUsize>,
}

/// Values have kinds from here on: this plus what the element is.
const VALUE_KIND: u16 = 0x100;
/// Arrays have kinds from here on, so that an array of one element is not opened as a value.
const ARRAY_KIND: u16 = 0x200;
/// What the record of a value begins with, and that of an array.
const VALUE: u8 = 4;
const ARRAY: u8 = 16;

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
        Ok(RawValue { lock: RawLock::of(slot, true), element, len, item })
    }

    /// The first words of a slot and the bytes behind them, for a lock that is taken once in a thread.
    pub(super) fn in_slot(slot: Slot, element: u16, len: usize) -> RawValue {
        RawValue { lock: RawLock::of(slot, false), element, len, item: None }
    }

    /// A lock, seen as a value without bytes.
    pub(crate) fn of_lock(lock: RawLock) -> RawValue {
        RawValue { lock, element: element::OPAQUE, len: 0, item: None }
    }

    /// The same, with a lock that a thread takes once: as Rust's own types do, whose guards would lend the bytes twice.
    pub(crate) fn taken_once(self) -> RawValue {
        RawValue { lock: self.lock.taken_once(), ..self }
    }

    /// The lock beside the bytes.
    #[inline]
    pub fn lock(&self) -> &RawLock {
        &self.lock
    }

    /// Whether it is a lock around nothing, which stays what it was made as.
    fn is_lock(&self) -> bool {
        [LOCK_KIND, RLOCK_KIND].contains(&self.lock.slot().kind())
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
        unsafe { self.lock.slot().bytes().add(SLOT) }
    }
}

impl Transferable for RawValue {
    const KINDS: &'static [u8] = &[VALUE, ARRAY];
    const SLOTS: &'static [(SlotKind, SlotKind)] = &[
        (SlotKind(VALUE_KIND), SlotKind(ARRAY_KIND - 1)),
        (SlotKind(ARRAY_KIND), SlotKind(2 * ARRAY_KIND - VALUE_KIND - 1)),
    ];

    fn kind(&self) -> u8 {
        match self.item {
            _ if self.is_lock() => self.lock.kind(),
            None => VALUE,
            Some(_) => ARRAY,
        }
    }

    fn write_record(&self, record: &mut RecordWriter<'_>) -> Result<(), TransferError> {
        if self.is_lock() {
            return self.lock.write_record(record);
        }
        record.slot(self.lock.slot())?;
        record.u16(self.element);
        record.size(self.len);
        if let Some(item) = self.item {
            record.size(item.get());
        }
        Ok(())
    }

    fn read_record(record: &mut RecordReader<'_>) -> Result<RawValue, Error> {
        let ((arena, address), element, len) = (record.slot()?, record.u16()?, record.size()?);
        let item = match record.kind() {
            VALUE => None,
            _ => match NonZeroUsize::new(record.size()?) {
                Some(item) if len.is_multiple_of(item.get()) => Some(item),
                _ => return Err(Error::Invalid("an array of broken elements".into())),
            },
        };
        let slot = Slot::open(arena, slot_kind(element, item)?, address, whole(len)?)?;
        Ok(RawValue { lock: RawLock::of(slot, true), element, len, item })
    }

    fn name(&self) -> &'static str {
        if self.is_array() { "an array" } else { "a value" }
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
