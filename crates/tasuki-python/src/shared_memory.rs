//! Shared memory with a name as Python's buffer, and the items of the list that may be in it.
//!
//! The mapping ends with this object and with nothing else: a view, of Python's or numpy's, keeps it. Names, the
//! resource tracker and the classes are the business of `tasuki/shared_memory.py`.

use std::ffi::c_int;
use std::io;

use pyo3::exceptions::{PyIndexError, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyFloat, PyInt, PyString};
use tasuki::raw::shared_memory::{Item, ListError, RawSharedMemory};

use crate::{errors, waiting};

/// The bytes behind a name in this process's address space, as long as anything refers to them.
#[pyclass(frozen, module = "tasuki._tasuki")]
pub struct NamedMemory {
    raw: RawSharedMemory,
}

#[pymethods]
impl NamedMemory {
    /// Makes `size` bytes that begin with `contents` and gives them a name, which must be free.
    #[staticmethod]
    #[pyo3(signature = (name, size, mode, keepers, contents = None))]
    fn create(
        py: Python<'_>,
        name: &str,
        size: usize,
        mode: u32,
        keepers: Vec<u32>,
        contents: Option<&[u8]>,
    ) -> PyResult<NamedMemory> {
        let contents = contents.unwrap_or_default();
        let mut raised = None;
        let made = py.detach(|| {
            RawSharedMemory::create(name, size, mode, &keepers, contents, &mut || {
                waiting::check_signals().map_err(|error| {
                    raised = Some(error);
                    io::ErrorKind::Interrupted.into()
                })
            })
        });
        match (raised, made) {
            (Some(error), _) => Err(error),
            (None, made) => Ok(NamedMemory { raw: made.map_err(errors::engine)? }),
        }
    }

    /// Opens what has this name.
    #[staticmethod]
    fn open(name: &str) -> PyResult<NamedMemory> {
        Ok(NamedMemory { raw: RawSharedMemory::open(name).map_err(errors::engine)? })
    }

    /// Takes a name away.
    #[staticmethod]
    fn unlink(name: &str) -> PyResult<()> {
        RawSharedMemory::unlink(name).map_err(errors::engine)
    }

    /// Lets what has this name stay, whatever becomes of its keepers.
    #[staticmethod]
    fn keep(name: &str) {
        RawSharedMemory::keep(name);
    }

    /// Unlinks what killed programs of this user left; the names.
    #[staticmethod]
    fn sweep(py: Python<'_>) -> Vec<String> {
        py.detach(tasuki::raw::shared_memory::sweep)
    }

    /// Whether anything has this name.
    #[staticmethod]
    fn exists(name: &str) -> bool {
        RawSharedMemory::exists(name)
    }

    fn __len__(&self) -> usize {
        self.raw.len()
    }

    // SAFETY: as the buffer protocol demands: fills `view`, which then keeps this object alive.
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let raw = &slf.get().raw;
        let address = raw.address().as_ptr().cast();
        let len = ffi::Py_ssize_t::try_from(raw.len())?;
        // SAFETY: the bytes live as long as this object, to which the view holds a reference.
        let filled = unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), address, len, 0, flags) };
        if filled != 0 {
            return Err(PyErr::fetch(slf.py()));
        }
        Ok(())
    }

    /// How many items the list in this memory has.
    fn list_len(&self) -> PyResult<usize> {
        self.raw.list_len().map_err(list_error)
    }

    /// An item of the list in this memory.
    fn list_get<'py>(&self, py: Python<'py>, index: usize) -> PyResult<Bound<'py, PyAny>> {
        Ok(match self.raw.list_get(index).map_err(list_error)? {
            Item::None => py.None().into_bound(py),
            Item::Bool(value) => PyBool::new(py, value).to_owned().into_any(),
            Item::Int(value) => value.into_pyobject(py)?.into_any(),
            Item::Float(value) => PyFloat::new(py, value).into_any(),
            Item::Str(text) => PyString::new(py, &text).into_any(),
            Item::Bytes(bytes) => PyBytes::new(py, &bytes).into_any(),
        })
    }

    /// Replaces an item of the list in this memory.
    fn list_set(&self, index: usize, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.raw.list_set(index, &item(value)?).map_err(list_error)
    }

    /// How an item of the list in this memory is laid out.
    fn list_format(&self, index: usize) -> PyResult<String> {
        self.raw.list_format(index).map_err(list_error)
    }
}

/// The bytes of a new list of these values.
#[pyfunction]
pub fn list_image<'py>(
    py: Python<'py>,
    values: Vec<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyBytes>> {
    let items = values.iter().map(item).collect::<PyResult<Vec<Item>>>()?;
    Ok(PyBytes::new(py, &tasuki::raw::shared_memory::list_image(&items).map_err(list_error)?))
}

fn item(value: &Bound<'_, PyAny>) -> PyResult<Item> {
    if value.is_none() {
        Ok(Item::None)
    } else if let Ok(value) = value.cast::<PyBool>() {
        Ok(Item::Bool(value.is_true()))
    } else if value.is_instance_of::<PyInt>() {
        let too_large =
            |_| PyValueError::new_err("an int of a ShareableList has 64 bits, and a sign");
        value.extract().map(Item::Int).map_err(too_large)
    } else if let Ok(value) = value.cast::<PyFloat>() {
        Ok(Item::Float(value.value()))
    } else if let Ok(text) = value.cast::<PyString>() {
        Ok(Item::Str(text.extract()?))
    } else if let Ok(bytes) = value.cast::<PyBytes>() {
        Ok(Item::Bytes(bytes.as_bytes().to_owned()))
    } else {
        Err(PyTypeError::new_err(format!(
            "an item of a ShareableList is an int, float, bool, str, bytes or None, and no {}",
            value.get_type().name()?
        )))
    }
}

fn list_error(error: ListError) -> PyErr {
    match error {
        ListError::OutOfRange { .. } => PyIndexError::new_err(error.to_string()),
        error => PyValueError::new_err(error.to_string()),
    }
}
