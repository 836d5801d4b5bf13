//! Methods and properties that the interpreter calls without pyo3's wrapper, for what is called so often that counting
//! attachments and taking arguments apart would cost more than the work.
//!
//! Such a function first tries the few instructions that are enough most of the time: no Python code, no panic, and no
//! `Py<T>` cloned or dropped in them. Everything else goes `slowly`, as pyo3's own functions go.
#![allow(unsafe_code)] // hands functions and pointers to the interpreter, and takes them from it

use std::ffi::{CStr, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::slice;

use pyo3::exceptions::PyTypeError;
use pyo3::panic::PanicException;
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;
use pyo3::types::{PyTuple, PyType};
use pyo3::{Borrowed, PyClass, ffi};

/// A definition of a method, which lives for ever as the interpreter wants it.
pub fn definition(
    name: &'static CStr,
    function: ffi::PyMethodDefPointer,
    flags: c_int,
    doc: &'static CStr,
) -> *mut ffi::PyMethodDef {
    Box::into_raw(Box::new(ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: function,
        ml_flags: flags,
        ml_doc: doc.as_ptr(),
    }))
}

/// The method of a class that a definition makes.
pub fn method<'py>(
    class: &Bound<'py, PyType>,
    definition: *mut ffi::PyMethodDef,
) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: `definition` came from the function of that name and is never freed.
    unsafe {
        let method = ffi::PyDescr_NewMethod(class.as_type_ptr(), definition);
        Bound::from_owned_ptr_or_err(class.py(), method)
    }
}

/// A property of a class.
pub fn property<'py>(
    class: &Bound<'py, PyType>,
    name: &'static CStr,
    get: ffi::getter,
    set: ffi::setter,
    doc: &'static CStr,
) -> PyResult<Bound<'py, PyAny>> {
    let definition = Box::into_raw(Box::new(ffi::PyGetSetDef {
        name: name.as_ptr(),
        get: Some(get),
        set: Some(set),
        doc: doc.as_ptr(),
        closure: ptr::null_mut(),
    }));
    // SAFETY: the definition is never freed.
    unsafe {
        let property = ffi::PyDescr_NewGetSet(class.as_type_ptr(), definition);
        Bound::from_owned_ptr_or_err(class.py(), property)
    }
}

/// The object behind the first argument of a method of `T`.
///
/// # Safety
/// `slf` is an instance of `T`, which method descriptors check, and lives as long as the result is used; the
/// interpreter is attached.
pub unsafe fn this<'a, T: PyClass<Frozen = True> + Sync>(slf: *mut ffi::PyObject) -> &'a T {
    // SAFETY: as promised by the caller; a frozen class is only ever shared.
    unsafe {
        let py = Python::assume_attached();
        let object: Borrowed<'a, '_, PyAny> = Borrowed::from_ptr(py, slf);
        &*std::ptr::from_ref(object.cast_unchecked::<T>().get())
    }
}

/// A new reference to True or False.
pub fn truth(value: bool) -> *mut ffi::PyObject {
    // SAFETY: both live for ever.
    unsafe { ffi::Py_NewRef(if value { ffi::Py_True() } else { ffi::Py_False() }) }
}

/// A new reference to None.
pub fn nothing() -> *mut ffi::PyObject {
    // SAFETY: it lives for ever.
    unsafe { ffi::Py_NewRef(ffi::Py_None()) }
}

/// Runs what may fail, wait or run Python code, and gives the interpreter its result or exception.
#[cold]
pub fn slowly(work: impl FnOnce(Python<'_>) -> PyResult<*mut ffi::PyObject>) -> *mut ffi::PyObject {
    let call = |py: Python<'_>| {
        let done = catch_unwind(AssertUnwindSafe(|| work(py)));
        let error = match done {
            Ok(Ok(object)) => return object,
            Ok(Err(error)) => error,
            Err(_) => PanicException::new_err("a mistake in tasuki, see the message above"),
        };
        error.restore(py);
        ptr::null_mut()
    };
    // SAFETY: the interpreter calls such a function, so that it is attached. It may be finalising: objects with a
    // __del__ use what they have to the last, and `Python::attach` would panic then.
    unsafe { Python::attach_unchecked(call) }
}

/// As `slowly`, for what gives no object: 0, or -1 with an exception.
#[cold]
pub fn slowly_done(work: impl FnOnce(Python<'_>) -> PyResult<()>) -> c_int {
    let object = slowly(|py| work(py).map(|()| nothing()));
    // SAFETY: a new reference to None, or null.
    unsafe { ffi::Py_XDECREF(object) };
    if object.is_null() { -1 } else { 0 }
}

/// The arguments of a call by their names, which are those of its parameters in order.
///
/// # Safety
/// The arguments are those of a method with METH_FASTCALL | METH_KEYWORDS.
pub unsafe fn arguments<'py, const N: usize>(
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
