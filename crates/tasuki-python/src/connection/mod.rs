//! One end of a connection as Python sees it: objects and bytes in and out, in the standard library's manner.
//!
//! `quick` has the methods that are called for every message, `transport` what is behind a connection, `listening` how
//! connections over sockets come to be.

mod listening;
mod place;
mod plain;
mod quick;
mod transport;

use std::os::fd::{AsRawFd, IntoRawFd};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyBytes, PyDict, PyTuple, PyType};
use tasuki::protocol::codec::StructuredCodec;
use tasuki::protocol::transfer::Outgoing;
use tasuki::raw::RawHandle;
use tasuki::raw::connection::{Armed, Mode, RawConnection};

pub use listening::{Listener, connect};
use place::Place;
pub use quick::add_methods;
use transport::NotReceived;

use crate::errors;
use crate::kind::{HandleClass, PythonClass, Written};
use crate::open::{Open, Use};
pub use transport::Transport;

/// One end of a connection; the Python class of this name derives from it.
#[pyclass(frozen, subclass, module = "tasuki._tasuki")]
pub struct Connection {
    transport: Open<Transport>,
    readable: AtomicBool,
    writable: AtomicBool,
    /// The number of the codec by which a pipe's structured messages are written.
    structured: AtomicU16,
}

impl Connection {
    /// The transport, unless this end is closed.
    #[inline]
    fn open(&self) -> PyResult<Use<'_, Transport>> {
        self.transport.enter().ok_or_else(|| PyOSError::new_err("handle is closed"))
    }

    /// The transport, for receiving.
    #[inline]
    fn receiving(&self) -> PyResult<Use<'_, Transport>> {
        let transport = self.open()?;
        if self.readable.load(Ordering::Relaxed) {
            return Ok(transport);
        }
        Err(PyOSError::new_err("connection is write-only"))
    }

    /// The transport, for sending.
    #[inline]
    fn sending(&self) -> PyResult<Use<'_, Transport>> {
        let transport = self.open()?;
        if self.writable.load(Ordering::Relaxed) {
            return Ok(transport);
        }
        Err(PyOSError::new_err("connection is read-only"))
    }

    /// Makes this object the end that `transport` is.
    pub fn adopt_transport(
        &self,
        transport: Transport,
        readable: bool,
        writable: bool,
    ) -> PyResult<()> {
        self.readable.store(readable, Ordering::Relaxed);
        self.writable.store(writable, Ordering::Relaxed);
        let made = self.transport.make(transport);
        made.map_err(|_| PyOSError::new_err("this connection is made already, or closed"))
    }

    /// Makes this object the end of a pipe that `raw` is.
    pub fn adopt_pipe(&self, raw: RawConnection) -> PyResult<()> {
        let (readable, writable) = (raw.is_readable(), raw.is_writable());
        self.adopt_transport(Transport::Pipe(raw), readable, writable)
    }

    fn structured(&self) -> StructuredCodec {
        StructuredCodec::from_tag(self.structured.load(Ordering::Relaxed)).unwrap_or_default()
    }

    pub fn is_readable(&self) -> bool {
        self.readable.load(Ordering::Relaxed)
    }

    pub fn is_writable(&self) -> bool {
        self.writable.load(Ordering::Relaxed)
    }

    /// What the standard library does after a message that it would not take: no more receiving.
    fn bad_message_length(&self) -> PyErr {
        if self.is_writable() {
            self.readable.store(false, Ordering::Relaxed);
        } else {
            self.close();
        }
        PyOSError::new_err("bad message length")
    }

    /// Receives a message as the bytes that it consists of, those of the pickle if it is an object.
    fn receive_bytes<'py>(
        &self,
        py: Python<'py>,
        most: Option<u64>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let transport = self.receiving()?;
        let received = transport.while_waiting(|| transport.receive_bytes(py, most));
        drop(transport);
        received.map_err(|why| self.not_received(why))
    }

    /// Receives an object.
    fn receive<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let transport = self.receiving()?;
        let received = transport.while_waiting(|| transport.receive(py));
        drop(transport);
        received.map_err(|why| self.not_received(why))
    }

    fn not_received(&self, why: NotReceived) -> PyErr {
        match why {
            NotReceived::TooLong => self.bad_message_length(),
            NotReceived::Failed(error) => error,
        }
    }
}

impl HandleClass for Connection {
    fn record(&self, table: &mut Outgoing) -> Written {
        match self.open()?.pipe() {
            Some(pipe) => Ok(pipe.record(table)),
            None => Err(PyValueError::new_err(
                "a connection over a socket travels in pickles only: create the queue or pipe with codec=\"pickle\"",
            )),
        }
    }

    fn adopt(&self, handle: RawHandle) -> Option<PyResult<()>> {
        match handle {
            RawHandle::Stream(raw) => {
                Some(self.adopt_transport(Transport::of_stream(raw), true, true))
            }
            RawHandle::Connection(raw) => Some(self.adopt_pipe(raw)),
            _ => None,
        }
    }

    fn class_of(handle: &RawHandle) -> Option<&'static PythonClass> {
        static CLASS: PythonClass = PythonClass::new("tasuki.connection", "Connection");
        matches!(handle, RawHandle::Connection(_) | RawHandle::Stream(_)).then_some(&CLASS)
    }

    fn complete<'py>(object: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        if object.cast::<Connection>()?.get().open()?.pipe().is_some() {
            // A sender in MessagePack reads that, and perhaps no pickles.
            object.setattr("_codec", "msgpack")?;
        }
        Ok(object)
    }
}

#[pymethods]
impl Connection {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Connection {
        // What a subclass is called with is its own business; `__init__` or `__setstate__` make the connection.
        Connection {
            transport: Open::empty(),
            readable: AtomicBool::new(false),
            writable: AtomicBool::new(false),
            structured: AtomicU16::new(StructuredCodec::Pickle.codec().tag()),
        }
    }

    /// Makes this the end that a descriptor is, which from now on belongs to it.
    fn _take_descriptor(
        &self,
        number: i32,
        readable: bool,
        writable: bool,
        max_message: Option<u64>,
        message_timeout: Option<f64>,
    ) -> PyResult<()> {
        let limits = listening::limits(max_message, message_timeout)?;
        if number < 0 {
            return Err(PyValueError::new_err("invalid handle"));
        }
        self.adopt_transport(Transport::of_descriptor(number, limits), readable, writable)
    }

    /// Of a connection in the standard library's form that is about to go to another process, its limits: `max_message`
    /// and `message_timeout`. Of a pipe None.
    #[getter]
    fn _stream_limits(&self, py: Python<'_>) -> PyResult<Option<(Option<u64>, Option<f64>)>> {
        let transport = self.open()?;
        let Some(stream) = transport.stream() else { return Ok(None) };
        if !py.detach(|| stream.is_between_messages()) {
            let why = "a part of a message that came on this connection is in this process already";
            return Err(PyOSError::new_err(why));
        }
        let limits = stream.limits();
        Ok(Some((limits.max_message, limits.message_timeout.map(|t| t.as_secs_f64()))))
    }

    /// How structured messages of a pipe are written: "pickle" or "msgpack".
    #[getter]
    fn _codec(&self) -> &'static str {
        match self.structured() {
            StructuredCodec::Pickle => "pickle",
            _ => "msgpack",
        }
    }

    #[setter(_codec)]
    fn set_codec(&self, name: &str) -> PyResult<()> {
        let structured = match name {
            "pickle" => StructuredCodec::Pickle,
            "msgpack" => StructuredCodec::MessagePack,
            other => {
                return Err(PyValueError::new_err(format!(
                    "unknown codec {other:?}: a pipe's codec is \"pickle\" or \"msgpack\""
                )));
            }
        };
        self.structured.store(structured.codec().tag(), Ordering::Relaxed);
        Ok(())
    }

    /// Sends a descriptor through a pipe; false: this is none.
    fn _send_handle(&self, py: Python<'_>, number: i32) -> PyResult<bool> {
        match self.sending()?.pipe() {
            Some(pipe) => transport::send_descriptor(py, pipe, number).map(|()| true),
            None => Ok(false),
        }
    }

    /// Receives a descriptor that was sent through a pipe; None: this is none.
    fn _recv_handle(&self, py: Python<'_>) -> PyResult<Option<i32>> {
        let transport = self.receiving()?;
        let Some(pipe) = transport.pipe() else { return Ok(None) };
        let received = transport::receive_descriptor(py, pipe);
        received.map(|fd| Some(fd.into_raw_fd())).map_err(|why| self.not_received(why))
    }

    /// For a wait: True, there is something to receive; two numbers, of which the first is readable, or the second hung
    /// up, when that is to be asked again; False, it is to be asked again in a moment; None, its own descriptor tells.
    fn _arm<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let transport = self.open()?;
        let Some(pipe) = transport.pipe().filter(|pipe| pipe.is_readable()) else {
            return Ok(py.None().into_bound(py));
        };
        match pipe.arm().map_err(|failure| errors::engine(failure.into()))? {
            Armed::Ready => Ok(PyBool::new(py, true).to_owned().into_any()),
            Armed::Sleep(message, end) => {
                let end = end.unwrap_or(message);
                Ok((message.as_raw_fd(), end.as_raw_fd()).into_pyobject(py)?.into_any())
            }
            Armed::Soon => Ok(PyBool::new(py, false).to_owned().into_any()),
        }
    }

    /// Closes this end without closing its descriptor.
    fn _forget(&self) {
        if let Some(transport) = self.transport.enter() {
            transport.forget();
        }
        self.transport.close(|_| ());
    }

    /// Receives the bytes of a message into a buffer, and returns how many they were.
    #[pyo3(signature = (buf, offset=0))]
    #[pyo3(text_signature = "($self, buf, offset=0)")]
    fn recv_bytes_into(&self, buf: &Bound<'_, PyAny>, offset: isize) -> PyResult<usize> {
        drop(self.receiving()?);
        let target = Place::of(buf)?;
        let Ok(offset) = usize::try_from(offset) else {
            return Err(PyValueError::new_err("negative offset"));
        };
        if offset > target.len() {
            return Err(PyValueError::new_err("offset too large"));
        }
        let py = buf.py();
        let message = self.receive_bytes(py, None)?;
        let bytes = message.as_bytes();
        if bytes.len() > target.len() - offset {
            static TOO_SHORT: PyOnceLock<Py<PyType>> = PyOnceLock::new();
            let class = TOO_SHORT.import(py, "multiprocessing.context", "BufferTooShort")?;
            return Err(PyErr::from_type(class.clone(), (message.unbind(),)));
        }
        target.copy_from(offset, bytes);
        Ok(bytes.len())
    }

    /// A descriptor that is readable when there is something to receive, for selectors.
    fn fileno(&self) -> PyResult<i32> {
        self.open()?.fileno()
    }

    /// Closes this end; others go on, and see the end when nobody has a copy of it.
    fn close(&self) {
        self.transport.close(Transport::hang_up);
    }

    /// Whether this end is closed.
    #[getter]
    fn closed(&self) -> bool {
        !self.transport.is_open()
    }

    /// Whether this end can receive.
    #[getter]
    fn readable(&self) -> bool {
        self.is_readable()
    }

    /// Whether this end can send.
    #[getter]
    fn writable(&self) -> bool {
        self.is_writable()
    }
}

/// Makes a pipe, of which `first` and `second` become the ends. Of one in one direction `first` receives.
#[pyfunction]
pub fn pipe(
    first: &Bound<'_, Connection>,
    second: &Bound<'_, Connection>,
    duplex: bool,
) -> PyResult<()> {
    let mode = if duplex { Mode::Duplex } else { Mode::Simplex };
    let (one, other) = RawConnection::pipe(mode).map_err(errors::engine)?;
    first.get().adopt_pipe(one)?;
    second.get().adopt_pipe(other)
}

/// A child of this process has ended and was joined: the next send to it notices.
#[pyfunction]
pub fn note_joined() {
    tasuki::raw::connection::note_joined();
}
