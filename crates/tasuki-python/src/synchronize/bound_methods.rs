//! `with` at the price of the lock: the interpreter makes a bound method of `__enter__` and of `__exit__` each time,
//! which costs twice what a free lock does; here an object has its two, cached for good.
//!
//! ```text
//! type.__enter__        MethodDescriptor  asked by the interpreter for the method of an object, gives the one the object has
//! object.bound_methods  BoundMethods      two builtin functions, made when first asked for
//! their `self`          BoundSelf         keeps the core, not the object: no cycle for the garbage collector to end
//! ```
//! Asked through the class, as `ExitStack` does, a descriptor gives an ordinary method.
#![allow(unsafe_code)] // a type with a slot that pyo3 would wrap, and functions that the interpreter calls

use std::ffi::c_int;
use std::sync::Arc;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;
use pyo3::{Borrowed, PyTypeInfo, ffi};

use super::takeable::{Holder, Takeable};
use crate::native::{definition, method, nothing, slowly, this, truth};

/// What the bound methods are bound to.
#[pyclass(frozen, module = "tasuki._tasuki")]
struct BoundSelf(Arc<dyn Takeable>);

const ENTER: usize = 0;
const EXIT: usize = 1;

/// The interpreter's object for `__enter__` or `__exit__` of a class.
#[repr(C)]
struct MethodDescriptor {
    head: ffi::PyObject,
    /// The ordinary method, with a reference of its own.
    method: *mut ffi::PyObject,
    /// Whose instances have bound methods; the method keeps it alive.
    class: *mut ffi::PyTypeObject,
    /// A new reference to the bound method of an instance of `class`.
    bound: unsafe fn(*mut ffi::PyObject) -> *mut ffi::PyObject,
}

/// Gives a class its methods `__enter__` and `__exit__`.
pub fn add_methods<T: Holder + PyTypeInfo>(class: &Bound<'_, PyType>) -> PyResult<()> {
    let enter = ffi::PyMethodDefPointer { PyCFunction: enter_unbound::<T> };
    let doc = c"__enter__($self, /)\n--\n\nTakes it, however long that takes.";
    let enter = definition(c"__enter__", enter, ffi::METH_NOARGS, doc);
    let descriptor = descriptor(class, method(class, enter)?, bound::<T, ENTER>)?;
    class.setattr("__enter__", descriptor)?;
    let exit = ffi::PyMethodDefPointer { PyCFunctionFast: exit_unbound::<T> };
    let doc = c"__exit__($self, /, *how)\n--\n\nGives it back.";
    let exit = definition(c"__exit__", exit, ffi::METH_FASTCALL, doc);
    let descriptor = self::descriptor(class, method(class, exit)?, bound::<T, EXIT>)?;
    class.setattr("__exit__", descriptor)
}

fn descriptor<'py>(
    class: &Bound<'py, PyType>,
    method: Bound<'py, PyAny>,
    bound: unsafe fn(*mut ffi::PyObject) -> *mut ffi::PyObject,
) -> PyResult<Bound<'py, PyAny>> {
    static TYPE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let py = class.py();
    let kind = TYPE.get_or_try_init(py, || make_type(py))?;
    // SAFETY: the type was made for objects of this layout; everything in it is filled in before anybody sees it.
    unsafe {
        let object = ffi::PyType_GenericAlloc(kind.bind(py).as_type_ptr(), 0);
        let object = Bound::from_owned_ptr_or_err(py, object)?;
        let descriptor = object.as_ptr().cast::<MethodDescriptor>();
        (*descriptor).class = class.as_type_ptr();
        (*descriptor).bound = bound;
        (*descriptor).method = method.into_ptr();
        Ok(object)
    }
}

fn make_type(py: Python<'_>) -> PyResult<Py<PyType>> {
    let mut slots = [
        ffi::PyType_Slot { slot: ffi::Py_tp_descr_get, pfunc: get as *mut _ },
        ffi::PyType_Slot { slot: ffi::Py_tp_call, pfunc: call as *mut _ },
        ffi::PyType_Slot { slot: ffi::Py_tp_getattro, pfunc: attribute as *mut _ },
        ffi::PyType_Slot { slot: ffi::Py_tp_dealloc, pfunc: dealloc as *mut _ },
        ffi::PyType_Slot { slot: 0, pfunc: std::ptr::null_mut() },
    ];
    let mut spec = ffi::PyType_Spec {
        name: c"tasuki._tasuki.MethodDescriptor".as_ptr(),
        basicsize: size_of::<MethodDescriptor>() as c_int,
        itemsize: 0,
        flags: (ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION) as _,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: the slots have functions of the types that they ask for, and end with a zero.
    unsafe {
        let kind = Bound::from_owned_ptr_or_err(py, ffi::PyType_FromSpec(&raw mut spec))?;
        Ok(kind.cast_into::<PyType>()?.unbind())
    }
}

/// # Safety
/// `descriptor` is one, which the interpreter sees to; the same goes for the next three functions.
unsafe extern "C" fn get(
    descriptor: *mut ffi::PyObject,
    object: *mut ffi::PyObject,
    _class: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as promised; `bound` is for instances of `class`.
    unsafe {
        let descriptor = &*descriptor.cast::<MethodDescriptor>();
        if object.is_null() {
            return ffi::Py_NewRef(descriptor.method);
        }
        if ffi::PyObject_TypeCheck(object, descriptor.class) == 0 {
            return slowly(|_| Err(PyTypeError::new_err("the method of another class")));
        }
        (descriptor.bound)(object)
    }
}

unsafe extern "C" fn call(
    descriptor: *mut ffi::PyObject,
    args: *mut ffi::PyObject,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as promised for `get`.
    unsafe { ffi::PyObject_Call((*descriptor.cast::<MethodDescriptor>()).method, args, keywords) }
}

/// Name, text and whatever else is asked are those of the ordinary method.
unsafe extern "C" fn attribute(
    descriptor: *mut ffi::PyObject,
    name: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as promised for `get`.
    unsafe { ffi::PyObject_GetAttr((*descriptor.cast::<MethodDescriptor>()).method, name) }
}

unsafe extern "C" fn dealloc(descriptor: *mut ffi::PyObject) {
    // SAFETY: as promised for `get`, and this is the last use of the object, whose type it had a reference to.
    unsafe {
        let kind = ffi::Py_TYPE(descriptor);
        ffi::Py_XDECREF((*descriptor.cast::<MethodDescriptor>()).method);
        ffi::PyObject_Free(descriptor.cast());
        ffi::Py_DECREF(kind.cast());
    }
}

/// # Safety
/// `object` is an instance of `T`, and the interpreter is attached.
unsafe fn bound<T: Holder, const WHICH: usize>(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: as promised.
    unsafe {
        let holder = this::<T>(object);
        if let Some(methods) = holder.bound_methods().0.get(Python::assume_attached()) {
            return ffi::Py_NewRef(methods[WHICH].as_ptr());
        }
        slowly(|py| {
            let methods =
                holder.bound_methods().0.get_or_try_init(py, || make(py, holder.core().clone()))?;
            Ok(ffi::Py_NewRef(methods[WHICH].as_ptr()))
        })
    }
}

fn make(py: Python<'_>, core: Arc<dyn Takeable>) -> PyResult<[Py<PyAny>; 2]> {
    struct Definitions([*mut ffi::PyMethodDef; 2]);
    // SAFETY: they are only read, by the interpreter.
    unsafe impl Send for Definitions {}
    // SAFETY: as above.
    unsafe impl Sync for Definitions {}
    static DEFINITIONS: PyOnceLock<Definitions> = PyOnceLock::new();

    let definitions = DEFINITIONS.get_or_init(py, || {
        let enter = ffi::PyMethodDefPointer { PyCFunction: enter };
        let exit = ffi::PyMethodDefPointer { PyCFunctionFast: exit };
        Definitions([
            definition(
                c"__enter__",
                enter,
                ffi::METH_NOARGS,
                c"Takes it, however long that takes.",
            ),
            definition(c"__exit__", exit, ffi::METH_FASTCALL, c"Gives it back."),
        ])
    });
    let bound_self = Bound::new(py, BoundSelf(core))?;
    let function = |definition: *mut ffi::PyMethodDef| {
        // SAFETY: the definition lives for ever; the function takes a reference to it.
        unsafe {
            let function =
                ffi::PyCFunction_NewEx(definition, bound_self.as_ptr(), std::ptr::null_mut());
            Bound::from_owned_ptr_or_err(py, function).map(Bound::unbind)
        }
    };
    Ok([function(definitions.0[ENTER])?, function(definitions.0[EXIT])?])
}

fn enter_core(core: &dyn Takeable) -> *mut ffi::PyObject {
    if core.enter_fast() {
        return truth(true);
    }
    slowly(|py| core.enter(py).map(truth))
}

fn exit_core(core: &dyn Takeable) -> *mut ffi::PyObject {
    if core.leave_fast() {
        return nothing();
    }
    slowly(|py| core.leave(py).map(|()| nothing()))
}

/// # Safety
/// Called by the interpreter as a function of a `BoundSelf`, with which `make` made it; so is `exit`.
unsafe extern "C" fn enter(
    bound_self: *mut ffi::PyObject,
    _: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as promised.
    enter_core(unsafe { &*core_of(bound_self) })
}

unsafe extern "C" fn exit(
    bound_self: *mut ffi::PyObject,
    _: *mut *mut ffi::PyObject,
    _: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: as promised.
    exit_core(unsafe { &*core_of(bound_self) })
}

unsafe fn core_of(bound_self: *mut ffi::PyObject) -> *const dyn Takeable {
    // SAFETY: the caller has a `BoundSelf`, which lives during the call, and the interpreter is attached.
    unsafe {
        let bound_self: Borrowed<'_, '_, PyAny> =
            Borrowed::from_ptr(Python::assume_attached(), bound_self);
        &*bound_self.cast_unchecked::<BoundSelf>().get().0
    }
}

/// # Safety
/// Called by the interpreter as a method of `T`; so is `exit_unbound`.
unsafe extern "C" fn enter_unbound<T: Holder>(
    slf: *mut ffi::PyObject,
    _: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as promised.
    enter_core(&**unsafe { this::<T>(slf) }.core())
}

unsafe extern "C" fn exit_unbound<T: Holder>(
    slf: *mut ffi::PyObject,
    _: *mut *mut ffi::PyObject,
    _: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: as promised.
    exit_core(&**unsafe { this::<T>(slf) }.core())
}
