//! The queue as Python sees it: objects in and out, the interpreter let go only when there is something to wait for.

mod batches;
mod ends;
mod failures;
mod get;
mod joining;
mod letting_go;
mod put;
mod watching;

use std::os::fd::RawFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};
use tasuki::protocol::codec::{Codec, StructuredCodec};
use tasuki::protocol::transfer::Outgoing;
use tasuki::raw::{QueueOptions, QueueRemains, RawHandle, RawQueue, Shutdown};

use self::ends::Ends;
use self::get::As;
use self::put::Prepared;
use self::watching::Watched;
use crate::errors;
use crate::kind::{HandleClass, PythonClass, Written};
use crate::open::{Open, Use};
use crate::synchronize::{Policy, PolicyCell};
use crate::waiting::{Blocking, Timeout};

/// A queue of the engine; the Python classes of queues derive from it.
#[pyclass(frozen, subclass, module = "tasuki._tasuki")]
pub struct Queue {
    raw: Open<RawQueue>,
    /// The number of the codec by which structured messages are written, for a caller without a hold on the queue.
    structured: AtomicU16,
    /// Of a queue that was closed: what can still be asked.
    remains: OnceLock<QueueRemains>,
    ends: Ends,
    /// Whether this process has put anything: only then a closed queue refuses to say whether it is empty, as the
    /// standard one does.
    has_put: AtomicBool,
    /// Whether the last answer of `empty` in this process was that it is.
    was_empty: AtomicBool,
    watched: Watched,
    policy: PolicyCell,
}

impl Queue {
    /// The queue, which stays as long as the result: not to be had while Python code runs, but for handlers in a wait.
    #[inline]
    pub fn raw(&self) -> PyResult<Use<'_, RawQueue>> {
        self.raw.enter().ok_or_else(|| self.not_there())
    }

    /// As `raw`, for a get or put: a process that closed the queue is told so.
    #[inline]
    pub fn using<'a>(slf: &'a Bound<'_, Queue>) -> PyResult<Use<'a, RawQueue>> {
        slf.get().raw.enter().ok_or_else(|| slf.get().not_to_be_used(slf))
    }

    fn adopt_raw(&self, raw: RawQueue) -> PyResult<()> {
        self.structured.store(raw.structured().codec().tag(), Ordering::Relaxed);
        self.raw
            .make(raw)
            .map_err(|_| PyRuntimeError::new_err("this queue is made already, or closed"))
    }

    fn structured(&self) -> StructuredCodec {
        StructuredCodec::from_tag(self.structured.load(Ordering::Relaxed)).unwrap_or_default()
    }

    #[cold]
    fn not_there(&self) -> PyErr {
        if self.raw.is_closed() {
            return PyOSError::new_err("handle is closed");
        }
        PyRuntimeError::new_err("this queue was never made: call super().__init__() first")
    }

    #[cold]
    fn not_to_be_used(&self, slf: &Bound<'_, Queue>) -> PyErr {
        if self.ends.queue_is_closed() { self.ends.error(slf) } else { self.not_there() }
    }
}

impl HandleClass for Queue {
    fn record(&self, table: &mut Outgoing) -> Written {
        Ok(self.raw()?.record(table))
    }

    fn adopt(&self, handle: RawHandle) -> Option<PyResult<()>> {
        match handle {
            RawHandle::Queue(raw) => Some(self.adopt_raw(raw)),
            _ => None,
        }
    }

    fn class_of(handle: &RawHandle) -> Option<&'static PythonClass> {
        static CLASS: PythonClass = PythonClass::new("tasuki.queues", "Queue");
        static JOINABLE: PythonClass = PythonClass::new("tasuki.queues", "JoinableQueue");
        match handle {
            RawHandle::Queue(raw) if raw.is_joinable() => Some(&JOINABLE),
            RawHandle::Queue(_) => Some(&CLASS),
            _ => None,
        }
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
            raw: Open::empty(),
            structured: AtomicU16::new(Codec::Pickle.tag()),
            remains: OnceLock::new(),
            ends: Ends::default(),
            has_put: AtomicBool::new(false),
            was_empty: AtomicBool::new(false),
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
        self.adopt_raw(RawQueue::create(options).map_err(errors::engine)?)
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
        put::put(slf, obj, Timeout::new(block, timeout)?)
    }

    /// Takes the oldest object out of the queue, waiting for one if need be.
    #[pyo3(signature = (block=Blocking(true), timeout=None))]
    #[pyo3(text_signature = "($self, block=True, timeout=None)")]
    fn get<'py>(
        slf: &Bound<'py, Self>,
        block: Blocking,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        get::get(slf, Timeout::new(block, timeout)?, As::Object)
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
        get::get(slf, Timeout::new(block, timeout)?, As::View)
    }

    /// Puts objects in their order, under one lock as far as there is room: cheaper than one by one.
    ///
    /// Nothing is put if one of them cannot be pickled. Any other exception, such as `queue.Full` after the timeout,
    /// has the number of those that were put as its attribute `put`.
    #[pyo3(signature = (objs, block=Blocking(true), timeout=None))]
    #[pyo3(text_signature = "($self, objs, block=True, timeout=None)")]
    fn put_many(
        slf: &Bound<'_, Self>,
        objs: &Bound<'_, PyAny>,
        block: Blocking,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        batches::put_many(slf, objs, Timeout::new(block, timeout)?)
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
        batches::get_many(slf, max, Timeout::new(block, timeout)?)
    }

    /// Puts an object if there is room now; raises `queue.Full` otherwise.
    fn put_nowait(slf: &Bound<'_, Self>, obj: &Bound<'_, PyAny>) -> PyResult<()> {
        put::put(slf, obj, Timeout::None)
    }

    /// Takes an object if there is one now; raises `queue.Empty` otherwise.
    fn get_nowait<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        get::get(slf, Timeout::None, As::Object)
    }

    /// How many objects wait at this moment.
    fn qsize(&self) -> PyResult<u64> {
        self.look(|raw| raw.len(), |remains| remains.len())
    }

    /// Whether no object waits at this moment.
    fn empty(&self, py: Python<'_>) -> PyResult<bool> {
        let put_and_closed = self.ends.queue_is_closed() && self.has_put.load(Ordering::Relaxed);
        if put_and_closed || (self.ends.reader_is_closed() && !self.ends.queue_is_closed()) {
            return Err(PyOSError::new_err("handle is closed"));
        }
        let is_empty = self.look(|raw| raw.is_empty(), |remains| remains.is_empty())?;
        if self.was_empty.swap(is_empty, Ordering::Relaxed) && is_empty {
            // A caller that asks in vain again and again gives way to those that could change it: the thread of a
            // standard Pool that waits for news does so while a result lies there that another thread has yet to take.
            py.detach(std::thread::yield_now);
        }
        Ok(is_empty)
    }

    /// Whether there is no room at this moment.
    fn full(&self) -> PyResult<bool> {
        self.look(|raw| raw.is_full(), |remains| remains.is_full())
    }

    /// Ends the use of the queue, for all processes: from now on `put` raises `ShutDown`, and so does `get` once the
    /// queue is empty, or at once if `immediate`, which throws away what waits.
    #[pyo3(signature = (immediate=Blocking(false)))]
    #[pyo3(text_signature = "($self, immediate=False)")]
    fn shutdown(&self, py: Python<'_>, immediate: Blocking) -> PyResult<()> {
        let how = if immediate.0 { Shutdown::Immediate } else { Shutdown::Drain };
        let raw = self.raw()?;
        raw.while_waiting(|| watching::unstopped(py, |wait| raw.shutdown_within(how, wait)))
    }

    /// Whether somebody has called `shutdown`.
    #[getter]
    fn is_shutdown(&self) -> PyResult<bool> {
        self.look(|raw| raw.is_shut_down(), |remains| remains.is_shut_down())
    }

    /// A descriptor that is readable while objects wait, and once the queue is shut down; to be polled, not to be read.
    fn fileno(&self, py: Python<'_>) -> PyResult<RawFd> {
        let raw = self.raw()?;
        raw.while_waiting(|| self.watched.messages(py, &raw))
    }

    /// As `fileno`; None when that would take longer than `timeout` seconds, since another process was stopped inside.
    fn _fileno_within(
        &self,
        py: Python<'_>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Option<RawFd>> {
        let timeout = Timeout::new(Blocking(true), timeout)?;
        let raw = self.raw()?;
        raw.while_waiting(|| self.watched.messages_within(py, &raw, timeout))
    }

    /// A descriptor that is writable while there is room, and once the queue is shut down.
    fn _room_fileno(&self, py: Python<'_>) -> PyResult<RawFd> {
        let raw = self.raw()?;
        raw.while_waiting(|| self.watched.room(py, &raw))
    }

    /// Declares that this process will neither put nor get any more; others go on. Its descriptors and memory are given
    /// back when the last call ends that uses them.
    fn close(&self) {
        self.ends.close_queue();
        self.let_go_if_closed();
    }

    #[getter]
    fn _closed(&self) -> bool {
        self.ends.queue_is_closed()
    }

    /// Returns whether both ends are closed now.
    fn _close_reader(&self) -> bool {
        self.ends.close_reader();
        self.let_go_if_closed()
    }

    /// Tells others, too: a process that closed its own writer may wait for nobody. Returns whether both ends are
    /// closed now.
    fn _close_writer(&self) -> PyResult<bool> {
        self.ends.close_writer();
        if self.let_go_if_closed() {
            return Ok(true);
        }
        self.raw()?.close_writer().map_err(errors::engine)?;
        Ok(false)
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
        put::put_prepared(slf, prepared.get(), Timeout::None)
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
        joining::join(slf, Timeout::new(Blocking(true), timeout)?)
    }

    #[getter]
    fn _unfinished(&self) -> PyResult<u64> {
        self.look(|raw| raw.unfinished(), |remains| remains.unfinished())
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
        let capacity = self.look(|raw| raw.capacity(), |remains| remains.capacity())?;
        Ok(capacity.unwrap_or(i32::MAX as u64))
    }
}
