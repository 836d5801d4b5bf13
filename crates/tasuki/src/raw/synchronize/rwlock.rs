//! A lock of many readers or one writer, around some bytes.

use super::semaphore::PermitOwner;
use crate::error::Error;
use crate::layout::lock::{Acquired, LockWords};
use crate::layout::rwlock::{ReaderWords, RwLockView};
use crate::protocol::transfer::TransferError;
use crate::raw::record::{RecordReader, RecordWriter, Transferable};
use crate::raw::{AcquireFailure, RawValue};
use crate::segment::slot::{SLOT, Slot, SlotKind};
use crate::sync::{Spin, Wait};

/// A lock that any number of readers or one writer have, with recovery when they die, and some bytes that it guards.
#[derive(Debug)]
pub struct RawRwLock {
    /// The lock of the writers and the bytes.
    value: RawValue,
    /// Where the readers' words are in the slot.
    readers: usize,
    spin: Spin,
}

/// Slots have kinds from here on: this plus what the bytes are.
const RWLOCK_KIND: u16 = 0x300;
const MOST_ELEMENT: u16 = 0xff;

const _: () = assert!(size_of::<LockWords>() <= SLOT);

/// Where the readers' words begin: behind the lock and the bytes, on a line of their own.
fn readers_at(len: usize) -> Option<usize> {
    len.checked_next_multiple_of(SLOT)?.checked_add(SLOT)
}

/// Of a slot for such bytes, the kind, where the readers' words begin, and the length.
fn shape(element: u16, len: usize) -> Result<(SlotKind, usize, usize), Error> {
    if element > MOST_ELEMENT {
        return Err(Error::Invalid(format!("an unknown kind of value: {element}")));
    }
    let readers = readers_at(len);
    let whole = readers.and_then(|at| at.checked_add(size_of::<ReaderWords>()));
    let (Some(readers), Some(whole)) = (readers, whole) else {
        return Err(Error::Limit("a value of that size does not fit in memory".into()));
    };
    Ok((SlotKind(RWLOCK_KIND + element), readers, whole))
}

impl RawRwLock {
    /// Makes a free lock around `len` zero bytes. `element` says what they are, see [`element`](crate::raw::element).
    pub fn create(element: u16, len: usize) -> Result<RawRwLock, Error> {
        let (kind, readers, whole) = shape(element, len)?;
        let value = RawValue::in_slot(Slot::allocate(kind, whole)?, element, len);
        Ok(RawRwLock { value, readers, spin: Spin::new() })
    }

    #[inline]
    fn view(&self) -> RwLockView<'_> {
        let lock = self.value.lock();
        let readers = lock.slot().place(self.readers);
        RwLockView { writer: lock.view(), readers, spin: &self.spin }
    }

    /// The bytes. Readers and the writer only may look at them.
    #[inline]
    pub fn value(&self) -> &RawValue {
        &self.value
    }

    /// Begins to read, with others who do. Should a writer have died, the caller reads nevertheless and is told.
    #[inline]
    pub fn read(&self, wait: &mut Wait<'_>) -> Result<Acquired, AcquireFailure> {
        self.view().read(wait)
    }

    /// The quick part of `read`: false says nothing but that [`read`](RawRwLock::read) has to look.
    #[inline]
    #[must_use]
    pub fn read_fast(&self) -> bool {
        self.view().read_fast()
    }

    /// Ends one reading of this process; false when it does not read.
    #[inline]
    #[must_use]
    pub fn end_read(&self) -> bool {
        self.view().end_read().is_ok()
    }

    /// Begins to write, alone. Should a writer have died, the caller writes nevertheless and is told.
    #[inline]
    pub fn write(&self, wait: &mut Wait<'_>) -> Result<Acquired, AcquireFailure> {
        self.view().write(wait)
    }

    /// Ends the writing of this process; false when it does not write.
    #[inline]
    #[must_use]
    pub fn end_write(&self) -> bool {
        self.view().end_write().is_ok()
    }

    /// Whether this process writes.
    pub fn is_written_here(&self) -> bool {
        self.view().is_written_here()
    }

    /// How often it is read at this moment, by all processes.
    pub fn readers(&self) -> u64 {
        self.view().reading()
    }

    /// Whether somebody writes or is about to, which keeps new readers waiting.
    pub fn is_wanted_by_writer(&self) -> bool {
        self.view().is_wanted_by_writer()
    }

    /// Whether a writer died and nobody cleared that.
    #[inline]
    pub fn is_poisoned(&self) -> bool {
        self.view().is_poisoned()
    }

    /// Marks the lock as if a writer had died; for the writer.
    pub fn poison(&self) {
        self.view().poison();
    }

    /// Declares that what the lock guards is whole again.
    pub fn clear_poison(&self) {
        self.view().clear_poison();
    }

    /// This process as a reader or a writer: a child that it forks is another one.
    #[inline]
    pub fn owner(&self) -> Option<PermitOwner> {
        self.value.lock().slot().segment().known_row().map(PermitOwner)
    }
}

impl Transferable for RawRwLock {
    const KINDS: &'static [u8] = &[17];
    const SLOTS: &'static [(SlotKind, SlotKind)] =
        &[(SlotKind(RWLOCK_KIND), SlotKind(RWLOCK_KIND + MOST_ELEMENT))];

    fn kind(&self) -> u8 {
        17
    }

    fn write_record(&self, record: &mut RecordWriter<'_>) -> Result<(), TransferError> {
        record.slot(self.value.lock().slot())?;
        record.u16(self.value.element());
        record.size(self.value.len());
        Ok(())
    }

    fn read_record(record: &mut RecordReader<'_>) -> Result<RawRwLock, Error> {
        let ((arena, address), element, len) = (record.slot()?, record.u16()?, record.size()?);
        let (kind, readers, whole) = shape(element, len)?;
        let value = RawValue::in_slot(Slot::open(arena, kind, address, whole)?, element, len);
        Ok(RawRwLock { value, readers, spin: Spin::new() })
    }

    fn name(&self) -> &'static str {
        "a lock of readers and writers"
    }
}

impl Clone for RawRwLock {
    fn clone(&self) -> RawRwLock {
        RawRwLock { value: self.value.clone(), spin: Spin::new(), ..*self }
    }
}
