//! What is behind a connection: a stream that speaks the standard library's wire, or a pipe of the engine.
//!
//! A stream knows bytes only, so an object goes as its pickle. A pipe knows what its messages are: what `send` sent is
//! pickled only for those who ask for its bytes.
#![allow(unsafe_code)] // takes over a descriptor that Python hands in by its number

use std::cell::Cell;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::exceptions::{PyBrokenPipeError, PyEOFError, PyOSError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use tasuki::Error;
use tasuki::protocol::codec::{Codec, StructuredCodec};
use tasuki::protocol::transfer::Incoming;
use tasuki::raw::connection::{RawConnection, RawStream, Received, StreamError, StreamLimits};
use tasuki::raw::{self, GaveUp, TransportFailure, Wait};

use crate::forking_pickler::{self, Place};
use crate::waiting::Timeout;
use crate::{buffers, errors, pickling, values};

/// See the file's head.
pub enum Transport {
    Pipe(RawConnection),
    Stream(Stream),
    /// A descriptor that was not open when it was handed in. It belongs to nobody, and each use is an error.
    NotOpen(RawFd),
}

/// A stream, whose descriptor can be let go without closing it.
pub struct Stream {
    raw: Option<RawStream>,
    forgotten: AtomicBool,
}

/// Why there is no message.
pub enum NotReceived {
    /// It is longer than was asked for; no more can be received.
    TooLong,
    Failed(PyErr),
}

impl From<PyErr> for NotReceived {
    fn from(error: PyErr) -> NotReceived {
        NotReceived::Failed(error)
    }
}

thread_local! {
    /// What messages are received into, taken out while in use.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A buffer that grew beyond this is given back instead of being kept.
const KEEP: usize = 2 << 20;

/// A buffer for a message, empty or not, whose memory is used again and again.
#[inline]
pub fn take_scratch() -> Vec<u8> {
    SCRATCH.take()
}

/// Gives a buffer back that `take_scratch` gave.
#[inline]
pub fn give_back(mut buffer: Vec<u8>) {
    if buffer.capacity() > KEEP {
        buffer = Vec::new();
    }
    SCRATCH.set(buffer);
}

/// Gives `f` such a buffer.
fn with_scratch<R>(f: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    let mut scratch = take_scratch();
    let result = f(&mut scratch);
    give_back(scratch);
    result
}

impl Transport {
    /// The stream over a descriptor, which belongs to it from now on.
    pub fn of_descriptor(number: RawFd, limits: StreamLimits) -> Transport {
        // SAFETY: only duplicated; a number that is not open makes that fail and harms nothing.
        let is_open = unsafe { BorrowedFd::borrow_raw(number) }.try_clone_to_owned().is_ok();
        if !is_open {
            return Transport::NotOpen(number);
        }
        // SAFETY: it is open, and the caller that hands it in gives it away, as with every class that takes a
        // descriptor.
        let fd = unsafe { OwnedFd::from_raw_fd(number) };
        Transport::of_stream(RawStream::new(fd, limits))
    }

    pub fn of_stream(raw: RawStream) -> Transport {
        Transport::Stream(Stream { raw: Some(raw), forgotten: AtomicBool::new(false) })
    }

    /// The stream, if it is one.
    pub fn stream(&self) -> Option<&RawStream> {
        match self {
            Transport::Stream(stream) => Some(stream.raw()),
            Transport::Pipe(_) | Transport::NotOpen(_) => None,
        }
    }

    /// The pipe's end, if it is one.
    #[inline]
    pub fn pipe(&self) -> Option<&RawConnection> {
        match self {
            Transport::Pipe(pipe) => Some(pipe),
            Transport::Stream(_) | Transport::NotOpen(_) => None,
        }
    }

    /// Sends an object; a pipe writes as `structured` what it has no form of its own for.
    pub fn send(&self, object: &Bound<'_, PyAny>, structured: StructuredCodec) -> PyResult<()> {
        let py = object.py();
        match self {
            Transport::Pipe(pipe) => {
                let message = values::encode(object, structured, Place::Connection)?;
                let codec = message.codec.tag();
                let fds = message.handles.into_descriptors();
                send_frame(py, pipe, codec, &message.bytes.parts(), &fds)
            }
            Transport::Stream(_) | Transport::NotOpen(_) => {
                let pickle = forking_pickler::dumps(object, Place::Connection)?;
                let buffer = buffers::contiguous(&pickle)?;
                // SAFETY: in one piece, and nobody else knows of this pickle.
                self.send_bytes(py, unsafe { buffers::bytes_of(&buffer) })
            }
        }
    }

    /// Sends bytes.
    pub fn send_bytes(&self, py: Python<'_>, bytes: &[u8]) -> PyResult<()> {
        match self {
            Transport::Pipe(pipe) => send_frame(py, pipe, Codec::Raw.tag(), &[bytes], &[]),
            Transport::Stream(stream) => Timeout::Forever
                .wait(py, |wait| stream.raw().send(&[bytes], wait))?
                .map_err(stream_failed),
            Transport::NotOpen(_) => Err(not_open()),
        }
    }

    /// Receives an object.
    pub fn receive<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyAny>, NotReceived> {
        match self {
            Transport::Pipe(pipe) => with_scratch(|buffer| {
                let Received { codec, fds } = receive_frame(py, pipe, buffer, usize::MAX)?;
                Ok(values::decode(py, codec, buffer, Incoming::new(fds), Place::Connection)?)
            }),
            Transport::Stream(_) | Transport::NotOpen(_) => {
                let pickle = self.receive_bytes(py, None)?;
                Ok(pickling::loads(pickle.as_any(), Place::Connection)?)
            }
        }
    }

    /// Receives the bytes of a message, at most so many.
    pub fn receive_bytes<'py>(
        &self,
        py: Python<'py>,
        most: Option<u64>,
    ) -> Result<Bound<'py, PyBytes>, NotReceived> {
        match self {
            Transport::Pipe(pipe) => with_scratch(|buffer| {
                let limit =
                    most.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
                let Received { codec, fds } = receive_frame(py, pipe, buffer, limit)?;
                let bytes = bytes_of_message(py, codec, buffer, Incoming::new(fds))?;
                if bytes.as_bytes().len() > limit {
                    return Err(NotReceived::TooLong);
                }
                Ok(bytes)
            }),
            Transport::Stream(stream) => with_scratch(|buffer| {
                let raw = stream.raw();
                let mut received = Err(StreamError::GaveUp(GaveUp::TimedOut));
                if !raw.comes_late() {
                    received = raw.recv_little(DETACH as u64, buffer, most);
                }
                if let Err(StreamError::GaveUp(GaveUp::TimedOut)) = received {
                    received =
                        Timeout::Forever.wait(py, |wait| raw.recv_later(buffer, most, wait))?;
                }
                match received {
                    Ok(()) => Ok(PyBytes::new(py, buffer)),
                    Err(StreamError::Frame(_)) => Err(NotReceived::TooLong),
                    Err(error) => Err(stream_failed(error).into()),
                }
            }),
            Transport::NotOpen(_) => Err(not_open().into()),
        }
    }

    /// Whether there is something to receive, the end included.
    pub fn poll(&self, py: Python<'_>, timeout: Timeout) -> PyResult<bool> {
        match self {
            Transport::Pipe(pipe) => {
                let mut ready = pipe.poll(&mut Wait::now());
                if matches!(ready, Ok(false)) && !timeout.is_none() {
                    ready = timeout.wait(py, |wait| pipe.poll(wait))?;
                }
                ready.map_err(|failure| pipe_failed(failure, PyEOFError::new_err))
            }
            Transport::Stream(stream) => {
                let raw = stream.raw();
                let mut ready = raw.poll(&mut Wait::now());
                if matches!(ready, Ok(false)) && !timeout.is_none() {
                    ready = timeout.wait(py, |wait| raw.poll(wait))?;
                }
                ready.map_err(stream_failed)
            }
            Transport::NotOpen(_) => Err(not_open()),
        }
    }

    /// A number that is readable when there is something to receive.
    pub fn fileno(&self) -> PyResult<RawFd> {
        match self {
            Transport::Pipe(pipe) if !pipe.is_readable() => {
                pipe.socket().map(|fd| fd.as_raw_fd()).map_err(errors::engine)
            }
            Transport::Pipe(pipe) => pipe
                .pollable()
                .map(|fd| fd.as_raw_fd())
                .map_err(|failure| errors::engine(failure.into())),
            Transport::Stream(stream) => Ok(stream.raw().descriptor().as_raw_fd()),
            Transport::NotOpen(number) => Ok(*number),
        }
    }

    /// Lets the other end see that this one is gone, though threads of this process still use it.
    pub fn hang_up(&self) {
        // What cannot be closed now is closed when the last of them lets go.
        match self {
            Transport::Pipe(pipe) => drop(pipe.hang_up()),
            Transport::Stream(stream) => drop(raw::hang_up(stream.raw().descriptor())),
            Transport::NotOpen(_) => {}
        }
    }

    /// Leaves the descriptor open when this is dropped.
    pub fn forget(&self) {
        if let Transport::Stream(stream) = self {
            stream.forgotten.store(true, Ordering::Relaxed);
        }
    }
}

impl Stream {
    pub fn raw(&self) -> &RawStream {
        self.raw.as_ref().expect("it is taken out by drop only")
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if *self.forgotten.get_mut() {
            if let Some(raw) = self.raw.take() {
                let _ = raw.into_descriptor().into_raw_fd();
            }
        }
    }
}

/// From this size on a message is sent without the interpreter, also if there is room at once.
const DETACH: usize = 64 << 10;

fn send_frame(
    py: Python<'_>,
    pipe: &RawConnection,
    codec: u16,
    parts: &[&[u8]],
    fds: &[OwnedFd],
) -> PyResult<()> {
    let small = parts.iter().map(|part| part.len()).sum::<usize>() < DETACH;
    let mut sent = Err(TransportFailure::GaveUp(GaveUp::TimedOut));
    if small {
        sent = pipe.send(codec, parts, fds, &mut Wait::now());
    }
    if matches!(sent, Err(TransportFailure::GaveUp(_))) {
        sent = Timeout::Forever.wait(py, |wait| pipe.send(codec, parts, fds, wait))?;
    }
    // EPIPE, which is 32 on every Linux.
    let broken = |()| PyBrokenPipeError::new_err((32, "Broken pipe"));
    sent.map_err(|failure| pipe_failed(failure, broken))
}

fn receive_frame(
    py: Python<'_>,
    pipe: &RawConnection,
    buffer: &mut Vec<u8>,
    limit: usize,
) -> Result<Received, NotReceived> {
    let mut received = pipe.recv(buffer, limit, &mut Wait::now());
    if matches!(received, Err(TransportFailure::GaveUp(_))) {
        received = Timeout::Forever.wait(py, |wait| pipe.recv(buffer, limit, wait))?;
    }
    received.map_err(|failure| match failure {
        TransportFailure::Failed(error)
            if limit < usize::MAX && matches!(*error, Error::Limit(_)) =>
        {
            NotReceived::TooLong
        }
        failure => pipe_failed(failure, PyEOFError::new_err).into(),
    })
}

fn pipe_failed(failure: TransportFailure, disconnected: impl FnOnce(()) -> PyErr) -> PyErr {
    match failure {
        TransportFailure::Disconnected(_) => disconnected(()),
        failure => errors::engine(failure.into()),
    }
}

/// What `recv_bytes` gives for a message: what `send_bytes` sent, or the pickle of what `send` sent.
pub fn bytes_of_message<'py>(
    py: Python<'py>,
    codec: u16,
    bytes: &[u8],
    handles: Incoming,
) -> PyResult<Bound<'py, PyBytes>> {
    if codec == Codec::Raw.tag() || codec == Codec::Pickle.tag() {
        return Ok(PyBytes::new(py, bytes));
    }
    let object = values::decode(py, codec, bytes, handles, Place::Connection)?;
    let pickle = buffers::contiguous(&forking_pickler::dumps(&object, Place::Connection)?)?;
    // SAFETY: in one piece, and nobody else knows of this pickle.
    Ok(PyBytes::new(py, unsafe { buffers::bytes_of(&pickle) }))
}

fn not_open() -> PyErr {
    // EBADF, which is 9 on every Linux.
    errors::os("cannot use this connection", &io::Error::from_raw_os_error(9))
}

pub fn stream_failed(error: StreamError) -> PyErr {
    match error {
        StreamError::Closed => PyEOFError::new_err(()),
        StreamError::Torn => PyOSError::new_err("got end of file during message"),
        StreamError::Os { doing, source } => errors::os(&format!("cannot {doing}"), &source),
        StreamError::Reentrant => PyRuntimeError::new_err(error.to_string()),
        other => PyOSError::new_err(other.to_string()),
    }
}

/// What a message consists of that brings a descriptor: their number, as the standard library has it.
const ONE_DESCRIPTOR: &[u8] = &[1];

/// Sends a descriptor.
pub fn send_descriptor(py: Python<'_>, pipe: &RawConnection, number: RawFd) -> PyResult<()> {
    if number < 0 {
        return Err(not_open());
    }
    // SAFETY: only duplicated; a number that is not open makes that fail and harms nothing.
    let duplicate = unsafe { BorrowedFd::borrow_raw(number) }.try_clone_to_owned();
    let fd = duplicate.map_err(|error| errors::os("cannot send a descriptor", &error))?;
    send_frame(py, pipe, Codec::Raw.tag(), &[ONE_DESCRIPTOR], &[fd])
}

/// Receives a descriptor.
pub fn receive_descriptor(py: Python<'_>, pipe: &RawConnection) -> Result<OwnedFd, NotReceived> {
    with_scratch(|buffer| {
        let Received { mut fds, .. } = receive_frame(py, pipe, buffer, usize::MAX)?;
        match fds.pop() {
            Some(fd) if fds.is_empty() && buffer == ONE_DESCRIPTOR => Ok(fd),
            _ => Err(PyRuntimeError::new_err("Invalid data received: no descriptor").into()),
        }
    })
}
