//! Many messages at a time: written first, put under one lock, taken under one, read last.

use std::cell::Cell;
use std::os::fd::OwnedFd;

use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyList;
use tasuki::protocol::transfer::Incoming;
use tasuki::raw::{Batch, GaveUp, OutboundMessage, TransportFailure, Wait};

use super::put::{DETACH, check_open, refused};
use super::{Queue, failures, get};
use crate::forking_pickler::Place;
use crate::values::{self, Bytes};
use crate::waiting::Timeout;

thread_local! {
    /// What messages are taken into, taken out while in use.
    static BATCH: Cell<Option<Batch>> = const { Cell::new(None) };
}

/// A message that is ready to be put.
struct Written<'a> {
    codec: u16,
    bytes: Bytes<'a>,
    fds: Vec<OwnedFd>,
}

/// The bytes of a message, without an allocation for those in one piece.
enum Parts<'a> {
    One([&'a [u8]; 1]),
    Several(Vec<&'a [u8]>),
}

impl<'a> Parts<'a> {
    fn of(bytes: &'a Bytes<'_>) -> Parts<'a> {
        match bytes.as_slice() {
            Some(bytes) => Parts::One([bytes]),
            None => Parts::Several(bytes.parts()),
        }
    }

    fn as_slices(&self) -> &[&'a [u8]] {
        match self {
            Parts::One(one) => one,
            Parts::Several(several) => several,
        }
    }
}

/// Puts the objects in their order. Nothing is put if one of them cannot be written; when it ends in any other
/// exception, that has the number of those that were put as its attribute `put`.
pub fn put_many(
    slf: &Bound<'_, Queue>,
    objects: &Bound<'_, PyAny>,
    timeout: Timeout,
) -> PyResult<()> {
    check_open(slf)?;
    let py = slf.py();
    let objects = objects.try_iter()?.collect::<PyResult<Vec<_>>>()?;
    let mut written = Vec::with_capacity(objects.len());
    for object in &objects {
        match values::encode(object, slf.get().structured(), Place::Queue) {
            Ok(message) => written.push(Written {
                codec: message.codec.tag(),
                fds: message.handles.into_descriptors(),
                bytes: message.bytes,
            }),
            Err(error) => refused(slf, &error, object)?,
        }
    }
    let parts: Vec<Parts<'_>> = written.iter().map(|message| Parts::of(&message.bytes)).collect();
    let messages: Vec<OutboundMessage<'_>> = written
        .iter()
        .zip(&parts)
        .map(|(message, parts)| OutboundMessage {
            codec: message.codec,
            parts: parts.as_slices(),
            fds: &message.fds,
        })
        .collect();
    let total: usize =
        parts.iter().flat_map(|parts| parts.as_slices()).map(|part| part.len()).sum();

    let raw = Queue::using(slf)?;
    let mut put = 0;
    let mut result = Err(TransportFailure::GaveUp(GaveUp::TimedOut));
    if total < DETACH {
        (put, result) = raw.put_many(&messages, &mut Wait::attempt());
    }
    let timed_out = matches!(result, Err(TransportFailure::GaveUp(GaveUp::TimedOut)));
    let result = if timed_out && !(total < DETACH && timeout.is_none() && raw.is_surely_full()) {
        raw.while_waiting(|| {
            timeout.wait(py, |wait| {
                let (more, result) = raw.put_many(&messages[put..], wait);
                put += more;
                result
            })
        })
    } else {
        Ok(result)
    };
    let result = result.and_then(|result| result.map_err(|failure| failures::not_put(py, failure)));
    result.or_else(|error| {
        error.value(py).setattr(intern!(py, "put"), put)?;
        Err(error)
    })
}

/// Takes at least one object and up to `max`. When one of them cannot be read, the exception has the others as its
/// attribute `got`.
pub fn get_many<'py>(
    slf: &Bound<'py, Queue>,
    max: Option<i64>,
    timeout: Timeout,
) -> PyResult<Bound<'py, PyList>> {
    let max = match max {
        None => usize::MAX,
        Some(max) => usize::try_from(max)
            .ok()
            .filter(|&max| max > 0)
            .ok_or_else(|| PyValueError::new_err("max must be at least 1"))?,
    };
    let queue = slf.get();
    let py = slf.py();
    if queue.ends.reader_is_special() {
        if let Some(object) = get::ahead(slf)? {
            return PyList::new(py, [object]);
        }
    }
    let raw = Queue::using(slf)?;
    let mut batch = BATCH.take().unwrap_or_default();
    let taken = match raw.get_many(max, &mut batch, &mut Wait::attempt()) {
        Err(TransportFailure::GaveUp(GaveUp::TimedOut))
            if !(timeout.is_none() && raw.is_surely_empty()) =>
        {
            get::wait_for(slf, &raw, timeout, |wait| raw.get_many(max, &mut batch, wait))?
        }
        other => other,
    };
    drop(raw);
    taken.map_err(|failure| failures::not_got(py, failure))?;
    let mut objects = Vec::with_capacity(batch.len());
    let mut first_error = None;
    for message in batch.drain() {
        let handles = Incoming::new(message.fds);
        let object = match message.large {
            None => values::decode(py, message.codec, message.bytes, handles, Place::Queue),
            Some(large) => values::decode_large(py, message.codec, large, handles, Place::Queue),
        };
        match object {
            Ok(object) => objects.push(object),
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    BATCH.set(Some(batch));
    let objects = PyList::new(py, objects)?;
    match first_error {
        None => Ok(objects),
        Some(error) => {
            error.value(py).setattr(intern!(py, "got"), objects)?;
            Err(error)
        }
    }
}
