//! Handles as serde values, for the fronts: inside of a message that is being written, or read, on this thread.

use serde::{Deserializer, Serializer};

use super::RawHandle;
use crate::protocol::transfer::{self, Outgoing, TransferError};

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
    let handle = RawHandle::open(&record, &mut transfer::take).map_err(serde::de::Error::custom)?;
    pick(handle).map_err(serde::de::Error::custom)
}
