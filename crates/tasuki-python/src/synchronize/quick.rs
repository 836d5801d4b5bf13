//! `acquire` and `release` without pyo3's wrapper, which costs more than taking a free lock does.
//!
//! Each first tries the few instructions that are enough when nobody has to wait, fail or be told anything. Called by the
//! interpreter; `doors` does the same for `with`.
#![allow(unsafe_code)] // functions that the interpreter calls, with its pointers

use std::ffi::CStr;
use std::slice;
use std::sync::Arc;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;
use pyo3::types::PyTuple;
use pyo3::{PyClass, PyTypeInfo, ffi};

use super::doors::{self, Doors};
use crate::native::{definition, method, nothing, slowly, this, truth};
use crate::waiting::{Blocking, Patience};

/// Something that is taken and given back.
pub trait Takeable: Send + Sync + 'static {
    /// Takes it if that is a matter of a few instructions; false says nothing. Must not touch Python objects or panic.
    fn take_quickly(&self) -> bool;
    /// Gives it back if that is a matter of a few instructions; false says nothing. The same rules.
    fn give_quickly(&self) -> bool;
    /// Takes it; whether it was got in time.
    fn take(&self, py: Python<'_>, patience: Patience) -> PyResult<bool>;
    /// Gives it back.
    fn give(&self) -> PyResult<()>;
}

/// A Python class around one.
pub trait Holder: PyClass<Frozen = True> + Sync {
    type Core: Takeable;
    /// What `help` says of `acquire`.
    const ACQUIRE: &'static CStr;
    /// What `help` says of `release`.
    const RELEASE: &'static CStr;

    fn core(&self) -> &Arc<Self::Core>;
    fn doors(&self) -> &Doors;
}

/// Gives a class its methods `acquire`, `release`, `__enter__` and `__exit__`.
pub fn add_methods<T: Holder + PyTypeInfo>(py: Python<'_>) -> PyResult<()> {
    let class = py.get_type::<T>();
    let acquire = ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: acquire::<T> };
    let fast = ffi::METH_FASTCALL | ffi::METH_KEYWORDS;
    class.setattr("acquire", method(&class, definition(c"acquire", acquire, fast, T::ACQUIRE))?)?;
    let release = ffi::PyMethodDefPointer { PyCFunction: release::<T> };
    let none = ffi::METH_NOARGS;
    class.setattr("release", method(&class, definition(c"release", release, none, T::RELEASE))?)?;
    doors::add_methods::<T>(&class)
}

unsafe extern "C" fn acquire<T: Holder>(
    slf: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: called as a method of `T` by the interpreter.
    let core = unsafe { this::<T>(slf) }.core();
    if count == 0 && names.is_null() && core.take_quickly() {
        return truth(true);
    }
    slowly(|py| {
        // SAFETY: the interpreter's arguments, alive during this call.
        let patience = unsafe { patience(py, args, count, names) }?;
        core.take(py, patience).map(truth)
    })
}

unsafe extern "C" fn release<T: Holder>(
    slf: *mut ffi::PyObject,
    _: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as in `acquire`.
    let core = unsafe { this::<T>(slf) }.core();
    if core.give_quickly() {
        return nothing();
    }
    slowly(|_| core.give().map(|()| nothing()))
}

/// `block=True, timeout=None`, by place or by name.
///
/// # Safety
/// The arguments are those of a method with METH_FASTCALL | METH_KEYWORDS.
pub unsafe fn patience(
    py: Python<'_>,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> PyResult<Patience> {
    const NAMES: [&str; 2] = ["block", "timeout"];
    // SAFETY: null or a tuple of strings.
    let names = unsafe { Bound::from_borrowed_ptr_or_opt(py, names) };
    let names = names.map(|names| names.cast_into::<PyTuple>()).transpose()?;
    let by_place = count.unsigned_abs();
    let by_name = names.as_ref().map_or(0, |names| names.len());
    let given = match by_place + by_name {
        0 => &[],
        // SAFETY: so many arguments are there: first those by place, then those by name.
        all => unsafe { slice::from_raw_parts(args, all) },
    };
    let mut values = [None, None];
    if by_place > values.len() {
        return Err(PyTypeError::new_err(format!(
            "acquire() takes at most 2 arguments ({by_place} given)"
        )));
    }
    for (at, &value) in given.iter().enumerate() {
        let place = match &names {
            Some(names) if at >= by_place => {
                let name = names.get_item(at - by_place)?;
                let name: &str = &name.extract::<String>()?;
                NAMES.iter().position(|known| *known == name).ok_or_else(|| {
                    PyTypeError::new_err(format!(
                        "acquire() got an unexpected keyword argument '{name}'"
                    ))
                })?
            }
            _ => at,
        };
        // SAFETY: an argument, alive during the call.
        let value = unsafe { Bound::from_borrowed_ptr(py, value) };
        if values[place].replace(value).is_some() {
            let name = NAMES[place];
            return Err(PyTypeError::new_err(format!(
                "acquire() got multiple values for argument '{name}'"
            )));
        }
    }
    let [block, timeout] = values;
    let block = block.map_or(Ok(true), |block| block.is_truthy())?;
    Patience::new(Blocking(block), timeout.filter(|timeout| !timeout.is_none()).as_ref())
}
