//! Semaphores between processes.

use std::fmt;
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::Error;
use crate::raw::{
    self, AcquireFailure, Acquired, Death, PermitOwner, RawHandle, RawSemaphore, Wait,
};

/// A number of permits that processes and threads acquire and release: so many may do something at a time.
///
/// `acquire` gives a guard, and its permit is *owned*: when the process dies, the permit comes back, and the next one
/// to acquire is told by [`SemaphoreGuard::owner_died`]. `wait` and `release` are the bare forms: nobody owns what they
/// take and give, so one process may wait for what another one releases, as for a signal.
///
/// A clone is another handle to the same semaphore; handles travel as those of a [`Queue`](crate::Queue) do, and the
/// same semaphore is Python's `Semaphore` or `BoundedSemaphore`.
///
/// ```
/// let toilets = tasuki::Semaphore::new(2)?;
/// let one = toilets.acquire()?;
/// assert_eq!(toilets.value(), 1);
/// drop(one);
/// assert_eq!(toilets.value(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Semaphore {
    raw: RawSemaphore,
}

impl Semaphore {
    /// Makes a semaphore with so many permits.
    ///
    /// # Errors
    /// When there would be more than 2^31 - 1, or the system refuses memory or descriptors.
    pub fn new(permits: u32) -> Result<Semaphore, Error> {
        Ok(Semaphore { raw: RawSemaphore::create(permits, RawSemaphore::MOST)? })
    }

    /// Makes a semaphore that never has more permits than at the beginning: a release too many is an error. Python
    /// calls it `BoundedSemaphore`.
    ///
    /// # Errors
    /// As `new`.
    pub fn bounded(permits: u32) -> Result<Semaphore, Error> {
        Ok(Semaphore { raw: RawSemaphore::create(permits, permits)? })
    }

    /// Takes a permit, waiting for one.
    ///
    /// # Errors
    /// [`AcquireError::Failed`] when the semaphore cannot be used at all.
    #[inline]
    pub fn acquire(&self) -> Result<SemaphoreGuard<'_>, AcquireError> {
        self.acquire_within(Wait::forever)
    }

    /// Takes a permit if there is one now.
    ///
    /// # Errors
    /// As `acquire`, and [`AcquireError::TimedOut`].
    pub fn try_acquire(&self) -> Result<SemaphoreGuard<'_>, AcquireError> {
        self.acquire_within(Wait::now)
    }

    /// Takes a permit, waiting for one at most for `timeout`.
    ///
    /// # Errors
    /// As `acquire`, and [`AcquireError::TimedOut`].
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<SemaphoreGuard<'_>, AcquireError> {
        self.acquire_within(|| Wait::timeout(timeout))
    }

    /// Takes a permit, waiting for one at most until `deadline`.
    ///
    /// # Errors
    /// As `acquire`, and [`AcquireError::TimedOut`].
    pub fn acquire_deadline(&self, deadline: Instant) -> Result<SemaphoreGuard<'_>, AcquireError> {
        self.acquire_within(|| Wait::until(deadline))
    }

    /// Takes a permit without owning it, waiting for one: somebody else may [`release`](Semaphore::release) it, and
    /// nobody does when this process dies. Gives the death of an owner if this is the first to hear of it.
    ///
    /// # Errors
    /// As `acquire`.
    pub fn wait(&self) -> Result<Option<Death>, AcquireError> {
        self.wait_within(&mut Wait::forever())
    }

    /// As `wait`, if there is a permit now.
    ///
    /// # Errors
    /// As `try_acquire`.
    pub fn try_wait(&self) -> Result<Option<Death>, AcquireError> {
        self.wait_within(&mut Wait::now())
    }

    /// As `wait`, at most for `timeout`.
    ///
    /// # Errors
    /// As `acquire_timeout`.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<Option<Death>, AcquireError> {
        self.wait_within(&mut Wait::timeout(timeout))
    }

    /// As `wait`, at most until `deadline`.
    ///
    /// # Errors
    /// As `acquire_deadline`.
    pub fn wait_deadline(&self, deadline: Instant) -> Result<Option<Death>, AcquireError> {
        self.wait_within(&mut Wait::until(deadline))
    }

    /// Adds permits that nobody owned: the counterpart of `wait`, which any process may call.
    ///
    /// # Errors
    /// When there would be more than 2^31 - 1, or, of a [`bounded`](Semaphore::bounded) one, more than at the
    /// beginning. Then none is added.
    pub fn release(&self, permits: u32) -> Result<(), TooManyReleases> {
        if self.raw.release(permits) { Ok(()) } else { Err(TooManyReleases(())) }
    }

    /// How many permits are available at this moment.
    pub fn value(&self) -> u32 {
        self.raw.value()
    }

    /// The guard is made here, inlined, so that it stays in registers: passed through memory it costs as much as the
    /// rest.
    #[inline(always)]
    fn acquire_within(
        &self,
        wait: impl FnOnce() -> Wait<'static>,
    ) -> Result<SemaphoreGuard<'_>, AcquireError> {
        match self.raw.acquire_owned_fast() {
            Some(owner) => Ok(SemaphoreGuard { semaphore: self, owner, died: None }),
            None => self.acquire_slowly(wait()),
        }
    }

    #[cold]
    fn acquire_slowly(&self, mut wait: Wait<'_>) -> Result<SemaphoreGuard<'_>, AcquireError> {
        let (acquired, owner) = self.raw.acquire_owned(&mut wait)?;
        let died = death(acquired);
        Ok(SemaphoreGuard { semaphore: self, owner, died })
    }

    fn wait_within(&self, wait: &mut Wait<'_>) -> Result<Option<Death>, AcquireError> {
        Ok(death(self.raw.acquire(wait)?).map(|death| *death))
    }
}

fn death(acquired: Acquired) -> Option<Box<Death>> {
    match acquired {
        Acquired::Clean => None,
        Acquired::OwnerDied(death) => Some(death),
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("Semaphore");
        text.field("value", &self.value());
        if self.raw.is_bounded() {
            text.field("max", &self.raw.max());
        }
        text.finish_non_exhaustive()
    }
}

impl Serialize for Semaphore {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        raw::serde::serialize(serializer, |table| self.raw.record(table))
    }
}

impl<'de> Deserialize<'de> for Semaphore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Semaphore, D::Error> {
        raw::serde::deserialize(deserializer, |handle| match handle {
            RawHandle::Semaphore(raw) => Ok(Semaphore { raw }),
            other => Err(other.instead_of("a semaphore")),
        })
    }
}

/// A permit of this process; it is given back when this is dropped, by any thread, or when the process dies.
#[must_use = "the permit is given back as soon as the guard is dropped"]
pub struct SemaphoreGuard<'a> {
    semaphore: &'a Semaphore,
    owner: PermitOwner,
    died: Option<Box<Death>>,
}

impl SemaphoreGuard<'_> {
    /// The process whose permit came back because it died, if this is the first to acquire since that was noticed. What
    /// it did with its permit may be half done.
    pub fn owner_died(&self) -> Option<&Death> {
        self.died.as_deref()
    }
}

impl Drop for SemaphoreGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        // In a forked child the guard is a copy of the parent's, which has the permit.
        self.semaphore.raw.give_back(self.owner);
    }
}

impl fmt::Debug for SemaphoreGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SemaphoreGuard").field("owner_died", &self.died).finish_non_exhaustive()
    }
}

/// Why there is no permit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcquireError {
    /// None was available, at once or within the timeout.
    #[error("no permit of the semaphore is available")]
    TimedOut,
    /// The semaphore cannot be used at all.
    #[error(transparent)]
    Failed(Error),
}

impl AcquireError {
    /// Whether none was available.
    pub fn is_timed_out(&self) -> bool {
        matches!(self, AcquireError::TimedOut)
    }
}

impl From<AcquireFailure> for AcquireError {
    fn from(why: AcquireFailure) -> AcquireError {
        match why {
            AcquireFailure::GaveUp(_) => AcquireError::TimedOut,
            other => AcquireError::Failed(other.into()),
        }
    }
}

/// A semaphore would have had more permits than it may.
#[derive(Debug, thiserror::Error)]
#[error("the semaphore was released too many times")]
pub struct TooManyReleases(());
