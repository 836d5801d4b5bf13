//! The descriptors that a queue consists of, in the order in which they travel.

use std::io;
use std::iter;
use std::os::fd::{BorrowedFd, OwnedFd};

/// See the file's head.
#[derive(Debug)]
pub(crate) struct Parts<Fd> {
    /// The memory.
    pub(crate) segment: Fd,
    /// The socket that carries descriptors of messages.
    pub(crate) descriptor_socket: Fd,
    /// The eventfd whose readiness producers set.
    pub(crate) messages: Fd,
    /// The eventfd whose readiness consumers set, of a queue that can be full.
    pub(crate) room: Option<Fd>,
}

impl<Fd> Parts<Fd> {
    /// How many there are at most.
    pub(crate) const MOST: usize = 4;

    /// Takes them from a list; None when they are too few or too many.
    pub(crate) fn from_list(list: impl IntoIterator<Item = Fd>) -> Option<Parts<Fd>> {
        let mut list = list.into_iter();
        let (segment, descriptor_socket, messages) = (list.next()?, list.next()?, list.next()?);
        let parts = Parts { segment, descriptor_socket, messages, room: list.next() };
        list.next().is_none().then_some(parts)
    }

    /// All of them, in order.
    pub(crate) fn into_list(self) -> Vec<Fd> {
        let all = [self.segment, self.descriptor_socket, self.messages];
        all.into_iter().chain(iter::once(self.room).flatten()).collect()
    }
}

impl Parts<BorrowedFd<'_>> {
    /// Copies of them all.
    pub(crate) fn try_clone_to_owned(&self) -> io::Result<Parts<OwnedFd>> {
        Ok(Parts {
            segment: self.segment.try_clone_to_owned()?,
            descriptor_socket: self.descriptor_socket.try_clone_to_owned()?,
            messages: self.messages.try_clone_to_owned()?,
            room: self.room.map(|fd| fd.try_clone_to_owned()).transpose()?,
        })
    }
}
