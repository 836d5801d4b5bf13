//! The descriptors of a queue that can be polled: each object has its own duplicates.
//!
//! A selector tells things apart by their numbers, and two objects in a process may well be the same queue.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::OnceLock;

use pyo3::prelude::*;
use tasuki::Error;
use tasuki::raw::RawQueue;

use crate::errors;

/// Made when they are asked for: a queue that nobody watches is quicker.
#[derive(Default)]
pub struct Watched {
    messages: OnceLock<OwnedFd>,
    room: OnceLock<OwnedFd>,
}

impl Watched {
    /// Readable while messages wait.
    pub fn messages(&self, queue: &RawQueue) -> PyResult<RawFd> {
        number(&self.messages, || queue.pollable())
    }

    /// Writable while there is room.
    pub fn room(&self, queue: &RawQueue) -> PyResult<RawFd> {
        number(&self.room, || queue.pollable_for_put())
    }
}

fn number<'a>(
    own: &OnceLock<OwnedFd>,
    ask: impl FnOnce() -> Result<BorrowedFd<'a>, Error>,
) -> PyResult<RawFd> {
    if own.get().is_none() {
        let duplicate = ask()
            .map_err(errors::engine)?
            .try_clone_to_owned()
            .map_err(|error| errors::os("cannot duplicate a queue's descriptor", &error))?;
        // Another thread may have been quicker.
        let _ = own.set(duplicate);
    }
    Ok(own.get().map_or(-1, AsRawFd::as_raw_fd))
}
