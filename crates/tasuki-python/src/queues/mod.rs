//! The queue as Python sees it: objects in and out, the interpreter let go only when there is something to wait for.

mod batches;
mod ends;
mod failures;
mod get;
mod joining;
mod put;
mod watching;

use std::os::fd::RawFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};
use tasuki::protocol::codec::StructuredCodec;
use tasuki::raw::{QueueOptions, RawQueue, Shutdown};

use self::ends::Ends;
use self::get::As;
use self::put::Prepared;
use self::watching::Watched;
use crate::errors;
use crate::synchronize::{Policy, PolicyCell};
use crate::waiting::{Blocking, Patience};

/// A queue of the engine; the Python classes of queues derive from it.
#[pyclass(frozen, subclass, module = "tasuki._tasuki")]
pub struct Queue {
    raw: OnceLock<RawQueue>,
    ends: Ends,
    /// Whether this process has put anything: only then a closed queue refuses to say whether it is empty, as the
    /// standard one does.
    has_put: AtomicBool,
    watched: Watched,
    policy: PolicyCell,
}

impl Queue {
    pub fn raw(&self) -> PyResult<&RawQueue> {
        self.raw.get().ok_or_else(|| {
            PyRuntimeError::new_err("this queue was never made: call super().__init__() first")
        })
    }

    pub fn adopt(&self, raw: RawQueue) -> PyResult<()> {
        self.raw.set(raw).map_err(|_| PyRuntimeError::new_err("this queue is made already"))
    }
}

#[pymethods]
impl Queue {
    #[new]
    #[pyo3(signature = (*args, **_kwargs))]
    fn new(args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Queue {
        errors::find_empty_and_full(args.py());
        // What a subclass is called with is its own business; `__init__` makes the queue.
        Queue {
            raw: OnceLock::new(),
            ends: Ends::default(),
            has_put: AtomicBool::new(false),
            watched: Watched::default(),
            policy: PolicyCell::new(Policy::Raise),
        }
    }

    /// Makes the queue, with room for `maxsize` messages or without a bound; a `joinable` one counts tasks.
    /// One with a `byte_limit` is full when so many bytes wait, as a pipe is.
    #[pyo3(signature = (maxsize, codec, joinable=false, byte_limit=None))]
    fn _create(
        &self,
        maxsize: i64,
        codec: &str,
        joinable: bool,
        byte_limit: Option<u64>,
    ) -> PyResult<()> {
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
        let options = QueueOptions {
            capacity,
            byte_limit,
            soft_limit: true,
            structured,
            joinable,
            label: "python".to_owned(),
        };
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
        put::put(slf, obj, Patience::new(block, timeout)?)
    }

    /// Takes the oldest object out of the queue, waiting for one if need be.
    #[pyo3(signature = (block=Blocking(true), timeout=None))]
    #[pyo3(text_signature = "($self, block=True, timeout=None)")]
    fn get<'py>(
        slf: &Bound<'py, Self>,
        block: Blocking,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        get::get(slf, Patience::new(block, timeout)?, As::Object)
    }

    /// As `get`, but a message that is bytes or a bytearray comes as a memoryview; from a megabyte on without a copy.
    ///
    /// The view is writable if it shows a bytearray. Its memory is given back with the last object that shows it.
    #[pyo3(signature = (block=Blocking(true), timeout=None))]
    #[pyo3(text_signature = "($self, block=True, timeout=None)")]
    fn get_view<'py>(
        slf: &Bound<'py, Self>,
        block: Blocking,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        get::get(slf, Patience::new(block, timeout)?, As::View)
    }

    /// Puts objects in their order, under one lock as far as there is room: cheaper than one by one.
    ///
    /// Nothing is put if one of them cannot be pickled. Any other exception, such as `queue.Full` after the timeout, has
    /// the number of those that were put as its attribute `put`.
    #[pyo3(signature = (objs, block=Blocking(true), timeout=None))]
    #[pyo3(text_signature = "($self, objs, block=True, timeout=None)")]
    fn put_many(
        slf: &Bound<'_, Self>,
        objs: &Bound<'_, PyAny>,
        block: Blocking,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        batches::put_many(slf, objs, Patience::new(block, timeout)?)
    }

    /// Takes several of the oldest objects, waiting for one if need be: at most `max`, and some 256 KiB of small ones.
    ///
    /// If one of them cannot be unpickled, the exception has the others as its attribute `got`.
    #[pyo3(signature = (max=None, block=Blocking(true), timeout=None))]
    #[pyo3(text_signature = "($self, max=None, block=True, timeout=None)")]
    fn get_many<'py>(
        slf: &Bound<'py, Self>,
        max: Option<i64>,
        block: Blocking,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyList>> {
        batches::get_many(slf, max, Patience::new(block, timeout)?)
    }

    /// Puts an object if there is room now; raises `queue.Full` otherwise.
    fn put_nowait(slf: &Bound<'_, Self>, obj: &Bound<'_, PyAny>) -> PyResult<()> {
        put::put(slf, obj, Patience::None)
    }

    /// Takes an object if there is one now; raises `queue.Empty` otherwise.
    fn get_nowait<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        get::get(slf, Patience::None, As::Object)
    }

    /// How many objects wait at this moment.
    fn qsize(&self) -> PyResult<u64> {
        Ok(self.raw()?.len())
    }

    /// Whether no object waits at this moment.
    fn empty(&self) -> PyResult<bool> {
        let put_and_closed = self.ends.queue_is_closed() && self.has_put.load(Ordering::Relaxed);
        if put_and_closed || (self.ends.reader_is_closed() && !self.ends.queue_is_closed()) {
            return Err(PyOSError::new_err("handle is closed"));
        }
        Ok(self.raw()?.is_empty())
    }

    /// Whether there is no room at this moment.
    fn full(&self) -> PyResult<bool> {
        Ok(self.raw()?.is_full())
    }

    /// Ends the use of the queue, for all processes: from now on `put` raises `ShutDown`, and so does `get` once the queue
    /// is empty, or at once if `immediate`, which throws away what waits.
    #[pyo3(signature = (immediate=Blocking(false)))]
    #[pyo3(text_signature = "($self, immediate=False)")]
    fn shutdown(&self, py: Python<'_>, immediate: Blocking) -> PyResult<()> {
        let how = if immediate.0 { Shutdown::Immediate } else { Shutdown::Drain };
        let raw = self.raw()?;
        watching::unstopped(py, |wait| raw.shutdown_within(how, wait))
    }

    /// Whether somebody has called `shutdown`.
    #[getter]
    fn is_shutdown(&self) -> PyResult<bool> {
        Ok(self.raw()?.is_shut_down())
    }

    /// A descriptor that is readable while objects wait, and once the queue is shut down; to be polled, not to be read.
    fn fileno(&self, py: Python<'_>) -> PyResult<RawFd> {
        self.watched.messages(py, self.raw()?)
    }

    /// As `fileno`; None when that would take longer than `timeout` seconds, since another process was stopped inside.
    fn _fileno_within(
        &self,
        py: Python<'_>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Option<RawFd>> {
        let patience = Patience::new(Blocking(true), timeout)?;
        self.watched.messages_within(py, self.raw()?, patience)
    }

    /// A descriptor that is writable while there is room, and once the queue is shut down.
    fn _room_fileno(&self, py: Python<'_>) -> PyResult<RawFd> {
        self.watched.room(py, self.raw()?)
    }

    /// Declares that this process will neither put nor get any more; others go on.
    fn close(&self) {
        self.ends.close_queue();
    }

    #[getter]
    fn _closed(&self) -> bool {
        self.ends.queue_is_closed()
    }

    fn _close_reader(&self) {
        self.ends.close_reader();
    }

    /// Tells others, too: whoever closed its own writer may wait for nobody.
    fn _close_writer(&self) -> PyResult<()> {
        self.ends.close_writer();
        self.raw()?.close_writer().map_err(errors::engine)
    }

    #[getter]
    fn _reader_closed(&self) -> bool {
        self.ends.reader_is_closed()
    }

    #[getter]
    fn _writer_closed(&self) -> bool {
        self.ends.writer_is_closed()
    }

    /// Whether a get asks `_take_ahead` first, which raises IndexError for nothing.
    fn _set_ahead(&self, ahead: bool) {
        self.ends.set_ahead(ahead);
    }

    /// Writes an object for `_put_prepared`; None if a hook has dealt with one that cannot be written.
    fn _prepare(slf: &Bound<'_, Self>, obj: &Bound<'_, PyAny>) -> PyResult<Option<Prepared>> {
        put::prepare(slf, obj)
    }

    /// Puts a prepared object if there is room now.
    fn _put_prepared(slf: &Bound<'_, Self>, prepared: &Bound<'_, Prepared>) -> PyResult<()> {
        put::put_prepared(slf, prepared.get(), Patience::None)
    }

    /// Puts what is a pickle already.
    fn _put_pickle(slf: &Bound<'_, Self>, pickle: &[u8]) -> PyResult<()> {
        put::put_pickle(slf, pickle)
    }

    fn _task_done(slf: &Bound<'_, Self>) -> PyResult<()> {
        joining::task_done(slf)
    }

    #[pyo3(signature = (timeout = None))]
    fn _join(slf: &Bound<'_, Self>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
        joining::join(slf, Patience::new(Blocking(true), timeout)?)
    }

    #[getter]
    fn _unfinished(&self) -> PyResult<u64> {
        Ok(self.raw()?.unfinished())
    }

    /// What a join does about tasks that a process took and did not live to do.
    #[getter]
    fn _on_owner_died(&self) -> &'static str {
        self.policy.get().name()
    }

    #[setter(_on_owner_died)]
    fn set_on_owner_died(&self, policy: Policy) {
        self.policy.set(policy);
    }

    #[getter]
    fn _maxsize(&self) -> PyResult<u64> {
        // Unbounded is what the standard library calls the largest semaphore.
        Ok(self.raw()?.capacity().unwrap_or(i32::MAX as u64))
    }
}
