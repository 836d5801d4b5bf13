//! What joins the two ends of a connection: the same few calls, whatever it is.

use std::os::fd::OwnedFd;

use crate::protocol::codec::StructuredCodec;
use crate::protocol::transfer::{Outgoing, TransferError};
use crate::raw::{Failure, RawConnection, Wait};

/// See the file's head.
#[derive(Clone)]
pub(super) enum Transport {
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

    pub(super) fn poll(&self, wait: &mut Wait<'_>) -> Result<bool, Failure> {
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
