//! What a select can wait for: how each is asked in memory, and what of it is watched in the kernel.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::connection::Transport;
use crate::error::Error;
use crate::raw::connection::Armed;
use crate::raw::{RawQueue, RawReceiver, RawSender, Wait};
use crate::sys::poll::{self, Interest};

/// One thing to wait for. The table in `README.md` says when it is ready.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source<'a> {
    Get(&'a RawQueue),
    Put(&'a RawQueue),
    Recv(&'a RawReceiver),
    Send(&'a RawSender),
    Connection(&'a Transport),
    Descriptor(BorrowedFd<'a>, Interest),
    /// Taken out; keeps the indices of the others.
    Removed,
}

/// What became of an attempt to watch a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watching {
    /// It is ready.
    NoNeed,
    /// What will show that it is ready is in the list.
    Listed,
    /// Nothing can show that now; it is to be asked again in a moment.
    Soon,
}

impl<'a> Source<'a> {
    /// Whether it is ready, as far as memory tells.
    pub(super) fn is_ready(&self) -> bool {
        match self {
            Source::Get(queue) => !queue.is_empty() || queue.is_shut_down(),
            Source::Put(queue) => !queue.limits_bytes() && !queue.is_full() || queue.is_shut_down(),
            Source::Recv(receiver) => !receiver.is_empty() || receiver.is_known_disconnected(),
            Source::Send(sender) => {
                !sender.limits_bytes() && !sender.is_full() || sender.is_known_disconnected()
            }
            // What is wrong with a connection, `recv` tells.
            Source::Connection(connection) => connection.poll(&mut Wait::now()).unwrap_or(true),
            Source::Descriptor(..) | Source::Removed => false,
        }
    }

    /// Whether looking again and again is worth while.
    pub(super) fn is_in_memory(&self) -> bool {
        matches!(self, Source::Get(_) | Source::Put(_) | Source::Recv(_) | Source::Send(_))
    }

    /// Whether memory does not tell that it is ready, but the kernel may.
    pub(super) fn is_known_to_kernel_only(&self) -> bool {
        match self {
            Source::Put(queue) => queue.limits_bytes(),
            Source::Send(sender) => sender.limits_bytes(),
            Source::Descriptor(..) => true,
            Source::Get(_) | Source::Recv(_) | Source::Connection(_) | Source::Removed => false,
        }
    }

    /// Adds what shows that this source, which has an index, is ready, unless it is already.
    pub(super) fn watch(&self, index: usize, watched: &mut Watched<'a>) -> Result<Watching, Error> {
        match *self {
            Source::Get(queue) => watched.add(index, queue.pollable()?, Interest::Readable),
            Source::Put(queue) => watched.add(index, queue.pollable_for_put()?, Interest::Writable),
            Source::Recv(receiver) => {
                watched.add(index, receiver.pollable()?, Interest::Readable);
                watched.add(index, receiver.socket(), Interest::HungUp);
            }
            Source::Send(sender) => {
                watched.add(index, sender.pollable()?, Interest::Writable);
                watched.add(index, sender.socket(), Interest::HungUp);
            }
            Source::Connection(connection) => match connection.arm() {
                Ok(Armed::Sleep(message, end)) => {
                    watched.add(index, message, Interest::Readable);
                    if let Some(end) = end {
                        watched.add(index, end, Interest::HungUp);
                    }
                }
                Ok(Armed::Soon) => return Ok(Watching::Soon),
                Ok(Armed::Ready) | Err(_) => return Ok(Watching::NoNeed),
            },
            Source::Descriptor(descriptor, interest) => watched.add(index, descriptor, interest),
            Source::Removed => {}
        }
        Ok(Watching::Listed)
    }

    /// The kernel said that it is ready: then its own calls must know as well.
    pub(super) fn was_ready_in_kernel(&self) {
        match self {
            Source::Recv(receiver) => drop(receiver.is_disconnected()),
            Source::Send(sender) => drop(sender.is_disconnected()),
            _ => {}
        }
    }

    /// A sleep ended without anything being ready.
    pub(super) fn sleep_ended(&self) {
        if let Source::Recv(receiver) = self {
            receiver.sweep();
        }
    }
}

/// The descriptors of one poll, and whose each is.
#[derive(Debug, Default)]
pub(super) struct Watched<'a> {
    asked: Vec<(BorrowedFd<'a>, Interest)>,
    sources: Vec<usize>,
    ready: Vec<bool>,
}

impl<'a> Watched<'a> {
    pub(super) fn clear(&mut self) {
        self.asked.clear();
        self.sources.clear();
    }

    fn add(&mut self, source: usize, descriptor: BorrowedFd<'a>, interest: Interest) {
        self.asked.push((descriptor, interest));
        self.sources.push(source);
    }

    /// The first source of which a descriptor is ready, waiting for one `time` at most, or until a signal.
    pub(super) fn poll(&mut self, time: Duration) -> Result<Option<usize>, Error> {
        if self.asked.is_empty() && time.is_zero() {
            return Ok(None);
        }
        poll::poll(&self.asked, time, &mut self.ready)
            .map_err(|e| Error::os("wait for descriptors", e))?;
        Ok(self.ready.iter().position(|&ready| ready).map(|at| self.sources[at]))
    }
}
