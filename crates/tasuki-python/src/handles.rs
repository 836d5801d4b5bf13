//! How handles get into messages and out of them: tables of descriptors, records, and the class for each kind.
//!
//! The Python half is `tasuki/_private/handles.py`, which decides which way a handle travels.

use std::collections::HashMap;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyType};
use tasuki::protocol::transfer::{self, Outgoing};
use tasuki::raw::RawHandle;

use crate::connection::Connection;
use crate::queues::Queue;
use crate::sharedctypes::Block;
use crate::synchronize::{Barrier, Condition, Event, Lock, RLock, Semaphore};
use crate::{errors, msgpack};

/// Whether a message is being written on this thread: a handle can travel with it.
#[pyfunction]
pub fn is_carrying() -> bool {
    transfer::is_collecting()
}

/// The record of `object` for the message that is being written on this thread.
#[pyfunction]
pub fn carry<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    Ok(PyBytes::new(object.py(), &record_here(object)?))
}

/// The record of a handle for the message that is being written on this thread.
pub fn record_here(object: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    transfer::with_outgoing(|table| record(object, table)).unwrap_or_else(|_| {
        Err(PyValueError::new_err(
            "a tasuki handle can only travel in a message tasuki carries: as an argument of a \
             Process or a Command, or through a Queue",
        ))
    })
}

fn record(object: &Bound<'_, PyAny>, table: &mut Outgoing) -> PyResult<Vec<u8>> {
    let record = if let Ok(queue) = object.cast::<Queue>() {
        queue.get().raw()?.record(table)
    } else if let Ok(lock) = object.cast::<Lock>() {
        lock.get().record(table)?
    } else if let Ok(lock) = object.cast::<RLock>() {
        lock.get().record(table)?
    } else if let Ok(block) = object.cast::<Block>() {
        block.get().raw()?.record(table)
    } else if let Ok(semaphore) = object.cast::<Semaphore>() {
        semaphore.get().record(table)?
    } else if let Ok(event) = object.cast::<Event>() {
        event.get().record(table)?
    } else if let Ok(condition) = object.cast::<Condition>() {
        condition.get().record(table)?
    } else if let Ok(barrier) = object.cast::<Barrier>() {
        barrier.get().record(table)?
    } else if let Ok(connection) = object.cast::<Connection>() {
        connection.get().record(table)?
    } else {
        return Err(PyTypeError::new_err(format!("not a tasuki handle: {object:?}")));
    };
    record.map_err(|error| match error.os_error() {
        Some(source) => errors::os("cannot send a handle", source),
        None => PyValueError::new_err(error.to_string()),
    })
}

/// A table of descriptors that Python keeps: those of a process that is being started, or of tickets.
#[pyclass(frozen, module = "tasuki._tasuki")]
pub struct Descriptors {
    table: Mutex<Outgoing>,
}

#[pymethods]
impl Descriptors {
    #[new]
    fn new() -> Descriptors {
        Descriptors { table: Mutex::new(Outgoing::default()) }
    }

    /// The record of `object`, whose descriptors go into this table, and those descriptors by their index. They are
    /// open as long as this table lives.
    fn record<'py>(
        &self,
        object: &Bound<'py, PyAny>,
    ) -> PyResult<(Bound<'py, PyBytes>, HashMap<u32, RawFd>)> {
        let mut table = self.table.lock().expect("no panic while writing");
        let record = record(object, &mut table)?;
        let descriptors = table.descriptors();
        let numbers = RawHandle::indices(&record)
            .map_err(errors::engine)?
            .into_iter()
            .filter_map(|index| Some((index, descriptors.get(index as usize)?.as_raw_fd())))
            .collect();
        Ok((PyBytes::new(object.py(), &record), numbers))
    }
}

/// Opens `object`, fresh from `__new__`, as what `record` names, with descriptors of the message being read.
#[pyfunction]
pub fn open_carried(object: &Bound<'_, PyAny>, record: &[u8]) -> PyResult<()> {
    adopt(object, open(object.py(), || Ok(RawHandle::open_now(record, &mut transfer::take)))?)
}

/// Runs `attempt` again while somebody was stopped in its way, which others of this interpreter's threads do not wait for.
fn open(
    py: Python<'_>,
    mut attempt: impl FnMut() -> PyResult<Result<RawHandle, tasuki::Error>>,
) -> PyResult<RawHandle> {
    let start = Instant::now();
    loop {
        match attempt()? {
            Err(tasuki::Error::Busy(_)) if start.elapsed() < RawHandle::OPEN_PATIENCE => {
                py.detach(|| std::thread::sleep(Duration::from_millis(1)));
            }
            other => return other.map_err(errors::engine),
        }
    }
}

/// Opens `object` with duplicates of these descriptors, which are given by their index in the record.
#[pyfunction]
pub fn open_with(
    object: &Bound<'_, PyAny>,
    record: &[u8],
    descriptors: HashMap<u32, RawFd>,
) -> PyResult<()> {
    let opened = open(object.py(), || {
        let mut owned = duplicates(&descriptors)?;
        // A damaged state names a descriptor that is not there; then no message is being read, and `take` says so.
        let mut take = |index| owned.remove(&index).map_or_else(|| transfer::take(index), Ok);
        Ok(RawHandle::open_now(record, &mut take))
    });
    adopt(object, opened?)
}

fn duplicates(descriptors: &HashMap<u32, RawFd>) -> PyResult<HashMap<u32, OwnedFd>> {
    let duplicate = |(&index, &number): (&u32, &RawFd)| {
        if number < 0 {
            return Err(PyValueError::new_err("a negative descriptor"));
        }
        // SAFETY: only duplicated; a number that is not open makes that fail and harms nothing.
        let duplicate = unsafe { BorrowedFd::borrow_raw(number) }
            .try_clone_to_owned()
            .map_err(|error| errors::os("cannot duplicate a descriptor of a handle", &error))?;
        Ok((index, duplicate))
    };
    descriptors.iter().map(duplicate).collect()
}

/// A duplicate of a descriptor of another process, closed on exec.
#[pyfunction]
pub fn take_descriptor(pid: u32, number: RawFd) -> PyResult<RawFd> {
    tasuki::raw::take_descriptor(pid, number).map(IntoRawFd::into_raw_fd).map_err(|error| {
        errors::os(&format!("cannot take descriptor {number} of process {pid}"), &error)
    })
}

/// Puts what was opened into the Python object that stands for it.
fn adopt(object: &Bound<'_, PyAny>, handle: RawHandle) -> PyResult<()> {
    let name = handle.name();
    match handle {
        RawHandle::Queue(raw) => {
            if let Ok(queue) = object.cast::<Queue>() {
                return queue.get().adopt(raw);
            }
        }
        RawHandle::Lock(raw) if raw.is_recursive() => {
            if let Ok(lock) = object.cast::<RLock>() {
                return lock.get().adopt(raw.into());
            }
        }
        RawHandle::Lock(raw) => {
            if let Ok(lock) = object.cast::<Lock>() {
                return lock.get().adopt(raw.into());
            }
        }
        RawHandle::Condition(raw) => {
            if let Ok(condition) = object.cast::<Condition>() {
                return condition.get().adopt(raw);
            }
            if let Ok(lock) = object.cast::<RLock>() {
                return lock.get().adopt(raw.own_lock().into());
            }
        }
        RawHandle::Barrier(raw) => {
            if let Ok(barrier) = object.cast::<Barrier>() {
                return barrier.get().adopt(raw);
            }
        }
        RawHandle::Value(raw) | RawHandle::Array(raw) => {
            if let Ok(block) = object.cast::<Block>() {
                return block.get().adopt(raw);
            }
            if let Ok(lock) = object.cast::<RLock>() {
                return lock.get().adopt(raw.into());
            }
        }
        RawHandle::Semaphore(raw) => {
            if let Ok(semaphore) = object.cast::<Semaphore>() {
                return semaphore.get().adopt(raw);
            }
        }
        RawHandle::Event(raw) => {
            if let Ok(event) = object.cast::<Event>() {
                return event.get().adopt(raw);
            }
        }
        RawHandle::Stream(raw) => {
            if let Ok(connection) = object.cast::<Connection>() {
                return connection.get().adopt_stream(raw);
            }
        }
        RawHandle::Connection(raw) => {
            if let Ok(connection) = object.cast::<Connection>() {
                return connection.get().adopt_pipe(raw);
            }
        }
        RawHandle::Sender(_) | RawHandle::Receiver(_) => {}
    }
    let class = object.get_type();
    Err(PyTypeError::new_err(format!("{name} came where a {} was expected", class.name()?)))
}

/// Appends `object` as MessagePack, handles inside it as records of the message that is being written here.
pub fn pack(object: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
    msgpack::pack(object.py(), object, out, &mut |inner| {
        let py = inner.py();
        if is_handle(inner) {
            // What only Python can have along with it.
            if let Some(bare) = inner.getattr_opt(intern!(py, "_check_bare"))? {
                bare.call0()?;
            }
            return record_here(inner).map(Some);
        }
        // A value's wrapper, or a ctypes object in shared memory.
        match inner.getattr_opt(intern!(py, "_tasuki_block"))? {
            Some(block) => record_here(&block.call0()?).map(Some),
            None => match inner.getattr_opt(intern!(py, "_wrapper"))? {
                Some(block) if block.is_instance_of::<Block>() => record_here(&block).map(Some),
                _ => Ok(None),
            },
        }
    })
}

/// The object in a MessagePack, handles inside it opened with the descriptors of the message being read here.
pub fn unpack<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    msgpack::unpack(py, bytes, &mut |record| open_any(py, record))
}

fn is_handle(object: &Bound<'_, PyAny>) -> bool {
    object.is_instance_of::<Queue>()
        || object.is_instance_of::<Lock>()
        || object.is_instance_of::<RLock>()
        || object.is_instance_of::<Block>()
        || object.is_instance_of::<Event>()
        || object.is_instance_of::<Barrier>()
        || object.is_instance_of::<Semaphore>()
        || object.is_instance_of::<Condition>()
        || object.is_instance_of::<Connection>()
}

/// The Python object for a handle that came in a message without saying its class: what MessagePack has.
fn open_any<'py>(py: Python<'py>, record: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    static QUEUE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static JOINABLE_QUEUE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static LOCK: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static RLOCK: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static BLOCK: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static EVENT: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static BARRIER: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static SEMAPHORE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static BOUNDED_SEMAPHORE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static CONDITION: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static CONNECTION: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let handle = open(py, || Ok(RawHandle::open_now(record, &mut transfer::take)))?;
    let class = match &handle {
        RawHandle::Queue(queue) if queue.is_joinable() => {
            JOINABLE_QUEUE.import(py, "tasuki.queues", "JoinableQueue")?
        }
        RawHandle::Queue(_) => QUEUE.import(py, "tasuki.queues", "Queue")?,
        RawHandle::Lock(lock) if lock.is_recursive() => {
            RLOCK.import(py, "tasuki.synchronize", "RLock")?
        }
        RawHandle::Lock(_) => LOCK.import(py, "tasuki.synchronize", "Lock")?,
        RawHandle::Value(_) | RawHandle::Array(_) => {
            BLOCK.import(py, "tasuki.heap", "BufferWrapper")?
        }
        RawHandle::Semaphore(semaphore) if semaphore.is_bounded() => {
            BOUNDED_SEMAPHORE.import(py, "tasuki.synchronize", "BoundedSemaphore")?
        }
        RawHandle::Semaphore(_) => SEMAPHORE.import(py, "tasuki.synchronize", "Semaphore")?,
        RawHandle::Event(_) => EVENT.import(py, "tasuki.synchronize", "Event")?,
        RawHandle::Condition(_) => CONDITION.import(py, "tasuki.synchronize", "Condition")?,
        RawHandle::Barrier(_) => BARRIER.import(py, "tasuki.synchronize", "Barrier")?,
        RawHandle::Connection(_) | RawHandle::Stream(_) => {
            CONNECTION.import(py, "tasuki.connection", "Connection")?
        }
        RawHandle::Sender(_) | RawHandle::Receiver(_) => {
            let name = handle.name();
            return Err(PyTypeError::new_err(format!("Python has no class for {name}")));
        }
    };
    let is_pipe = matches!(handle, RawHandle::Connection(_));
    let object = class.call_method1("__new__", (class,))?;
    adopt(&object, handle)?;
    if object.is_instance_of::<Condition>() {
        object.call_method0("_use_own_lock")?;
    }
    if is_pipe {
        // Who sent it in MessagePack reads that, and perhaps no pickles.
        object.setattr("_codec", "msgpack")?;
    }
    if object.is_instance_of::<Block>() {
        return py.import("tasuki.sharedctypes")?.call_method1("_from_block", (object,));
    }
    Ok(object)
}
