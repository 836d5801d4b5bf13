//! What joins the two ends of a connection: the same few calls, whatever it is.

#[cfg(feature = "tokio")]
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::protocol::codec::{Codec, StructuredCodec};
use crate::protocol::transfer::{Outgoing, TransferError};
use crate::raw::connection::{Armed, RawStream};
use crate::raw::{RawConnection, TransportFailure, Wait};

/// See the file's head.
#[derive(Clone, Debug)]
pub(crate) enum Transport {
    /// Shared memory.
    Pipe(RawConnection),
    /// A socket, whose messages have no tag: `encoded::write_untagged` makes them.
    Stream(Arc<RawStream>),
}

impl Transport {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Transport::Pipe(_) => "pipe",
            Transport::Stream(_) => "socket",
        }
    }

    /// How structured values are written.
    #[inline]
    pub(super) fn structured(&self) -> StructuredCodec {
        StructuredCodec::MessagePack
    }

    #[inline]
    pub(super) fn send(
        &self,
        codec: u16,
        bytes: &[u8],
        fds: &[OwnedFd],
        wait: &mut Wait<'_>,
    ) -> Result<(), TransportFailure> {
        match self {
            Transport::Pipe(raw) => raw.send(codec, &[bytes], fds, wait),
            Transport::Stream(raw) => Ok(raw.send(&[bytes], wait)?),
        }
    }

    /// The message's bytes go into `buffer`, its descriptors into `fds`; returns what the bytes mean.
    #[inline]
    pub(super) fn recv(
        &self,
        buffer: &mut Vec<u8>,
        fds: &mut Vec<OwnedFd>,
        wait: &mut Wait<'_>,
    ) -> Result<u16, TransportFailure> {
        match self {
            Transport::Pipe(raw) => raw.recv_with(buffer, fds, usize::MAX, wait),
            Transport::Stream(raw) => {
                raw.recv(buffer, None, wait)?;
                Ok(Codec::Raw.tag())
            }
        }
    }

    /// Prepares a sleep on several things at once; see [`RawConnection::arm`].
    pub(crate) fn arm(&self) -> Result<Armed<'_>, TransportFailure> {
        match self {
            Transport::Pipe(raw) => raw.arm(),
            Transport::Stream(raw) => match raw.poll_message(&mut Wait::now())? {
                true => Ok(Armed::Ready),
                false => Ok(Armed::Sleep(raw.descriptor(), None)),
            },
        }
    }

    /// A descriptor that is readable exactly if a receive would not block, and that can be polled with edges.
    #[cfg(feature = "tokio")]
    pub(crate) fn pollable(&self) -> Result<BorrowedFd<'_>, TransportFailure> {
        match self {
            Transport::Pipe(raw) => raw.pollable(),
            // Readable for a part of a message, too, which the receive that follows takes.
            Transport::Stream(raw) => Ok(raw.descriptor()),
        }
    }

    pub(crate) fn poll(&self, wait: &mut Wait<'_>) -> Result<bool, TransportFailure> {
        match self {
            Transport::Pipe(raw) => raw.poll(wait),
            Transport::Stream(raw) => Ok(raw.poll_message(wait)?),
        }
    }

    pub(super) fn record(&self, table: &mut Outgoing) -> Result<Vec<u8>, TransferError> {
        match self {
            Transport::Pipe(raw) => raw.record(table),
            Transport::Stream(raw) => raw.record(table),
        }
    }
}
