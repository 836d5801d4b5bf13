//! The bytes of a value or an array as Python's buffer, which ctypes objects and numpy arrays are laid over.

use std::ffi::c_int;
use std::sync::OnceLock;

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use tasuki::protocol::transfer::Outgoing;
use tasuki::raw::{RawHandle, RawValue};

use crate::errors;
use crate::kind::{HandleClass, PythonClass, Written};

/// The memory of one value or array, with a lock beside it; the Python class `BufferWrapper` derives from it.
#[pyclass(frozen, subclass, module = "tasuki._tasuki")]
pub struct Block {
    raw: OnceLock<RawValue>,
}

impl Block {
    pub fn raw(&self) -> PyResult<&RawValue> {
        self.raw.get().ok_or_else(|| PyRuntimeError::new_err("this block was never made"))
    }

    fn adopt_raw(&self, raw: RawValue) -> PyResult<()> {
        self.raw.set(raw).map_err(|_| PyRuntimeError::new_err("this block is made already"))
    }
}

impl HandleClass for Block {
    fn record(&self, table: &mut Outgoing) -> Written {
        Ok(self.raw()?.record(table))
    }

    fn adopt(&self, handle: RawHandle) -> Option<PyResult<()>> {
        match handle {
            RawHandle::Value(raw) => Some(self.adopt_raw(raw)),
            _ => None,
        }
    }

    fn class_of(handle: &RawHandle) -> Option<&'static PythonClass> {
        static CLASS: PythonClass = PythonClass::new("tasuki.heap", "BufferWrapper");
        matches!(handle, RawHandle::Value(_)).then_some(&CLASS)
    }

    fn complete<'py>(object: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        object.py().import("tasuki.sharedctypes")?.call_method1("_from_block", (object,))
    }
}

#[pymethods]
impl Block {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Block {
        Block { raw: OnceLock::new() }
    }

    /// Makes `size` zero bytes; `element` is the engine's number for what they are.
    fn _create(&self, element: u16, size: usize) -> PyResult<()> {
        self.adopt_raw(RawValue::create(element, size).map_err(errors::engine)?)
    }

    /// Makes `count` elements of `item` zero bytes each; `element` is the engine's number for what one of them is.
    fn _create_array(&self, element: u16, item: usize, count: usize) -> PyResult<()> {
        self.adopt_raw(RawValue::create_array(element, item, count).map_err(errors::engine)?)
    }

    /// The engine's number for what the bytes are.
    #[getter]
    fn _element(&self) -> PyResult<u16> {
        Ok(self.raw()?.element())
    }

    /// How many bytes an element of this array has; None when it is no array.
    #[getter]
    fn _item(&self) -> PyResult<Option<usize>> {
        let raw = self.raw()?;
        Ok(raw.is_array().then(|| raw.item()))
    }

    /// Where the bytes are in this process, to recognise what lies in them.
    #[getter]
    fn _address(&self) -> PyResult<usize> {
        Ok(self.raw()?.address().addr().get())
    }

    fn __len__(&self) -> PyResult<usize> {
        Ok(self.raw()?.len())
    }

    // SAFETY: as the buffer protocol demands: fills `view`, which then keeps this object alive.
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let raw = slf.get().raw()?;
        let address = raw.address().as_ptr().cast();
        let len = ffi::Py_ssize_t::try_from(raw.len())?;
        // SAFETY: the bytes live as long as this object, to which the view holds a reference.
        let filled = unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), address, len, 0, flags) };
        if filled != 0 {
            return Err(PyErr::fetch(slf.py()));
        }
        Ok(())
    }
}
