//! Connections whose ends are those of a pipe in shared memory.

use std::os::fd::OwnedFd;

use super::{Armed, Received};
use crate::layout::pipe::{self, Ended, Outbound, PipeEnd};
use crate::raw::Failure;
use crate::sync::Wait;

impl From<Ended> for Failure {
    fn from(why: Ended) -> Failure {
        match why {
            Ended::GaveUp(why) => Failure::GaveUp(why),
            Ended::Disconnected => Failure::Disconnected(None),
            Ended::Failed(error) => Failure::Failed(error),
        }
    }
}

#[inline]
pub(super) fn send(
    end: &PipeEnd,
    codec: u16,
    parts: &[&[u8]],
    fds: &[OwnedFd],
    wait: &mut Wait<'_>,
) -> Result<(), Failure> {
    Ok(end.send(&Outbound { codec, parts, fds }, wait)?)
}

#[inline]
pub(super) fn recv(
    end: &PipeEnd,
    buffer: &mut Vec<u8>,
    limit: usize,
    wait: &mut Wait<'_>,
) -> Result<Received, Failure> {
    let mut fds = Vec::new();
    let codec = end.receive(buffer, &mut fds, limit, wait)?;
    Ok(Received { codec, fds })
}

pub(super) fn arm(end: &PipeEnd) -> Result<Armed<'_>, Failure> {
    Ok(match end.arm()? {
        pipe::Armed::Ready => Armed::Ready,
        pipe::Armed::Sleep { beacon, socket } => Armed::Sleep(beacon, Some(socket)),
        pipe::Armed::Soon => Armed::Soon,
    })
}
