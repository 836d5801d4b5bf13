//! Events between processes.

use std::fmt;
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::Error;
use crate::raw::{self, RawEvent, RawHandle, Wait};

/// Something that happened or did not yet: processes and threads wait for it, any of them sets it.
///
/// `set` releases everybody who waits at that moment, even if `clear` follows at once. What a process wrote into shared
/// memory before it called `set`, those whom it releases see. Nothing remembers who waits, so a killed waiter concerns
/// nobody; when a process is killed inside `set`, either nothing happened or all are released, half a second later at
/// worst.
///
/// A clone is another handle to the same event; handles travel as those of a [`Queue`](crate::Queue) do, and the same
/// event is Python's `Event`. For one process alone a `Condvar` or a channel is at home.
///
/// ```
/// let ready = tasuki::Event::new()?;
/// std::thread::scope(|scope| {
///     scope.spawn(|| ready.wait());
///     ready.set();
/// });
/// assert!(ready.is_set());
/// # Ok::<(), tasuki::Error>(())
/// ```
#[derive(Clone)]
pub struct Event {
    raw: RawEvent,
}

impl Event {
    /// Makes an event that is not set.
    ///
    /// # Errors
    /// When the system refuses memory or descriptors.
    pub fn new() -> Result<Event, Error> {
        Ok(Event { raw: RawEvent::create()? })
    }

    /// Whether it is set: one look into memory.
    #[inline]
    pub fn is_set(&self) -> bool {
        self.raw.is_set()
    }

    /// Sets it and releases all who wait. Setting it twice is setting it once.
    pub fn set(&self) {
        self.raw.set();
    }

    /// Makes it unset. Whom a `set` released before stays released.
    pub fn clear(&self) {
        self.raw.clear();
    }

    /// Waits until it is set.
    pub fn wait(&self) {
        let done = self.raw.wait(&mut Wait::forever());
        debug_assert!(done.is_ok(), "a wait for ever does not end otherwise");
    }

    /// Waits until it is set, at most for `timeout`; false when the time was over before.
    #[must_use = "the event may not be set"]
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.raw.wait(&mut Wait::timeout(timeout)).is_ok()
    }

    /// Waits until it is set, at most until `deadline`; false when that came before.
    #[must_use = "the event may not be set"]
    pub fn wait_deadline(&self, deadline: Instant) -> bool {
        self.raw.wait(&mut Wait::until(deadline)).is_ok()
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("set", &self.is_set()).finish_non_exhaustive()
    }
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        raw::serde::serialize(serializer, |table| self.raw.record(table))
    }
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Event, D::Error> {
        raw::serde::deserialize(deserializer, |handle| match handle {
            RawHandle::Event(raw) => Ok(Event { raw }),
            other => Err(other.instead_of("an event")),
        })
    }
}
