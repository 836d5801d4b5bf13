//! The two ends of a pipe as the kernel sees them: who is there, and descriptors that travel.
//!
//! A `SOCK_SEQPACKET` pair. The kernel counts the copies of each end, those in forked children and in flight too, and
//! says at the one end when the last copy of the other is gone. Its datagrams are the descriptor socket's: a label, and
//! descriptors. That there is one wakes nobody; an eventfd beside it does.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};

use super::descriptor_socket;
pub(crate) use super::descriptor_socket::{Label, MOST, can_open_as_many, too_many_open_files};
use super::descriptors::above_standard_streams;

/// Makes the two ends.
#[doc(alias = "socketpair")]
pub(crate) fn create() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC;
    let (one, other) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    Ok((above_standard_streams(one)?, above_standard_streams(other)?))
}

/// Whether this is a socket that could be an end.
pub(crate) fn is_end(socket: BorrowedFd<'_>) -> bool {
    matches!(rustix::net::sockopt::socket_type(socket), Ok(SocketType::SEQPACKET))
}

/// What became of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// It waits at the other end.
    Done,
    /// Too many wait there already.
    Full,
    /// Nobody has the other end.
    Gone,
}

/// Sends a datagram, without waiting.
pub(crate) fn send(socket: BorrowedFd<'_>, label: Label, fds: &[OwnedFd]) -> io::Result<Sent> {
    match descriptor_socket::send(socket, label, fds) {
        Ok(()) => Ok(Sent::Done),
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory => Ok(Sent::Full),
            // A reset says once that the other end went with unread datagrams.
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Ok(Sent::Gone),
            _ => Err(error),
        },
    }
}

/// The label of the first datagram; None when there is none, a label of zeros when it is none of ours.
pub(crate) fn first(socket: BorrowedFd<'_>) -> Option<Label> {
    let mut bytes = [0; 12];
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    loop {
        return match rustix::net::recv(socket, &mut bytes, flags) {
            Err(Errno::INTR | Errno::CONNRESET) => continue,
            // Nothing there; nothing will ever be there; no socket.
            Err(_) | Ok((_, 0)) => None,
            Ok((_, 12)) => Some(Label::from_bytes(&bytes)),
            Ok(_) => Some(Label { ticket: 0, attempt: 0 }),
        };
    }
}

/// Copies of the descriptors of the first datagram, which [`first`] has seen.
pub(crate) fn first_descriptors(socket: BorrowedFd<'_>) -> io::Result<Vec<OwnedFd>> {
    Ok(descriptor_socket::peek(socket)?.map_or_else(Vec::new, |(_, fds)| fds))
}

/// Takes the first datagram away; the kernel closes the descriptors that only it held.
pub(crate) fn drop_first(socket: BorrowedFd<'_>) {
    descriptor_socket::drop_first(socket);
}

/// What the kernel says of an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// Nobody has the other end.
    pub(crate) gone: bool,
    /// The eventfd is readable.
    pub(crate) readable: bool,
}

/// Whether nobody has the other end.
pub(crate) fn is_gone(socket: BorrowedFd<'_>) -> io::Result<bool> {
    let mut fds = [PollFd::from_borrowed_fd(socket, PollFlags::empty())];
    poll(&mut fds, Duration::ZERO)?;
    Ok(!fds[0].revents().is_empty())
}

/// Sleeps until nobody has the other end, the eventfd is readable, or the time over; a signal ends it early.
pub(crate) fn sleep(
    socket: BorrowedFd<'_>,
    eventfd: BorrowedFd<'_>,
    time: Duration,
) -> io::Result<State> {
    let mut fds = [
        PollFd::from_borrowed_fd(socket, PollFlags::empty()),
        PollFd::from_borrowed_fd(eventfd, PollFlags::IN),
    ];
    poll(&mut fds, time)?;
    let [gone, readable] = fds.map(|fd| !fd.revents().is_empty());
    Ok(State { gone, readable })
}

fn poll(fds: &mut [PollFd<'_>], time: Duration) -> io::Result<()> {
    let time = Timespec::try_from(time).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 });
    match rustix::event::poll(fds, Some(&time)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn the_end_is_told_and_what_was_sent_before_it_stays() {
        let (one, other) = create().unwrap();
        let eventfd = crate::sys::eventfd::create().unwrap();
        let look = || sleep(one.as_fd(), eventfd.as_fd(), Duration::ZERO).unwrap();
        assert_eq!(look(), State { gone: false, readable: false });
        assert_eq!(first(one.as_fd()), None);
        let label = Label { ticket: 5, attempt: 1 };
        assert_eq!(send(other.as_fd(), label, &[]).unwrap(), Sent::Done);
        assert_eq!(look(), State { gone: false, readable: false }, "what came is not the end");
        crate::sys::eventfd::make_readable(&eventfd);
        assert_eq!(look(), State { gone: false, readable: true });
        drop(other);
        assert_eq!(look(), State { gone: true, readable: true });
        assert!(is_gone(one.as_fd()).unwrap());
        assert_eq!(first(one.as_fd()), Some(label));
        drop_first(one.as_fd());
        assert_eq!(first(one.as_fd()), None);
        assert_eq!(send(one.as_fd(), label, &[]).unwrap(), Sent::Gone);
    }

    #[test]
    fn unread_datagrams_of_ours_do_not_hide_what_came() {
        let (one, other) = create().unwrap();
        let label = Label { ticket: 5, attempt: 1 };
        assert_eq!(send(one.as_fd(), label, &[]).unwrap(), Sent::Done);
        assert_eq!(send(other.as_fd(), label, &[]).unwrap(), Sent::Done);
        drop(other);
        assert_eq!(first(one.as_fd()), Some(label));
    }

    #[test]
    fn a_full_socket_says_so() {
        let (one, _other) = create().unwrap();
        let mut sent = 0;
        while send(one.as_fd(), Label { ticket: sent, attempt: 1 }, &[]).unwrap() == Sent::Done {
            sent += 1;
        }
        assert!(sent >= 100, "{sent}");
    }
}
