//! `get_lock()` and the property `value` of numbers without pyo3's wrapper: `with v.get_lock(): v.value += 1` calls
//! them three times.
#![allow(unsafe_code)] // functions that the interpreter calls, with its pointers

use std::ffi::{c_int, c_void};

use pyo3::exceptions::PyAttributeError;
use pyo3::prelude::*;
use pyo3::{Borrowed, ffi};

use super::atomics::Layout;
use super::{Guarded, Number};
use crate::native::{definition, method, property, slowly, slowly_done, this};

/// Gives the classes these methods.
pub fn add_methods(py: Python<'_>) -> PyResult<()> {
    let class = py.get_type::<Guarded>();
    let function = ffi::PyMethodDefPointer { PyCFunction: get_lock };
    let doc = c"get_lock($self, /)\n--\n\nThe lock that guards the object.";
    let get_lock = definition(c"get_lock", function, ffi::METH_NOARGS, doc);
    class.setattr("get_lock", method(&class, get_lock)?)?;
    let class = py.get_type::<Number>();
    let doc = c"The number, read and written under the lock.";
    class.setattr("value", property(&class, c"value", get_value, set_value, doc)?)
}

/// # Safety
/// Called by the interpreter as a method of `Guarded`; the next two as the property of a `Number`.
unsafe extern "C" fn get_lock(
    slf: *mut ffi::PyObject,
    _: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as promised; the reference is a new one.
    unsafe {
        let guarded = this::<Guarded>(slf);
        match guarded.lock() {
            Some(lock) => ffi::Py_NewRef(lock.as_ptr()),
            None => slowly(|_| Err(Guarded::never_made())),
        }
    }
}

unsafe extern "C" fn get_value(slf: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    // SAFETY: as promised; a number is a guarded object too.
    let (number, guarded) = unsafe { (this::<Number>(slf), this::<Guarded>(slf)) };
    let Some((bits, layout)) = number.load_fast(guarded) else {
        return slowly(|py| Number::get(number, guarded, py).map(Bound::into_ptr));
    };
    // SAFETY: the interpreter is attached; both make a new object or set an error.
    unsafe {
        match layout {
            Layout::Signed(size) => {
                let unused = 64 - 8 * u32::from(size);
                ffi::PyLong_FromLongLong(((bits << unused) as i64) >> unused)
            }
            Layout::Float64 => ffi::PyFloat_FromDouble(f64::from_bits(bits)),
            _ => slowly(|py| layout.read(py, bits).map(Bound::into_ptr)),
        }
    }
}

unsafe extern "C" fn set_value(
    slf: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
    _: *mut c_void,
) -> c_int {
    if value.is_null() {
        let text = "the value of a number cannot be deleted";
        return slowly_done(|_| Err(PyAttributeError::new_err(text)));
    }
    // SAFETY: as promised; a number is a guarded object too.
    let (number, guarded) = unsafe { (this::<Number>(slf), this::<Guarded>(slf)) };
    // SAFETY: of an exact int or float these only read the number, and cannot fail.
    let bits = unsafe {
        match number.layout() {
            Some(Layout::Signed(_) | Layout::Unsigned(_)) if ffi::PyLong_CheckExact(value) != 0 => {
                Some(ffi::PyLong_AsUnsignedLongLongMask(value))
            }
            Some(Layout::Float64) if ffi::PyFloat_CheckExact(value) != 0 => {
                Some(ffi::PyFloat_AsDouble(value).to_bits())
            }
            _ => None,
        }
    };
    if bits.is_some_and(|bits| number.store_fast(guarded, bits)) {
        return 0;
    }
    slowly_done(|py| {
        // SAFETY: the interpreter's argument, alive during the call.
        let value: Borrowed<'_, '_, PyAny> = unsafe { Borrowed::from_ptr(py, value) };
        Number::set(number, guarded, &value)
    })
}
