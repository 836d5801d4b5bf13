//! What a lock of Python's locks, and how it is taken: with policy when its owner died.

use std::ops::Deref;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use tasuki::protocol::transfer::{Outgoing, TransferError};
use tasuki::raw::{AcquireFailure, Acquired, GaveUp, RawLock, RawValue, Wait};

use super::policy::Policy;
use crate::errors;
use crate::waiting::Timeout;

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

impl Deref for Lockable {
    type Target = RawLock;

    #[inline]
    fn deref(&self) -> &RawLock {
        match self {
            Lockable::Lock(lock) => lock,
            Lockable::Value(value) => value.lock(),
        }
    }
}

impl Lockable {
    pub fn record(&self, table: &mut Outgoing) -> Result<Vec<u8>, TransferError> {
        match self {
            Lockable::Lock(lock) => lock.record(table),
            Lockable::Value(value) => value.record(table),
        }
    }

    /// Takes the lock; whether it was got in time. The death of an owner is told once, in the way of `policy`; on an
    /// error the lock is not held.
    #[inline]
    pub fn lock(
        &self,
        py: Python<'_>,
        timeout: Timeout,
        policy: impl FnOnce() -> Policy,
    ) -> PyResult<bool> {
        if self.acquire_fast() {
            return Ok(true);
        }
        // A call that does not wait asks the system whether the owner lives, so that one that waits must not begin with
        // that.
        let at_once =
            (timeout.is_none() || !self.is_locked()).then(|| self.acquire(&mut Wait::now()));
        let acquired = match at_once {
            None | Some(Err(AcquireFailure::GaveUp(GaveUp::TimedOut))) if !timeout.is_none() => {
                timeout.wait(py, |wait| self.acquire(wait))?
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
                        let _ = self.release();
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
