//! Lock as Python sees it, with what the standard Condition, Event, Pool and Queue ask of a `_semlock`.

use std::ffi::CStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use tasuki::protocol::transfer::Outgoing;
use tasuki::raw::{Death, RawHandle, RawLock};

use super::lockable::{Lockable, made_already, never_made};
use super::policy::{Policy, PolicyCell};
use super::takeable::{BoundMethods, Holder, Takeable};
use super::this_thread;
use crate::errors;
use crate::kind::{HandleClass, PythonClass, Written};
use crate::waiting::Timeout;

/// A lock of the engine that anybody may release; the Python class of this name derives from it.
#[pyclass(frozen, subclass, module = "tasuki._tasuki")]
pub struct Lock {
    core: Arc<LockCore>,
    bound_methods: BoundMethods,
}

/// What is behind a `Lock`.
pub struct LockCore {
    raw: OnceLock<Lockable>,
    policy: PolicyCell,
    /// The thread of this process that took it last.
    taken_by: AtomicUsize,
}

impl Takeable for LockCore {
    #[inline]
    fn take_fast(&self) -> bool {
        let taken = self.raw.get().is_some_and(|raw| raw.acquire_fast());
        if taken {
            self.taken_by.store(this_thread(), Ordering::Relaxed);
        }
        taken
    }

    #[inline]
    fn give_fast(&self) -> bool {
        self.raw.get().is_some_and(|raw| raw.release())
    }

    fn take(&self, py: Python<'_>, timeout: Timeout) -> PyResult<bool> {
        let raw = self.raw.get().ok_or_else(never_made)?;
        let got = raw.lock(py, timeout, || self.policy.get())?;
        if got {
            self.taken_by.store(this_thread(), Ordering::Relaxed);
        }
        Ok(got)
    }

    fn give(&self, _py: Python<'_>) -> PyResult<()> {
        if self.raw.get().ok_or_else(never_made)?.release() {
            return Ok(());
        }
        Err(PyValueError::new_err("semaphore or lock released too many times"))
    }
}

impl Holder for Lock {
    type Core = LockCore;
    const ACQUIRE: &'static CStr = c"acquire($self, /, block=True, timeout=None)\n--\n\n\
        Takes the lock; returns whether it was got in time.";
    const RELEASE: &'static CStr = c"release($self, /)\n--\n\nFrees the lock, whoever holds it.";

    #[inline]
    fn core(&self) -> &Arc<LockCore> {
        &self.core
    }

    #[inline]
    fn bound_methods(&self) -> &BoundMethods {
        &self.bound_methods
    }
}

impl Lock {
    #[inline]
    fn raw(&self) -> PyResult<&Lockable> {
        self.core.raw.get().ok_or_else(never_made)
    }

    fn adopt_raw(&self, raw: Lockable) -> PyResult<()> {
        self.core.raw.set(raw).map_err(made_already)
    }

    /// Whether this thread holds it.
    pub fn is_mine(&self) -> PyResult<bool> {
        let held = self.raw()?.depth().map_err(errors::engine)? > 0;
        Ok(held && self.core.taken_by.load(Ordering::Relaxed) == this_thread())
    }

    /// This thread has it again.
    pub fn took(&self) {
        self.core.taken_by.store(this_thread(), Ordering::Relaxed);
    }

    pub fn user_lock(&self) -> PyResult<&RawLock> {
        Ok(self.raw()?)
    }

    /// Tells the caller, which has and keeps the lock, of an owner's death.
    pub fn told(&self, py: Python<'_>, death: &Death) -> PyResult<()> {
        self.raw()?.clear_poison();
        self.core.policy.get().told(py, death, "the lock")
    }
}

impl HandleClass for Lock {
    fn record(&self, table: &mut Outgoing) -> Written {
        Ok(self.raw()?.record(table))
    }

    fn adopt(&self, handle: RawHandle) -> Option<PyResult<()>> {
        match handle {
            RawHandle::Lock(raw) if !raw.is_recursive() => Some(self.adopt_raw(raw.into())),
            _ => None,
        }
    }

    fn class_of(handle: &RawHandle) -> Option<&'static PythonClass> {
        static CLASS: PythonClass = PythonClass::new("tasuki.synchronize", "Lock");
        matches!(handle, RawHandle::Lock(raw) if !raw.is_recursive()).then_some(&CLASS)
    }
}

#[pymethods]
impl Lock {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Lock {
        let core = LockCore {
            raw: OnceLock::new(),
            policy: PolicyCell::new(Policy::Raise),
            taken_by: AtomicUsize::new(0),
        };
        Lock { core: Arc::new(core), bound_methods: BoundMethods::new() }
    }

    fn _create(&self) -> PyResult<()> {
        self.adopt_raw(RawLock::create(false).map_err(errors::engine)?.into())
    }

    /// What the next one to take the lock after its owner's death gets: "raise", "warn" or "ignore".
    #[getter]
    fn get_on_owner_died(&self) -> &'static str {
        self.core.policy.get().name()
    }

    #[setter]
    fn set_on_owner_died(&self, policy: Policy) {
        self.core.policy.set(policy);
    }

    /// Whether anybody holds the lock at this moment.
    fn locked(&self) -> PyResult<bool> {
        Ok(self.raw()?.is_locked())
    }

    fn _is_mine(&self) -> PyResult<bool> {
        self.is_mine()
    }

    fn _count(&self) -> PyResult<u32> {
        self.raw()?.depth().map_err(errors::engine)
    }

    fn _get_value(&self) -> PyResult<u32> {
        Ok(u32::from(!self.raw()?.is_locked()))
    }

    #[getter]
    fn handle(&self) -> PyResult<u64> {
        let (file, slot) = self.raw()?.key();
        Ok(file << 16 | u64::from(slot))
    }
}
