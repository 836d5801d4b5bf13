//! Descriptors that are ready or not, as somebody says: for those who wait in poll, select or epoll.
//!
//! An eventfd is a counter; it is readable above 0 and writable below its maximum. Nothing blocks here, and nobody
//! is told anything but the readiness: a counter that was in that state already stays in it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::EventfdFlags;
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

/// The most that the counter can hold; then it is not writable.
const MOST: u64 = u64::MAX - 1;

/// Makes one that is writable and not readable, closed on exec.
pub(crate) fn create() -> io::Result<OwnedFd> {
    Ok(rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)
}

/// Whether this is one that does not block.
pub(crate) fn is_eventfd(fd: BorrowedFd<'_>) -> bool {
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&fd));
    let is_eventfd = match rustix::fs::readlink(path, Vec::new()) {
        Ok(name) => name.as_bytes() == b"anon_inode:[eventfd]",
        // Without /proc, what has no place in any file system must do: an eventfd, or something of its kind.
        Err(_) => rustix::fs::fstat(fd)
            .is_ok_and(|status| FileType::from_raw_mode(status.st_mode) == FileType::Unknown),
    };
    is_eventfd && rustix::fs::fcntl_getfl(fd).is_ok_and(|flags| flags.contains(OFlags::NONBLOCK))
}

/// Makes it readable.
pub(crate) fn make_readable(fd: impl AsFd) {
    add(fd.as_fd(), 1);
}

/// Makes it writable, and not readable.
pub(crate) fn make_writable(fd: impl AsFd) {
    let mut counter = [0; 8];
    while let Err(Errno::INTR) = rustix::io::read(&fd, &mut counter) {}
}

/// Makes it not writable.
pub(crate) fn make_unwritable(fd: impl AsFd) {
    // What does not fit any more: somebody counted, who should not; from zero it does fit.
    if !add(fd.as_fd(), MOST) {
        make_writable(&fd);
        add(fd.as_fd(), MOST);
    }
}

fn add(fd: BorrowedFd<'_>, count: u64) -> bool {
    loop {
        match rustix::io::write(fd, &count.to_ne_bytes()) {
            Err(Errno::INTR) => {}
            other => return other.is_ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, poll};

    fn ready(fd: &OwnedFd) -> (bool, bool) {
        let mut fds = [PollFd::new(fd, PollFlags::IN | PollFlags::OUT)];
        poll(&mut fds, Some(&rustix::time::Timespec::default())).unwrap();
        let ready = fds[0].revents();
        (ready.contains(PollFlags::IN), ready.contains(PollFlags::OUT))
    }

    #[test]
    fn it_is_as_it_was_made_whatever_it_was_before() {
        let fd = create().unwrap();
        assert_eq!(ready(&fd), (false, true));
        for _ in 0..3 {
            make_readable(&fd);
            assert_eq!(ready(&fd), (true, true));
        }
        for _ in 0..3 {
            make_unwritable(&fd);
            assert!(!ready(&fd).1);
        }
        for _ in 0..3 {
            make_writable(&fd);
            assert_eq!(ready(&fd), (false, true));
        }
        make_unwritable(&fd);
        assert!(!ready(&fd).1);
    }

    #[test]
    fn nothing_else_is_taken_for_one() {
        assert!(is_eventfd(create().unwrap().as_fd()));
        let blocking = rustix::event::eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        assert!(!is_eventfd(blocking.as_fd()));
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        assert!(!is_eventfd(reader.as_fd()) && !is_eventfd(writer.as_fd()));
    }
}
