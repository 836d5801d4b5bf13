//! What every wrapper of a shared object has: the object and its lock, taken and freed inside one native call.
//!
//! A signal handler can raise between any two steps of a Python function, so `acquire(); try:` written in Python can
//! leave the lock held. Here nothing runs between taking the lock and what is done under it.

use std::sync::OnceLock;

use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use crate::sharedctypes::Block;
use crate::synchronize::{Lockable, Policy, RLock};
use crate::waiting::Timeout;

/// An object with its lock; the Python classes of `sharedctypes` derive from it.
#[pyclass(frozen, subclass, module = "tasuki._tasuki")]
pub struct Guarded {
    parts: OnceLock<Parts>,
}

struct Parts {
    object: Py<PyAny>,
    lock: Py<PyAny>,
    /// The lock that the object's memory brought along, when that is the one.
    own: Option<Lockable>,
}

impl Parts {
    /// Takes the memory's own lock, which has its owner's policy from the object that users know it as.
    #[inline]
    fn lock_own(&self, own: &Lockable, py: Python<'_>) -> PyResult<bool> {
        own.lock(py, Timeout::Forever, || {
            self.lock.bind(py).cast::<RLock>().map_or(Policy::Raise, |lock| lock.get().policy())
        })
    }
}

impl Guarded {
    pub fn unmade() -> Guarded {
        Guarded { parts: OnceLock::new() }
    }

    #[inline]
    fn parts(&self) -> PyResult<&Parts> {
        self.parts.get().ok_or_else(Guarded::never_made)
    }

    pub fn never_made() -> PyErr {
        PyRuntimeError::new_err("this wrapper was never made")
    }

    /// The lock, once this wrapper is made.
    #[inline]
    pub fn lock(&self) -> Option<&Py<PyAny>> {
        self.parts.get().map(|parts| &parts.lock)
    }

    /// Whether the lock is the one in the object's memory.
    #[inline]
    pub fn has_own_lock(&self) -> bool {
        self.parts.get().is_some_and(|parts| parts.own.is_some())
    }

    /// The object that is wrapped.
    #[inline]
    pub fn object<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, PyAny>> {
        Ok(self.parts()?.object.bind(py))
    }

    /// Runs `work` under the lock.
    #[inline]
    pub fn locked<R>(&self, py: Python<'_>, work: impl FnOnce() -> PyResult<R>) -> PyResult<R> {
        let parts = self.parts()?;
        if let Some(own) = &parts.own {
            parts.lock_own(own, py)?;
            let result = work();
            let _ = own.release();
            return result;
        }
        let lock = parts.lock.bind(py);
        lock.call_method0(intern!(py, "acquire"))?;
        let result = work();
        let released = lock.call_method0(intern!(py, "release"));
        let result = result?;
        released?;
        Ok(result)
    }
}

#[pymethods]
impl Guarded {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Guarded {
        Guarded::unmade()
    }

    /// Ties this wrapper to an object and a lock; `block` is the object's memory when the lock is the one in there.
    #[pyo3(signature = (object, lock, block=None))]
    fn _guard(&self, object: Py<PyAny>, lock: Py<PyAny>, block: Option<&Block>) -> PyResult<()> {
        let own = block.map(|block| block.raw().cloned()).transpose()?.map(Lockable::from);
        self.parts
            .set(Parts { object, lock, own })
            .map_err(|_| PyRuntimeError::new_err("this wrapper is made already"))
    }

    fn __enter__(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let parts = self.parts()?;
        match &parts.own {
            Some(own) => {
                let taken = parts.lock_own(own, py)?;
                Ok(taken.into_pyobject(py)?.to_owned().into_any().unbind())
            }
            None => parts.lock.call_method0(py, intern!(py, "__enter__")),
        }
    }

    #[pyo3(signature = (*details))]
    fn __exit__(&self, details: &Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
        let py = details.py();
        let parts = self.parts()?;
        match &parts.own {
            Some(own) => RLock::released(own.release()).map(|()| py.None()),
            None => parts.lock.call_method1(py, intern!(py, "__exit__"), details),
        }
    }

    /// An attribute of the object, read under the lock.
    fn _get<'py>(&self, name: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>> {
        let py = name.py();
        let object = self.object(py)?;
        self.locked(py, || object.getattr(name))
    }

    /// Sets an attribute of the object under the lock.
    fn _set(&self, name: &Bound<'_, PyString>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = name.py();
        let object = self.object(py)?;
        self.locked(py, || object.setattr(name, value))
    }
}
