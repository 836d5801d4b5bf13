//! What a task's process was asked for, and the way back to the parent. Made by `child.rs`, and handed through the
//! table of tasks (`registry.rs`) to the code that knows the types.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::message::{self, Answer, Payload};

/// A task's arguments, still as bytes, and the way to answer.
#[doc(hidden)]
pub struct Call {
    pub(super) arguments: Payload,
    /// A delay stands before the arguments.
    pub(super) delayed: bool,
    pub(super) parent: &'static Parent,
}

/// The way back to the parent.
pub(super) struct Parent {
    pub(super) socket: OwnedFd,
    /// The process that may use it: a fork of a task's process inherits the memory, but not the
    /// duty to answer.
    pub(super) for_pid: u32,
}

impl Parent {
    pub(super) fn tell(&self, answer: &Answer) {
        // Too small to be refused for anything but a parent that is gone; then nobody listens.
        let _ = self.send(answer, &[], &[]);
    }

    pub(super) fn send(
        &self,
        answer: &Answer,
        payload: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        if self.for_pid != std::process::id() {
            return Ok(());
        }
        match message::send(self.socket.as_fd(), answer, payload, descriptors) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            sent => sent,
        }
    }
}
