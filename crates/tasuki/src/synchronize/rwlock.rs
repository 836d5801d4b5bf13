//! Locks between processes that many read or one writes.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::lock::{LockError, guarded};
use crate::error::Error;
use crate::plain::{Plain, element_of};
use crate::raw::{self, PermitOwner, RawHandle, RawRwLock, Wait, element};

/// Any number of readers or one writer, in processes and threads, around some plain data.
///
/// It is used as `std::sync::RwLock` is. The data lies in shared memory: a guard works on a copy, and a writer's is
/// written back when it is dropped. Readers of different processes do not slow each other down. A writer that waits
/// lets no new reader in before it.
///
/// A reader that is killed is forgotten within half a second, and nobody is told. A writer that is killed, or panics,
/// while it has the lock leaves it *poisoned*, as a [`Lock`](crate::Lock): the next one to ask gets the guard inside an
/// error, until [`clear_poison`](RwLock::clear_poison).
///
/// At most 128 processes read at the same time, with any number of threads each; a further one waits. A thread that
/// reads and asks again, to read or to write, may wait for itself for ever. Where sections are as short as an
/// assignment, a [`Lock`](crate::Lock) is as fast and simpler; for one process alone, `std::sync::RwLock` is faster.
///
/// A clone is another handle to the same lock; handles travel as those of a [`Queue`](crate::Queue) do. Python's
/// `RwLock` is this one, with no data that it could see.
///
/// ```
/// let limits = tasuki::RwLock::new([10_u32, 20])?;
/// assert_eq!(limits.read().unwrap()[1], 20);
/// limits.write().unwrap()[1] = 30;
/// assert_eq!(*limits.read().unwrap(), [10, 30]);
/// # Ok::<(), tasuki::Error>(())
/// ```
pub struct RwLock<T: Plain = ()> {
    raw: RawRwLock,
    data: PhantomData<T>,
}

/// What becomes of asking to read.
type Read<'a, T> = Result<RwLockReadGuard<'a, T>, LockError<RwLockReadGuard<'a, T>>>;
/// What becomes of asking to write.
type Write<'a, T> = Result<RwLockWriteGuard<'a, T>, LockError<RwLockWriteGuard<'a, T>>>;

impl<T: Plain> RwLock<T> {
    /// Makes a free lock around `data`.
    ///
    /// # Errors
    /// When the system refuses memory or descriptors.
    pub fn new(data: T) -> Result<RwLock<T>, Error> {
        let element = if size_of::<T>() == 0 { element::OPAQUE } else { element_of::<T>() };
        let raw = RawRwLock::create(element, size_of::<T>())?;
        raw.value().write(data);
        Ok(RwLock { raw, data: PhantomData })
    }

    /// Begins to read, when nobody writes.
    ///
    /// # Errors
    /// [`LockError::Poisoned`], with the guard, when a writer died or panicked.
    #[inline]
    pub fn read(&self) -> Read<'_, T> {
        self.read_within(Wait::forever)
    }

    /// Begins to read if nobody writes or waits for it now. A reader that has just waited for a writer counts as one
    /// for a moment, and while the lock is poisoned each reader does: then this may say no though nobody writes.
    ///
    /// # Errors
    /// As `read`, and [`LockError::TimedOut`].
    pub fn try_read(&self) -> Read<'_, T> {
        self.read_within(Wait::now)
    }

    /// Begins to read, waiting for it at most for `timeout`.
    ///
    /// # Errors
    /// As `read`, and [`LockError::TimedOut`].
    pub fn read_timeout(&self, timeout: Duration) -> Read<'_, T> {
        self.read_within(|| Wait::timeout(timeout))
    }

    /// Begins to write, when nobody reads or writes.
    ///
    /// # Errors
    /// [`LockError::Poisoned`], with the guard, when a writer died or panicked.
    #[inline]
    pub fn write(&self) -> Write<'_, T> {
        self.write_within(&mut Wait::forever())
    }

    /// Begins to write if nobody reads or writes now.
    ///
    /// # Errors
    /// As `write`, and [`LockError::TimedOut`].
    pub fn try_write(&self) -> Write<'_, T> {
        self.write_within(&mut Wait::now())
    }

    /// Begins to write, waiting for it at most for `timeout`.
    ///
    /// # Errors
    /// As `write`, and [`LockError::TimedOut`].
    pub fn write_timeout(&self, timeout: Duration) -> Write<'_, T> {
        self.write_within(&mut Wait::timeout(timeout))
    }

    /// Whether a writer died or panicked, and nobody called `clear_poison` since.
    pub fn is_poisoned(&self) -> bool {
        self.raw.is_poisoned()
    }

    /// Declares that the data is whole again.
    pub fn clear_poison(&self) {
        self.raw.clear_poison();
    }

    #[inline]
    fn read_within(&self, wait: impl FnOnce() -> Wait<'static>) -> Read<'_, T> {
        if self.raw.read_fast() {
            return Ok(self.read_guard());
        }
        guarded(self.raw.read(&mut wait()), || self.read_guard())
    }

    #[inline]
    fn read_guard(&self) -> RwLockReadGuard<'_, T> {
        RwLockReadGuard { lock: self, data: self.raw.value().read(), owner: self.raw.owner() }
    }

    fn write_within(&self, wait: &mut Wait<'_>) -> Write<'_, T> {
        guarded(self.raw.write(wait), || RwLockWriteGuard {
            lock: self,
            data: self.raw.value().read(),
            owner: self.raw.owner(),
            is_changed: false,
            was_panicking: std::thread::panicking(),
            not_send: PhantomData,
        })
    }
}

impl<T: Plain> Clone for RwLock<T> {
    fn clone(&self) -> RwLock<T> {
        RwLock { raw: self.raw.clone(), data: PhantomData }
    }
}

impl<T: Plain> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RwLock")
            .field("readers", &self.raw.readers())
            .field("writer", &self.raw.is_wanted_by_writer())
            .field("poisoned", &self.is_poisoned())
            .finish_non_exhaustive()
    }
}

impl<T: Plain> Serialize for RwLock<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        raw::serde::serialize(serializer, |table| self.raw.record(table))
    }
}

impl<'de, T: Plain> Deserialize<'de> for RwLock<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RwLock<T>, D::Error> {
        raw::serde::deserialize(deserializer, |handle| match handle {
            RawHandle::RwLock(raw) => {
                let value = raw.value();
                let same = value.len() == size_of::<T>()
                    && (size_of::<T>() == 0 || value.element() == element_of::<T>());
                match same {
                    true => Ok(RwLock { raw, data: PhantomData }),
                    false => Err(format!(
                        "the lock's data is of another type than {}",
                        std::any::type_name::<T>()
                    )),
                }
            }
            other => Err(other.instead_of("a lock of readers and writers")),
        })
    }
}

/// The right to look at the lock's data, with others; it ends when this is dropped, by any thread.
#[must_use = "the right to read ends as soon as the guard is dropped"]
pub struct RwLockReadGuard<'a, T: Plain> {
    lock: &'a RwLock<T>,
    data: T,
    owner: Option<PermitOwner>,
}

impl<T: Plain> Deref for RwLockReadGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        &self.data
    }
}

impl<T: Plain> Drop for RwLockReadGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // In a forked child the guard is a copy of the parent's.
        if self.lock.raw.owner() == self.owner {
            let _ = self.lock.raw.end_read();
        }
    }
}

/// The right to change the lock's data, alone; it ends when this is dropped.
#[must_use = "the lock is free again as soon as the guard is dropped"]
pub struct RwLockWriteGuard<'a, T: Plain> {
    lock: &'a RwLock<T>,
    data: T,
    owner: Option<PermitOwner>,
    is_changed: bool,
    /// A panic that had begun before is no reason to poison the lock.
    was_panicking: bool,
    not_send: PhantomData<*const ()>,
}

impl<T: Plain> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        &self.data
    }
}

impl<T: Plain> DerefMut for RwLockWriteGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.is_changed = true;
        &mut self.data
    }
}

impl<T: Plain> Drop for RwLockWriteGuard<'_, T> {
    fn drop(&mut self) {
        let raw = &self.lock.raw;
        // In a forked child the guard is a copy of the parent's.
        if raw.owner() != self.owner || !raw.is_written_here() {
            return;
        }
        if std::thread::panicking() && !self.was_panicking {
            raw.poison();
        } else if self.is_changed {
            raw.value().write(self.data);
        }
        let _ = raw.end_write();
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.data.fmt(f)
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.data.fmt(f)
    }
}
