//! How long a caller is willing to wait, and who may call it off: one value through all waiting calls.

use std::time::{Duration, Instant};

use super::atomic::{AtomicU32, Ordering};
use crate::sys::fork;

/// No sleep is longer than this, so that a signal that came just before it, or a waker that died, costs at most
/// this much. Sleepers wake at multiples of it, so that a thousand of them wake the processor together.
pub(crate) const SLICE: Duration = Duration::from_millis(500);

/// After so long a waiter looks for the first time whether somebody died, and asks its caller's check: most waits are
/// over before that is worth the system calls.
pub(crate) const FIRST_LOOK: Duration = if cfg!(loom) { SLICE } else { Duration::from_millis(5) };

/// How long to wait, and who may call it off.
///
/// A fresh one is made for each call: `Wait::forever()`, `Wait::now()`, `Wait::timeout(..)`.
pub struct Wait<'a> {
    limit: Limit,
    interrupted: Option<&'a mut dyn FnMut() -> bool>,
    /// The check has said that the wait ends: it is not asked again, and nothing is taken any more.
    stopped: bool,
    /// The check forked, and this is the child.
    forked: bool,
}

#[derive(Clone, Copy)]
enum Limit {
    Attempt,
    Now,
    At(Instant),
    Never,
}

/// Why a wait ended without what was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GaveUp {
    /// The time was over, or there was none to begin with.
    TimedOut,
    /// The caller's own check said so: a signal handler raised, for example.
    Interrupted,
}

impl<'a> Wait<'a> {
    /// Takes what is there and never sleeps.
    pub fn now() -> Wait<'a> {
        Wait::with(Limit::Now)
    }

    /// As `now`, but does not even wait for one who was stopped in the middle of a step: what was there may be "timed
    /// out".
    pub fn attempt() -> Wait<'a> {
        Wait::with(Limit::Attempt)
    }

    /// Waits as long as it takes.
    pub fn forever() -> Wait<'a> {
        Wait::with(Limit::Never)
    }

    /// Waits until a moment of the monotonic clock.
    pub fn until(deadline: Instant) -> Wait<'a> {
        Wait::with(Limit::At(deadline))
    }

    /// Waits for some time from now; a time too long to add to the clock is for ever.
    pub fn timeout(time: Duration) -> Wait<'a> {
        match Instant::now().checked_add(time) {
            Some(deadline) => Wait::until(deadline),
            None => Wait::forever(),
        }
    }

    fn with(limit: Limit) -> Wait<'a> {
        Wait { limit, interrupted: None, stopped: false, forked: false }
    }

    /// Calls `interrupted` whenever the waiting thread wakes for any reason, every half second at least. When it
    /// returns true, the wait ends without what was waited for, though that may be there by then: nothing was taken,
    /// and whoever else waits for it gets it. It may use any object, the one that is waited for too, and end the
    /// process.
    ///
    /// It may also fork. The child is not what waits, and nothing that was begun is the child's: there the wait ends as
    /// if the check had said so, and [`has_forked`](Wait::has_forked) says why. A caller that wants to wait in the
    /// child, too, makes the call anew.
    pub fn interruptible(self, interrupted: &'a mut dyn FnMut() -> bool) -> Wait<'a> {
        Wait { interrupted: Some(interrupted), ..self }
    }

    /// Runs `work` with the same limit and one more reason to call the wait off.
    #[inline]
    pub(crate) fn unless<R>(
        &mut self,
        stop: &mut dyn FnMut() -> bool,
        work: impl FnOnce(&mut Wait<'_>) -> R,
    ) -> R {
        let Wait { limit, interrupted, stopped, forked } = self;
        let mut inner_stopped = *stopped;
        let mut either = || {
            if stop() {
                return true;
            }
            inner_stopped |= interrupted.as_mut().is_some_and(|interrupted| interrupted());
            inner_stopped
        };
        let mut inner = Wait { stopped: *stopped, forked: *forked, ..Wait::with(*limit) }
            .interruptible(&mut either);
        let result = work(&mut inner);
        *forked = inner.forked;
        *stopped = inner_stopped | *forked;
        result
    }

    /// Whether the wait ended since its check forked, and this is the child: nothing was taken, and what the parent has
    /// announced, or holds, is the parent's.
    pub fn has_forked(&self) -> bool {
        self.forked
    }

    /// The call has dealt with the fork: it is not to be made anew.
    pub(crate) fn forget_fork(&mut self) {
        self.forked = false;
    }

    pub(crate) fn is_now(&self) -> bool {
        matches!(self.limit, Limit::Now)
    }

    /// Whether it never sleeps for what it waits for: it is `now`, or an attempt.
    pub(crate) fn is_brief(&self) -> bool {
        matches!(self.limit, Limit::Now | Limit::Attempt)
    }

    /// How long the next sleep may be, or why there is none.
    pub(crate) fn slice(&mut self) -> Result<Duration, GaveUp> {
        let left = match self.limit {
            Limit::Attempt | Limit::Now => return Err(GaveUp::TimedOut),
            Limit::Never => SLICE,
            Limit::At(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(GaveUp::TimedOut);
                }
                left
            }
        };
        self.ask()?;
        Ok(left.min(until_next_slice()))
    }

    /// How long the first sleep may be. It is so short that the check has time until it is over, should it want to call
    /// the wait off for a signal that came just before.
    pub(crate) fn first_slice(&mut self) -> Result<Duration, GaveUp> {
        match self.limit {
            Limit::Never if !self.stopped && !cfg!(loom) => Ok(FIRST_LOOK),
            _ => Ok(self.slice()?.min(FIRST_LOOK)),
        }
    }

    /// As `slice`, where the deadline does not count any more: what is waited for cannot be called off.
    pub(crate) fn overtime(&mut self) -> Result<Duration, GaveUp> {
        self.ask()?;
        Ok(until_next_slice())
    }

    /// Runs the caller's check, which must not happen inside a section: it may use any object.
    fn ask(&mut self) -> Result<(), GaveUp> {
        if !self.stopped {
            #[cfg(not(loom))]
            debug_assert!(
                self.interrupted.is_none() || !crate::sys::robust::this_thread().is_armed(),
                "no check inside a section"
            );
            if let Some(interrupted) = self.interrupted.as_mut() {
                let epoch = fork::epoch();
                let stop = interrupted();
                self.forked = fork::epoch() != epoch;
                self.stopped = stop || self.forked;
            }
        }
        if self.stopped { Err(GaveUp::Interrupted) } else { Ok(()) }
    }
}

/// The number of the slice that the machine's clock is in, never 0. Sleepers that wake together see the same one, and
/// one look at the dead is enough for all of them.
pub(crate) fn look_number() -> u32 {
    (crate::sys::clock::monotonic().as_nanos() / SLICE.as_nanos()) as u32 | 1 << 31
}

/// Whether nobody else has looked in this slice, of those who note it in `looked`; nobody else does any more. Should
/// this process die before it looked, another one does in the next slice.
pub(crate) fn is_first_to_look(looked: &AtomicU32) -> bool {
    let (now, last) = (look_number(), looked.load(Ordering::Relaxed));
    // Relaxed: two who look do no harm, and what they look at has its own order.
    last != now && looked.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}

/// Time to the next common waking moment, which is at least a fifth of a slice away.
fn until_next_slice() -> Duration {
    let now = crate::sys::clock::monotonic();
    let period = SLICE.as_nanos() as u64;
    let into = (now.as_nanos() % u128::from(period)) as u64;
    let left = Duration::from_nanos(period - into);
    if left < SLICE / 5 { left + SLICE } else { left }
}
