//! Conditions between processes: wait, with a lock given up meanwhile, until somebody has changed something.

use std::fmt;
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::lock::{Lock, LockError, LockGuard, Poisoned};
use super::rlock::{RLock, RLockGuard};
use crate::error::Error;
use crate::plain::Plain;
use crate::raw::{self, Acquired, NotWaited, RawCondition, RawHandle, RawLock, Wait, Woken};

/// Lets processes and threads wait until another one has changed something and says so.
///
/// It is used as `std::sync::Condvar` is, with the guard of any [`Lock`] or [`RLock`]; all who use one condition use it
/// with the same lock. It also has a lock of its own, [`Condition::lock`], which Python's `Condition` uses by default.
/// As with `Condvar`, a wait may end without having been notified: look in a loop, or use
/// [`wait_while`](Condition::wait_while).
///
/// A waiter that is killed takes no notification with it: another one that waited gets that. When the process that has
/// the lock dies, one of those who wait is woken, and gets the guard inside an error.
///
/// A clone is another handle to the same condition; handles travel as those of a [`Queue`](crate::Queue) do. Up to 240
/// can wait at a time in the order in which they came; more can wait, too, and may wake when they are not meant.
///
/// ```
/// let ready = tasuki::Lock::new(0_u8)?;
/// let changed = tasuki::Condition::new()?;
/// std::thread::scope(|scope| {
///     scope.spawn(|| {
///         *ready.lock().unwrap() = 1;
///         changed.notify_all();
///     });
///     let guard = changed.wait_while(ready.lock().unwrap(), |ready| *ready == 0).unwrap();
///     assert_eq!(*guard, 1);
/// });
/// # Ok::<(), tasuki::Error>(())
/// ```
pub struct Condition {
    raw: RawCondition,
    own: RLock,
}

/// The guard of a lock that a wait can give up: [`LockGuard`] and [`RLockGuard`].
#[allow(private_bounds)]
pub trait ConditionGuard: Paused {}

impl<T: Plain> ConditionGuard for LockGuard<'_, T> {}
impl ConditionGuard for RLockGuard<'_> {}

/// How a guard lets go of its lock, and has it again.
trait Paused: Sized {
    type Lock: Copy;
    /// Ends the guard and leaves the lock taken.
    fn pause(self) -> Self::Lock;
    fn of(lock: Self::Lock) -> Self;
    fn raw(lock: &Self::Lock) -> &RawLock;
}

impl<'a, T: Plain> Paused for LockGuard<'a, T> {
    type Lock = &'a Lock<T>;

    fn pause(self) -> &'a Lock<T> {
        self.write_back()
    }

    fn of(lock: &'a Lock<T>) -> Self {
        lock.guard()
    }

    fn raw<'b>(lock: &'b &'a Lock<T>) -> &'b RawLock {
        lock.raw().lock()
    }
}

impl<'a> Paused for RLockGuard<'a> {
    type Lock = &'a RLock;

    fn pause(self) -> &'a RLock {
        self.keep_taken()
    }

    fn of(lock: &'a RLock) -> Self {
        lock.guard()
    }

    fn raw<'b>(lock: &'b &'a RLock) -> &'b RawLock {
        lock.raw()
    }
}

/// Whether a wait ended because its time was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Whether the time was over, and nobody had notified this waiter by then.
    pub fn timed_out(&self) -> bool {
        self.0
    }
}

impl Condition {
    /// Makes a condition that nobody waits for.
    ///
    /// # Errors
    /// When the system refuses memory or descriptors.
    pub fn new() -> Result<Condition, Error> {
        Ok(Condition::of(RawCondition::create()?))
    }

    fn of(raw: RawCondition) -> Condition {
        let own = RLock::of(raw.own_lock());
        Condition { raw, own }
    }

    /// Takes the lock that the condition brings along.
    ///
    /// # Errors
    /// As [`RLock::lock`].
    pub fn lock(&self) -> Result<RLockGuard<'_>, LockError<RLockGuard<'_>>> {
        self.own.lock()
    }

    /// Takes the lock that the condition brings along, if it is free now.
    ///
    /// # Errors
    /// As [`RLock::try_lock`].
    pub fn try_lock(&self) -> Result<RLockGuard<'_>, LockError<RLockGuard<'_>>> {
        self.own.try_lock()
    }

    /// Whether an owner of the condition's own lock died or panicked, and nobody called `clear_poison` since.
    pub fn is_poisoned(&self) -> bool {
        self.own.is_poisoned()
    }

    /// Declares that what the condition's own lock guards is whole again.
    pub fn clear_poison(&self) {
        self.own.clear_poison();
    }

    /// Frees the guard's lock, waits to be notified, and takes the lock again.
    ///
    /// # Errors
    /// [`LockError::Poisoned`], with the guard, when an owner died or panicked meanwhile.
    pub fn wait<G: ConditionGuard>(&self, guard: G) -> Result<G, LockError<G>> {
        self.wait_within(guard, &mut Wait::forever(), |guard, _| guard)
    }

    /// As [`wait`](Condition::wait), at most for `timeout` until the lock is asked for again.
    ///
    /// # Errors
    /// As `wait`. That the time is over is no error.
    pub fn wait_timeout<G: ConditionGuard>(
        &self,
        guard: G,
        timeout: Duration,
    ) -> Result<(G, WaitTimeoutResult), LockError<(G, WaitTimeoutResult)>> {
        self.wait_within(guard, &mut Wait::timeout(timeout), |guard, result| (guard, result))
    }

    /// As [`wait_timeout`](Condition::wait_timeout), until a moment.
    ///
    /// # Errors
    /// As `wait`.
    pub fn wait_deadline<G: ConditionGuard>(
        &self,
        guard: G,
        deadline: Instant,
    ) -> Result<(G, WaitTimeoutResult), LockError<(G, WaitTimeoutResult)>> {
        self.wait_within(guard, &mut Wait::until(deadline), |guard, result| (guard, result))
    }

    /// Waits as long as `condition`, which looks at the lock's data, is true.
    ///
    /// # Errors
    /// As [`wait`](Condition::wait).
    pub fn wait_while<'a, T: Plain>(
        &self,
        mut guard: LockGuard<'a, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> Result<LockGuard<'a, T>, LockError<LockGuard<'a, T>>> {
        while condition(&mut guard) {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// As [`wait_while`](Condition::wait_while), at most for `timeout`; whether the condition is still true then is in
    /// the result.
    ///
    /// # Errors
    /// As [`wait`](Condition::wait).
    #[allow(clippy::type_complexity)]
    pub fn wait_while_timeout<'a, T: Plain>(
        &self,
        mut guard: LockGuard<'a, T>,
        timeout: Duration,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> Result<
        (LockGuard<'a, T>, WaitTimeoutResult),
        LockError<(LockGuard<'a, T>, WaitTimeoutResult)>,
    > {
        let deadline = Instant::now().checked_add(timeout);
        let mut over = WaitTimeoutResult(false);
        while condition(&mut guard) {
            if over.timed_out() {
                return Ok((guard, over));
            }
            let wait = &mut deadline.map_or_else(Wait::forever, Wait::until);
            (guard, over) = self.wait_within(guard, wait, |guard, result| (guard, result))?;
        }
        Ok((guard, WaitTimeoutResult(false)))
    }

    /// Lets the one that has waited longest go on, if anybody waits.
    pub fn notify_one(&self) {
        self.raw.notify(1);
    }

    /// Lets everybody who waits go on.
    pub fn notify_all(&self) {
        self.raw.notify(usize::MAX);
    }

    /// Lets the `count` that have waited longest go on, or all if there are fewer.
    pub fn notify(&self, count: usize) {
        self.raw.notify(count);
    }

    /// How many wait at this moment.
    pub fn waiting(&self) -> usize {
        self.raw.waiting()
    }

    fn wait_within<G: ConditionGuard, R>(
        &self,
        guard: G,
        wait: &mut Wait<'_>,
        result: impl FnOnce(G, WaitTimeoutResult) -> R,
    ) -> Result<R, LockError<R>> {
        let lock = guard.pause();
        let (woken, acquired) = match self.raw.wait(G::raw(&lock), wait) {
            Ok(waited) => waited,
            // Somebody else released it, which any process may: there is nothing to wait with.
            Err(NotWaited::NotHeld) => {
                let what = "the guard's lock was released by somebody else".to_owned();
                return Err(LockError::Failed(Error::Invalid(what)));
            }
            Err(NotWaited::Failed(error)) => {
                drop(G::of(lock));
                return Err(LockError::Failed(*error));
            }
        };
        let result = result(G::of(lock), WaitTimeoutResult(woken != Woken::Notified));
        match acquired {
            Acquired::Clean => Ok(result),
            Acquired::OwnerDied(death) => Err(LockError::Poisoned(Poisoned::new(result, death))),
        }
    }
}

impl Clone for Condition {
    fn clone(&self) -> Condition {
        Condition { raw: self.raw.clone(), own: self.own.clone() }
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condition").field("waiting", &self.waiting()).finish_non_exhaustive()
    }
}

impl Serialize for Condition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        raw::serde::serialize(serializer, |table| self.raw.record(table))
    }
}

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Condition, D::Error> {
        raw::serde::deserialize(deserializer, |handle| match handle {
            RawHandle::Condition(raw) => Ok(Condition::of(raw)),
            other => Err(other.instead_of("a condition")),
        })
    }
}
