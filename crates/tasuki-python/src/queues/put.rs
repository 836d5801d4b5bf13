//! Putting objects in: written first, then put, and only then waited for.

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;

use pyo3::prelude::*;
use tasuki::protocol::codec::{Codec, StructuredCodec};
use tasuki::raw::{GaveUp, RawQueue, TransportFailure, Wait};

use super::{Queue, failures};
use crate::forking_pickler::Place;
use crate::open::Use;
use crate::values::{self, Bytes, Encoded};
use crate::waiting::Timeout;

/// A message from this size on is copied without the interpreter: others may run meanwhile.
pub const DETACH: usize = 64 << 10;

pub fn put(slf: &Bound<'_, Queue>, object: &Bound<'_, PyAny>, timeout: Timeout) -> PyResult<()> {
    check_open(slf)?;
    // Without a hold on the queue: this may run any Python code.
    match values::encode(object, slf.get().structured(), Place::Queue) {
        Ok(message) if message.handles.is_empty() => put_encoded(slf, message, timeout),
        Ok(message) => put_with_handles(slf, object, message, timeout),
        Err(error) => refused(slf, &error, object),
    }
}

/// The kernel takes the descriptors of some 280 messages that nobody has got yet. What comes then has tickets instead:
/// a queue without a bound is never full.
#[cold]
fn put_with_handles(
    slf: &Bound<'_, Queue>,
    object: &Bound<'_, PyAny>,
    message: Encoded<'_>,
    timeout: Timeout,
) -> PyResult<()> {
    let py = slf.py();
    let Encoded { codec, handles, bytes } = message;
    let fds = handles.into_descriptors();
    let raw = Queue::using(slf)?;
    if slf.get().structured() == StructuredCodec::MessagePack {
        return put_waiting(py, &raw, codec.tag(), &bytes, &fds, timeout);
    }
    let parts = bytes.parts();
    let put = |wait: &mut Wait<'_>| raw.put_if_descriptors_fit(codec.tag(), &parts, &fds, wait);
    let is_put = raw
        .while_waiting(|| timeout.wait(py, put))?
        .map_err(|failure| failures::not_put(py, failure))?;
    if is_put {
        return Ok(());
    }
    drop((raw, fds));
    match values::encode_with_tickets(object, Place::Queue) {
        Ok(message) => put_encoded(slf, message, timeout),
        Err(error) => refused(slf, &error, object),
    }
}

/// Whether this process may put.
#[inline]
pub fn check_open(slf: &Bound<'_, Queue>) -> PyResult<()> {
    let queue = slf.get();
    if queue.ends.writer_is_special() && queue.ends.writer_is_closed() {
        return Err(queue.ends.error(slf));
    }
    queue.has_put.store(true, Ordering::Relaxed);
    Ok(())
}

/// Python knows whether a subclass has a hook for what cannot be written.
#[cold]
pub fn refused(slf: &Bound<'_, Queue>, error: &PyErr, object: &Bound<'_, PyAny>) -> PyResult<()> {
    slf.call_method1("_refused", (error.clone_ref(slf.py()), object))?;
    Ok(())
}

/// Puts what has no handles in it.
#[inline]
fn put_encoded(slf: &Bound<'_, Queue>, message: Encoded<'_>, timeout: Timeout) -> PyResult<()> {
    let raw = Queue::using(slf)?;
    let py = slf.py();
    let codec = message.codec.tag();
    let bytes = &message.bytes;
    if let Some(bytes) = bytes.as_slice().filter(|bytes| bytes.len() < DETACH) {
        match raw.put(codec, &[bytes], &[], &mut Wait::attempt()) {
            Err(TransportFailure::GaveUp(GaveUp::TimedOut))
                if !(timeout.is_none() && raw.is_surely_full()) => {}
            other => return other.map_err(|failure| failures::not_put(py, failure)),
        }
    }
    put_waiting(py, &raw, codec, bytes, &[], timeout)
}

/// Puts what is large or what there was no room for, without the interpreter.
#[cold]
fn put_waiting(
    py: Python<'_>,
    raw: &Use<'_, RawQueue>,
    codec: u16,
    bytes: &Bytes<'_>,
    fds: &[OwnedFd],
    timeout: Timeout,
) -> PyResult<()> {
    let parts = bytes.parts();
    raw.while_waiting(|| timeout.wait(py, |wait| raw.put(codec, &parts, fds, wait)))?
        .map_err(|failure| failures::not_put(py, failure))
}

/// Puts bytes that are a pickle already.
pub fn put_pickle(slf: &Bound<'_, Queue>, pickle: &[u8]) -> PyResult<()> {
    check_open(slf)?;
    put_waiting(
        slf.py(),
        &Queue::using(slf)?,
        Codec::Pickle.tag(),
        &Bytes::Borrowed(pickle),
        &[],
        Timeout::Forever,
    )
}

/// An object written for a put that may be tried again and again: it is sent as it was when it was written.
#[pyclass(frozen, module = "tasuki._tasuki")]
pub struct Prepared {
    codec: u16,
    bytes: Vec<u8>,
    fds: Vec<OwnedFd>,
}

/// Writes an object; None if a hook of a subclass has dealt with one that cannot be written.
pub fn prepare(slf: &Bound<'_, Queue>, object: &Bound<'_, PyAny>) -> PyResult<Option<Prepared>> {
    check_open(slf)?;
    match values::encode(object, slf.get().structured(), Place::Queue) {
        Ok(message) => Ok(Some(Prepared {
            codec: message.codec.tag(),
            bytes: message.bytes.parts().concat(),
            fds: message.handles.into_descriptors(),
        })),
        Err(error) => refused(slf, &error, object).map(|()| None),
    }
}

pub fn put_prepared(slf: &Bound<'_, Queue>, prepared: &Prepared, timeout: Timeout) -> PyResult<()> {
    check_open(slf)?;
    let raw = Queue::using(slf)?;
    let bytes = Bytes::Borrowed(&prepared.bytes);
    put_waiting(slf.py(), &raw, prepared.codec, &bytes, &prepared.fds, timeout)
}
