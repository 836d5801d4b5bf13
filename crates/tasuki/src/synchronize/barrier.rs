//! Barriers between processes.

use std::fmt;
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::Error;
pub use crate::raw::Broken;
use crate::raw::{self, GaveUp, NotPassed, RawArrived, RawBarrier, RawHandle, Wait};

/// A place where so many processes or threads wait until all of them have come; then it can be used again.
///
/// Unlike [`std::sync::Barrier`] it can *break*: when a party's timeout runs out, when somebody calls
/// [`abort`](Barrier::abort), or when a party that is needed dies. All who wait then, and all who come, get an error
/// that says why, until somebody calls [`reset`](Barrier::reset). A party is needed if it waits in this round, or
/// passed the last one and was killed since; one that dies before it ever came is not known.
///
/// A clone is another handle to the same barrier; handles travel as those of a [`Queue`](crate::Queue) do, to Python
/// and back, where it is `Barrier` as well.
///
/// ```
/// let start = tasuki::Barrier::new(2)?;
/// std::thread::scope(|scope| {
///     let other = scope.spawn(|| start.wait().unwrap().is_leader());
///     let here = start.wait().unwrap().is_leader();
///     assert!(here != other.join().unwrap(), "exactly one of them leads");
/// });
/// # Ok::<(), tasuki::Error>(())
/// ```
pub struct Barrier {
    raw: RawBarrier,
}

impl Barrier {
    /// Makes a barrier for so many parties.
    ///
    /// # Errors
    /// For no party or more than 4000, and when the system refuses memory or descriptors.
    pub fn new(parties: usize) -> Result<Barrier, Error> {
        Ok(Barrier { raw: RawBarrier::create(u32::try_from(parties).unwrap_or(u32::MAX))? })
    }

    /// Waits until all parties have come.
    ///
    /// # Errors
    /// [`BarrierError::Broken`] when the barrier is or gets broken, with the reason.
    pub fn wait(&self) -> Result<BarrierWaitResult, BarrierError> {
        self.wait_within(&mut Wait::forever(), None::<fn()>)
    }

    /// As [`wait`](Barrier::wait), at most for `timeout`.
    ///
    /// # Errors
    /// As `wait`; and [`BarrierError::TimedOut`], which breaks the barrier for all others.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<BarrierWaitResult, BarrierError> {
        self.wait_within(&mut Wait::timeout(timeout), None::<fn()>)
    }

    /// As [`wait`](Barrier::wait), at most until `deadline`.
    ///
    /// # Errors
    /// As [`wait_timeout`](Barrier::wait_timeout).
    pub fn wait_deadline(&self, deadline: Instant) -> Result<BarrierWaitResult, BarrierError> {
        self.wait_within(&mut Wait::until(deadline), None::<fn()>)
    }

    /// As [`wait`](Barrier::wait). The party that comes last runs its `action` before anybody goes on; the other
    /// parties' are dropped.
    ///
    /// ```
    /// let rounds = tasuki::Value::new(0_u32)?;
    /// let alone = tasuki::Barrier::new(1)?;
    /// alone.wait_with(|| rounds.set(1).unwrap())?;
    /// assert_eq!(rounds.get(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As `wait`. When the action panics, the barrier is broken, and the panic goes on.
    pub fn wait_with(&self, action: impl FnOnce()) -> Result<BarrierWaitResult, BarrierError> {
        self.wait_within(&mut Wait::forever(), Some(action))
    }

    /// Breaks the barrier: everybody who waits, and everybody who comes, gets [`Broken::Aborted`].
    ///
    /// # Errors
    /// When so many processes use the barrier's memory that this one finds no place.
    pub fn abort(&self) -> Result<(), Error> {
        self.raw.abort()
    }

    /// Makes the barrier whole and empty. Those who wait at this moment get [`Broken::Reset`].
    ///
    /// # Errors
    /// As [`abort`](Barrier::abort).
    pub fn reset(&self) -> Result<(), Error> {
        self.raw.reset()
    }

    /// How many parties it takes.
    pub fn parties(&self) -> usize {
        self.raw.parties() as usize
    }

    /// How many wait at this moment.
    pub fn waiting(&self) -> usize {
        self.raw.waiting() as usize
    }

    /// Whether it is broken.
    pub fn is_broken(&self) -> bool {
        self.raw.is_broken()
    }

    fn wait_within(
        &self,
        wait: &mut Wait<'_>,
        action: Option<impl FnOnce()>,
    ) -> Result<BarrierWaitResult, BarrierError> {
        let index = match self.raw.arrive(action.is_some(), wait)? {
            RawArrived::Passed(index) => index,
            RawArrived::RunAction(turn) => {
                if let Some(action) = action {
                    action();
                }
                turn.done()?
            }
            RawArrived::Waits(arrival) => arrival.wait(wait)?,
        };
        Ok(BarrierWaitResult { index: index as usize })
    }
}

/// That a party came through a barrier, and as which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BarrierWaitResult {
    index: usize,
}

impl BarrierWaitResult {
    /// Whether this is the one party of the round that has the index 0.
    pub fn is_leader(&self) -> bool {
        self.index == 0
    }

    /// A number below the number of parties, another one for each party of the round.
    pub fn index(&self) -> usize {
        self.index
    }
}

/// Why a party did not come through a barrier.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BarrierError {
    /// The barrier is broken, for this reason.
    #[error("{0}")]
    Broken(Broken),
    /// The others did not come in time. The barrier is broken for them.
    #[error("not all parties came to the barrier in time")]
    TimedOut,
    /// It cannot be waited for at all.
    #[error(transparent)]
    Failed(Error),
}

impl From<NotPassed> for BarrierError {
    fn from(why: NotPassed) -> BarrierError {
        match why {
            NotPassed::GaveUp(GaveUp::TimedOut | GaveUp::Interrupted) => BarrierError::TimedOut,
            NotPassed::Broken(broken) => BarrierError::Broken(broken),
            NotPassed::Failed(error) => BarrierError::Failed(error),
        }
    }
}

impl Clone for Barrier {
    fn clone(&self) -> Barrier {
        Barrier { raw: self.raw.clone() }
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier")
            .field("parties", &self.parties())
            .field("waiting", &self.waiting())
            .field("broken", &self.is_broken())
            .finish()
    }
}

impl Serialize for Barrier {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        raw::serde::serialize(serializer, |table| self.raw.record(table))
    }
}

impl<'de> Deserialize<'de> for Barrier {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Barrier, D::Error> {
        raw::serde::deserialize(deserializer, |handle| match handle {
            RawHandle::Barrier(raw) => Ok(Barrier { raw }),
            other => Err(other.instead_of("a barrier")),
        })
    }
}
