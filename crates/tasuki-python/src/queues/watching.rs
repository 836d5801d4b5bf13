//! The descriptors of a queue that can be polled: each object has its own duplicates.
//!
//! A selector tells things apart by their numbers, and two objects in a process may well be the same queue.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::OnceLock;

use pyo3::prelude::*;
use tasuki::raw::{Failure, RawQueue, Wait};

use crate::errors;
use crate::waiting::Patience;

/// Made when they are asked for: a queue that nobody watches is quicker.
#[derive(Default)]
pub struct Watched {
    messages: OnceLock<OwnedFd>,
    room: OnceLock<OwnedFd>,
}

impl Watched {
    /// Readable while messages wait.
    pub fn messages(&self, py: Python<'_>, queue: &RawQueue) -> PyResult<RawFd> {
        number(py, &self.messages, |wait| queue.pollable_within(wait))
    }

    /// As `messages`, for one who does not want to wait until another process, stopped inside the queue, goes on.
    pub fn messages_within(
        &self,
        py: Python<'_>,
        queue: &RawQueue,
        patience: Patience,
    ) -> PyResult<Option<RawFd>> {
        if self.messages.get().is_none() {
            let asked = patience.wait(py, |mut wait| queue.pollable_within(&mut wait).map(drop))?;
            match asked {
                Ok(()) => {}
                Err(Failure::GaveUp(_)) => return Ok(None),
                Err(failure) => return Err(errors::engine(failure.into())),
            }
        }
        self.messages(py, queue).map(Some)
    }

    /// Writable while there is room.
    pub fn room(&self, py: Python<'_>, queue: &RawQueue) -> PyResult<RawFd> {
        number(py, &self.room, |wait| queue.pollable_for_put_within(wait))
    }
}

fn number<'a>(
    py: Python<'_>,
    own: &OnceLock<OwnedFd>,
    mut ask: impl FnMut(&mut Wait<'_>) -> Result<BorrowedFd<'a>, Failure> + Send,
) -> PyResult<RawFd> {
    if own.get().is_none() {
        let duplicate = unstopped(py, |wait| Ok(ask(wait)?.try_clone_to_owned()))?
            .map_err(|error| errors::os("cannot duplicate a queue's descriptor", &error))?;
        // Another thread may have been quicker.
        let _ = own.set(duplicate);
    }
    Ok(own.get().map_or(-1, AsRawFd::as_raw_fd))
}

/// Runs what waits for nothing but the end of another one's step: as [`Patience::step`].
pub fn unstopped<R: Send>(
    py: Python<'_>,
    mut call: impl FnMut(&mut Wait<'_>) -> Result<R, Failure> + Send,
) -> PyResult<R> {
    let done = Patience::step(py, |wait| match call(wait) {
        Err(Failure::GaveUp(why)) => Err(why),
        other => Ok(other),
    })?;
    done.map_err(|failure| errors::engine(failure.into()))
}
