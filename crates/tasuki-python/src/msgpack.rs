//! Python objects as MessagePack, the structured data that Python and Rust both read.
//!
//! The queue's put and get call [`pack`] and [`unpack`] for frames of the codec MessagePack. Nothing
//! here knows what a handle is: an object that is one is given to a callback, which returns the
//! record to write (`packing`), and a record that was read is given to another, which returns the object (`unpacking`).
//!
//! | Python | MessagePack | comes back as |
//! |---|---|---|
//! | `None`, `bool`, `float`, `str` | the same | the same |
//! | `int` of 64 bits, and what has `__index__` | integer | `int` |
//! | what has `__float__`, if that is exact | float | `float` |
//! | `bytes`, `bytearray`, `memoryview` | bin | `bytes` |
//! | `list`, `tuple` | array | `list`; `tuple` in a dict's key |
//! | `dict` | map, in the dict's order | `dict` |
//! | a handle | extension of type 0x54 | a handle |
//!
//! Everything else is a `TypeError` that names the type and where in the message it stands. Nothing
//! is converted with a loss. What is read was written by another process and may be anything: wrong
//! bytes are a `ValueError`.

mod packing;
mod unpacking;

use pyo3::exceptions::PyNotImplementedError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

pub use packing::pack;
pub use unpacking::unpack;

/// `pack` for the tests of this module. `handle`, if given, is called with what is no type of
/// Python's own and returns a record or None.
#[pyfunction]
#[pyo3(signature = (obj, handle=None))]
pub fn _pack<'py>(
    py: Python<'py>,
    obj: &Bound<'py, PyAny>,
    handle: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyBytes>> {
    let mut out = Vec::new();
    pack(py, obj, &mut out, &mut |obj| match handle {
        Some(handle) => handle.call1((obj,))?.extract(),
        None => Ok(None),
    })?;
    Ok(PyBytes::new(py, &out))
}

/// `unpack` for the tests of this module. `handle`, if given, is called with a record and returns
/// the object.
#[pyfunction]
#[pyo3(signature = (data, handle=None))]
pub fn _unpack<'py>(
    py: Python<'py>,
    data: &[u8],
    handle: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    unpack(py, data, &mut |record| match handle {
        Some(handle) => handle.call1((PyBytes::new(py, record),)),
        None => Err(PyNotImplementedError::new_err("no handles here")),
    })
}
