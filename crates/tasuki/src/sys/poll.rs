//! What descriptors are ready for, now or within a time: `poll`, by name of what is asked.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

/// What is asked of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    /// A read would not wait; also at the end of what can be read.
    Readable,
    /// A write would not wait.
    Writable,
    /// Nobody is left at the other end, or the file is broken. Always part of the other two.
    HungUp,
}

impl Interest {
    fn flags(self) -> PollFlags {
        match self {
            Interest::Readable => PollFlags::IN,
            Interest::Writable => PollFlags::OUT,
            Interest::HungUp => PollFlags::empty(),
        }
    }
}

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

/// Waits until one of the descriptors is what it is asked for, `time` at most or until a signal, and says which are.
pub(crate) fn poll(
    asked: &[(BorrowedFd<'_>, Interest)],
    time: Duration,
    ready: &mut Vec<bool>,
) -> io::Result<()> {
    let mut fds: Vec<PollFd<'_>> =
        asked.iter().map(|(fd, interest)| PollFd::new(fd, interest.flags())).collect();
    wait(&mut fds, time)?;
    ready.clear();
    ready.extend(fds.iter().map(|fd| !fd.revents().is_empty()));
    Ok(())
}

fn wait(fds: &mut [PollFd<'_>], time: Duration) -> io::Result<usize> {
    let time = Timespec::try_from(time).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 });
    match rustix::event::poll(fds, Some(&time)) {
        Ok(count) => Ok(count),
        Err(Errno::INTR) => Ok(0),
        Err(error) => Err(error.into()),
    }
}
