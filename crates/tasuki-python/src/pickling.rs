//! Pickling with the standard library's reducers, without its cost per message.
//!
//! `ForkingPickler.dumps` makes a pickler, a buffer and a merged copy of two dispatch tables for every object. Here a
//! pickler is made once and used again, writes into a Rust vector, and asks the two tables themselves, so that
//! a reducer registered at any time is honoured. Called by the queue for whatever has no codec of its own.
#![allow(unsafe_code)] // copies from Python's buffers

use std::sync::Mutex;

use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::PyKeyError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList};

use crate::buffers::{self, OutOfBand};
use crate::forking_pickler::{self, Place};

/// Idle picklers. One is taken out while it works: pickling an object may run code that pickles another one.
static IDLE: Mutex<Vec<Pickler>> = Mutex::new(Vec::new());
/// So many idle picklers are kept at most.
const KEEP: usize = 8;
/// A buffer that grew beyond this is given back instead of being kept.
const KEEP_BYTES: usize = 1 << 20;

struct Pickler {
    dump: Py<PyAny>,
    clear_memo: Py<PyAny>,
    sink: Py<Sink>,
    out_of_band: Py<OutOfBand>,
}

/// The file that a pickler writes to.
#[pyclass(frozen, module = "tasuki._tasuki")]
pub struct Sink {
    bytes: Mutex<Vec<u8>>,
}

#[pymethods]
impl Sink {
    fn write(&self, data: &Bound<'_, PyAny>) -> PyResult<usize> {
        let mut bytes = self.bytes.lock().expect("no panic while writing");
        if let Ok(data) = data.cast_exact::<PyBytes>() {
            bytes.extend_from_slice(data.as_bytes());
            return Ok(data.as_bytes().len());
        }
        // Such as a buffer of floats, whatever its format is.
        let buffer = buffers::contiguous(data)?;
        // SAFETY: in one piece, and copied before anything else is done.
        bytes.extend_from_slice(unsafe { buffers::bytes_of(&buffer) });
        Ok(buffer.len_bytes())
    }
}

/// The reducers of `ForkingPickler` before those of `copyreg`, as they are at the moment of asking.
#[pyclass(frozen, module = "tasuki._tasuki")]
pub struct Reducers {
    registered: Py<PyDict>,
    copyreg: Py<PyDict>,
}

#[pymethods]
impl Reducers {
    fn __getitem__<'py>(&self, kind: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = kind.py();
        if let Some(reduce) = self.registered.bind(py).get_item(kind)? {
            return Ok(reduce);
        }
        match self.copyreg.bind(py).get_item(kind)? {
            Some(reduce) => Ok(reduce),
            None => Err(PyKeyError::new_err(kind.clone().unbind())),
        }
    }
}

impl Pickler {
    fn new(py: Python<'_>) -> PyResult<Pickler> {
        let forking = py.import("multiprocessing.reduction")?.getattr("ForkingPickler")?;
        let reducers = Reducers {
            registered: forking.getattr("_extra_reducers")?.cast_into::<PyDict>()?.unbind(),
            copyreg: py
                .import("copyreg")?
                .getattr("dispatch_table")?
                .cast_into::<PyDict>()?
                .unbind(),
        };
        let sink = Py::new(py, Sink { bytes: Mutex::new(Vec::new()) })?;
        let out_of_band = Py::new(py, OutOfBand::default())?;
        let options = PyDict::new(py);
        options.set_item("buffer_callback", &out_of_band)?;
        let pickler = py.import("pickle")?.getattr("Pickler")?.call((&sink, 5), Some(&options))?;
        pickler.setattr("dispatch_table", Py::new(py, reducers)?)?;
        let dump = pickler.getattr("dump")?.unbind();
        let clear_memo = pickler.getattr("clear_memo")?.unbind();
        Ok(Pickler { dump, clear_memo, sink, out_of_band })
    }
}

/// Appends the pickle of `object` to `out`, and returns the large buffers that stayed out of it.
pub fn dumps(object: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<Vec<PyUntypedBuffer>> {
    let py = object.py();
    let idle = IDLE.lock().expect("no panic while taking").pop();
    let pickler = match idle {
        Some(pickler) => pickler,
        None => Pickler::new(py)?,
    };
    let dumped = pickler.dump.call1(py, (object,));
    let cleared = pickler.clear_memo.call0(py);
    {
        let mut bytes = pickler.sink.get().bytes.lock().expect("no panic while writing");
        if dumped.is_ok() {
            if out.is_empty() {
                // Hands over the bytes instead of copying them; the vector that was there serves the next message.
                std::mem::swap(out, &mut bytes);
            } else {
                out.extend_from_slice(&bytes);
            }
        }
        bytes.clear();
        bytes.shrink_to(KEEP_BYTES);
    }
    let buffers = pickler.out_of_band.get().take();
    dumped?;
    cleared?;
    let mut idle = IDLE.lock().expect("no panic while putting back");
    if idle.len() < KEEP {
        idle.push(pickler);
    }
    Ok(buffers)
}

/// As `dumps`, with the pickler that a program has put in the place of the standard library's.
#[cold]
pub fn dumps_with(object: &Bound<'_, PyAny>, place: Place, out: &mut Vec<u8>) -> PyResult<()> {
    let pickle = forking_pickler::dumps(object, place)?;
    let buffer = buffers::contiguous(&pickle)?;
    // SAFETY: in one piece, and copied before anything else is done.
    out.extend_from_slice(unsafe { buffers::bytes_of(&buffer) });
    Ok(())
}

/// The object in a pickle.
pub fn loads<'py>(bytes: &Bound<'py, PyAny>, place: Place) -> PyResult<Bound<'py, PyAny>> {
    static LOADS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = bytes.py();
    if let Some(class) = forking_pickler::replaced_reader(py, place)? {
        return class.call_method1(intern!(py, "loads"), (bytes,));
    }
    let loads = LOADS.get_or_try_init(py, || {
        py.import("pickle")?.getattr(intern!(py, "loads")).map(Bound::unbind)
    })?;
    loads.bind(py).call1((bytes,))
}

/// The object in a pickle whose large buffers are `buffers`.
pub fn loads_with<'py>(
    bytes: &Bound<'py, PyBytes>,
    buffers: &Bound<'py, PyList>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = bytes.py();
    let options = PyDict::new(py);
    options.set_item(intern!(py, "buffers"), buffers)?;
    py.import("pickle")?.getattr(intern!(py, "loads"))?.call((bytes,), Some(&options))
}
