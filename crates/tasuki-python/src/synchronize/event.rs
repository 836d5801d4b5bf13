//! Event as Python sees it.
#![allow(unsafe_code)] // functions that the interpreter calls, with its pointers

use std::ffi::CStr;
use std::sync::OnceLock;

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use tasuki::protocol::transfer::Outgoing;
use tasuki::raw::{GaveUp, RawEvent, RawHandle, Wait};

use crate::errors;
use crate::kind::{HandleClass, PythonClass, Written};
use crate::native::{definition, method, nothing, slowly, this, truth};
use crate::waiting::{Blocking, Timeout};

/// An event of the engine; the Python class of this name derives from it.
#[pyclass(frozen, subclass, module = "tasuki._tasuki")]
pub struct Event {
    raw: OnceLock<RawEvent>,
}

impl Event {
    #[inline]
    fn raw(&self) -> PyResult<&RawEvent> {
        self.raw.get().ok_or_else(|| {
            PyRuntimeError::new_err("this event was never made: call super().__init__() first")
        })
    }

    fn adopt_raw(&self, raw: RawEvent) -> PyResult<()> {
        self.raw.set(raw).map_err(|_| PyRuntimeError::new_err("this event is made already"))
    }
}

impl HandleClass for Event {
    fn record(&self, table: &mut Outgoing) -> Written {
        Ok(self.raw()?.record(table))
    }

    fn adopt(&self, handle: RawHandle) -> Option<PyResult<()>> {
        match handle {
            RawHandle::Event(raw) => Some(self.adopt_raw(raw)),
            _ => None,
        }
    }

    fn class_of(handle: &RawHandle) -> Option<&'static PythonClass> {
        static CLASS: PythonClass = PythonClass::new("tasuki.synchronize", "Event");
        matches!(handle, RawHandle::Event(_)).then_some(&CLASS)
    }
}

#[pymethods]
impl Event {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Event {
        Event { raw: OnceLock::new() }
    }

    fn _create(&self) -> PyResult<()> {
        self.adopt_raw(RawEvent::create().map_err(errors::engine)?)
    }

    /// Waits until the event is set; returns whether it was in time.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
        let timeout = Timeout::new(Blocking(true), timeout)?;
        let raw = self.raw()?;
        let done = match raw.wait(&mut Wait::now()) {
            Err(GaveUp::TimedOut) if !timeout.is_none() => {
                timeout.wait(py, |wait| raw.wait(wait))?
            }
            other => other,
        };
        Ok(done.is_ok())
    }
}

/// Gives the class the methods that never wait.
pub fn add_methods(py: Python<'_>) -> PyResult<()> {
    let class = py.get_type::<Event>();
    let methods: [(&CStr, ffi::PyCFunction, &CStr); 3] = [
        (c"is_set", is_set, c"is_set($self, /)\n--\n\nWhether the event is set."),
        (c"set", set, c"set($self, /)\n--\n\nSets the event and releases all who wait."),
        (c"clear", clear, c"clear($self, /)\n--\n\nMakes the event unset."),
    ];
    for (name, function, doc) in methods {
        let function = ffi::PyMethodDefPointer { PyCFunction: function };
        let method = method(&class, definition(name, function, ffi::METH_NOARGS, doc))?;
        class.setattr(name.to_string_lossy(), method)?;
    }
    Ok(())
}

/// # Safety
/// Called by the interpreter as a method of `Event`; so are `set` and `clear`.
unsafe extern "C" fn is_set(
    event: *mut ffi::PyObject,
    _: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as promised.
    let event = unsafe { this::<Event>(event) };
    match event.raw.get() {
        Some(raw) => truth(raw.is_set()),
        None => slowly(|_| event.raw().map(|raw| truth(raw.is_set()))),
    }
}

unsafe extern "C" fn set(event: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: as promised.
    change(unsafe { this::<Event>(event) }, RawEvent::set)
}

unsafe extern "C" fn clear(event: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: as promised.
    change(unsafe { this::<Event>(event) }, RawEvent::clear)
}

#[inline]
fn change(event: &Event, how: impl Fn(&RawEvent)) -> *mut ffi::PyObject {
    match event.raw.get() {
        Some(raw) => {
            how(raw);
            nothing()
        }
        None => slowly(|_| event.raw().map(|_| nothing())),
    }
}
