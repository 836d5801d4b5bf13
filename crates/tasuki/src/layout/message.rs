//! A message on its way into a queue, a channel or a pipe, all of which carry the same.

use std::os::fd::OwnedFd;

/// See the file's head.
#[derive(Clone, Copy, Debug)]
pub struct Outbound<'a> {
    /// What the bytes mean; who carries it does not look.
    pub codec: u16,
    /// The bytes, one part after the other.
    pub parts: &'a [&'a [u8]],
    /// Descriptors that travel with it.
    pub fds: &'a [OwnedFd],
}
