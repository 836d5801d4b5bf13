//! The queue as Python sees it: objects in and out, the interpreter let go only when there is something to wait for.

use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};
use tasuki::protocol::codec::StructuredCodec;
use tasuki::protocol::transfer::Incoming;
use tasuki::raw::{Failure, GaveUp, LargeMessage, QueueOptions, RawQueue, Taken, Wait};

use crate::waiting::{Blocking, Patience};
use crate::{errors, values};

/// A message from this size on is copied without the interpreter: others may run meanwhile.
const DETACH: usize = 64 << 10;

thread_local! {
    /// What small messages are copied to, taken out while in use.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A queue of the engine; the Python class of this name derives from it.
#[pyclass(frozen, subclass, module = "tasuki._tasuki")]
pub struct Queue {
    raw: OnceLock<RawQueue>,
    /// The process that called close(), 0 for nobody: a forked child's queue is open again.
    closed_by: AtomicU32,
    /// Whether this process has put anything: only then a closed queue refuses to say whether it is empty, as the
    /// standard one does.
    has_put: AtomicBool,
}

impl Queue {
    pub fn raw(&self) -> PyResult<&RawQueue> {
        self.raw.get().ok_or_else(|| {
            PyRuntimeError::new_err("this queue was never made: call super().__init__() first")
        })
    }

    #[inline]
    fn is_closed(&self) -> bool {
        let closed_by = self.closed_by.load(Ordering::Relaxed);
        closed_by != 0 && closed_by == std::process::id()
    }

    pub fn adopt(&self, raw: RawQueue) -> PyResult<()> {
        self.raw.set(raw).map_err(|_| PyRuntimeError::new_err("this queue is made already"))
    }

    /// The queue, for putting or getting.
    #[inline]
    fn usable(slf: &Bound<'_, Self>) -> PyResult<()> {
        if slf.get().is_closed() {
            return Err(PyValueError::new_err(format!("Queue {} is closed", slf.repr()?)));
        }
        Ok(())
    }

    fn put_now(
        slf: &Bound<'_, Self>,
        object: &Bound<'_, PyAny>,
        patience: Patience,
    ) -> PyResult<()> {
        Queue::usable(slf)?;
        let raw = slf.get().raw()?;
        slf.get().has_put.store(true, Ordering::Relaxed);
        let py = slf.py();
        let message = match values::encode(object, raw.structured()) {
            Ok(message) => message,
            Err(error) => {
                // Python knows whether a subclass has a hook for what cannot be written.
                slf.call_method1("_refused", (error.clone_ref(py), object))?;
                return Ok(());
            }
        };
        let codec = message.codec.tag();
        let fds = message.handles.into_descriptors();
        let bytes = &message.bytes;
        if let Some(bytes) = bytes.as_slice().filter(|bytes| bytes.len() < DETACH) {
            match raw.put(codec, &[bytes], &fds, &mut Wait::now()) {
                Err(Failure::GaveUp(GaveUp::TimedOut)) if !patience.is_none() => {}
                other => return other.map_err(|failure| put_failed(py, failure)),
            }
        }
        put_waiting(py, raw, codec, bytes, &fds, patience)
    }

    fn get_now<'py>(slf: &Bound<'py, Self>, patience: Patience) -> PyResult<Bound<'py, PyAny>> {
        Queue::usable(slf)?;
        let raw = slf.get().raw()?;
        let py = slf.py();
        let mut scratch = SCRATCH.take();
        let taken = match raw.get(&mut scratch, &mut Wait::now()) {
            Err(Failure::GaveUp(GaveUp::TimedOut)) if !patience.is_none() => {
                patience.wait(py, |mut wait| raw.get(&mut scratch, &mut wait))?
            }
            other => other,
        };
        let object = match taken {
            Ok(Taken { codec, large: None, fds }) => {
                values::decode(py, codec, &scratch, Incoming::new(fds))
            }
            Ok(Taken { codec, large: Some(large), fds }) => large_bytes(py, large)
                .and_then(|bytes| values::decode_bytes(codec, &bytes, Incoming::new(fds))),
            Err(Failure::GaveUp(_)) => Err(errors::empty(py)),
            Err(failure) => Err(errors::engine(failure.into())),
        };
        SCRATCH.set(scratch);
        object
    }
}

/// Puts what is large or what there was no room for, without the interpreter.
#[cold]
fn put_waiting(
    py: Python<'_>,
    raw: &RawQueue,
    codec: u16,
    bytes: &values::Bytes<'_>,
    fds: &[OwnedFd],
    patience: Patience,
) -> PyResult<()> {
    let parts = bytes.parts();
    patience
        .wait(py, |mut wait| raw.put(codec, &parts, fds, &mut wait))?
        .map_err(|failure| put_failed(py, failure))
}

fn put_failed(py: Python<'_>, failure: Failure) -> PyErr {
    match failure {
        Failure::GaveUp(_) => errors::full(py),
        failure => errors::engine(failure.into()),
    }
}

/// Copies a large message into a bytes object, without zeroing it first and without the interpreter.
fn large_bytes(py: Python<'_>, large: LargeMessage) -> PyResult<Bound<'_, PyBytes>> {
    let len = ffi::Py_ssize_t::try_from(large.len())?;
    // SAFETY: makes a bytes object of `len` uninitialised bytes that nobody else knows of, or raises.
    let object = unsafe { ffi::PyBytes_FromStringAndSize(std::ptr::null(), len) };
    // SAFETY: a new reference to a bytes object, or null with an exception set.
    let bytes =
        unsafe { Bound::from_owned_ptr_or_err(py, object)?.cast_into_unchecked::<PyBytes>() };
    let target = bytes.as_bytes().as_ptr() as usize;
    py.detach(|| {
        // SAFETY: `target` is the object's `len` bytes, which this thread alone writes before anybody reads them.
        unsafe { large.copy_to(target as *mut u8) };
        drop(large);
    });
    Ok(bytes)
}

#[pymethods]
impl Queue {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Queue {
        // What a subclass is called with is its own business; `__init__` makes the queue.
        Queue {
            raw: OnceLock::new(),
            closed_by: AtomicU32::new(0),
            has_put: AtomicBool::new(false),
        }
    }

    /// Makes the queue, with room for `maxsize` messages or without a bound.
    fn _create(&self, maxsize: i64, codec: &str) -> PyResult<()> {
        let structured = match codec {
            "pickle" => StructuredCodec::Pickle,
            "msgpack" => StructuredCodec::MessagePack,
            other => {
                return Err(PyValueError::new_err(format!(
                    "unknown codec {other:?}: a queue's codec is \"pickle\" or \"msgpack\""
                )));
            }
        };
        let capacity = u64::try_from(maxsize).ok().filter(|&capacity| capacity > 0);
        let options =
            QueueOptions { capacity, structured, label: "python".to_owned(), ..Default::default() };
        self.adopt(RawQueue::create(options).map_err(errors::engine)?)
    }

    /// Puts an object into the queue, waiting for room if need be.
    ///
    /// The put is done when this returns: the object is delivered even if this process dies at once.
    #[pyo3(signature = (obj, block=Blocking(true), timeout=None))]
    #[pyo3(text_signature = "($self, obj, block=True, timeout=None)")]
    fn put(
        slf: &Bound<'_, Self>,
        obj: &Bound<'_, PyAny>,
        block: Blocking,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        Queue::put_now(slf, obj, Patience::new(block, timeout)?)
    }

    /// Takes the oldest object out of the queue, waiting for one if need be.
    #[pyo3(signature = (block=Blocking(true), timeout=None))]
    #[pyo3(text_signature = "($self, block=True, timeout=None)")]
    fn get<'py>(
        slf: &Bound<'py, Self>,
        block: Blocking,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        Queue::get_now(slf, Patience::new(block, timeout)?)
    }

    /// Puts an object if there is room now; raises `queue.Full` otherwise.
    fn put_nowait(slf: &Bound<'_, Self>, obj: &Bound<'_, PyAny>) -> PyResult<()> {
        Queue::put_now(slf, obj, Patience::None)
    }

    /// Takes an object if there is one now; raises `queue.Empty` otherwise.
    fn get_nowait<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Queue::get_now(slf, Patience::None)
    }

    /// How many objects wait at this moment.
    fn qsize(&self) -> PyResult<u64> {
        Ok(self.raw()?.len())
    }

    /// Whether no object waits at this moment.
    fn empty(&self) -> PyResult<bool> {
        if self.is_closed() && self.has_put.load(Ordering::Relaxed) {
            return Err(PyOSError::new_err("handle is closed"));
        }
        Ok(self.raw()?.is_empty())
    }

    /// Whether there is no room at this moment.
    fn full(&self) -> PyResult<bool> {
        let raw = self.raw()?;
        Ok(raw.capacity().is_some_and(|capacity| raw.len() >= capacity))
    }

    /// Declares that this process will neither put nor get any more; others go on.
    fn close(&self) {
        self.closed_by.store(std::process::id(), Ordering::Relaxed);
    }

    #[getter]
    fn _closed(&self) -> bool {
        self.is_closed()
    }

    #[getter]
    fn _maxsize(&self) -> PyResult<u64> {
        // Unbounded is what the standard library calls the largest semaphore.
        Ok(self.raw()?.capacity().unwrap_or(i32::MAX as u64))
    }
}
