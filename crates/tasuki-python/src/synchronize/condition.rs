//! Condition as Python sees it: the whole of a wait is one native call, so that no exception leaves its lock half
//! taken.

use std::sync::{Arc, OnceLock};

use pyo3::exceptions::{PyAssertionError, PyRuntimeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use tasuki::protocol::transfer::Outgoing;
use tasuki::raw::{AcquireFailure, Acquired, NotWaited, RawCondition, RawHandle, RawLock, Woken};

use super::takeable::{Holder, Takeable};
use super::{Lock, RLock};
use crate::errors;
use crate::kind::{HandleClass, PythonClass, Written};
use crate::waiting::{Blocking, Timeout};

/// How often a lock of another library is asked again for itself after a signal handler raised.
const TRIES: u32 = 100;

/// The lock that a wait gives up.
enum UserLock {
    Lock(Py<Lock>),
    RLock(Py<RLock>),
    /// Of another library: used through its methods, as well as that goes.
    Foreign(Py<PyAny>),
}

/// A condition of the engine; the Python class of this name derives from it.
#[pyclass(frozen, subclass, module = "tasuki._tasuki")]
pub struct Condition {
    raw: OnceLock<RawCondition>,
    lock: OnceLock<UserLock>,
}

fn take(py: Python<'_>, core: &Arc<impl Takeable>) -> PyResult<bool> {
    Ok(core.take_fast() || core.take(py, Timeout::Forever)?)
}

fn never_made() -> PyErr {
    PyRuntimeError::new_err("this condition was never made: call super().__init__() first")
}

impl Condition {
    fn raw(&self) -> PyResult<&RawCondition> {
        self.raw.get().ok_or_else(never_made)
    }

    fn lock(&self) -> PyResult<&UserLock> {
        self.lock.get().ok_or_else(never_made)
    }

    fn adopt_raw(&self, raw: RawCondition) -> PyResult<()> {
        self.raw.set(raw).map_err(|_| PyRuntimeError::new_err("this condition is made already"))
    }

    pub fn own_lock(&self) -> PyResult<RawLock> {
        Ok(self.raw()?.own_lock())
    }

    /// Whether the caller holds the lock; of a foreign one that may be unknown, and counts as yes.
    fn is_mine(&self, py: Python<'_>) -> PyResult<bool> {
        match self.lock()? {
            UserLock::Lock(lock) => lock.get().is_mine(),
            UserLock::RLock(lock) => lock.get().is_mine(),
            UserLock::Foreign(lock) => {
                let lock = lock.bind(py);
                if let Some(semlock) = lock.getattr_opt(intern!(py, "_semlock"))? {
                    return semlock.call_method0(intern!(py, "_is_mine"))?.is_truthy();
                }
                match lock.getattr_opt(intern!(py, "_is_owned"))? {
                    Some(is_owned) => is_owned.call0()?.is_truthy(),
                    None => Ok(true),
                }
            }
        }
    }

    /// Waits with a foreign lock, which is freed and taken by its methods.
    fn wait_foreign(&self, lock: &Bound<'_, PyAny>, timeout: Timeout) -> PyResult<bool> {
        let py = lock.py();
        let depth: u32 = match lock.getattr_opt(intern!(py, "_semlock"))? {
            Some(semlock) => semlock.call_method0(intern!(py, "_count"))?.extract()?,
            None => 1,
        };
        let raw = self.raw()?;
        let mut waiter = match timeout.wait(py, |wait| raw.enter(wait))? {
            Ok(waiter) => waiter,
            Err(AcquireFailure::GaveUp(_)) => return Ok(false),
            Err(failure) => return Err(errors::engine(failure.into())),
        };
        for _ in 0..depth {
            lock.call_method0(intern!(py, "release"))?;
        }
        let slept = timeout.wait_once(py, || false, |wait| waiter.sleep(wait));
        // Some handler's child goes on here: it waits anew, when it has the lock.
        let forked = matches!(slept, Ok(None));
        let mut woken = slept.map(|woken| woken.unwrap_or(Woken::Notified));
        for _ in 0..depth {
            for attempt in 1.. {
                match lock.call_method0(intern!(py, "acquire")) {
                    Ok(_) => break,
                    // A signal handler's, most likely: the lock must be held when that arrives at the caller.
                    Err(error) if woken.is_ok() => woken = Err(error),
                    Err(_) if attempt < TRIES => {}
                    Err(error) => return Err(error),
                }
            }
        }
        if forked && woken.is_ok() && waiter.has_missed_nothing() {
            drop(waiter);
            return self.wait_foreign(lock, timeout);
        }
        Ok(woken? == Woken::Notified)
    }
}

impl HandleClass for Condition {
    fn record(&self, table: &mut Outgoing) -> Written {
        Ok(self.raw()?.record(table))
    }

    fn adopt(&self, handle: RawHandle) -> Option<PyResult<()>> {
        match handle {
            RawHandle::Condition(raw) => Some(self.adopt_raw(raw)),
            _ => None,
        }
    }

    fn class_of(handle: &RawHandle) -> Option<&'static PythonClass> {
        static CLASS: PythonClass = PythonClass::new("tasuki.synchronize", "Condition");
        matches!(handle, RawHandle::Condition(_)).then_some(&CLASS)
    }

    fn complete<'py>(object: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        object.call_method0("_use_own_lock")?;
        Ok(object)
    }
}

#[pymethods]
impl Condition {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Condition {
        Condition { raw: OnceLock::new(), lock: OnceLock::new() }
    }

    fn _create(&self) -> PyResult<()> {
        self.adopt_raw(RawCondition::create().map_err(errors::engine)?)
    }

    /// Ties the condition to the lock that it is used with.
    fn _tie(&self, lock: &Bound<'_, PyAny>) -> PyResult<()> {
        let lock = if let Ok(lock) = lock.cast::<Lock>() {
            UserLock::Lock(lock.clone().unbind())
        } else if let Ok(lock) = lock.cast::<RLock>() {
            UserLock::RLock(lock.clone().unbind())
        } else {
            UserLock::Foreign(lock.clone().unbind())
        };
        self.lock.set(lock).map_err(|_| PyRuntimeError::new_err("this condition is made already"))
    }

    fn __enter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let taken = match self.lock()? {
            UserLock::Lock(lock) => take(py, lock.get().core())?,
            UserLock::RLock(lock) => take(py, lock.get().core())?,
            UserLock::Foreign(lock) => {
                return lock.bind(py).call_method0(intern!(py, "__enter__"));
            }
        };
        Ok(taken.into_pyobject(py)?.to_owned().into_any())
    }

    #[pyo3(signature = (*args))]
    fn __exit__<'py>(&self, args: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyAny>> {
        let py = args.py();
        match self.lock()? {
            UserLock::Lock(lock) => lock.get().core().give(py)?,
            UserLock::RLock(lock) => lock.get().core().give(py)?,
            UserLock::Foreign(lock) => {
                return lock.bind(py).call_method1(intern!(py, "__exit__"), args);
            }
        }
        Ok(py.None().into_bound(py))
    }

    /// Frees the lock, waits to be notified, and takes the lock again as often as it was held: in every case, also
    /// when an exception is raised. Returns whether it was notified in time.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
        let timeout = Timeout::new(Blocking(true), timeout)?;
        let raw = self.raw()?;
        let not_held = || PyAssertionError::new_err("must acquire() condition before using wait()");
        if !self.is_mine(py)? {
            return Err(not_held());
        }
        let waited = match self.lock()? {
            UserLock::Lock(lock) => {
                let user = lock.get().user_lock()?;
                let waited = timeout.wait(py, |wait| raw.wait(user, wait));
                lock.get().took();
                waited?
            }
            UserLock::RLock(lock) => {
                let user = lock.get().user_lock()?;
                timeout.wait(py, |wait| raw.wait(user, wait))?
            }
            UserLock::Foreign(lock) => return self.wait_foreign(lock.bind(py), timeout),
        };
        match waited {
            Ok((woken, Acquired::Clean)) => Ok(woken == Woken::Notified),
            Ok((woken, Acquired::OwnerDied(death))) => {
                // The lock is held in any case: the caller is inside a `with`, which releases it.
                match self.lock()? {
                    UserLock::Lock(lock) => lock.get().told(py, &death)?,
                    UserLock::RLock(lock) => lock.get().told(py, &death)?,
                    UserLock::Foreign(_) => {}
                }
                Ok(woken == Woken::Notified)
            }
            Err(NotWaited::NotHeld) => Err(not_held()),
            Err(NotWaited::Failed(error)) => Err(errors::engine(*error)),
        }
    }

    /// Lets the n that have waited longest go on.
    #[pyo3(signature = (n=1))]
    fn notify(&self, py: Python<'_>, n: i64) -> PyResult<()> {
        if !self.is_mine(py)? {
            return Err(PyAssertionError::new_err("lock is not owned"));
        }
        let raw = self.raw()?;
        let count = usize::try_from(n).unwrap_or(0);
        // Somebody may have been stopped while it changed the list.
        Timeout::step(py, |wait| raw.notify_within(count, wait))
    }

    /// Lets everybody who waits go on.
    fn notify_all(&self, py: Python<'_>) -> PyResult<()> {
        self.notify(py, i64::MAX)
    }

    /// How many wait at this moment.
    #[getter]
    fn _waiting(&self) -> PyResult<usize> {
        Ok(self.raw()?.waiting())
    }
}
