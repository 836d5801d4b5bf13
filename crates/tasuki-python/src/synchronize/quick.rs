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

    // What `with` does, where that is something else.

    fn enter_quickly(&self) -> bool {
        self.take_quickly()
    }
    fn leave_quickly(&self) -> bool {
        self.give_quickly()
    }
    fn enter(&self, py: Python<'_>) -> PyResult<bool> {
        self.take(py, Patience::Forever)
    }
    fn leave(&self) -> PyResult<()> {
        self.give()
    }
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

    /// `release(n)`, for what is given back in numbers.
    fn give_many(&self, _n: i64) -> PyResult<()> {
        Err(PyTypeError::new_err("release() takes no arguments (1 given)"))
    }
}

/// Gives a class its methods `acquire`, `release`, `__enter__` and `__exit__`.
pub fn add_methods<T: Holder + PyTypeInfo>(py: Python<'_>) -> PyResult<()> {
    let class = py.get_type::<T>();
    let acquire = ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: acquire::<T> };
    let fast = ffi::METH_FASTCALL | ffi::METH_KEYWORDS;
    class.setattr("acquire", method(&class, definition(c"acquire", acquire, fast, T::ACQUIRE))?)?;
    let release = ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: release::<T> };
    class.setattr("release", method(&class, definition(c"release", release, fast, T::RELEASE))?)?;
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
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as in `acquire`.
    let holder = unsafe { this::<T>(slf) };
    if count == 0 && names.is_null() {
        if holder.core().give_quickly() {
            return nothing();
        }
        return slowly(|_| holder.core().give().map(|()| nothing()));
    }
    slowly(|py| {
        // SAFETY: the interpreter's arguments, alive during this call.
        let [n] = unsafe { arguments(py, "release", ["n"], args, count, names) }?;
        holder.give_many(n.map_or(Ok(1), |n| n.extract())?).map(|()| nothing())
    })
}

/// `block=True, timeout=None`, by place or by name.
///
/// # Safety
/// As for `arguments`.
unsafe fn patience(
    py: Python<'_>,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> PyResult<Patience> {
    // SAFETY: as promised by the caller.
    let [block, timeout] =
        unsafe { arguments(py, "acquire", ["block", "timeout"], args, count, names) }?;
    let block = block.map_or(Ok(true), |block| block.is_truthy())?;
    Patience::new(Blocking(block), timeout.filter(|timeout| !timeout.is_none()).as_ref())
}

/// The arguments of a call by their names, which are those of its parameters in order.
///
/// # Safety
/// The arguments are those of a method with METH_FASTCALL | METH_KEYWORDS.
unsafe fn arguments<'py, const N: usize>(
    py: Python<'py>,
    function: &str,
    known: [&str; N],
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> PyResult<[Option<Bound<'py, PyAny>>; N]> {
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
    if by_place > N {
        let most = if N == 1 { "1 argument".to_owned() } else { format!("{N} arguments") };
        return Err(PyTypeError::new_err(format!(
            "{function}() takes at most {most} ({by_place} given)"
        )));
    }
    let mut values = [const { None }; N];
    for (at, &value) in given.iter().enumerate() {
        let place = match &names {
            Some(names) if at >= by_place => {
                let name = names.get_item(at - by_place)?;
                let name: &str = &name.extract::<String>()?;
                known.iter().position(|known| *known == name).ok_or_else(|| {
                    PyTypeError::new_err(format!(
                        "{function}() got an unexpected keyword argument '{name}'"
                    ))
                })?
            }
            _ => at,
        };
        // SAFETY: an argument, alive during the call.
        let value = unsafe { Bound::from_borrowed_ptr(py, value) };
        if values[place].replace(value).is_some() {
            let name = known[place];
            return Err(PyTypeError::new_err(format!(
                "{function}() got multiple values for argument '{name}'"
            )));
        }
    }
    Ok(values)
}
