//! Lock and RLock as Python sees them, with what the standard Condition, Event, Pool and Queue ask of a `_semlock`.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::exceptions::{PyAssertionError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use tasuki::Error;
use tasuki::protocol::transfer::{Outgoing, TransferError};
use tasuki::raw::{Acquired, Failure, GaveUp, RawLock, RawValue, Wait};

use super::policy::{Policy, PolicyCell};
use crate::errors;
use crate::sharedctypes::Block;
use crate::waiting::{Blocking, Patience};

/// What an RLock locks: an object of its own, or a value, which has a lock beside its bytes.
pub enum Lockable {
    Lock(RawLock),
    Value(RawValue),
}

impl From<RawLock> for Lockable {
    fn from(raw: RawLock) -> Lockable {
        Lockable::Lock(raw)
    }
}

impl From<RawValue> for Lockable {
    fn from(raw: RawValue) -> Lockable {
        Lockable::Value(raw)
    }
}

impl Lockable {
    #[inline]
    fn acquire(&self, wait: &mut Wait<'_>) -> Result<Acquired, Failure> {
        match self {
            Lockable::Lock(lock) => lock.acquire(wait),
            Lockable::Value(value) => value.acquire(wait),
        }
    }

    #[inline]
    #[must_use]
    pub fn unlock(&self) -> bool {
        match self {
            Lockable::Lock(lock) => lock.release(),
            Lockable::Value(value) => value.release(),
        }
    }

    fn clear_poison(&self) {
        match self {
            Lockable::Lock(lock) => lock.clear_poison(),
            Lockable::Value(value) => value.clear_poison(),
        }
    }

    fn is_locked(&self) -> bool {
        match self {
            Lockable::Lock(lock) => lock.is_locked(),
            Lockable::Value(value) => value.is_locked(),
        }
    }

    /// How often the calling thread holds it; a lock that is not recursive is the process's, 1 or 0.
    fn depth(&self) -> Result<u32, Error> {
        match self {
            Lockable::Lock(lock) => lock.depth(),
            Lockable::Value(value) => value.depth(),
        }
    }

    fn depth_in_process(&self) -> Result<u32, Error> {
        match self {
            Lockable::Lock(lock) => lock.depth_in_process(),
            Lockable::Value(value) => value.depth_in_process(),
        }
    }

    fn record(&self, table: &mut Outgoing) -> Result<Vec<u8>, TransferError> {
        match self {
            Lockable::Lock(lock) => lock.record(table),
            Lockable::Value(value) => value.record(table),
        }
    }

    fn key(&self) -> (u64, u32) {
        match self {
            Lockable::Lock(lock) => lock.key(),
            Lockable::Value(value) => value.key(),
        }
    }

    /// Takes the lock; whether it was got in time. The death of an owner is told once, in the way of `policy`; on an
    /// error the lock is not held.
    #[inline]
    pub fn lock(
        &self,
        py: Python<'_>,
        patience: Patience,
        policy: impl FnOnce() -> Policy,
    ) -> PyResult<bool> {
        let acquired = match self.acquire(&mut Wait::now()) {
            Err(Failure::GaveUp(GaveUp::TimedOut)) if !patience.is_none() => {
                patience.wait(py, |mut wait| self.acquire(&mut wait))?
            }
            other => other,
        };
        match acquired {
            Ok(Acquired::Clean) => Ok(true),
            Ok(Acquired::OwnerDied(death)) => {
                self.clear_poison();
                match policy().told(py, &death, "the lock") {
                    Ok(()) => Ok(true),
                    Err(error) => {
                        let _ = self.unlock();
                        Err(error)
                    }
                }
            }
            Err(Failure::GaveUp(_)) => Ok(false),
            Err(Failure::Failed(error)) => Err(errors::engine(error)),
        }
    }
}

fn never_made() -> PyErr {
    PyRuntimeError::new_err("this lock was never made: call super().__init__() first")
}

fn made_already<T>(_: T) -> PyErr {
    PyRuntimeError::new_err("this lock is made already")
}

/// The standard library's number for the kind of a lock that a thread may take again.
const RECURSIVE_MUTEX: u32 = 0;
/// The standard library's number for all other kinds.
const SEMAPHORE: u32 = 1;

/// A lock of the engine that anybody may release; the Python class of this name derives from it.
#[pyclass(frozen, subclass, module = "tasuki._tasuki")]
pub struct Lock {
    raw: OnceLock<Lockable>,
    policy: PolicyCell,
    /// The thread of this process that took it last, as Python numbers threads.
    taken_by: AtomicU64,
}

impl Lock {
    #[inline]
    fn raw(&self) -> PyResult<&Lockable> {
        self.raw.get().ok_or_else(never_made)
    }

    pub fn adopt(&self, raw: Lockable) -> PyResult<()> {
        self.raw.set(raw).map_err(made_already)
    }

    pub fn record(&self, table: &mut Outgoing) -> PyResult<Result<Vec<u8>, TransferError>> {
        Ok(self.raw()?.record(table))
    }

    #[inline]
    fn lock(&self, py: Python<'_>, patience: Patience) -> PyResult<bool> {
        let got = self.raw()?.lock(py, patience, || self.policy.get())?;
        if got {
            self.taken_by.store(this_thread(), Ordering::Relaxed);
        }
        Ok(got)
    }

    #[inline]
    fn unlock(&self) -> PyResult<()> {
        if self.raw()?.unlock() {
            return Ok(());
        }
        Err(PyValueError::new_err("semaphore or lock released too many times"))
    }
}

/// A number for the calling thread, unique in this process while the thread lives.
#[inline]
fn this_thread() -> u64 {
    thread_local! {
        static HERE: u8 = const { 0 };
    }
    HERE.with(|here| std::ptr::from_ref(here).addr() as u64)
}

#[pymethods]
impl Lock {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Lock {
        Lock {
            raw: OnceLock::new(),
            policy: PolicyCell::new(Policy::Raise),
            taken_by: AtomicU64::new(0),
        }
    }

    fn _create(&self) -> PyResult<()> {
        self.adopt(RawLock::create(false).map_err(errors::engine)?.into())
    }

    /// Takes the lock; returns whether it was got in time.
    #[pyo3(signature = (block=Blocking(true), timeout=None))]
    #[pyo3(text_signature = "($self, block=True, timeout=None)")]
    fn acquire(
        &self,
        py: Python<'_>,
        block: Blocking,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<bool> {
        self.lock(py, Patience::new(block, timeout)?)
    }

    /// Frees the lock, whoever holds it.
    fn release(&self) -> PyResult<()> {
        self.unlock()
    }

    fn __enter__(&self, py: Python<'_>) -> PyResult<bool> {
        self.lock(py, Patience::Forever)
    }

    #[pyo3(signature = (_kind=None, _error=None, _traceback=None))]
    fn __exit__(
        &self,
        _kind: Option<&Bound<'_, PyAny>>,
        _error: Option<&Bound<'_, PyAny>>,
        _traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        self.unlock()
    }

    /// What the next one to take the lock after its owner's death gets: "raise", "warn" or "ignore".
    #[getter]
    fn get_on_owner_died(&self) -> &'static str {
        self.policy.get().name()
    }

    #[setter]
    fn set_on_owner_died(&self, policy: Policy) {
        self.policy.set(policy);
    }

    /// Whether anybody holds the lock at this moment.
    fn locked(&self) -> PyResult<bool> {
        Ok(self.raw()?.is_locked())
    }

    #[getter]
    fn _semlock(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn _is_mine(&self) -> PyResult<bool> {
        Ok(self._count()? > 0 && self.taken_by.load(Ordering::Relaxed) == this_thread())
    }

    fn _count(&self) -> PyResult<u32> {
        self.raw()?.depth().map_err(errors::engine)
    }

    fn _get_value(&self) -> PyResult<u32> {
        Ok(u32::from(!self.raw()?.is_locked()))
    }

    fn _is_zero(&self) -> PyResult<bool> {
        Ok(self.raw()?.is_locked())
    }

    #[getter]
    fn handle(&self) -> PyResult<u64> {
        let (file, slot) = self.raw()?.key();
        Ok(file << 16 | u64::from(slot))
    }

    #[getter]
    fn kind(&self) -> u32 {
        SEMAPHORE
    }

    #[getter]
    fn maxvalue(&self) -> u32 {
        1
    }

    #[getter]
    fn name(&self) -> Option<&str> {
        None
    }
}

/// A lock of the engine that its owner may take again; the Python class of this name derives from it.
#[pyclass(frozen, subclass, module = "tasuki._tasuki")]
pub struct RLock {
    raw: OnceLock<Lockable>,
    policy: PolicyCell,
}

impl RLock {
    #[inline]
    fn raw(&self) -> PyResult<&Lockable> {
        self.raw.get().ok_or_else(never_made)
    }

    pub fn adopt(&self, raw: Lockable) -> PyResult<()> {
        self.raw.set(raw).map_err(made_already)
    }

    pub fn record(&self, table: &mut Outgoing) -> PyResult<Result<Vec<u8>, TransferError>> {
        Ok(self.raw()?.record(table))
    }

    /// What the next one to take it after an owner's death is told.
    pub fn policy(&self) -> Policy {
        self.policy.get()
    }

    #[inline]
    fn lock(&self, py: Python<'_>, patience: Patience) -> PyResult<bool> {
        self.raw()?.lock(py, patience, || self.policy.get())
    }

    #[inline]
    fn unlock(&self) -> PyResult<()> {
        RLock::released(self.raw()?.unlock())
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

#[pymethods]
impl RLock {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> RLock {
        RLock { raw: OnceLock::new(), policy: PolicyCell::new(Policy::Raise) }
    }

    fn _create(&self) -> PyResult<()> {
        self.adopt(RawLock::create(true).map_err(errors::engine)?.into())
    }

    /// Makes this the lock that a value has beside its bytes.
    fn _bind(&self, block: &Block) -> PyResult<()> {
        self.adopt(block.raw()?.clone().into())
    }

    /// Takes the lock, again if this thread has it; returns whether it was got in time.
    #[pyo3(signature = (block=Blocking(true), timeout=None))]
    #[pyo3(text_signature = "($self, block=True, timeout=None)")]
    fn acquire(
        &self,
        py: Python<'_>,
        block: Blocking,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<bool> {
        self.lock(py, Patience::new(block, timeout)?)
    }

    /// Undoes one acquire of this thread.
    fn release(&self) -> PyResult<()> {
        self.unlock()
    }

    fn __enter__(&self, py: Python<'_>) -> PyResult<bool> {
        self.lock(py, Patience::Forever)
    }

    #[pyo3(signature = (_kind=None, _error=None, _traceback=None))]
    fn __exit__(
        &self,
        _kind: Option<&Bound<'_, PyAny>>,
        _error: Option<&Bound<'_, PyAny>>,
        _traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        self.unlock()
    }

    /// What the next one to take the lock after its owner's death gets: "raise", "warn" or "ignore".
    #[getter]
    fn get_on_owner_died(&self) -> &'static str {
        self.policy.get().name()
    }

    #[setter]
    fn set_on_owner_died(&self, policy: Policy) {
        self.policy.set(policy);
    }

    /// Whether anybody holds the lock at this moment.
    fn locked(&self) -> PyResult<bool> {
        Ok(self.raw()?.is_locked())
    }

    #[getter]
    fn _semlock(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn _is_mine(&self) -> PyResult<bool> {
        Ok(self.raw()?.depth().map_err(errors::engine)? > 0)
    }

    fn _count(&self) -> PyResult<u32> {
        self.raw()?.depth_in_process().map_err(errors::engine)
    }

    fn _get_value(&self) -> PyResult<u32> {
        Ok(u32::from(!self.raw()?.is_locked()))
    }

    fn _is_zero(&self) -> PyResult<bool> {
        Ok(self.raw()?.is_locked())
    }

    #[getter]
    fn handle(&self) -> PyResult<u64> {
        let (file, slot) = self.raw()?.key();
        Ok(file << 16 | u64::from(slot))
    }

    #[getter]
    fn kind(&self) -> u32 {
        RECURSIVE_MUTEX
    }

    #[getter]
    fn maxvalue(&self) -> u32 {
        1
    }

    #[getter]
    fn name(&self) -> Option<&str> {
        None
    }
}
