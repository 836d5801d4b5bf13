//! Descriptors that wait in a queue: a datagram socket connected to itself, or the pair of sockets of a channel.
//!
//! The kernel keeps what was sent until it is received or the last descriptor of the socket is gone, so
//! descriptors survive the death of their sender. A socket that is connected to itself accepts datagrams from nobody
//! else. The caller orders sends and receives by the queue's two locks.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};

/// How many descriptors one message can carry: the kernel's limit for one datagram.
pub(crate) const MOST: usize = 253;

/// What a datagram belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) ticket: u64,
    /// Tells apart the attempts of producers that died before they committed the same ticket.
    pub(crate) attempt: u32,
}

impl Label {
    fn to_bytes(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&self.ticket.to_le_bytes());
        bytes[8..].copy_from_slice(&self.attempt.to_le_bytes());
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8; 12]) -> Label {
        let (ticket, attempt) = bytes.split_at(8);
        Label {
            ticket: u64::from_le_bytes(ticket.try_into().expect("eight bytes")),
            attempt: u32::from_le_bytes(attempt.try_into().expect("four bytes")),
        }
    }
}

/// Makes the socket.
pub(crate) fn create() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    // Without a name the kernel picks a free abstract one.
    rustix::net::bind(&socket, &SocketAddrUnix::new_unnamed())?;
    let name = rustix::net::getsockname(&socket)?;
    rustix::net::connect(&socket, &name)?;
    Ok(socket)
}

/// Whether this is a socket at all that could be a descriptor socket.
pub(crate) fn is_descriptor_socket(socket: BorrowedFd<'_>) -> bool {
    matches!(rustix::net::sockopt::socket_type(socket), Ok(SocketType::DGRAM))
}

/// Makes the two connected sockets of a channel: what is sent into the first one comes out of the second.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let kind = SocketType::SEQPACKET;
    Ok(rustix::net::socketpair(AddressFamily::UNIX, kind, flags, None)?)
}

/// Whether this is a socket at all that could be an end of a channel.
pub(crate) fn is_channel_end(socket: BorrowedFd<'_>) -> bool {
    matches!(rustix::net::sockopt::socket_type(socket), Ok(SocketType::SEQPACKET))
}

/// Sends descriptors; `WouldBlock` when too many wait already.
pub(crate) fn send(socket: BorrowedFd<'_>, label: Label, fds: &[OwnedFd]) -> io::Result<()> {
    let bytes = label.to_bytes();
    let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    loop {
        match rustix::net::sendmsg(socket, &[io::IoSlice::new(&bytes)], &mut control, flags) {
            Err(Errno::INTR) => {}
            // The user's limit of descriptors in flight: full, too.
            Err(Errno::TOOMANYREFS | Errno::NOBUFS) => return Err(io::ErrorKind::WouldBlock.into()),
            other => return Ok(other.map(drop)?),
        }
    }
}

/// Copies the first datagram's descriptors without taking it; None when there is none.
pub(crate) fn peek(socket: BorrowedFd<'_>) -> io::Result<Option<(Label, Vec<OwnedFd>)>> {
    let mut bytes = [0; 12];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let received = loop {
        let mut parts = [io::IoSliceMut::new(&mut bytes)];
        match rustix::net::recvmsg(socket, &mut parts, &mut control, flags) {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(None),
            other => break other?,
        }
    };
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    if received.bytes == 0 && super::poll::peer(socket).is_gone {
        return Ok(None); // the end of a channel's socket
    }
    if received.bytes != bytes.len() {
        return Ok(Some((Label { ticket: 0, attempt: 0 }, Vec::new()))); // nobody's: to be dropped
    }
    Ok(Some((Label::from_bytes(&bytes), fds)))
}

/// The error that the kernel does not report when it leaves out descriptors for which the process has no room.
pub(crate) fn too_many_open_files() -> io::Error {
    Errno::MFILE.into()
}

/// Whether this process has room for what opening the objects behind `fds` takes: each once more, and one in passing.
pub(crate) fn can_open_as_many(fds: &[OwnedFd]) -> bool {
    let copies: Result<Vec<OwnedFd>, _> =
        fds.iter().chain(fds.first()).map(OwnedFd::try_clone).collect();
    copies.is_ok()
}

/// Takes the first datagram away; the kernel closes the descriptors that only it held.
pub(crate) fn drop_first(socket: BorrowedFd<'_>) {
    let mut byte = [0; 1];
    while let Err(Errno::INTR) =
        rustix::net::recv(socket, &mut byte, RecvFlags::DONTWAIT | RecvFlags::TRUNC)
    {}
}
