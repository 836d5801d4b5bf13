//! What descriptors are ready for: `poll`, by name of what is asked.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

/// What the other end of a socket is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// The last copy of the other end is closed.
    pub(crate) is_gone: bool,
    /// Something that it sent waits to be received.
    pub(crate) has_sent: bool,
}

/// Looks at a connected socket, without waiting. Says "there" when the system refuses to tell.
pub(crate) fn peer(socket: BorrowedFd<'_>) -> Peer {
    let mut fds = [PollFd::new(&socket, PollFlags::IN)];
    let flags = match wait(&mut fds, Duration::ZERO) {
        Ok(_) => fds[0].revents(),
        Err(_) => PollFlags::empty(),
    };
    Peer {
        is_gone: flags.intersects(PollFlags::HUP | PollFlags::ERR),
        has_sent: flags.contains(PollFlags::IN),
    }
}

fn wait(fds: &mut [PollFd<'_>], time: Duration) -> io::Result<usize> {
    let time = Timespec::try_from(time).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 });
    match rustix::event::poll(fds, Some(&time)) {
        Ok(count) => Ok(count),
        Err(Errno::INTR) => Ok(0),
        Err(error) => Err(error.into()),
    }
}
