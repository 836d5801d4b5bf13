//! What travels in messages, in one list: a new kind of object stands in a file of its own and in this list.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::connection::RawStream;
use super::record::{self, RecordReader, RecordWriter, Transferable, malformed};
use super::{
    RawBarrier, RawCondition, RawConnection, RawEvent, RawLock, RawQueue, RawReceiver, RawRwLock,
    RawSemaphore, RawSender, RawValue,
};
use crate::error::Error;
use crate::protocol::transfer::{Outgoing, TransferError};
#[cfg(test)]
use crate::segment::slot::SlotKind;

macro_rules! kinds {
    ($($(#[$doc:meta])+ $variant:ident($raw:ident),)+) => {
        /// Any handle that came in a message.
        #[derive(Debug)]
        pub enum RawHandle {
            $($(#[$doc])+ $variant($raw),)+
        }

        impl RawHandle {
            fn read(record: &mut RecordReader<'_>) -> Result<RawHandle, Error> {
                $(
                    if $raw::KINDS.contains(&record.kind()) {
                        return $raw::read_record(record).map(RawHandle::$variant);
                    }
                )+
                Err(malformed())
            }

            /// What it is, for messages to people.
            pub fn name(&self) -> &'static str {
                match self {
                    $(RawHandle::$variant(raw) => raw.name(),)+
                }
            }
        }

        $(
            impl $raw {
                /// The record that names this object in a message; what keeps it alive goes into `table`.
                pub fn record(&self, table: &mut Outgoing) -> Result<Vec<u8>, TransferError> {
                    let mut record = RecordWriter::new(table);
                    self.write_record(&mut record)?;
                    Ok(record.finish(self.kind()))
                }
            }
        )+

        #[cfg(test)]
        const ALL: &[(&str, &[u8], &[(SlotKind, SlotKind)])] =
            &[$((stringify!($raw), $raw::KINDS, $raw::SLOTS),)+];
    };
}

kinds! {
    /// A queue.
    Queue(RawQueue),
    /// The sending end of a channel.
    Sender(RawSender),
    /// The receiving end of a channel.
    Receiver(RawReceiver),
    /// A lock, recursive or not.
    Lock(RawLock),
    /// A lock of many readers or one writer, with what it guards.
    RwLock(RawRwLock),
    /// A value or an array, with its lock.
    Value(RawValue),
    /// An event.
    Event(RawEvent),
    /// A semaphore, bounded or not.
    Semaphore(RawSemaphore),
    /// A condition with its own lock.
    Condition(RawCondition),
    /// A barrier.
    Barrier(RawBarrier),
    /// An end of a pipe.
    Connection(RawConnection),
    /// An end of a connection over a socket.
    Stream(RawStream),
}

impl RawHandle {
    /// For how long it is worth while to try again.
    pub const OPEN_RETRY: Duration = Duration::from_secs(10);

    /// Opens what a record names; `descriptor` gives the message's descriptor with an index, as often as it is asked.
    ///
    /// What came in a message waits for nobody. Another handle may have to wait for one that was stopped in the middle
    /// of a step: then it is tried again for [`OPEN_RETRY`](RawHandle::OPEN_RETRY), before the error is
    /// [`Error::Busy`].
    pub fn open(
        record: &[u8],
        descriptor: &mut dyn FnMut(u32) -> Result<OwnedFd, TransferError>,
    ) -> Result<RawHandle, Error> {
        let start = Instant::now();
        loop {
            match RawHandle::open_now(record, descriptor) {
                Err(Error::Busy(_)) if start.elapsed() < RawHandle::OPEN_RETRY => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                other => return other,
            }
        }
    }

    /// As [`open`](RawHandle::open), with the error at once, for a caller that waits in its own way.
    pub fn open_now(
        record: &[u8],
        descriptor: &mut dyn FnMut(u32) -> Result<OwnedFd, TransferError>,
    ) -> Result<RawHandle, Error> {
        let mut record = RecordReader::new(record, descriptor)?;
        let handle = RawHandle::read(&mut record)?;
        record.finish()?;
        Ok(handle)
    }

    /// The indices of the descriptors that [`open`](RawHandle::open) will ask for.
    pub fn indices(record: &[u8]) -> Result<Vec<u32>, Error> {
        record::indices(record)
    }

    /// What to say when something else was expected.
    pub(crate) fn instead_of(&self, expected: &str) -> String {
        format!("{expected} was expected and {} came", self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::ALL;

    #[test]
    fn no_two_kinds_of_records_are_the_same() {
        let mut seen = HashMap::new();
        for (name, kinds, _) in ALL {
            for kind in *kinds {
                let other = seen.insert(kind, name);
                assert_eq!(other, None, "the records of {name} and {other:?} begin with {kind}");
            }
        }
    }

    #[test]
    fn no_two_kinds_of_slots_are_the_same() {
        let slots: Vec<_> = ALL
            .iter()
            .flat_map(|(name, _, slots)| slots.iter().map(move |(from, to)| (name, from.0, to.0)))
            .collect();
        assert!(slots.len() > 5, "{slots:?}");
        for (index, (name, from, to)) in slots.iter().enumerate() {
            assert!(0 < *from && from <= to, "{name}");
            for (other, first, last) in &slots[index + 1..] {
                assert!(to < first || last < from, "{name} and {other} share a kind of slot");
            }
        }
    }
}
