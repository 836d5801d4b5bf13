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
use pyo3::types::PyBytes;
use tasuki::protocol::transfer::{self, Outgoing};
use tasuki::raw::RawHandle;

use crate::connection::Connection;
use crate::kind::Kind;
use crate::queues::Queue;
use crate::sharedctypes::Block;
use crate::synchronize::{Barrier, Condition, Event, Lock, RLock, RwLock, Semaphore};
use crate::{errors, msgpack};

/// All classes of handles.
const KINDS: &[Kind] = &[
    Kind::of::<Queue>(),
    Kind::of::<Lock>(),
    Kind::of::<RLock>(),
    Kind::of::<RwLock>(),
    Kind::of::<Block>(),
    Kind::of::<Semaphore>(),
    Kind::of::<Event>(),
    Kind::of::<Condition>(),
    Kind::of::<Barrier>(),
    Kind::of::<Connection>(),
];

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
    let Some(record) = KINDS.iter().find_map(|kind| kind.record(object, table)) else {
        return Err(PyTypeError::new_err(format!("not a tasuki handle: {object:?}")));
    };
    record?.map_err(|error| match error.os_error() {
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

/// Runs `attempt` again while somebody was stopped in its way, which others of this interpreter's threads do not wait
/// for.
fn open(
    py: Python<'_>,
    mut attempt: impl FnMut() -> PyResult<Result<RawHandle, tasuki::Error>>,
) -> PyResult<RawHandle> {
    let start = Instant::now();
    loop {
        match attempt()? {
            Err(tasuki::Error::Busy(_)) if start.elapsed() < RawHandle::OPEN_RETRY => {
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
    let kind = KINDS.iter().find(|kind| kind.is(object));
    if let Some(adopted) = kind.and_then(|kind| kind.adopt(object, handle)) {
        return adopted;
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
    KINDS.iter().any(|kind| kind.is(object))
}

/// The Python object for a handle that came in a message without saying its class: what MessagePack has.
fn open_any<'py>(py: Python<'py>, record: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let handle = open(py, || Ok(RawHandle::open_now(record, &mut transfer::take)))?;
    let found = KINDS.iter().find_map(|kind| Some((kind, kind.open(py, &handle)?)));
    let Some((kind, object)) = found else {
        let name = handle.name();
        return Err(PyTypeError::new_err(format!("Python has no class for {name}")));
    };
    let object = object?;
    adopt(&object, handle)?;
    kind.complete(object)
}
