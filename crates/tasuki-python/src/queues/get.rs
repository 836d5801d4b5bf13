//! Taking messages out: the object in a message, and the wait for it.

use std::cell::Cell;

use pyo3::exceptions::{PyEOFError, PyIndexError};
use pyo3::prelude::*;
use tasuki::protocol::transfer::Incoming;
use tasuki::raw::{GaveUp, RawQueue, Taken, TransportFailure, Wait};

use super::{Queue, failures};
use crate::forking_pickler::Place;
use crate::open::Use;
use crate::values;
use crate::waiting::Timeout;

thread_local! {
    /// What small messages are copied to, taken out while in use.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What a message becomes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum As {
    /// The object that was put.
    Object,
    /// The same, but a memoryview in the place of bytes and of a bytearray.
    View,
}

pub fn get<'py>(
    slf: &Bound<'py, Queue>,
    timeout: Timeout,
    form: As,
) -> PyResult<Bound<'py, PyAny>> {
    let queue = slf.get();
    if queue.ends.reader_is_special() {
        if let Some(object) = ahead(slf)? {
            return if form == As::View { values::view(&object) } else { Ok(object) };
        }
    }
    let raw = Queue::using(slf)?;
    let py = slf.py();
    let mut scratch = SCRATCH.take();
    let taken = match raw.get(&mut scratch, &mut Wait::attempt()) {
        Err(TransportFailure::GaveUp(GaveUp::TimedOut))
            if !(timeout.is_none() && raw.is_surely_empty()) =>
        {
            wait_for(slf, &raw, timeout, |wait| raw.get(&mut scratch, wait))?
        }
        other => other,
    };
    // What is read now may run any Python code.
    drop(raw);
    let object = match taken {
        Ok(Taken { codec, large: None, fds }) => {
            let object = values::decode(py, codec, &scratch, Incoming::new(fds), Place::Queue);
            if form == As::View { object.and_then(|object| values::view(&object)) } else { object }
        }
        Ok(Taken { codec, large: Some(large), fds }) => match form {
            As::Object => values::decode_large(py, codec, large, Incoming::new(fds), Place::Queue),
            As::View => values::view_large(py, codec, large, Incoming::new(fds), Place::Queue),
        },
        Err(failure) => Err(failures::not_got(py, failure)),
    };
    SCRATCH.set(scratch);
    object
}

/// Waits for messages, without the interpreter. A process that has closed the writer and waits for long is told when
/// nobody else has one: EOFError.
#[cold]
pub fn wait_for<R: Send>(
    slf: &Bound<'_, Queue>,
    raw: &Use<'_, RawQueue>,
    timeout: Timeout,
    mut get: impl FnMut(&mut Wait<'_>) -> Result<R, TransportFailure> + Send,
) -> PyResult<Result<R, TransportFailure>> {
    let queue = slf.get();
    let py = slf.py();
    if !queue.ends.writer_is_closed() {
        return raw.while_waiting(|| timeout.wait(py, &mut get));
    }
    let mut over = false;
    let no_hope = || {
        over = raw.is_abandoned();
        over
    };
    let got = raw.while_waiting(|| timeout.wait_unless(py, no_hope, &mut get))?;
    match got {
        Ok(taken) => {
            raw.ends_drought();
            Ok(Ok(taken))
        }
        Err(TransportFailure::GaveUp(_)) if over => match get(&mut Wait::now()) {
            // Nothing came before the last one was gone.
            Err(TransportFailure::GaveUp(_)) => Err(PyEOFError::new_err(())),
            other => Ok(other),
        },
        other => Ok(other),
    }
}

/// What was taken ahead, if anything was and the reader is open.
#[cold]
pub fn ahead<'py>(slf: &Bound<'py, Queue>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let ends = &slf.get().ends;
    if ends.reader_is_closed() {
        return Err(ends.error(slf));
    }
    if !ends.has_ahead() {
        return Ok(None); // closed by a parent
    }
    match slf.call_method0("_take_ahead") {
        Ok(object) => Ok(Some(object)),
        Err(error) if error.is_instance_of::<PyIndexError>(slf.py()) => Ok(None),
        Err(error) => Err(error),
    }
}
