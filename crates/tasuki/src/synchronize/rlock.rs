//! Locks between processes that their owner may take again.

use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::lock::{LockError, guarded};
use crate::error::Error;
use crate::raw::{self, RawHandle, RawLock, Wait};

/// Mutual exclusion between processes and threads, where the thread that has the lock may take it again.
///
/// It is for functions that take the lock and call each other. It is free when as many guards were dropped as were
/// made. It guards no data of its own, since two guards of one thread could both change it: put a
/// [`Value`](crate::Value) beside it. When its owner dies or panics, it is poisoned, as a [`Lock`](crate::Lock) is.
///
/// A clone is another handle to the same lock; handles travel as those of a [`Queue`](crate::Queue) do, and the same
/// lock is Python's `RLock`.
///
/// ```
/// let lock = tasuki::RLock::new()?;
/// let outer = lock.lock().unwrap();
/// let inner = lock.lock().unwrap();
/// # drop((inner, outer));
/// # Ok::<(), tasuki::Error>(())
/// ```
#[derive(Clone)]
pub struct RLock {
    raw: RawLock,
}

impl RLock {
    /// Makes a free lock.
    ///
    /// # Errors
    /// When the system refuses memory or descriptors.
    pub fn new() -> Result<RLock, Error> {
        Ok(RLock { raw: RawLock::create(true)? })
    }

    /// Takes the lock, waiting for it unless this thread has it.
    ///
    /// # Errors
    /// [`LockError::Poisoned`], with the guard, when an owner died or panicked inside: told to who takes it first, not
    /// when it is taken again.
    pub fn lock(&self) -> Result<RLockGuard<'_>, LockError<RLockGuard<'_>>> {
        self.lock_within(&mut Wait::forever())
    }

    /// Takes the lock if it is free now, or if this thread has it.
    ///
    /// # Errors
    /// As `lock`, and [`LockError::TimedOut`].
    pub fn try_lock(&self) -> Result<RLockGuard<'_>, LockError<RLockGuard<'_>>> {
        self.lock_within(&mut Wait::now())
    }

    /// Takes the lock, waiting for it at most for `timeout`.
    ///
    /// # Errors
    /// As `lock`, and [`LockError::TimedOut`].
    pub fn lock_timeout(
        &self,
        timeout: Duration,
    ) -> Result<RLockGuard<'_>, LockError<RLockGuard<'_>>> {
        self.lock_within(&mut Wait::timeout(timeout))
    }

    /// Takes the lock, waiting for it at most until `deadline`.
    ///
    /// # Errors
    /// As `lock`, and [`LockError::TimedOut`].
    pub fn lock_deadline(
        &self,
        deadline: Instant,
    ) -> Result<RLockGuard<'_>, LockError<RLockGuard<'_>>> {
        self.lock_within(&mut Wait::until(deadline))
    }

    /// Whether anybody has the lock at this moment.
    pub fn is_locked(&self) -> bool {
        self.raw.is_locked()
    }

    /// Whether an owner died or panicked inside, and nobody called `clear_poison` since.
    pub fn is_poisoned(&self) -> bool {
        self.raw.is_poisoned()
    }

    /// Declares that what the lock guards is whole again.
    pub fn clear_poison(&self) {
        self.raw.clear_poison();
    }

    pub(super) fn of(raw: RawLock) -> RLock {
        RLock { raw }
    }

    pub(super) fn raw(&self) -> &RawLock {
        &self.raw
    }

    /// A guard of the lock, which was just taken.
    pub(super) fn guard(&self) -> RLockGuard<'_> {
        let was_panicking = std::thread::panicking();
        RLockGuard { lock: self, was_panicking, not_send: PhantomData }
    }

    fn lock_within(
        &self,
        wait: &mut Wait<'_>,
    ) -> Result<RLockGuard<'_>, LockError<RLockGuard<'_>>> {
        guarded(self.raw.acquire(wait), || self.guard())
    }
}

/// The lock is taken, once more than before; it is given back when this is dropped, in the thread that took it.
#[must_use = "the lock is given back as soon as the guard is dropped"]
pub struct RLockGuard<'a> {
    lock: &'a RLock,
    /// A panic that had begun before is no reason to poison the lock.
    was_panicking: bool,
    not_send: PhantomData<*const ()>,
}

impl<'a> RLockGuard<'a> {
    /// Ends the guard and leaves the lock taken: a condition is about to give it up.
    pub(super) fn keep_taken(self) -> &'a RLock {
        let lock = self.lock;
        std::mem::forget(self);
        lock
    }
}

impl Drop for RLockGuard<'_> {
    fn drop(&mut self) {
        // In a forked child the guard is a copy of the parent's, which has the lock: nothing to do then.
        if !self.lock.raw.is_mine().unwrap_or(false) {
            return;
        }
        if std::thread::panicking() && !self.was_panicking {
            self.lock.raw.poison();
        }
        let _ = self.lock.raw.release();
    }
}

impl fmt::Debug for RLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RLock")
            .field("locked", &self.is_locked())
            .field("poisoned", &self.is_poisoned())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for RLockGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RLockGuard").finish_non_exhaustive()
    }
}

impl Serialize for RLock {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        raw::serde::serialize(serializer, |table| self.raw.record(table))
    }
}

impl<'de> Deserialize<'de> for RLock {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RLock, D::Error> {
        raw::serde::deserialize(deserializer, |handle| match handle {
            RawHandle::Lock(raw) if raw.is_recursive() => Ok(RLock { raw }),
            other => Err(other.instead_of("a recursive lock")),
        })
    }
}
