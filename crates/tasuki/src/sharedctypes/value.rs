//! Values that several processes share.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::Error;
use crate::plain::Plain;
use crate::raw::RawValue;
use crate::synchronize::{Lock, LockError, LockGuard, deserialize_value, serialize_value};

/// Some plain data that several processes read and change, such as a counter.
///
/// It is a [`Lock`] with shortcuts. A clone is another handle to the same value; handles travel as those of a
/// [`Queue`](crate::Queue) do. It is Python's `Value` as well: a Rust `Value<i32>` and a Python `Value("i")` can be
/// one.
///
/// ```
/// let total = tasuki::Value::new(0_i64)?;
/// total.update(|sum| *sum += 5)?;
/// assert_eq!(total.get(), 5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Numbers have atomic operations, too: [`fetch_add`](Value::fetch_add) and its relatives take no lock.
pub struct Value<T: Plain> {
    lock: Lock<T>,
}

impl<T: Plain> Value<T> {
    /// Makes a value.
    ///
    /// # Errors
    /// When the system refuses memory or descriptors.
    pub fn new(value: T) -> Result<Value<T>, Error> {
        Ok(Value { lock: Lock::new(value)? })
    }

    /// The value at this moment, without the lock. Up to 8 bytes it is one that somebody set; longer data may be
    /// half old and half new while another process writes: use [`lock`](Value::lock) then.
    #[inline]
    pub fn get(&self) -> T {
        self.lock.raw().read()
    }

    /// Sets the value, under its lock.
    ///
    /// # Errors
    /// When the lock cannot be used at all. That an earlier owner died does not matter here.
    pub fn set(&self, value: T) -> Result<(), Error> {
        match self.lock.lock() {
            Ok(mut guard) => *guard = value,
            Err(LockError::Poisoned(poisoned)) => *poisoned.into_inner() = value,
            Err(LockError::Failed(error)) => return Err(error),
            Err(LockError::TimedOut) => unreachable!("a wait for ever does not time out"),
        }
        Ok(())
    }

    /// Changes the value under its lock, and returns what `change` returns.
    ///
    /// # Errors
    /// When an earlier owner died while it changed the value: look at it with [`lock`](Value::lock), then
    /// [`clear_poison`](Value::clear_poison).
    #[inline]
    pub fn update<R>(&self, change: impl FnOnce(&mut T) -> R) -> Result<R, LockError<()>> {
        match self.lock.lock() {
            Ok(mut guard) => Ok(change(&mut guard)),
            Err(error) => Err(error.without_guard()),
        }
    }

    pub(crate) fn raw(&self) -> &RawValue {
        self.lock.raw()
    }

    /// Takes the value's lock.
    ///
    /// # Errors
    /// As [`Lock::lock`].
    pub fn lock(&self) -> Result<LockGuard<'_, T>, LockError<LockGuard<'_, T>>> {
        self.lock.lock()
    }

    /// Whether a process died while it held the value's lock.
    pub fn is_poisoned(&self) -> bool {
        self.lock.is_poisoned()
    }

    /// Declares that the value is whole again.
    pub fn clear_poison(&self) {
        self.lock.clear_poison();
    }
}

impl<T: Plain> Clone for Value<T> {
    fn clone(&self) -> Value<T> {
        Value { lock: self.lock.clone() }
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for Value<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Value").field(&self.get()).finish()
    }
}

impl<T: Plain> Serialize for Value<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_value(self.lock.raw(), serializer)
    }
}

impl<'de, T: Plain> Deserialize<'de> for Value<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value<T>, D::Error> {
        Ok(Value { lock: Lock::from_raw(deserialize_value::<T, D>(deserializer)?) })
    }
}
