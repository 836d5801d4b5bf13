//! Connections of messages: a codec's tag, bytes and descriptors, over whatever joins the two ends.
//!
//! An end of a pipe talks through shared memory ([`RawConnection::pipe`]). All calls may be made by several threads and
//! processes at a time. A [`RawStream`] speaks the standard wire over a socket.

mod authenticating;
mod client;
mod key;
mod listener;
mod stream;
mod turn;

pub use authenticating::ConnectFailure;
pub use client::{ClientOptions, connect};
pub use key::AuthKey;
pub use listener::{ListenerOptions, RawListener};
pub use stream::{RawStream, StreamError, StreamLimits};

pub use crate::layout::pipe::{Armed, Mode, PipeEnd as RawConnection, Received};
pub use crate::sys::sockets::Address;

use super::record::{RecordReader, RecordWriter, Transferable, malformed};
use crate::error::Error;
use crate::layout::pipe::{self, Role};
use crate::protocol::transfer::TransferError;
use crate::segment::slot::SlotKind;

/// Says that a child of this process has ended and was waited for, by other means than this crate's: the next send to
/// it notices.
pub fn note_joined() {
    crate::sys::process::note_ended();
}

impl Transferable for RawConnection {
    const KINDS: &'static [u8] = &[14];
    const SLOTS: &'static [(SlotKind, SlotKind)] = pipe::SLOT_KINDS;

    fn kind(&self) -> u8 {
        14
    }

    fn write_record(&self, record: &mut RecordWriter<'_>) -> Result<(), TransferError> {
        record.slot(self.slot())?;
        for fd in self.to_share().map_err(TransferError::refused)? {
            record.descriptor(fd)?;
        }
        record.u8(self.role().number());
        Ok(())
    }

    fn read_record(record: &mut RecordReader<'_>) -> Result<RawConnection, Error> {
        let ((arena, address), socket) = (record.slot()?, record.descriptor()?);
        let role = Role::from_number(record.u8()?).ok_or_else(malformed)?;
        let eventfds =
            (0..role.directions()).map(|_| record.descriptor()).collect::<Result<_, _>>()?;
        RawConnection::open(arena, address, socket, eventfds, role)
    }

    fn name(&self) -> &'static str {
        "a connection"
    }
}
