//! RLock as Python sees it: an object of its own, or the lock that a value or a condition brings along.

use std::ffi::CStr;
use std::sync::{Arc, OnceLock};

use pyo3::exceptions::PyAssertionError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use tasuki::protocol::transfer::Outgoing;
use tasuki::raw::{Death, RawHandle, RawLock};

use super::Condition;
use super::lockable::{Lockable, made_already, never_made};
use super::policy::{Policy, PolicyCell};
use super::takeable::{BoundMethods, Holder, Takeable};
use crate::errors;
use crate::kind::{HandleClass, PythonClass, Written};
use crate::sharedctypes::Block;
use crate::waiting::Timeout;

/// A lock of the engine that its owner may take again; the Python class of this name derives from it.
#[pyclass(frozen, subclass, module = "tasuki._tasuki")]
pub struct RLock {
    core: Arc<RLockCore>,
    bound_methods: BoundMethods,
}

/// What is behind an `RLock`.
pub struct RLockCore {
    raw: OnceLock<Lockable>,
    policy: PolicyCell,
}

impl Takeable for RLockCore {
    #[inline]
    fn take_fast(&self) -> bool {
        self.raw.get().is_some_and(|raw| raw.acquire_fast())
    }

    #[inline]
    fn give_fast(&self) -> bool {
        self.raw.get().is_some_and(|raw| raw.release())
    }

    fn take(&self, py: Python<'_>, timeout: Timeout) -> PyResult<bool> {
        self.raw.get().ok_or_else(never_made)?.lock(py, timeout, || self.policy.get())
    }

    fn give(&self, _py: Python<'_>) -> PyResult<()> {
        RLock::released(self.raw.get().ok_or_else(never_made)?.release())
    }
}

impl Holder for RLock {
    type Core = RLockCore;
    const ACQUIRE: &'static CStr = c"acquire($self, /, block=True, timeout=None)\n--\n\n\
        Takes the lock, again if this thread has it; returns whether it was got in time.";
    const RELEASE: &'static CStr = c"release($self, /)\n--\n\nUndoes one acquire of this thread.";

    #[inline]
    fn core(&self) -> &Arc<RLockCore> {
        &self.core
    }

    #[inline]
    fn bound_methods(&self) -> &BoundMethods {
        &self.bound_methods
    }
}

impl RLock {
    #[inline]
    fn raw(&self) -> PyResult<&Lockable> {
        self.core.raw.get().ok_or_else(never_made)
    }

    fn adopt_raw(&self, raw: Lockable) -> PyResult<()> {
        self.core.raw.set(raw).map_err(made_already)
    }

    /// What the next one to take it after an owner's death is told.
    pub fn policy(&self) -> Policy {
        self.core.policy.get()
    }

    /// Whether this thread holds it.
    pub fn is_mine(&self) -> PyResult<bool> {
        Ok(self.raw()?.depth().map_err(errors::engine)? > 0)
    }

    pub fn user_lock(&self) -> PyResult<&RawLock> {
        Ok(self.raw()?)
    }

    /// Tells the caller, which has and keeps the lock, of an owner's death.
    pub fn told(&self, py: Python<'_>, death: &Death) -> PyResult<()> {
        self.raw()?.clear_poison();
        self.core.policy.get().told(py, death, "the lock")
    }

    /// What the standard library says when a thread releases what it does not hold.
    #[inline]
    pub fn released(was_held: bool) -> PyResult<()> {
        if was_held {
            return Ok(());
        }
        Err(PyAssertionError::new_err("attempt to release recursive lock not owned by thread"))
    }
}

impl HandleClass for RLock {
    fn record(&self, table: &mut Outgoing) -> Written {
        Ok(self.raw()?.record(table))
    }

    fn adopt(&self, handle: RawHandle) -> Option<PyResult<()>> {
        match handle {
            RawHandle::Lock(raw) if raw.is_recursive() => Some(self.adopt_raw(raw.into())),
            RawHandle::Condition(raw) => Some(self.adopt_raw(raw.own_lock().into())),
            RawHandle::Value(raw) => Some(self.adopt_raw(raw.into())),
            _ => None,
        }
    }

    fn class_of(handle: &RawHandle) -> Option<&'static PythonClass> {
        static CLASS: PythonClass = PythonClass::new("tasuki.synchronize", "RLock");
        matches!(handle, RawHandle::Lock(raw) if raw.is_recursive()).then_some(&CLASS)
    }
}

#[pymethods]
impl RLock {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> RLock {
        let core = RLockCore { raw: OnceLock::new(), policy: PolicyCell::new(Policy::Raise) };
        RLock { core: Arc::new(core), bound_methods: BoundMethods::new() }
    }

    fn _create(&self) -> PyResult<()> {
        self.adopt_raw(RawLock::create(true).map_err(errors::engine)?.into())
    }

    /// Makes this the lock that a condition brings along.
    fn _bind_condition(&self, condition: &Condition) -> PyResult<()> {
        self.adopt_raw(condition.own_lock()?.into())
    }

    /// Makes this the lock that a value has beside its bytes.
    fn _bind(&self, block: &Block) -> PyResult<()> {
        self.adopt_raw(block.raw()?.clone().into())
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
        self.raw()?.depth_in_process().map_err(errors::engine)
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
