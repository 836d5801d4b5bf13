//! What a handle is while it travels: a few bytes, and descriptors beside them.
//!
//! ```text
//! record   u8 kind | u8 n | n x u32 index of a descriptor in the message | the kind's own fields
//!   in a slot of an arena: the arena's descriptor first, and of the fields u32 slot | u32 generation
//! ```
//! Numbers are little-endian. Both languages send the same records, so a handle may go from one to the other and
//! back. Each type writes and reads its own fields ([`Transferable`]); `kinds.rs` has the list of all.

use std::os::fd::{BorrowedFd, OwnedFd};

use crate::error::Error;
use crate::layout::queue::Parts;
use crate::protocol::transfer::{Outgoing, TransferError};
use crate::segment::slot::{Slot, SlotAddress, SlotKind};

/// An object that travels in messages, as a record.
pub(super) trait Transferable: Sized {
    /// What its records begin with, a number for each form that it has.
    const KINDS: &'static [u8];
    /// The slots of an arena that it lives in: the first and the last kind, for each form. None for what has no slot.
    #[cfg_attr(not(test), allow(dead_code))] // for the test that no two are the same
    const SLOTS: &'static [(SlotKind, SlotKind)];

    /// What its record begins with.
    fn kind(&self) -> u8;

    /// Writes its descriptors and its fields.
    fn write_record(&self, record: &mut RecordWriter<'_>) -> Result<(), TransferError>;

    /// Opens what a record of one of its kinds names.
    fn read_record(record: &mut RecordReader<'_>) -> Result<Self, Error>;

    /// What it is, for messages to people.
    fn name(&self) -> &'static str;
}

/// The most descriptors that a record names: a queue's.
const MOST_DESCRIPTORS: usize = Parts::<OwnedFd>::MOST;

/// A record that is being written.
pub(super) struct RecordWriter<'a> {
    table: &'a mut Outgoing,
    descriptors: Vec<u32>,
    fields: Vec<u8>,
}

impl<'a> RecordWriter<'a> {
    pub(super) fn new(table: &'a mut Outgoing) -> RecordWriter<'a> {
        RecordWriter { table, descriptors: Vec::new(), fields: Vec::new() }
    }

    /// Sends a descriptor along.
    pub(super) fn descriptor(&mut self, fd: BorrowedFd<'_>) -> Result<(), TransferError> {
        self.descriptors.push(self.table.attach(fd)?);
        Ok(())
    }

    /// Says which object it is, and sends along what keeps that alive.
    pub(super) fn slot(&mut self, slot: &Slot) -> Result<(), TransferError> {
        let arena = self.table.attach_made(
            slot.segment().file_id(),
            || slot.lease(),
            |lease| slot.add_to_lease(lease),
        )?;
        self.descriptors.push(arena);
        let SlotAddress { slot, generation } = slot.address();
        self.u32(slot);
        self.u32(generation);
        Ok(())
    }

    pub(super) fn u8(&mut self, number: u8) {
        self.fields.push(number);
    }

    pub(super) fn u16(&mut self, number: u16) {
        self.fields.extend(number.to_le_bytes());
    }

    pub(super) fn u32(&mut self, number: u32) {
        self.fields.extend(number.to_le_bytes());
    }

    pub(super) fn u64(&mut self, number: u64) {
        self.fields.extend(number.to_le_bytes());
    }

    pub(super) fn size(&mut self, size: usize) {
        self.u64(size as u64);
    }

    /// The bytes of the whole record.
    pub(super) fn finish(self, kind: u8) -> Vec<u8> {
        debug_assert!(self.descriptors.len() <= MOST_DESCRIPTORS, "no reader takes more");
        let mut record = vec![kind, self.descriptors.len() as u8];
        record.extend(self.descriptors.iter().flat_map(|index| index.to_le_bytes()));
        record.extend(self.fields);
        record
    }
}

/// A record that came; whatever its bytes are, reading it gives an object or an error.
pub(super) struct RecordReader<'a> {
    kind: u8,
    descriptors: std::vec::IntoIter<OwnedFd>,
    fields: Fields<'a>,
}

impl<'a> RecordReader<'a> {
    /// `descriptor` gives the message's descriptor with an index.
    pub(super) fn new(
        record: &'a [u8],
        descriptor: &mut dyn FnMut(u32) -> Result<OwnedFd, TransferError>,
    ) -> Result<RecordReader<'a>, Error> {
        let mut fields = Fields(record);
        let kind = fields.u8()?;
        let count = fields.u8()?;
        let mut descriptors = Vec::new();
        for _ in 0..usize::from(count).min(MOST_DESCRIPTORS) {
            let index = fields.u32()?;
            descriptors.push(descriptor(index).map_err(|e| Error::Invalid(e.to_string()))?);
        }
        Ok(RecordReader { kind, descriptors: descriptors.into_iter(), fields })
    }

    pub(super) fn kind(&self) -> u8 {
        self.kind
    }

    /// The next descriptor that came along.
    pub(super) fn descriptor(&mut self) -> Result<OwnedFd, Error> {
        self.descriptors.next().ok_or_else(malformed)
    }

    /// All others.
    pub(super) fn descriptors(&mut self) -> impl Iterator<Item = OwnedFd> {
        self.descriptors.by_ref()
    }

    /// The arena and where the object is in it.
    pub(super) fn slot(&mut self) -> Result<(OwnedFd, SlotAddress), Error> {
        let arena = self.descriptor()?;
        Ok((arena, SlotAddress { slot: self.u32()?, generation: self.u32()? }))
    }

    pub(super) fn u8(&mut self) -> Result<u8, Error> {
        self.fields.u8()
    }

    pub(super) fn u16(&mut self) -> Result<u16, Error> {
        Ok(u16::from_le_bytes(self.fields.take()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, Error> {
        self.fields.u32()
    }

    pub(super) fn u64(&mut self) -> Result<u64, Error> {
        Ok(u64::from_le_bytes(self.fields.take()?))
    }

    pub(super) fn size(&mut self) -> Result<usize, Error> {
        usize::try_from(self.u64()?).map_err(|_| malformed())
    }

    /// An error if there is more than what was read.
    pub(super) fn finish(self) -> Result<(), Error> {
        if self.fields.0.is_empty() { Ok(()) } else { Err(malformed()) }
    }
}

/// The indices of the descriptors that a record names.
pub(super) fn indices(record: &[u8]) -> Result<Vec<u32>, Error> {
    let mut fields = Fields(record);
    fields.u8()?;
    let count = fields.u8()?;
    (0..count).map(|_| fields.u32()).collect()
}

/// The error for a record that no writer wrote.
pub(super) fn malformed() -> Error {
    Error::Invalid("a handle's record is malformed".into())
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (field, rest) = self.0.split_first_chunk::<N>().ok_or_else(malformed)?;
        self.0 = rest;
        Ok(*field)
    }

    fn u8(&mut self) -> Result<u8, Error> {
        Ok(self.take::<1>()?[0])
    }

    fn u32(&mut self) -> Result<u32, Error> {
        Ok(u32::from_le_bytes(self.take()?))
    }
}
