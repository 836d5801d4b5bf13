//! What a class of handles says of itself: how its objects get into a message, and how they come out of one.
//!
//! `handles.rs` has the list of all such classes.

use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;
use pyo3::{PyClass, PyTypeInfo};
use tasuki::protocol::transfer::{Outgoing, TransferError};
use tasuki::raw::RawHandle;

/// What comes of writing a record: an error of Python's, or one of the table of descriptors.
pub type Written = PyResult<Result<Vec<u8>, TransferError>>;

/// A class whose objects travel in messages.
pub trait HandleClass: PyClass<Frozen = True> + PyTypeInfo + Sync {
    /// The record that names this object in a message; its descriptors go into `table`.
    fn record(&self, table: &mut Outgoing) -> Written;

    /// Makes this object, fresh from `__new__`, what came in a message; None: that is another class's.
    fn adopt(&self, handle: RawHandle) -> Option<PyResult<()>>;

    /// The class in Python of what came without saying its class, as in MessagePack; None: another one's.
    fn class_of(handle: &RawHandle) -> Option<&'static PythonClass>;

    /// Completes an object that came so, which has nothing but what was adopted.
    fn complete<'py>(object: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        Ok(object)
    }
}

/// A class that Python code defines, looked up when it is needed first.
pub struct PythonClass {
    module: &'static str,
    name: &'static str,
    class: PyOnceLock<Py<PyType>>,
}

impl PythonClass {
    pub const fn new(module: &'static str, name: &'static str) -> PythonClass {
        PythonClass { module, name, class: PyOnceLock::new() }
    }

    /// A new object of it, which was not made yet.
    fn instance<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let class = self.class.import(py, self.module, self.name)?;
        class.call_method1("__new__", (class,))
    }
}

/// A class of handles without its type.
pub struct Kind {
    is: fn(&Bound<'_, PyAny>) -> bool,
    record: fn(&Bound<'_, PyAny>, &mut Outgoing) -> Option<Written>,
    adopt: fn(&Bound<'_, PyAny>, RawHandle) -> Option<PyResult<()>>,
    class_of: fn(&RawHandle) -> Option<&'static PythonClass>,
    complete: for<'py> fn(Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>>,
}

impl Kind {
    pub const fn of<C: HandleClass>() -> Kind {
        Kind {
            is: |object| object.is_instance_of::<C>(),
            record: |object, table| {
                object.cast::<C>().ok().map(|object| object.get().record(table))
            },
            adopt: |object, handle| object.cast::<C>().ok()?.get().adopt(handle),
            class_of: C::class_of,
            complete: C::complete,
        }
    }

    /// Whether `object` is of this class.
    pub fn is(&self, object: &Bound<'_, PyAny>) -> bool {
        (self.is)(object)
    }

    /// As [`HandleClass::record`]; None: it is of another class.
    pub fn record(&self, object: &Bound<'_, PyAny>, table: &mut Outgoing) -> Option<Written> {
        (self.record)(object, table)
    }

    /// As [`HandleClass::adopt`], of an object of this class.
    pub fn adopt(&self, object: &Bound<'_, PyAny>, handle: RawHandle) -> Option<PyResult<()>> {
        (self.adopt)(object, handle)
    }

    /// A new object for what came without saying its class; or None, and it is another one's.
    pub fn open<'py>(
        &self,
        py: Python<'py>,
        handle: &RawHandle,
    ) -> Option<PyResult<Bound<'py, PyAny>>> {
        Some((self.class_of)(handle)?.instance(py))
    }

    /// As [`HandleClass::complete`].
    pub fn complete<'py>(&self, object: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        (self.complete)(object)
    }
}
