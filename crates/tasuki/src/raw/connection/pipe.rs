//! Connections whose ends are those of a pipe in shared memory.

use std::os::fd::OwnedFd;

use super::{Armed, Received};
use crate::layout::failure::TransportFailure;
use crate::layout::pipe::{self, Outbound, PipeEnd};
use crate::sync::Wait;

#[inline]
pub(super) fn send(
    end: &PipeEnd,
    codec: u16,
    parts: &[&[u8]],
    fds: &[OwnedFd],
    wait: &mut Wait<'_>,
) -> Result<(), TransportFailure> {
    end.send(&Outbound { codec, parts, fds }, wait)
}

#[inline]
pub(super) fn recv(
    end: &PipeEnd,
    buffer: &mut Vec<u8>,
    limit: usize,
    wait: &mut Wait<'_>,
) -> Result<Received, TransportFailure> {
    let mut fds = Vec::new();
    let codec = end.receive(buffer, &mut fds, limit, wait)?;
    Ok(Received { codec, fds })
}

pub(super) fn arm(end: &PipeEnd) -> Result<Armed<'_>, TransportFailure> {
    Ok(match end.arm()? {
        pipe::Armed::Ready => Armed::Ready,
        pipe::Armed::Sleep { beacon, socket } => Armed::Sleep(beacon, Some(socket)),
        pipe::Armed::Soon => Armed::Soon,
    })
}
