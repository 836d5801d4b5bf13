//! Connections of messages: a codec's tag, bytes and descriptors, over whatever joins the two ends.
//!
//! An end of a pipe talks through shared memory ([`RawConnection::pipe`]). All calls may be made by several threads and
//! processes at a time. A [`RawStream`] speaks the standard wire over a socket.

mod authenticating;
mod client;
mod key;
mod listener;
mod pipe;
mod stream;
mod turn;

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

pub use authenticating::ConnectFailure;
pub use client::{ClientOptions, connect};
pub use key::AuthKey;
pub use listener::{ListenerOptions, RawListener};
pub use stream::{RawStream, StreamError, StreamLimits};

pub use crate::layout::pipe::Mode;
pub use crate::sys::sockets::Address;

use super::TransportFailure;
use crate::error::Error;
use crate::layout::pipe::PipeEnd;
use crate::protocol::transfer::{Outgoing, TransferError};
use crate::sync::Wait;

/// Says that a child of this process has ended and was waited for, by other means than this crate's: the next send to it notices.
pub fn note_joined() {
    crate::sys::process::note_ended();
}

/// One end of a connection. A clone is the same end; the end is closed when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct RawConnection {
    transport: Transport,
}

/// What joins the two ends.
#[derive(Clone, Debug)]
enum Transport {
    Pipe(Arc<PipeEnd>),
}

/// A message that was received; its bytes are in the caller's buffer.
#[derive(Debug)]
pub struct Received {
    /// What the bytes mean.
    pub codec: u16,
    /// The descriptors that came along.
    pub fds: Vec<OwnedFd>,
}

/// What [`RawConnection::arm`] found.
#[derive(Debug)]
pub enum Armed<'a> {
    /// A receive would not block.
    Ready,
    /// Poll the first descriptor for reading and the other one for nothing but its end (`POLLHUP`), half a second at most, then
    /// ask again.
    Sleep(BorrowedFd<'a>, Option<BorrowedFd<'a>>),
    /// Somebody is sending at this moment. Ask again in a millisecond or so.
    Soon,
}

impl RawConnection {
    /// Makes a pipe and gives its two ends. Of a simplex one the first receives and the second sends.
    pub fn pipe(mode: Mode) -> Result<(RawConnection, RawConnection), Error> {
        let (one, other) = PipeEnd::pair(mode)?;
        Ok((RawConnection::from_pipe(one), RawConnection::from_pipe(other)))
    }

    pub(crate) fn from_pipe(end: PipeEnd) -> RawConnection {
        RawConnection { transport: Transport::Pipe(Arc::new(end)) }
    }

    /// Whether messages can come out of this end.
    pub fn is_readable(&self) -> bool {
        match &self.transport {
            Transport::Pipe(end) => end.role().receives(),
        }
    }

    /// Whether messages can be sent from this end.
    pub fn is_writable(&self) -> bool {
        match &self.transport {
            Transport::Pipe(end) => end.role().sends(),
        }
    }

    /// Sends a message of `codec` that consists of `parts`, one after the other, together with `fds`.
    ///
    /// Waits for room. After a failure nobody receives it, not even a part. `Disconnected`: nobody has the other end. A
    /// message that does not fit at once is never sent with [`Wait::now`].
    #[inline]
    pub fn send(
        &self,
        codec: u16,
        parts: &[&[u8]],
        fds: &[OwnedFd],
        wait: &mut Wait<'_>,
    ) -> Result<(), TransportFailure> {
        match &self.transport {
            Transport::Pipe(end) => pipe::send(end, codec, parts, fds, wait),
        }
    }

    /// Receives a message into `buffer`, which is emptied first. One of more than `limit` bytes is not received: it stays
    /// where it is, and every call with that limit gives the same error, [`Error::Limit`]. `Disconnected`: nobody has the
    /// other end, and there is no message left.
    ///
    /// A call that gives up in the middle of a message loses nothing: the next one goes on.
    #[inline]
    pub fn recv(
        &self,
        buffer: &mut Vec<u8>,
        limit: usize,
        wait: &mut Wait<'_>,
    ) -> Result<Received, TransportFailure> {
        match &self.transport {
            Transport::Pipe(end) => pipe::recv(end, buffer, limit, wait),
        }
    }

    /// Waits until a receive would not block, since there is a message or the end; false: not within the time.
    pub fn poll(&self, wait: &mut Wait<'_>) -> Result<bool, TransportFailure> {
        match &self.transport {
            Transport::Pipe(end) => end.wait_ready(wait),
        }
    }

    /// Prepares a sleep on several things at once: after this a message makes a descriptor readable. It may be readable
    /// for nothing, so ask again whenever it is. Costs senders nothing but the message after it. Waits for nobody.
    pub fn arm(&self) -> Result<Armed<'_>, TransportFailure> {
        match &self.transport {
            Transport::Pipe(end) => pipe::arm(end),
        }
    }

    /// A descriptor for selectors and event loops that is readable exactly if a receive would not block. The same one at
    /// each call. From the first call on a message costs a system call at each end when it comes to an empty pipe or leaves one;
    /// [`arm`](RawConnection::arm) does not do that. Waits for nobody.
    pub fn pollable(&self) -> Result<BorrowedFd<'_>, TransportFailure> {
        match &self.transport {
            Transport::Pipe(end) => end.pollable(),
        }
    }

    /// The socket that knows who is there. Whether it is readable says nothing exact, see [`pollable`](RawConnection::pollable).
    pub fn socket(&self) -> Result<BorrowedFd<'_>, Error> {
        match &self.transport {
            Transport::Pipe(end) => end.socket(),
        }
    }

    /// Closes this end at once, though others of this process still use it: they find the end of the connection, within
    /// half a second if they sleep.
    pub fn hang_up(&self) -> Result<(), Error> {
        match &self.transport {
            Transport::Pipe(end) => end.hang_up(),
        }
    }

    /// The record that names this end in a message; its descriptors go into `table`. The end is not closed by that.
    pub fn record(&self, table: &mut Outgoing) -> Result<Vec<u8>, TransferError> {
        match &self.transport {
            Transport::Pipe(end) => crate::handle::write_pipe_end(end, table),
        }
    }
}
