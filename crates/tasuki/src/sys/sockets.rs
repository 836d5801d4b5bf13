//! Stream sockets: listening, connecting, and moving bytes without ever waiting in a call.
//!
//! Whether a descriptor blocks is a property of what all its copies share, in other processes too, so it is left as
//! it is: calls that must not wait say so each time, and whoever waits does it in [`wait`]. Called by
//! `raw::connection`. A peer that is gone is an error, never a signal.
#![allow(unsafe_code)] // says how much of a vector's spare memory the kernel has filled

use std::io::{self, IoSlice};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::buffer::Buffer;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, SocketFlags, SocketType};

use super::descriptors::above_standard_streams;
pub use super::socket_address::Address;
use super::socket_address::Resolved;

/// What a descriptor is, which decides how bytes go through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Socket,
    /// A pipe, most likely: it has no call that does not wait, so it is asked first.
    Other,
}

/// What `fd` is.
pub(crate) fn kind(fd: BorrowedFd<'_>) -> Kind {
    match sockopt::socket_type(fd) {
        Ok(_) => Kind::Socket,
        Err(_) => Kind::Other,
    }
}

/// Reads into the front of `into`; 0 is the end of the stream, `WouldBlock` that nothing is there now.
pub(crate) fn receive(fd: BorrowedFd<'_>, kind: Kind, into: &mut [u8]) -> io::Result<usize> {
    receive_into(fd, kind, into)
}

/// As `receive`, at the end of a vector, at most `most` bytes for which it has memory already.
pub(crate) fn receive_at_end(
    fd: BorrowedFd<'_>,
    kind: Kind,
    into: &mut Vec<u8>,
    most: usize,
) -> io::Result<usize> {
    let spare = into.spare_capacity_mut();
    let most = most.min(spare.len());
    let count = receive_into(fd, kind, &mut spare[..most])?.0.len();
    let length = into.len() + count;
    // SAFETY: the kernel filled `count` bytes of the spare memory, which begins at the vector's length.
    unsafe { into.set_len(length) };
    Ok(count)
}

fn receive_into<B: Buffer<u8>>(fd: BorrowedFd<'_>, kind: Kind, into: B) -> io::Result<B::Output> {
    let received = match kind {
        Kind::Socket => {
            rustix::net::recv(fd, into, RecvFlags::DONTWAIT).map(|(received, _)| received)
        }
        // What another reader took between the two calls makes this wait; a pipe has one reader.
        Kind::Other if is_ready(fd, PollFlags::IN)? => rustix::io::read(fd, into),
        Kind::Other => Err(Errno::AGAIN),
    };
    received.map_err(or_nothing_now)
}

/// Sends from the front of `parts`, as much as there is room for; `WouldBlock` when there is none.
#[doc(alias = "sendmsg")]
pub(crate) fn send(fd: BorrowedFd<'_>, kind: Kind, parts: &[IoSlice<'_>]) -> io::Result<usize> {
    /// What a pipe takes without waiting when it takes anything at all, and in one piece.
    const PIPE_TAKES: usize = 4096;
    /// The kernel's limit for the parts of one call.
    const MOST_PARTS: usize = 1024;
    let parts = &parts[..parts.len().min(MOST_PARTS)];
    let sent = match kind {
        Kind::Socket => {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            rustix::net::sendmsg(fd, parts, &mut SendAncillaryBuffer::default(), flags)
        }
        Kind::Other if is_ready(fd, PollFlags::OUT)? => {
            let mut room = PIPE_TAKES;
            let fitting: Vec<IoSlice<'_>> = parts
                .iter()
                .map_while(|part| {
                    let part = &part[..part.len().min(room)];
                    room -= part.len();
                    (!part.is_empty() || room > 0).then(|| IoSlice::new(part))
                })
                .collect();
            rustix::io::writev(fd, &fitting)
        }
        Kind::Other => Err(Errno::AGAIN),
    };
    sent.map_err(or_nothing_now)
}

fn or_nothing_now(error: Errno) -> io::Error {
    match error {
        Errno::INTR => io::ErrorKind::WouldBlock.into(),
        other => other.into(),
    }
}

fn is_ready(fd: BorrowedFd<'_>, events: PollFlags) -> io::Result<bool> {
    let mut polled = [PollFd::from_borrowed_fd(fd, events)];
    poll(&mut polled, Duration::ZERO)?;
    Ok(!polled[0].revents().is_empty())
}

/// What a descriptor may become ready for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    /// Something can be read, or the end.
    ToReceive,
    /// Something can be sent, or the error why not.
    ToSend,
}

impl Ready {
    fn events(self) -> PollFlags {
        match self {
            Ready::ToReceive => PollFlags::IN,
            Ready::ToSend => PollFlags::OUT,
        }
    }
}

/// Sleeps until `fd` is ready, some time is over or a signal came, and returns whether it is ready.
#[doc(alias = "poll")]
pub(crate) fn wait(fd: BorrowedFd<'_>, ready: Ready, time: Duration) -> io::Result<bool> {
    let mut polled = [PollFd::from_borrowed_fd(fd, ready.events())];
    poll(&mut polled, time)?;
    Ok(!polled[0].revents().is_empty())
}

/// Sleeps until one of them is ready, some time is over or a signal came, and returns which ones are.
pub(crate) fn wait_for_any(
    waited: &[(BorrowedFd<'_>, Ready)],
    time: Duration,
) -> io::Result<Vec<bool>> {
    let mut polled: Vec<PollFd<'_>> =
        waited.iter().map(|(fd, ready)| PollFd::from_borrowed_fd(*fd, ready.events())).collect();
    poll(&mut polled, time)?;
    Ok(polled.iter().map(|polled| !polled.revents().is_empty()).collect())
}

fn poll(polled: &mut [PollFd<'_>], time: Duration) -> io::Result<()> {
    let time = rustix::time::Timespec::try_from(time).map_err(io::Error::other)?;
    match rustix::event::poll(polled, Some(&time)) {
        Err(Errno::INTR) => {
            polled.iter_mut().for_each(PollFd::clear_revents);
            Ok(())
        }
        other => Ok(other.map(drop)?),
    }
}

/// Makes a socket that listens, and says where: with the port or name that the kernel chose.
#[doc(alias = "bind")]
pub(crate) fn listen(address: &Address, backlog: i32) -> io::Result<(OwnedFd, Address)> {
    first_that_works(address, |resolved| {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = stream_socket(resolved, flags)?;
        if matches!(resolved, Resolved::Inet(_)) {
            sockopt::set_socket_reuseaddr(&socket, true)?;
        }
        rustix::net::bind(&socket, &resolved.kernel())?;
        rustix::net::listen(&socket, backlog)?;
        let name = Address::of(rustix::net::getsockname(&socket)?);
        Ok((socket, name))
    })
}

/// What [`accept`] found.
pub(crate) enum Accepted {
    /// A connection, and who made it.
    Connection(OwnedFd, Address),
    Nobody,
    /// The process or the machine has no room for another descriptor.
    NoRoom(io::Error),
}

/// Takes the first connection from a listening socket, without waiting.
pub(crate) fn accept(listening: BorrowedFd<'_>) -> io::Result<Accepted> {
    match rustix::net::acceptfrom_with(listening, SocketFlags::CLOEXEC) {
        Ok((socket, peer)) => {
            let peer = peer.map_or(Address::Unnamed, Address::of);
            prepare(&socket, &peer);
            Ok(Accepted::Connection(above_standard_streams(socket)?, peer))
        }
        Err(error @ (Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)) => {
            Ok(Accepted::NoRoom(error.into()))
        }
        Err(error @ (Errno::BADF | Errno::INVAL | Errno::NOTSOCK | Errno::OPNOTSUPP)) => {
            Err(error.into())
        }
        // Nobody there, or somebody who is gone again: on Linux its errors come here.
        Err(_) => Ok(Accepted::Nobody),
    }
}

/// Tells the peer that nothing more comes, where the descriptor is a socket.
#[doc(alias = "shutdown")]
pub(crate) fn end_sending(fd: BorrowedFd<'_>) {
    let _ = rustix::net::shutdown(fd, rustix::net::Shutdown::Write);
}

/// Who is at the other end.
pub(crate) fn peer(socket: BorrowedFd<'_>) -> Option<Address> {
    Some(rustix::net::getpeername(socket).ok()?.map_or(Address::Unnamed, Address::of))
}

/// A connection that is being made, a slice of time after the other.
pub(crate) struct Connecting {
    tries: std::vec::IntoIter<Resolved>,
    socket: Option<(OwnedFd, Resolved, Progress)>,
    last_error: Option<io::Error>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// Nothing was sent yet.
    Not,
    /// The kernel goes on by itself.
    UnderWay,
}

impl Connecting {
    /// Looks an address up, which may take a while if it is a name.
    pub(crate) fn to(address: &Address) -> io::Result<Connecting> {
        let tries = address.resolve()?.into_iter();
        Ok(Connecting { tries, socket: None, last_error: None })
    }

    /// Works on it for some time; the connection, when there is one.
    #[doc(alias = "connect")]
    pub(crate) fn go_on(&mut self, time: Duration) -> io::Result<Option<OwnedFd>> {
        let (socket, to, progress) = match self.socket.take() {
            Some(begun) => begun,
            None => match self.tries.next() {
                Some(next) => (stream_socket(&next, SocketFlags::CLOEXEC)?, next, Progress::Not),
                None => {
                    let nothing = || io::Error::from(io::ErrorKind::AddrNotAvailable);
                    return Err(self.last_error.take().unwrap_or_else(nothing));
                }
            },
        };
        match step(&socket, &to, progress, time) {
            Ok(true) => {
                sockopt::set_socket_timeout(&socket, Timeout::Send, None)?;
                prepare(&socket, &Address::of(to.kernel()));
                Ok(Some(socket))
            }
            Ok(false) => {
                let progress = match to {
                    Resolved::Inet(_) => Progress::UnderWay,
                    // Its listener has no room; the next call asks again.
                    Resolved::Unix(_) => Progress::Not,
                };
                self.socket = Some((socket, to, progress));
                Ok(None)
            }
            Err(error) => {
                self.last_error = Some(error);
                Ok(None)
            }
        }
    }
}

/// Whether a connection is there, at the latest after some time.
fn step(socket: &OwnedFd, to: &Resolved, progress: Progress, time: Duration) -> io::Result<bool> {
    if progress == Progress::UnderWay {
        let mut polled = [PollFd::new(socket, PollFlags::OUT)];
        poll(&mut polled, time)?;
        return match polled[0].revents().is_empty() {
            true => Ok(false),
            false => Ok(sockopt::socket_error(socket)?.map(|()| true)?),
        };
    }
    // This limits connecting, too, and it is the only way for a Unix socket whose listener has a full backlog.
    let time = time.max(Duration::from_millis(1));
    sockopt::set_socket_timeout(socket, Timeout::Send, Some(time))?;
    match rustix::net::connect(socket, &to.kernel()) {
        Ok(()) => Ok(true),
        Err(Errno::AGAIN | Errno::INPROGRESS | Errno::ALREADY | Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Numbers of a file that tell whether it is still the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SocketFile {
    device: u64,
    inode: u64,
}

impl SocketFile {
    pub(crate) fn at(path: &Path) -> Option<SocketFile> {
        let stat = rustix::fs::lstat(path).ok()?;
        Some(SocketFile { device: stat.st_dev, inode: stat.st_ino })
    }

    /// Removes the name, unless it is another file's by now.
    pub(crate) fn remove(self, path: &Path) {
        if SocketFile::at(path) == Some(self) {
            let _ = rustix::fs::unlink(path);
        }
    }
}

fn stream_socket(to: &Resolved, flags: SocketFlags) -> io::Result<OwnedFd> {
    let socket = rustix::net::socket_with(to.family(), SocketType::STREAM, flags, None)?;
    above_standard_streams(socket)
}

/// Messages are sent whole, so there is nothing to gain from holding small ones back.
fn prepare(socket: &OwnedFd, peer: &Address) {
    if matches!(peer, Address::Inet(_)) {
        let _ = sockopt::set_tcp_nodelay(socket, true);
    }
}

fn first_that_works<T>(
    address: &Address,
    mut work: impl FnMut(&Resolved) -> io::Result<T>,
) -> io::Result<T> {
    let mut error = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for resolved in address.resolve()? {
        match work(&resolved) {
            Ok(done) => return Ok(done),
            Err(failed) => error = failed,
        }
    }
    Err(error)
}
