//! Descriptors on the road: a packet socket that carries bytes together with descriptors, and
//! sealed memory for bytes that are too many for a socket. Called by `launch`; it knows nothing of
//! what the bytes mean, and it never blocks on a full socket.
//!
//! # Packets
//!
//! One message is one or more packets of a `SOCK_SEQPACKET` socket. The kernel takes at most 253
//! descriptors in a packet, so a message with more of them continues in packets of one byte each:
//!
//! ```text
//! first packet   u32 LE number of descriptors | bytes          + descriptors 0..253
//! continuation   one byte                                      + descriptors 253..506   and so on
//! ```

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::{FileType, MemfdFlags, OFlags, SealFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

/// What the kernel takes in one packet (its `SCM_MAX_FD`).
pub(crate) const DESCRIPTORS_PER_PACKET: usize = 253;

/// The most bytes [`send`] takes: what surely fits into an empty socket of default size.
pub(crate) const BYTES_PER_MESSAGE: usize = 64 * 1024;

/// The bytes in front of a message: the number of descriptors that belong to it.
const PREFIX: usize = 4;

/// The seals of memory that nobody can change any more.
const SEALED: SealFlags =
    SealFlags::SEAL.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::WRITE);

/// Two connected packet sockets, both closed on exec and numbered above the standard streams.
#[doc(alias = "socketpair")]
pub(crate) fn socket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (a, b) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    Ok((above_standard_streams(a)?, above_standard_streams(b)?))
}

/// A pipe, read end first; both ends are closed on exec.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}

/// The same descriptor under a number of 3 or more: a program may run with its standard streams
/// closed, and what took their numbers would be lost when a child gets streams of its own.
pub(crate) fn above_standard_streams(fd: OwnedFd) -> io::Result<OwnedFd> {
    use std::os::fd::AsRawFd;
    if fd.as_raw_fd() > 2 { Ok(fd) } else { Ok(rustix::io::fcntl_dupfd_cloexec(fd, 3)?) }
}

/// Sends one message: `bytes` (at most [`BYTES_PER_MESSAGE`]) and descriptors, any number.
///
/// Does not wait: a full socket is the error `WouldBlock`. A peer that is gone is `BrokenPipe`,
/// never a signal. After an error a part of the packets may have been sent; the receiver then finds
/// the message incomplete.
#[doc(alias = "SCM_RIGHTS")]
#[doc(alias = "sendmsg")]
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    debug_assert!(bytes.len() <= BYTES_PER_MESSAGE);
    let count = u32::try_from(descriptors.len())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors"))?;
    let (first, rest) = descriptors.split_at(descriptors.len().min(DESCRIPTORS_PER_PACKET));
    send_packet(socket, &[IoSlice::new(&count.to_le_bytes()), IoSlice::new(bytes)], first)?;
    for chunk in rest.chunks(DESCRIPTORS_PER_PACKET) {
        send_packet(socket, &[IoSlice::new(&[0])], chunk)?;
    }
    Ok(())
}

fn send_packet(
    socket: BorrowedFd<'_>,
    parts: &[IoSlice<'_>],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let mut space =
        [MaybeUninit::<u8>::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_PER_PACKET))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        let fits = control.push(SendAncillaryMessage::ScmRights(descriptors));
        debug_assert!(fits, "the space is that of a full packet");
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    loop {
        // A packet is taken whole or not at all, so the number of bytes needs no look.
        match rustix::net::sendmsg(socket, parts, &mut control, flags) {
            Ok(_) => return Ok(()),
            // A reset says once that the peer ended with unread packets; the next try says it is
            // gone.
            Err(Errno::INTR | Errno::CONNRESET) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// What [`receive`] found on a socket.
pub(crate) enum Received {
    /// A whole message.
    Message(Vec<u8>, Vec<OwnedFd>),
    /// Nothing is there now, and the peer might still send.
    Nothing,
    /// The peer is gone and everything that it sent was read.
    Closed,
}

/// Whether [`receive`] may sleep.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Sleep until a message or the end comes.
    ForMessage,
    /// Answer at once.
    Never,
}

/// Receives one message; every descriptor in it is closed on exec.
///
/// A message that is cut off, or is none of ours, is the error `InvalidData`; its descriptors are
/// closed.
#[doc(alias = "recvmsg")]
pub(crate) fn receive(socket: BorrowedFd<'_>, wait: Wait) -> io::Result<Received> {
    let mut buffer = vec![0; PREFIX + BYTES_PER_MESSAGE];
    let mut descriptors = Vec::new();
    let length = match receive_packet(socket, &mut buffer, &mut descriptors, wait) {
        Ok(0) => return Ok(Received::Closed),
        Ok(length) => length,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Received::Nothing),
        Err(error) => return Err(error),
    };
    let Some((prefix, _)) = buffer[..length].split_first_chunk::<PREFIX>() else {
        return Err(garbage("a packet is shorter than its prefix"));
    };
    let count = u32::from_le_bytes(*prefix) as usize;
    while descriptors.len() < count {
        let before = descriptors.len();
        // The sender put all packets into the socket one after another, so this waits for no work
        // of its: it comes to an end with the last packet or with the sender.
        receive_packet(socket, &mut [0], &mut descriptors, wait)?;
        if descriptors.len() == before {
            return Err(garbage("the sender went away in the middle of a message"));
        }
    }
    if descriptors.len() != count {
        return Err(garbage("a packet brought more descriptors than were announced"));
    }
    buffer.truncate(length);
    buffer.drain(..PREFIX);
    Ok(Received::Message(buffer, descriptors))
}

fn receive_packet(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
    wait: Wait,
) -> io::Result<usize> {
    let mut space =
        [MaybeUninit::<u8>::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_PER_PACKET))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = match wait {
        Wait::ForMessage => RecvFlags::CMSG_CLOEXEC,
        Wait::Never => RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
    };
    let received = loop {
        match rustix::net::recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, flags) {
            Ok(received) => break received,
            // A reset says once that the peer ended with unread packets of ours; its own packets
            // can still be read.
            Err(Errno::INTR | Errno::CONNRESET) => {}
            Err(error) => return Err(error.into()),
        }
    };
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    if received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::Error::other(
            "some descriptors did not arrive: this process may open no more (see `ulimit -n`)",
        ));
    }
    if received.flags.contains(ReturnFlags::TRUNC) {
        return Err(garbage("a packet is longer than any of ours"));
    }
    Ok(received.bytes)
}

fn garbage(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Memory that holds `parts` one after another and that nobody can change, not even the caller.
#[doc(alias = "memfd_create")]
pub(crate) fn sealed_memory(name: &str, parts: &[&[u8]]) -> io::Result<OwnedFd> {
    let fd = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = File::from(fd);
    let mut write = || parts.iter().try_for_each(|part| file.write_all(part));
    super::memory::within_file_limit(|| {
        write().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
    })?;
    rustix::fs::fcntl_add_seals(&file, SEALED)?;
    Ok(file.into())
}

/// The whole content of memory from [`sealed_memory`]; anything else is refused.
pub(crate) fn read_sealed_memory(memory: OwnedFd) -> io::Result<Vec<u8>> {
    if !rustix::fs::fcntl_get_seals(&memory).is_ok_and(|seals| seals.contains(SEALED)) {
        return Err(garbage("a message points to memory that could still change"));
    }
    let file = File::from(memory);
    let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length)?;
    // Not `read`: the position belongs to everybody who holds the descriptor.
    Read::read_to_end(&mut FromStart { file: &file, position: 0 }, &mut bytes)?;
    Ok(bytes)
}

struct FromStart<'a> {
    file: &'a File,
    position: u64,
}

impl Read for FromStart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}

/// A duplicate of descriptor `number` of another process, of whatever kind it is. Needs the right to trace that
/// process, which some containers and hardened systems do not give even to the same user.
pub(crate) fn take_from_process(pid: u32, number: i32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    let process = rustix::process::pidfd_open(
        pid.ok_or(io::ErrorKind::InvalidInput)?,
        rustix::process::PidfdFlags::empty(),
    )?;
    let flags = rustix::process::PidfdGetfdFlags::empty();
    Ok(rustix::process::pidfd_getfd(&process, number, flags)?)
}

/// The number by which the kernel knows this socket, the same in every process that holds it;
/// `None` for whatever is no socket.
pub(crate) fn socket_inode(fd: impl AsFd) -> Option<u64> {
    let status = rustix::fs::fstat(fd).ok()?;
    let kind = rustix::fs::FileType::from_raw_mode(status.st_mode);
    (kind == rustix::fs::FileType::Socket).then_some(status.st_ino)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(socket: &OwnedFd) -> (Vec<u8>, Vec<OwnedFd>) {
        match receive(socket.as_fd(), Wait::Never).unwrap() {
            Received::Message(bytes, descriptors) => (bytes, descriptors),
            Received::Nothing => panic!("nothing there"),
            Received::Closed => panic!("closed"),
        }
    }

    #[test]
    fn any_number_of_descriptors_arrives_in_order() {
        let (a, b) = socket_pair().unwrap();
        for count in [0, 1, 252, 253, 254, 506, 600] {
            let files: Vec<OwnedFd> = (0..count)
                .map(|i: usize| sealed_memory("t", &[&i.to_le_bytes()]).unwrap())
                .collect();
            let borrowed: Vec<_> = files.iter().map(AsFd::as_fd).collect();
            send(a.as_fd(), b"hello", &borrowed).unwrap();
            drop(files);
            let (bytes, descriptors) = message(&b);
            assert_eq!(bytes, b"hello");
            assert_eq!(descriptors.len(), count);
            for (i, descriptor) in descriptors.into_iter().enumerate() {
                assert_eq!(read_sealed_memory(descriptor).unwrap(), i.to_le_bytes());
            }
        }
    }

    #[test]
    fn messages_wait_for_a_reader_that_comes_after_the_sender_left() {
        let (a, b) = socket_pair().unwrap();
        assert!(matches!(receive(b.as_fd(), Wait::Never), Ok(Received::Nothing)));
        send(a.as_fd(), b"", &[]).unwrap();
        send(a.as_fd(), &vec![7; BYTES_PER_MESSAGE], &[]).unwrap();
        drop(a);
        assert_eq!(message(&b).0, b"");
        assert_eq!(message(&b).0, vec![7; BYTES_PER_MESSAGE]);
        assert!(matches!(receive(b.as_fd(), Wait::ForMessage), Ok(Received::Closed)));
    }

    #[test]
    fn a_full_or_a_dead_socket_is_an_error_and_not_a_wait() {
        let (a, b) = socket_pair().unwrap();
        let full = loop {
            if let Err(error) = send(a.as_fd(), &[0; 1024], &[]) {
                break error;
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        drop(b);
        assert_eq!(send(a.as_fd(), b"x", &[]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn garbage_is_refused() {
        let (a, b) = socket_pair().unwrap();
        rustix::net::send(&a, b"abc", SendFlags::empty()).unwrap();
        assert!(receive(b.as_fd(), Wait::Never).is_err(), "shorter than a prefix");
        rustix::net::send(&a, &[1, 0, 0, 0, 9], SendFlags::empty()).unwrap();
        drop(a);
        assert!(receive(b.as_fd(), Wait::ForMessage).is_err(), "the descriptor never comes");
    }

    #[test]
    fn only_sealed_memory_is_read() {
        let open = rustix::fs::memfd_create("t", MemfdFlags::ALLOW_SEALING).unwrap();
        assert!(read_sealed_memory(open).is_err());
        let (a, _b) = socket_pair().unwrap();
        assert!(read_sealed_memory(a).is_err());
    }
}

/// What tells that a number still means the descriptor it meant before: meanwhile it may have been closed and given to
/// another file.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(crate) struct FileIdentity {
    device: u64,
    inode: u64,
    flags: OFlags,
}

impl FileIdentity {
    /// `None` for the kernel's anonymous files (eventfd, pidfd, epoll): they share one inode, so nothing tells two of
    /// them apart.
    pub(crate) fn of(fd: BorrowedFd<'_>) -> io::Result<Option<FileIdentity>> {
        let stat = rustix::fs::fstat(fd)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Unknown {
            return Ok(None);
        }
        let flags = rustix::fs::fcntl_getfl(fd)?;
        Ok(Some(FileIdentity { device: stat.st_dev, inode: stat.st_ino, flags }))
    }
}
