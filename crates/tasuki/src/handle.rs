//! What a handle is while it travels: a few bytes, and descriptors beside them.
//!
//! ```text
//! record   u8 kind | u8 n | n x u32 index of a descriptor in the message | the kind's own fields
//!   queue  3 or 4 descriptors: segment, sidecar, beacon for messages, beacon for room if there is a limit
//!   sender, receiver  as queue, with that end's socket as the sidecar
//!   lock   1 descriptor: arena    | u32 slot | u32 generation
//!   rlock  as lock
//!   value  1 descriptor: arena    | u32 slot | u32 generation | u16 element | u64 len
//!   array  as value, then         | u64 size of an element
//!   event  as lock
//!   condition  as lock
//!   barrier  1 descriptor: arena  | u32 slot | u32 generation | u32 parties
//!   semaphore 1 descriptor: arena | u32 slot | u32 generation | u32 most permits | u16 owners
//!   stream 1 descriptor: socket   | u64 most bytes of a message | u64 ns for a message; all bits set: no limit
//!   connection 2 descriptors: arena, socket | u32 slot | u32 generation | u8 which end
//! ```
//! Numbers are little-endian. Both languages send the same records, so a handle may go from one to the other and
//! back. Called by the fronts; it never touches shared memory itself.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use serde::{Deserializer, Serializer};

use crate::error::Error;
use crate::layout::pipe::Role;
use crate::layout::queue::Parts;
use crate::protocol::transfer::{self, Outgoing, TransferError};
use crate::raw::connection::{RawStream, StreamLimits};
use crate::raw::{
    AttachedQueue, RawBarrier, RawCondition, RawConnection, RawEvent, RawHandle, RawLock, RawQueue,
    RawReceiver, RawSemaphore, RawSender, RawValue,
};
use crate::segment::slot::{Slot, SlotAddress};

const QUEUE: u8 = 1;
const LOCK: u8 = 2;
const RLOCK: u8 = 3;
const VALUE: u8 = 4;
const EVENT: u8 = 6;
const SEMAPHORE: u8 = 7;
const CONDITION: u8 = 10;
const BARRIER: u8 = 11;
const SENDER: u8 = 12;
const RECEIVER: u8 = 13;
const CONNECTION: u8 = 14;
const STREAM: u8 = 15;
const ARRAY: u8 = 16;

/// Writes a queue's record; its descriptors go into `table`.
pub(crate) fn write_queue(
    queue: &AttachedQueue,
    table: &mut Outgoing,
) -> Result<Vec<u8>, TransferError> {
    write_queue_as(QUEUE, queue, table)
}

/// Writes the record of a channel's sender.
pub(crate) fn write_sender(
    queue: &AttachedQueue,
    table: &mut Outgoing,
) -> Result<Vec<u8>, TransferError> {
    write_queue_as(SENDER, queue, table)
}

/// Writes the record of a channel's receiver.
pub(crate) fn write_receiver(
    queue: &AttachedQueue,
    table: &mut Outgoing,
) -> Result<Vec<u8>, TransferError> {
    write_queue_as(RECEIVER, queue, table)
}

fn write_queue_as(
    kind: u8,
    queue: &AttachedQueue,
    table: &mut Outgoing,
) -> Result<Vec<u8>, TransferError> {
    let fds = queue.descriptors();
    let mut record = vec![kind, fds.len() as u8];
    for fd in fds {
        record.extend(table.attach(fd)?.to_le_bytes());
    }
    Ok(record)
}

/// Writes a lock's record.
pub(crate) fn write_lock(
    slot: &Slot,
    recursive: bool,
    table: &mut Outgoing,
) -> Result<Vec<u8>, TransferError> {
    write_slot(if recursive { RLOCK } else { LOCK }, slot, table)
}

/// Writes an event's record.
pub(crate) fn write_event(slot: &Slot, table: &mut Outgoing) -> Result<Vec<u8>, TransferError> {
    write_slot(EVENT, slot, table)
}

/// Writes a semaphore's record.
pub(crate) fn write_semaphore(
    slot: &Slot,
    max: u32,
    owners: u16,
    table: &mut Outgoing,
) -> Result<Vec<u8>, TransferError> {
    let mut record = write_slot(SEMAPHORE, slot, table)?;
    record.extend(max.to_le_bytes());
    record.extend(owners.to_le_bytes());
    Ok(record)
}

/// Writes a value's record, or an array's, whose elements are `item` bytes each.
pub(crate) fn write_value(
    slot: &Slot,
    element: u16,
    len: usize,
    item: Option<usize>,
    table: &mut Outgoing,
) -> Result<Vec<u8>, TransferError> {
    let mut record = write_slot(if item.is_some() { ARRAY } else { VALUE }, slot, table)?;
    record.extend(element.to_le_bytes());
    record.extend((len as u64).to_le_bytes());
    if let Some(item) = item {
        record.extend((item as u64).to_le_bytes());
    }
    Ok(record)
}

/// Writes a condition's record.
pub(crate) fn write_condition(slot: &Slot, table: &mut Outgoing) -> Result<Vec<u8>, TransferError> {
    write_slot(CONDITION, slot, table)
}

/// Writes a barrier's record.
pub(crate) fn write_barrier(
    slot: &Slot,
    parties: u32,
    table: &mut Outgoing,
) -> Result<Vec<u8>, TransferError> {
    let mut record = write_slot(BARRIER, slot, table)?;
    record.extend(parties.to_le_bytes());
    Ok(record)
}

fn write_slot(kind: u8, slot: &Slot, table: &mut Outgoing) -> Result<Vec<u8>, TransferError> {
    let arena = table.attach_made(
        slot.segment().file_id(),
        || slot.lease(),
        |lease| slot.add_to_lease(lease),
    )?;
    let SlotAddress { slot, generation } = slot.address();
    let mut record = vec![kind, 1];
    for number in [arena, slot, generation] {
        record.extend(number.to_le_bytes());
    }
    Ok(record)
}

/// Writes the record of a pipe's end.
pub(crate) fn write_pipe_end(
    end: &RawConnection,
    table: &mut Outgoing,
) -> Result<Vec<u8>, TransferError> {
    let mut record = write_slot(CONNECTION, end.slot(), table)?;
    // Its socket and its beacons, behind the arena.
    let mut at = 6;
    for fd in end.to_share().map_err(TransferError::refused)? {
        record.splice(at..at, table.attach(fd)?.to_le_bytes());
        record[1] += 1;
        at += 4;
    }
    record.push(end.role().number());
    Ok(record)
}

/// Writes the record of a connection over a socket, of which nothing may be in this process alone.
pub(crate) fn write_stream(
    stream: &RawStream,
    table: &mut Outgoing,
) -> Result<Vec<u8>, TransferError> {
    if !stream.is_between_messages() {
        let why = "a part of a message that came on this connection is in this process already";
        return Err(TransferError::refused(std::io::Error::other(why)));
    }
    let mut record = vec![STREAM, 1];
    record.extend(table.attach(stream.descriptor())?.to_le_bytes());
    let StreamLimits { max_message, message_timeout } = stream.limits();
    let time = message_timeout.and_then(|time| u64::try_from(time.as_nanos()).ok());
    for limit in [max_message, time] {
        record.extend(limit.unwrap_or(u64::MAX).to_le_bytes());
    }
    Ok(record)
}

/// How long a handle without a lease is tried again while somebody is stopped in the arena of its object.
pub(crate) const OPEN_PATIENCE: Duration = Duration::from_secs(10);

/// As `open`, and tries for a while to open what needs somebody who was stopped to go on.
pub(crate) fn open_patiently(
    record: &[u8],
    descriptor: &mut dyn FnMut(u32) -> Result<OwnedFd, TransferError>,
) -> Result<RawHandle, Error> {
    let start = Instant::now();
    loop {
        match open(record, descriptor) {
            Err(Error::Busy(_)) if start.elapsed() < OPEN_PATIENCE => {
                std::thread::sleep(Duration::from_millis(1));
            }
            other => return other,
        }
    }
}

/// Opens what a record names. `descriptor` gives the message's descriptor with an index.
pub(crate) fn open(
    record: &[u8],
    descriptor: &mut dyn FnMut(u32) -> Result<OwnedFd, TransferError>,
) -> Result<RawHandle, Error> {
    let mut fields = Fields(record);
    let kind = fields.u8()?;
    let count = fields.u8()?;
    let mut fds = Vec::new();
    for _ in 0..usize::from(count).min(Parts::<OwnedFd>::MOST) {
        let index = fields.u32()?;
        fds.push(descriptor(index).map_err(|e| Error::Invalid(e.to_string()))?);
    }
    let mut fds = fds.into_iter();
    let mut next = || fds.next().ok_or_else(malformed);
    let handle = match kind {
        QUEUE => RawHandle::Queue(RawQueue::attach(parts(&mut next)?)?),
        SENDER => RawHandle::Sender(RawSender::open(parts(&mut next)?)?),
        RECEIVER => RawHandle::Receiver(RawReceiver::open(parts(&mut next)?)?),
        LOCK => RawHandle::Lock(RawLock::open(next()?, fields.address()?, false)?),
        RLOCK => RawHandle::Lock(RawLock::open(next()?, fields.address()?, true)?),
        VALUE => {
            let (address, element, len) = (fields.address()?, fields.u16()?, fields.size()?);
            RawHandle::Value(RawValue::open(next()?, address, element, len, None)?)
        }
        ARRAY => {
            let (address, element, len) = (fields.address()?, fields.u16()?, fields.size()?);
            let item = Some(fields.size()?);
            RawHandle::Array(RawValue::open(next()?, address, element, len, item)?)
        }
        SEMAPHORE => {
            let (address, max, owners) = (fields.address()?, fields.u32()?, fields.u16()?);
            RawHandle::Semaphore(RawSemaphore::open(next()?, address, max, owners)?)
        }
        EVENT => RawHandle::Event(RawEvent::open(next()?, fields.address()?)?),
        CONDITION => RawHandle::Condition(RawCondition::open(next()?, fields.address()?)?),
        BARRIER => {
            let (address, parties) = (fields.address()?, fields.u32()?);
            RawHandle::Barrier(RawBarrier::open(next()?, address, parties)?)
        }
        STREAM => {
            let socket = next()?;
            let mut limit = || Ok::<_, Error>(Some(fields.u64()?).filter(|&n| n != u64::MAX));
            let (max_message, time) = (limit()?, limit()?);
            let limits =
                StreamLimits { max_message, message_timeout: time.map(Duration::from_nanos) };
            RawHandle::Stream(RawStream::new(socket, limits))
        }
        CONNECTION => {
            let (arena, socket, address) = (next()?, next()?, fields.address()?);
            let role = Role::from_number(fields.u8()?).ok_or_else(malformed)?;
            let beacons = (0..role.directions()).map(|_| next()).collect::<Result<_, _>>()?;
            RawHandle::Connection(RawConnection::open(arena, address, socket, beacons, role)?)
        }
        _ => return Err(malformed()),
    };
    if !fields.0.is_empty() {
        return Err(malformed());
    }
    Ok(handle)
}

/// The descriptors of a queue.
fn parts(next: &mut impl FnMut() -> Result<OwnedFd, Error>) -> Result<Parts<OwnedFd>, Error> {
    Parts::from_list(std::iter::from_fn(|| next().ok())).ok_or_else(malformed)
}

/// The indices of the descriptors that a record names.
pub(crate) fn indices(record: &[u8]) -> Result<Vec<u32>, Error> {
    let mut fields = Fields(record);
    fields.u8()?;
    let count = fields.u8()?;
    (0..count).map(|_| fields.u32()).collect()
}

/// Puts a handle into the message that is being written on this thread; `record` writes its record.
pub(crate) fn serialize<S: Serializer>(
    serializer: S,
    record: impl FnOnce(&mut Outgoing) -> Result<Vec<u8>, TransferError>,
) -> Result<S::Ok, S::Error> {
    let record = transfer::with_outgoing(record)
        .and_then(|record| record)
        .map_err(serde::ser::Error::custom)?;
    transfer::serialize_record(&record, serializer)
}

/// Opens a handle in the message that is being read on this thread; `pick` takes it, or says what is wrong with it.
pub(crate) fn deserialize<'de, T, D: Deserializer<'de>>(
    deserializer: D,
    pick: impl FnOnce(RawHandle) -> Result<T, String>,
) -> Result<T, D::Error> {
    let record = transfer::deserialize_record(deserializer)?;
    let handle = open_patiently(&record, &mut transfer::take).map_err(serde::de::Error::custom)?;
    pick(handle).map_err(serde::de::Error::custom)
}

fn malformed() -> Error {
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

    fn u16(&mut self) -> Result<u16, Error> {
        Ok(u16::from_le_bytes(self.take()?))
    }

    fn u32(&mut self) -> Result<u32, Error> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    fn u64(&mut self) -> Result<u64, Error> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    fn size(&mut self) -> Result<usize, Error> {
        usize::try_from(self.u64()?).map_err(|_| malformed())
    }

    fn address(&mut self) -> Result<SlotAddress, Error> {
        Ok(SlotAddress { slot: self.u32()?, generation: self.u32()? })
    }
}
