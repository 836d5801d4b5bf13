//! `acquire` and `release` without pyo3's wrapper, which costs more than taking a free lock does.
//!
//! Each first tries the few instructions that are enough when nobody has to wait, fail or be told anything. Called by
//! the interpreter; `bound_methods` does the same for `with`.
#![allow(unsafe_code)] // functions that the interpreter calls, with its pointers

use pyo3::prelude::*;
use pyo3::{PyTypeInfo, ffi};

use super::bound_methods;
use super::takeable::{Holder, Takeable};
use crate::native::{arguments, definition, method, nothing, slowly, this, truth};
use crate::waiting::{Blocking, Timeout};

/// Gives a class its methods `acquire`, `release`, `__enter__` and `__exit__`.
pub fn add_methods<T: Holder + PyTypeInfo>(py: Python<'_>) -> PyResult<()> {
    let class = py.get_type::<T>();
    let acquire = ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: acquire::<T> };
    let fast = ffi::METH_FASTCALL | ffi::METH_KEYWORDS;
    class.setattr("acquire", method(&class, definition(c"acquire", acquire, fast, T::ACQUIRE))?)?;
    let release = ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: release::<T> };
    class.setattr("release", method(&class, definition(c"release", release, fast, T::RELEASE))?)?;
    bound_methods::add_methods::<T>(&class)
}

unsafe extern "C" fn acquire<T: Holder>(
    slf: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: called as a method of `T` by the interpreter.
    let core = unsafe { this::<T>(slf) }.core();
    if count == 0 && names.is_null() && core.take_fast() {
        return truth(true);
    }
    slowly(|py| {
        // SAFETY: the interpreter's arguments, alive during this call.
        let timeout = unsafe { timeout_of(py, args, count, names) }?;
        core.take(py, timeout).map(truth)
    })
}

unsafe extern "C" fn release<T: Holder>(
    slf: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as in `acquire`.
    let holder = unsafe { this::<T>(slf) };
    if count == 0 && names.is_null() {
        if holder.core().give_fast() {
            return nothing();
        }
        return slowly(|py| holder.core().give(py).map(|()| nothing()));
    }
    slowly(|py| {
        // SAFETY: the interpreter's arguments, alive during this call.
        let [n] = unsafe { arguments(py, "release", ["n"], args, count, names) }?;
        holder.give_many(py, n.map_or(Ok(1), |n| n.extract())?).map(|()| nothing())
    })
}

/// `block=True, timeout=None`, by place or by name.
///
/// # Safety
/// As for `arguments`.
unsafe fn timeout_of(
    py: Python<'_>,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> PyResult<Timeout> {
    // SAFETY: as promised by the caller.
    let [block, timeout] =
        unsafe { arguments(py, "acquire", ["block", "timeout"], args, count, names) }?;
    let block = block.map_or(Ok(true), |block| block.is_truthy())?;
    Timeout::new(Blocking(block), timeout.filter(|timeout| !timeout.is_none()).as_ref())
}
