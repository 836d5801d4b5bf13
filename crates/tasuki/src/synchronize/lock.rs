//! Locks between processes.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::Error;
use crate::plain::{Plain, element_of};
use crate::raw::{self, AcquireFailure, Acquired, Death, RawHandle, RawLock, RawValue, Wait};

/// Mutual exclusion between processes and threads, around some plain data.
///
/// It is used as `std::sync::Mutex` is. The data lies in shared memory; a guard works on a copy that is written back
/// when the guard is dropped, so other processes see all of a section's changes or, if the process was killed in it,
/// none, or for data of more than 8 bytes perhaps half of them: the lock is *poisoned* then, and the next owner gets
/// the guard inside an error.
///
/// A clone is another handle to the same lock; handles travel as those of a [`Queue`](crate::Queue) do. It is not
/// recursive: taking it twice in one thread waits for ever. For one process alone `std::sync::Mutex` is faster.
///
/// ```
/// let counter = tasuki::Lock::new(0_u64)?;
/// *counter.lock().unwrap() += 1;
/// assert_eq!(*counter.lock().unwrap(), 1);
/// # Ok::<(), tasuki::Error>(())
/// ```
pub struct Lock<T: Plain = ()> {
    raw: RawValue,
    data: PhantomData<T>,
}

impl<T: Plain> Lock<T> {
    /// Makes a free lock around `data`.
    ///
    /// # Errors
    /// When the system refuses memory or descriptors.
    pub fn new(data: T) -> Result<Lock<T>, Error> {
        let raw = match size_of::<T>() {
            0 => RawLock::create(false)?.into_value(),
            len => RawValue::create(element_of::<T>(), len)?,
        };
        raw.write(data);
        Ok(Lock::from_raw(raw))
    }

    /// Takes the lock, waiting for it.
    ///
    /// # Errors
    /// [`LockError::Poisoned`], with the guard, when an owner died or panicked inside.
    #[inline]
    pub fn lock(&self) -> Result<LockGuard<'_, T>, LockError<LockGuard<'_, T>>> {
        self.lock_within(Wait::forever)
    }

    /// Takes the lock if it is free now.
    ///
    /// # Errors
    /// As `lock`, and [`LockError::TimedOut`].
    pub fn try_lock(&self) -> Result<LockGuard<'_, T>, LockError<LockGuard<'_, T>>> {
        self.lock_within(Wait::now)
    }

    /// Takes the lock, waiting for it at most for `timeout`.
    ///
    /// # Errors
    /// As `lock`, and [`LockError::TimedOut`].
    pub fn lock_timeout(
        &self,
        timeout: Duration,
    ) -> Result<LockGuard<'_, T>, LockError<LockGuard<'_, T>>> {
        self.lock_within(|| Wait::timeout(timeout))
    }

    /// Whether an owner died or panicked inside, and nobody called `clear_poison` since.
    pub fn is_poisoned(&self) -> bool {
        self.raw.lock().is_poisoned()
    }

    /// Declares that the data is whole again.
    pub fn clear_poison(&self) {
        self.raw.lock().clear_poison();
    }

    pub(crate) fn from_raw(raw: RawValue) -> Lock<T> {
        Lock { raw: raw.taken_once(), data: PhantomData }
    }

    pub(crate) fn raw(&self) -> &RawValue {
        &self.raw
    }

    /// Whether this process holds it.
    fn is_mine(&self) -> bool {
        self.raw.lock().is_mine().unwrap_or(false)
    }

    /// The guard of the lock, which was just taken.
    #[inline]
    pub(super) fn guard(&self) -> LockGuard<'_, T> {
        let state = if std::thread::panicking() { PANICKING } else { 0 };
        LockGuard { lock: self, data: self.raw.read(), state, not_send: PhantomData }
    }

    /// The guard is made here, inlined, so that it stays in registers: passed through memory it costs more than the
    /// lock.
    #[inline(always)]
    fn lock_within(
        &self,
        wait: impl FnOnce() -> Wait<'static>,
    ) -> Result<LockGuard<'_, T>, LockError<LockGuard<'_, T>>> {
        if self.raw.lock().acquire_fast() {
            return Ok(self.guard());
        }
        guarded(self.acquire_slowly(wait()), || self.guard())
    }

    #[cold]
    fn acquire_slowly(&self, mut wait: Wait<'static>) -> Result<Acquired, AcquireFailure> {
        self.raw.lock().acquire(&mut wait)
    }
}

impl<T: Plain> Clone for Lock<T> {
    fn clone(&self) -> Lock<T> {
        Lock { raw: self.raw.clone(), data: PhantomData }
    }
}

impl<T: Plain> fmt::Debug for Lock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock")
            .field("locked", &self.raw.lock().is_locked())
            .field("poisoned", &self.is_poisoned())
            .finish_non_exhaustive()
    }
}

impl<T: Plain> Serialize for Lock<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_value(&self.raw, serializer)
    }
}

impl<'de, T: Plain> Deserialize<'de> for Lock<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Lock<T>, D::Error> {
        deserialize_value::<T, D>(deserializer).map(Lock::from_raw)
    }
}

pub(crate) fn serialize_value<S: Serializer>(
    raw: &RawValue,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    raw::serde::serialize(serializer, |table| raw.record(table))
}

pub(crate) fn deserialize_value<'de, T: Plain, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<RawValue, D::Error> {
    raw::serde::deserialize(deserializer, |handle| match handle {
        RawHandle::Value(raw) if !raw.is_array() => {
            if raw.element() != element_of::<T>() || raw.len() != size_of::<T>() {
                return Err(format!(
                    "the shared value is of another type than {}",
                    std::any::type_name::<T>()
                ));
            }
            Ok(raw)
        }
        // A bare lock of Python's guards nothing: the same words, without data.
        RawHandle::Lock(lock) if size_of::<T>() == 0 => Ok(lock.into_value()),
        other => Err(other.instead_of("a shared value")),
    })
}

/// The data was borrowed mutably: it is written back.
const CHANGED: usize = 1;
/// The thread was panicking already when it took the lock, so its panic is no reason to poison it.
const PANICKING: usize = 2;

/// The right to use the lock's data; the lock is free again when this is dropped.
#[must_use = "the lock is free again as soon as the guard is dropped"]
pub struct LockGuard<'a, T: Plain> {
    lock: &'a Lock<T>,
    data: T,
    /// `CHANGED` and `PANICKING`: one word, since two bytes that are moved as one word stall the processor.
    state: usize,
    not_send: PhantomData<*const ()>,
}

impl<T: Plain> Deref for LockGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        &self.data
    }
}

impl<T: Plain> DerefMut for LockGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.state |= CHANGED;
        &mut self.data
    }
}

impl<T: Plain> Drop for LockGuard<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        let panicked = std::thread::panicking() && self.state & PANICKING == 0;
        if panicked {
            return self.release_poisoned();
        }
        let write = || {
            if self.state & CHANGED != 0 {
                self.lock.raw.write(self.data);
            }
        };
        if !self.lock.raw.lock().release_fast(write) {
            self.release_slowly();
        }
    }
}

impl<'a, T: Plain> LockGuard<'a, T> {
    /// Ends the guard and leaves the lock taken: a condition is about to give it up.
    pub(super) fn write_back(self) -> &'a Lock<T> {
        if self.state & CHANGED != 0 && self.lock.is_mine() {
            self.lock.raw.write(self.data);
        }
        let lock = self.lock;
        std::mem::forget(self);
        lock
    }
}

impl<T: Plain> LockGuard<'_, T> {
    #[cold]
    fn release_poisoned(&self) {
        if self.lock.is_mine() {
            self.lock.raw.lock().poison();
        }
        self.release_slowly();
    }

    #[cold]
    fn release_slowly(&self) {
        // In a forked child the guard is a copy of the parent's, who holds the lock; and somebody else may have
        // released it, which any process may. There is nothing to do then.
        if self.lock.is_mine() {
            if self.state & CHANGED != 0 {
                self.lock.raw.write(self.data);
            }
            let _ = self.lock.raw.lock().release();
        }
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for LockGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.data.fmt(f)
    }
}

/// What became of asking for a lock, with its guard if it was taken.
#[inline(always)]
pub(crate) fn guarded<Guard>(
    acquired: Result<Acquired, AcquireFailure>,
    guard: impl FnOnce() -> Guard,
) -> Result<Guard, LockError<Guard>> {
    match acquired {
        Ok(Acquired::Clean) => Ok(guard()),
        Ok(Acquired::OwnerDied(death)) => {
            Err(LockError::Poisoned(Poisoned { guard: guard(), death }))
        }
        Err(AcquireFailure::GaveUp(_)) => Err(LockError::TimedOut),
        Err(failure) => Err(LockError::Failed(failure.into())),
    }
}

/// Why a lock was not taken, or taken with a warning.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum LockError<Guard> {
    /// It is taken, and an owner before died or panicked inside.
    #[error(transparent)]
    Poisoned(Poisoned<Guard>),
    /// It was not free, at once or within the timeout.
    #[error("the lock is held by somebody else")]
    TimedOut,
    /// It cannot be taken at all.
    #[error(transparent)]
    Failed(Error),
}

impl<Guard> LockError<Guard> {
    /// Whether the lock was not free.
    pub fn is_timed_out(&self) -> bool {
        matches!(self, LockError::TimedOut)
    }

    /// The same error when the lock is not kept.
    pub(crate) fn without_guard(self) -> LockError<()> {
        match self {
            LockError::Poisoned(Poisoned { death, .. }) => {
                LockError::Poisoned(Poisoned { guard: (), death })
            }
            LockError::TimedOut => LockError::TimedOut,
            LockError::Failed(error) => LockError::Failed(error),
        }
    }

    /// The guard, if the lock was taken and is poisoned.
    pub fn into_guard(self) -> Option<Guard> {
        match self {
            LockError::Poisoned(poisoned) => Some(poisoned.guard),
            _ => None,
        }
    }
}

impl<Guard> fmt::Debug for LockError<Guard> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LockError::Poisoned(poisoned) => poisoned.fmt(f),
            LockError::TimedOut => f.write_str("TimedOut"),
            LockError::Failed(error) => f.debug_tuple("Failed").field(error).finish(),
        }
    }
}

/// The guard of a lock whose owner died or panicked inside.
#[derive(thiserror::Error)]
#[error("{}", poisoned_text(death))]
pub struct Poisoned<Guard> {
    guard: Guard,
    death: Box<Death>,
}

fn poisoned_text(death: &Death) -> String {
    match death.pid() {
        0 => "the lock is poisoned: an owner panicked or died while it held it".into(),
        _ => format!("the lock is poisoned: {death} while it held it"),
    }
}

impl<Guard> Poisoned<Guard> {
    pub(super) fn new(guard: Guard, death: Box<Death>) -> Poisoned<Guard> {
        Poisoned { guard, death }
    }

    /// The guard, to look whether the data is whole.
    pub fn into_inner(self) -> Guard {
        self.guard
    }

    /// The process that died; 0 when it was a panic, or when nobody can tell any more.
    pub fn pid(&self) -> u32 {
        self.death.pid()
    }

    /// All that is known of the process that died.
    pub fn death(&self) -> &Death {
        &self.death
    }
}

impl<Guard> fmt::Debug for Poisoned<Guard> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poisoned").field("death", &self.death).finish_non_exhaustive()
    }
}
