//! What a lock of Python's locks, and how it is taken: with policy when its owner died.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use tasuki::Error;
use tasuki::protocol::transfer::{Outgoing, TransferError};
use tasuki::raw::{AcquireFailure, Acquired, GaveUp, RawLock, RawValue, UserLockRef, Wait};

use super::policy::Policy;
use crate::errors;
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
    pub fn acquire(&self, wait: &mut Wait<'_>) -> Result<Acquired, AcquireFailure> {
        match self {
            Lockable::Lock(lock) => lock.acquire(wait),
            Lockable::Value(value) => value.acquire(wait),
        }
    }

    /// Takes it if it is free; false says nothing but that `acquire` has to look.
    #[inline]
    pub fn acquire_quickly(&self) -> bool {
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

    pub fn clear_poison(&self) {
        match self {
            Lockable::Lock(lock) => lock.clear_poison(),
            Lockable::Value(value) => value.clear_poison(),
        }
    }

    pub fn is_locked(&self) -> bool {
        match self {
            Lockable::Lock(lock) => lock.is_locked(),
            Lockable::Value(value) => value.is_locked(),
        }
    }

    /// The lock for a condition that is about to give it up.
    pub fn user_lock(&self) -> UserLockRef<'_> {
        match self {
            Lockable::Lock(lock) => UserLockRef::Lock(lock),
            Lockable::Value(value) => UserLockRef::Value(value),
        }
    }

    /// How often the calling thread holds it; a lock that is not recursive is the process's, 1 or 0.
    pub fn depth(&self) -> Result<u32, Error> {
        match self {
            Lockable::Lock(lock) => lock.depth(),
            Lockable::Value(value) => value.depth(),
        }
    }

    pub fn depth_in_process(&self) -> Result<u32, Error> {
        match self {
            Lockable::Lock(lock) => lock.depth_in_process(),
            Lockable::Value(value) => value.depth_in_process(),
        }
    }

    pub fn record(&self, table: &mut Outgoing) -> Result<Vec<u8>, TransferError> {
        match self {
            Lockable::Lock(lock) => lock.record(table),
            Lockable::Value(value) => value.record(table),
        }
    }

    pub fn key(&self) -> (u64, u32) {
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
        // Who does not wait asks the system whether the owner lives, so that one who waits must not begin with that.
        let at_once =
            (patience.is_none() || !self.is_locked()).then(|| self.acquire(&mut Wait::now()));
        let acquired = match at_once {
            None | Some(Err(AcquireFailure::GaveUp(GaveUp::TimedOut))) if !patience.is_none() => {
                patience.wait(py, |wait| self.acquire(wait))?
            }
            Some(other) => other,
            None => Err(AcquireFailure::GaveUp(GaveUp::TimedOut)),
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
            Err(AcquireFailure::GaveUp(_)) => Ok(false),
            Err(failure) => Err(errors::engine(failure.into())),
        }
    }
}

pub fn never_made() -> PyErr {
    PyRuntimeError::new_err("this lock was never made: call super().__init__() first")
}

pub fn made_already<T>(_: T) -> PyErr {
    PyRuntimeError::new_err("this lock is made already")
}
