//! Something that one thread of a process uses at a time, perhaps for long, while others wait with a deadline.
//!
//! The value is moved out while somebody has it, so nothing is locked meanwhile: a forked child finds out that its copy
//! is in the hands of a thread which it does not have, and says so instead of waiting for it. So does a thread that has
//! it itself, and was interrupted by what asks for it.

use std::ops::{Deref, DerefMut};

use crate::raw::fork_epoch;
use crate::sync::private::Private;
use crate::sync::{EventCount, GaveUp, Wait};
use crate::sys::identity;

/// See the file's head.
pub(super) struct Turn<T> {
    state: Private<State<T>>,
    /// Notified when the value comes back.
    back: EventCount,
}

enum State<T> {
    Here(T),
    /// This thread of the process with this fork epoch has it.
    Taken(u64, u32),
}

/// Why it is nobody's turn.
pub(super) enum NoTurn {
    GaveUp(GaveUp),
    /// Another thread had it when this process was forked; what state it is in cannot be known here.
    LostByFork,
    /// The calling thread has it.
    Reentrant,
}

impl<T> Turn<T> {
    pub(super) fn new(value: T) -> Turn<T> {
        Turn { state: Private::new(State::Here(value)), back: EventCount::new() }
    }

    /// Takes the value, waiting for the thread that has it.
    pub(super) fn take(&self, wait: &mut Wait<'_>) -> Result<Taken<'_, T>, NoTurn> {
        loop {
            if let Some(taken) = self.try_take()? {
                return Ok(taken);
            }
            // SYNC: the second look goes through the lock under which `drop` puts the value back and notifies. Either
            // the look comes after that and finds the value, unless a third thread was faster, which will notify in
            // turn; or `drop` sees the waiter's flag. A notification after the lock is free could take back a flag that
            // was set, and looked after, for the third one.
            let prepared = self.back.prepare();
            if let Some(taken) = self.try_take()? {
                return Ok(taken);
            }
            self.back.wait(prepared, wait).map_err(NoTurn::GaveUp)?;
        }
    }

    fn try_take(&self) -> Result<Option<Taken<'_, T>>, NoTurn> {
        let epoch = fork_epoch();
        // Stuck is what it is when a fork came within the few instructions of another thread's holding it.
        let mut state = self.state.lock_unless_stuck().ok_or(NoTurn::LostByFork)?;
        match &*state {
            State::Taken(of, _) if *of != epoch => Err(NoTurn::LostByFork),
            State::Taken(_, by) if *by == identity::thread_id() => Err(NoTurn::Reentrant),
            State::Taken(..) => Ok(None),
            State::Here(_) => {
                match std::mem::replace(&mut *state, State::Taken(epoch, identity::thread_id())) {
                    State::Here(value) => Ok(Some(Taken { of: self, value: Some(value) })),
                    State::Taken(..) => unreachable!("it was just here"),
                }
            }
        }
    }
}

/// The value, given back when this is dropped.
pub(super) struct Taken<'a, T> {
    of: &'a Turn<T>,
    value: Option<T>,
}

impl<T> Deref for Taken<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.value.as_ref().expect("it is taken out by drop only")
    }
}

impl<T> DerefMut for Taken<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("it is taken out by drop only")
    }
}

impl<T> Drop for Taken<'_, T> {
    fn drop(&mut self) {
        if let Some(value) = self.value.take() {
            let mut state = self.of.state.lock();
            *state = State::Here(value);
            // SYNC: with `prepare` in `take`, before the lock is free.
            self.of.back.notify(1);
            drop(state);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_at_a_time_and_nobody_is_forgotten() {
        let turn = Turn::new(0u32);
        let inside = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let mut taken = turn.take(&mut Wait::forever()).ok().unwrap();
                        assert!(!inside.swap(true, Ordering::SeqCst));
                        *taken += 1;
                        std::thread::yield_now();
                        inside.store(false, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(*turn.take(&mut Wait::now()).ok().unwrap(), 2000);
    }

    #[test]
    fn a_deadline_holds_while_another_thread_has_it() {
        let turn = Turn::new(());
        let taken = turn.take(&mut Wait::now()).ok().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let gave_up =
                    |wait: &mut Wait<'_>| matches!(turn.take(wait), Err(NoTurn::GaveUp(_)));
                assert!(gave_up(&mut Wait::now()));
                assert!(gave_up(&mut Wait::timeout(Duration::from_millis(1))));
            });
        });
        assert!(matches!(turn.take(&mut Wait::forever()), Err(NoTurn::Reentrant)));
        drop(taken);
        assert!(turn.take(&mut Wait::now()).is_ok());
    }

    #[test]
    fn a_panic_gives_it_back() {
        let turn = Turn::new(AtomicU32::new(7));
        let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _taken = turn.take(&mut Wait::now()).ok().unwrap();
            std::panic::resume_unwind(Box::new(()));
        }));
        assert!(died.is_err());
        assert_eq!(turn.take(&mut Wait::now()).ok().unwrap().load(Ordering::Relaxed), 7);
    }
}
