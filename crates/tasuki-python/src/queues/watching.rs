//! The descriptors of a queue that can be polled: each object has its own duplicates.
//!
//! A selector tells things apart by their numbers, and two objects in a process may well be the same queue.
#![allow(unsafe_code)] // closes descriptors that are kept as numbers

use std::os::fd::{BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use tasuki::raw::{RawQueue, TransportFailure, Wait};

use crate::errors;
use crate::waiting::Timeout;

/// Made when they are asked for: a queue that nobody watches is quicker.
#[derive(Default)]
pub struct Watched {
    messages: Duplicate,
    room: Duplicate,
}

impl Watched {
    /// Readable while messages wait.
    pub fn messages(&self, py: Python<'_>, queue: &RawQueue) -> PyResult<RawFd> {
        self.messages.number(py, |wait| queue.pollable_within(wait))
    }

    /// As `messages`, for a caller that does not want to wait until another process, stopped inside the queue, goes on.
    pub fn messages_within(
        &self,
        py: Python<'_>,
        queue: &RawQueue,
        timeout: Timeout,
    ) -> PyResult<Option<RawFd>> {
        if self.messages.get()?.is_none() {
            let asked = timeout.wait(py, |wait| queue.pollable_within(wait).map(drop))?;
            match asked {
                Ok(()) => {}
                Err(TransportFailure::GaveUp(_)) => return Ok(None),
                Err(failure) => return Err(errors::engine(failure.into())),
            }
        }
        self.messages(py, queue).map(Some)
    }

    /// Writable while there is room.
    pub fn room(&self, py: Python<'_>, queue: &RawQueue) -> PyResult<RawFd> {
        self.room.number(py, |wait| queue.pollable_for_put_within(wait))
    }

    /// Closes them, for good.
    pub fn close(&self) {
        self.messages.close();
        self.room.close();
    }
}

/// A descriptor: 0 is none yet, -1 closed for good, any other number one more than the descriptor's.
///
/// A word and no lock, since another thread may fork at any moment.
#[derive(Default)]
struct Duplicate(AtomicI32);

const NONE: i32 = 0;
const CLOSED: i32 = -1;

impl Duplicate {
    fn get(&self) -> PyResult<Option<RawFd>> {
        match self.0.load(Ordering::Acquire) {
            NONE => Ok(None),
            CLOSED => Err(PyOSError::new_err("handle is closed")),
            next => Ok(Some(next - 1)),
        }
    }

    fn number<'a>(
        &self,
        py: Python<'_>,
        mut ask: impl FnMut(&mut Wait<'_>) -> Result<BorrowedFd<'a>, TransportFailure> + Send,
    ) -> PyResult<RawFd> {
        if let Some(number) = self.get()? {
            return Ok(number);
        }
        let duplicate = unstopped(py, |wait| Ok(ask(wait)?.try_clone_to_owned()))?
            .map_err(|error| errors::os("cannot duplicate a queue's descriptor", &error))?;
        let number = duplicate.into_raw_fd();
        let set = self.0.compare_exchange(NONE, number + 1, Ordering::AcqRel, Ordering::Acquire);
        if set.is_ok() {
            return Ok(number);
        }
        // Another thread was quicker, or closed the queue.
        close(number);
        self.get().map(|number| number.unwrap_or(-1))
    }

    fn close(&self) {
        let before = self.0.swap(CLOSED, Ordering::AcqRel);
        if before > NONE {
            close(before - 1);
        }
    }
}

impl Drop for Duplicate {
    fn drop(&mut self) {
        self.close();
    }
}

fn close(number: RawFd) {
    // SAFETY: it came from an `OwnedFd`, and the caller has just taken it out of the only place that had it.
    drop(unsafe { OwnedFd::from_raw_fd(number) });
}

/// Runs what waits for nothing but the end of another one's step: as [`Timeout::step`].
pub fn unstopped<R: Send>(
    py: Python<'_>,
    mut call: impl FnMut(&mut Wait<'_>) -> Result<R, TransportFailure> + Send,
) -> PyResult<R> {
    let done = Timeout::step(py, |wait| match call(wait) {
        Err(TransportFailure::GaveUp(why)) => Err(why),
        other => Ok(other),
    })?;
    done.map_err(|failure| errors::engine(failure.into()))
}
