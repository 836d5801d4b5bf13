//! Lock and RLock as Python sees them, with what the standard Condition, Event, Pool and Queue ask of a `_semlock`.

use std::ffi::CStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use pyo3::exceptions::{PyAssertionError, PyRuntimeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use tasuki::Error;
use tasuki::protocol::transfer::{Outgoing, TransferError};
use tasuki::raw::{Acquired, Death, Failure, GaveUp, RawLock, RawValue, UserLockRef, Wait};

use super::Condition;
use super::doors::Doors;
use super::policy::{Policy, PolicyCell};
use super::quick::{Holder, Takeable};
use crate::errors;
use crate::sharedctypes::Block;
use crate::waiting::Patience;

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

    /// Takes it if it is free; false says nothing but that `acquire` has to look.
    #[inline]
    fn acquire_quickly(&self) -> bool {
        match self {
            Lockable::Lock(lock) => lock.acquire_quickly(),
            Lockable::Value(value) => value.acquire_quickly(),
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

    /// The lock for a condition that is about to give it up.
    fn user_lock(&self) -> UserLockRef<'_> {
        match self {
            Lockable::Lock(lock) => UserLockRef::Lock(lock),
            Lockable::Value(value) => UserLockRef::Value(value),
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
        if self.acquire_quickly() {
            return Ok(true);
        }
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
    core: Arc<LockCore>,
    doors: Doors,
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
    fn take_quickly(&self) -> bool {
        let taken = self.raw.get().is_some_and(Lockable::acquire_quickly);
        if taken {
            self.taken_by.store(this_thread(), Ordering::Relaxed);
        }
        taken
    }

    #[inline]
    fn give_quickly(&self) -> bool {
        self.raw.get().is_some_and(Lockable::unlock)
    }

    fn take(&self, py: Python<'_>, patience: Patience) -> PyResult<bool> {
        let raw = self.raw.get().ok_or_else(never_made)?;
        let got = raw.lock(py, patience, || self.policy.get())?;
        if got {
            self.taken_by.store(this_thread(), Ordering::Relaxed);
        }
        Ok(got)
    }

    fn give(&self) -> PyResult<()> {
        if self.raw.get().ok_or_else(never_made)?.unlock() {
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
    fn doors(&self) -> &Doors {
        &self.doors
    }
}

impl Lock {
    #[inline]
    fn raw(&self) -> PyResult<&Lockable> {
        self.core.raw.get().ok_or_else(never_made)
    }

    pub fn adopt(&self, raw: Lockable) -> PyResult<()> {
        self.core.raw.set(raw).map_err(made_already)
    }

    pub fn record(&self, table: &mut Outgoing) -> PyResult<Result<Vec<u8>, TransferError>> {
        Ok(self.raw()?.record(table))
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

    pub fn user_lock(&self) -> PyResult<UserLockRef<'_>> {
        Ok(self.raw()?.user_lock())
    }

    /// Tells the caller, who has and keeps the lock, of an owner's death.
    pub fn told(&self, py: Python<'_>, death: &Death) -> PyResult<()> {
        self.raw()?.clear_poison();
        self.core.policy.get().told(py, death, "the lock")
    }
}

/// A number for the calling thread, which is attached; unique in this process while the thread lives.
#[inline]
pub(super) fn this_thread() -> usize {
    // SAFETY: the thread is attached.
    unsafe { ffi::PyThreadState_Get() }.addr()
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
        Lock { core: Arc::new(core), doors: Doors::new() }
    }

    fn _create(&self) -> PyResult<()> {
        self.adopt(RawLock::create(false).map_err(errors::engine)?.into())
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

    #[getter]
    fn _semlock(slf: Py<Self>) -> Py<Self> {
        slf
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
    core: Arc<RLockCore>,
    doors: Doors,
}

/// What is behind an `RLock`.
pub struct RLockCore {
    raw: OnceLock<Lockable>,
    policy: PolicyCell,
}

impl Takeable for RLockCore {
    #[inline]
    fn take_quickly(&self) -> bool {
        self.raw.get().is_some_and(Lockable::acquire_quickly)
    }

    #[inline]
    fn give_quickly(&self) -> bool {
        self.raw.get().is_some_and(Lockable::unlock)
    }

    fn take(&self, py: Python<'_>, patience: Patience) -> PyResult<bool> {
        self.raw.get().ok_or_else(never_made)?.lock(py, patience, || self.policy.get())
    }

    fn give(&self) -> PyResult<()> {
        RLock::released(self.raw.get().ok_or_else(never_made)?.unlock())
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
    fn doors(&self) -> &Doors {
        &self.doors
    }
}

impl RLock {
    #[inline]
    fn raw(&self) -> PyResult<&Lockable> {
        self.core.raw.get().ok_or_else(never_made)
    }

    pub fn adopt(&self, raw: Lockable) -> PyResult<()> {
        self.core.raw.set(raw).map_err(made_already)
    }

    pub fn record(&self, table: &mut Outgoing) -> PyResult<Result<Vec<u8>, TransferError>> {
        Ok(self.raw()?.record(table))
    }

    /// What the next one to take it after an owner's death is told.
    pub fn policy(&self) -> Policy {
        self.core.policy.get()
    }

    /// Whether this thread holds it.
    pub fn is_mine(&self) -> PyResult<bool> {
        Ok(self.raw()?.depth().map_err(errors::engine)? > 0)
    }

    pub fn user_lock(&self) -> PyResult<UserLockRef<'_>> {
        Ok(self.raw()?.user_lock())
    }

    /// Tells the caller, who has and keeps the lock, of an owner's death.
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

#[pymethods]
impl RLock {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> RLock {
        let core = RLockCore { raw: OnceLock::new(), policy: PolicyCell::new(Policy::Raise) };
        RLock { core: Arc::new(core), doors: Doors::new() }
    }

    fn _create(&self) -> PyResult<()> {
        self.adopt(RawLock::create(true).map_err(errors::engine)?.into())
    }

    /// Makes this the lock that a condition brings along.
    fn _bind_condition(&self, condition: &Condition) -> PyResult<()> {
        self.adopt(condition.own_lock()?.into())
    }

    /// Makes this the lock that a value has beside its bytes.
    fn _bind(&self, block: &Block) -> PyResult<()> {
        self.adopt(block.raw()?.clone().into())
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

    #[getter]
    fn _semlock(slf: Py<Self>) -> Py<Self> {
        slf
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
