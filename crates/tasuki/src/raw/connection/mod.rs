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

use crate::protocol::transfer::{Outgoing, TransferError};

/// Says that a child of this process has ended and was waited for, by other means than this crate's: the next send to it notices.
pub fn note_joined() {
    crate::sys::process::note_ended();
}

impl RawConnection {
    /// The record that names this end in a message; its descriptors go into `table`. The end is not closed by that.
    pub fn record(&self, table: &mut Outgoing) -> Result<Vec<u8>, TransferError> {
        crate::handle::write_pipe_end(self, table)
    }
}
