//! One end of a connection that speaks the standard library's wire over a descriptor of any kind.
//!
//! Nothing is read ahead of the message that is asked for, so that the descriptor can be polled, forked and handed over
//! between messages, as that of a standard connection. The state of a message in progress is in this object; what
//! `protocol::frame` makes of the bytes is in its README. This file is the object, how it sleeps and how it travels;
//! messages go out in `send.rs` and come in in `receive.rs`.

mod error;
mod receive;
mod send;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicU8;
use std::time::{Duration, Instant};

use super::turn::Turn;
use crate::error::Error;
use crate::protocol::transfer::TransferError;
use crate::raw::record::{RecordReader, RecordWriter, Transferable};
use crate::segment::slot::SlotKind;
use crate::sync::{GaveUp, Spin, Wait};
use crate::sys::sockets::{self, Address, Kind, Ready};

pub use error::StreamError;
use receive::Reading;
use send::Writing;

/// What a connection lets its peer do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamLimits {
    /// Most bytes of a message that is received; `None` is no limit.
    pub max_message: Option<u64>,
    /// Most time from the first byte of a message to its last, in either direction; `None` is no limit.
    pub message_timeout: Option<Duration>,
}

/// One end of a stream of messages. Any number of threads may use it; messages are never mixed.
pub struct RawStream {
    fd: OwnedFd,
    kind: Kind,
    limits: StreamLimits,
    reading: Turn<Reading>,
    writing: Turn<Writing>,
    /// How many messages in a row had to be waited for, modulo `TRIES_AFTER`. Only a hint.
    late: AtomicU8,
    /// How long to spin for what comes before sleeping.
    answers: Spin,
}

impl RawStream {
    /// The end that `fd` is: a connected socket of stream type, or an end of a pipe.
    pub fn new(fd: OwnedFd, limits: StreamLimits) -> RawStream {
        let kind = sockets::kind(fd.as_fd());
        let (reading, writing) = (Turn::new(Reading::default()), Turn::new(Writing::default()));
        RawStream {
            fd,
            kind,
            limits,
            reading,
            writing,
            late: AtomicU8::new(0),
            answers: Spin::new(),
        }
    }

    /// The descriptor: readable when `recv` would find something, the end included, or at least a part of a message.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Gives the descriptor away. What was received of a message that is not whole yet is lost.
    pub fn into_descriptor(self) -> OwnedFd {
        self.fd
    }

    /// What the peer may do.
    pub fn limits(&self) -> StreamLimits {
        self.limits
    }

    /// Who is at the other end; `None` when it is no socket, or not connected any more.
    pub fn peer(&self) -> Option<Address> {
        sockets::peer(self.descriptor())
    }

    /// Waits until there is something to receive, the end included; false if the time is over before. What is there may
    /// be a part of a message.
    pub fn poll(&self, wait: &mut Wait<'_>) -> Result<bool, StreamError> {
        loop {
            let (time, is_last) = match wait.slice() {
                Ok(slice) => (slice, false),
                Err(GaveUp::TimedOut) => (Duration::ZERO, true),
                Err(why) => return Err(StreamError::GaveUp(why)),
            };
            let ready = sockets::wait(self.fd.as_fd(), Ready::ToReceive, time)
                .map_err(StreamError::os("wait for a message"))?;
            if ready || is_last {
                return Ok(ready);
            }
        }
    }

    /// Sleeps for a slice, within the caller's time and that of a message which began at `since`; whether it is ready
    /// then.
    fn sleep(
        &self,
        ready: Ready,
        since: Option<Instant>,
        wait: &mut Wait<'_>,
    ) -> Result<bool, StreamError> {
        let mut slice = wait.slice().map_err(StreamError::GaveUp)?;
        if let (Some(since), Some(limit)) = (since, self.limits.message_timeout) {
            let left = limit.saturating_sub(since.elapsed());
            if left.is_zero() {
                return Err(StreamError::Stalled(limit));
            }
            slice = slice.min(left);
        }
        sockets::wait(self.fd.as_fd(), ready, slice).map_err(StreamError::os("wait for a peer"))
    }
}

impl Transferable for RawStream {
    const KINDS: &'static [u8] = &[15];
    const SLOTS: &'static [(SlotKind, SlotKind)] = &[];

    fn kind(&self) -> u8 {
        15
    }

    /// Nothing of it may be in this process alone. A limit of all bits set is none.
    fn write_record(&self, record: &mut RecordWriter<'_>) -> Result<(), TransferError> {
        if !self.is_between_messages() {
            let why = "a part of a message that came on this connection is in this process already";
            return Err(TransferError::refused(io::Error::other(why)));
        }
        record.descriptor(self.descriptor())?;
        let StreamLimits { max_message, message_timeout } = self.limits();
        let time = message_timeout.and_then(|time| u64::try_from(time.as_nanos()).ok());
        record.u64(max_message.unwrap_or(u64::MAX));
        record.u64(time.unwrap_or(u64::MAX));
        Ok(())
    }

    fn read_record(record: &mut RecordReader<'_>) -> Result<RawStream, Error> {
        let socket = record.descriptor()?;
        let mut limit = || Ok::<_, Error>(Some(record.u64()?).filter(|&n| n != u64::MAX));
        let (max_message, time) = (limit()?, limit()?);
        let message_timeout = time.map(Duration::from_nanos);
        Ok(RawStream::new(socket, StreamLimits { max_message, message_timeout }))
    }

    fn name(&self) -> &'static str {
        "a connection over a socket"
    }
}

impl fmt::Debug for RawStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawStream").field("fd", &self.fd).finish_non_exhaustive()
    }
}
