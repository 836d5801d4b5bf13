//! A descriptor for selectors that is readable while an eventfd is, or when a socket's other end is gone.
//!
//! An epoll descriptor over both. It keeps neither alive, so a socket in it still ends when its last owner closes it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::epoll;

use super::descriptors::above_standard_streams;

/// See the file's head.
#[derive(Debug)]
pub(crate) struct Combined {
    epoll: OwnedFd,
}

impl Combined {
    /// Readable while `eventfd` is, or `socket` hung up.
    pub(crate) fn of(socket: BorrowedFd<'_>, eventfd: BorrowedFd<'_>) -> io::Result<Combined> {
        let epoll = above_standard_streams(epoll::create(epoll::CreateFlags::CLOEXEC)?)?;
        // That it hung up is always told.
        epoll::add(&epoll, socket, epoll::EventData::new_u64(0), epoll::EventFlags::empty())?;
        epoll::add(&epoll, eventfd, epoll::EventData::new_u64(1), epoll::EventFlags::IN)?;
        Ok(Combined { epoll })
    }
}

impl AsFd for Combined {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}
