//! What joins the two ends of a connection: the same few calls, whatever it is.

#[cfg(feature = "tokio")]
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use crate::protocol::codec::StructuredCodec;
use crate::protocol::transfer::{Outgoing, TransferError};
use crate::raw::connection::Armed;
use crate::raw::{Failure, RawConnection, Wait};

/// See the file's head.
#[derive(Clone, Debug)]
pub(crate) enum Transport {
    /// Shared memory.
    Pipe(RawConnection),
}

impl Transport {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Transport::Pipe(_) => "pipe",
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
    ) -> Result<(), Failure> {
        match self {
            Transport::Pipe(raw) => raw.send(codec, &[bytes], fds, wait),
        }
    }

    /// The message's bytes go into `buffer`, its descriptors into `fds`; returns what the bytes mean.
    #[inline]
    pub(super) fn recv(
        &self,
        buffer: &mut Vec<u8>,
        fds: &mut Vec<OwnedFd>,
        wait: &mut Wait<'_>,
    ) -> Result<u16, Failure> {
        match self {
            Transport::Pipe(raw) => {
                let received = raw.recv(buffer, usize::MAX, wait)?;
                *fds = received.fds;
                Ok(received.codec)
            }
        }
    }

    /// Prepares a sleep on several things at once; see [`RawConnection::arm`].
    pub(crate) fn arm(&self) -> Result<Armed<'_>, Failure> {
        match self {
            Transport::Pipe(raw) => raw.arm(),
        }
    }

    /// A descriptor that is readable exactly if a receive would not block, and that can be polled with edges.
    #[cfg(feature = "tokio")]
    pub(crate) fn pollable(&self) -> Result<BorrowedFd<'_>, Failure> {
        match self {
            Transport::Pipe(raw) => raw.pollable(),
        }
    }

    pub(crate) fn poll(&self, wait: &mut Wait<'_>) -> Result<bool, Failure> {
        match self {
            Transport::Pipe(raw) => raw.poll(wait),
        }
    }

    pub(super) fn record(&self, table: &mut Outgoing) -> Result<Vec<u8>, TransferError> {
        match self {
            Transport::Pipe(raw) => raw.record(table),
        }
    }
}
