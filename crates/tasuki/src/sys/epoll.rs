//! A descriptor for selectors that is readable while another one is, or while this process says so.
//!
//! An epoll descriptor over the other one and an eventfd. It keeps neither alive, so a socket in it still ends when its
//! last owner closes it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, epoll};

/// See the file's head.
#[derive(Debug)]
pub(crate) struct Readiness {
    epoll: OwnedFd,
    raised: OwnedFd,
}

impl Readiness {
    /// Readable while `other` is.
    pub(crate) fn of(other: BorrowedFd<'_>) -> io::Result<Readiness> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let raised = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&epoll, other, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
        epoll::add(&epoll, &raised, epoll::EventData::new_u64(1), epoll::EventFlags::IN)?;
        Ok(Readiness { epoll, raised })
    }

    /// Takes the number of an older one, whose holders know it by that.
    pub(crate) fn in_place_of(self, mut older: Readiness) -> io::Result<Readiness> {
        let flags = rustix::io::DupFlags::CLOEXEC;
        rustix::io::dup3(&self.epoll, &mut older.epoll, flags)?;
        Ok(Readiness { epoll: older.epoll, raised: self.raised })
    }

    /// Makes it readable, whatever the other one is.
    pub(crate) fn raise(&self) {
        // A counter that is full is raised.
        let _ = rustix::io::write(&self.raised, &1_u64.to_ne_bytes());
    }

    /// Takes `raise` back.
    pub(crate) fn lower(&self) {
        let _ = rustix::io::read(&self.raised, &mut [0_u8; 8]);
    }
}

impl AsFd for Readiness {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}
