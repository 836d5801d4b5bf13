//! Something that several threads use and one of them closes: closed at once, freed when the last one lets go.
//!
//! ```text
//! word   bits 0-28 users | 29 MAKING | 30 MADE | 31 CLOSED
//! 0 -> MAKING -> MADE          `make`, once
//! users                        up by `enter`, which gives up unless MADE alone is set; down when a `Use` is dropped
//! CLOSED                       set by `close`, for good
//! CLOSED, users 0: MADE away   by whoever sees it first, who frees the value
//! ```
//! A forked child counts users that it does not have: threads of its parent. Then the value is never freed there; what
//! matters to others, the descriptor, was closed by `hang_up`.
#![allow(unsafe_code)] // a cell whose value may be gone, behind the counter above

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};

const USERS: u32 = (1 << 29) - 1;
const MAKING: u32 = 1 << 29;
const MADE: u32 = 1 << 30;
const CLOSED: u32 = 1 << 31;

/// See the file's head.
pub struct Open<T> {
    word: AtomicU32,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: shared references to the value go to several threads, and the last one to let go drops it.
unsafe impl<T: Send + Sync> Sync for Open<T> {}
// SAFETY: it owns the value.
unsafe impl<T: Send> Send for Open<T> {}

/// The value, in use.
pub struct Use<'a, T>(&'a Open<T>);

impl<T> Open<T> {
    pub const fn empty() -> Open<T> {
        Open { word: AtomicU32::new(0), value: UnsafeCell::new(MaybeUninit::uninit()) }
    }

    /// Puts the value in; gives it back if there was one before.
    pub fn make(&self, value: T) -> Result<(), T> {
        if self.word.compare_exchange(0, MAKING, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return Err(value);
        }
        // SAFETY: MAKING came from 0, which never comes back: nobody else writes, and nobody reads before MADE.
        unsafe { (*self.value.get()).write(value) };
        // `close` may have come meanwhile, and visitors who leave again: their bits stay.
        // SYNC: with the load in `enter`.
        self.word.fetch_xor(MAKING | MADE, Ordering::Release);
        self.free_if_last();
        Ok(())
    }

    /// The value, unless it is not there yet or closed.
    #[inline]
    pub fn enter(&self) -> Option<Use<'_, T>> {
        // SYNC: with the store in `make`.
        let before = self.word.fetch_add(1, Ordering::Acquire);
        let visitor = Use(self);
        if before & (MADE | CLOSED) == MADE { Some(visitor) } else { None }
    }

    /// Whether there is a value to enter.
    pub fn is_open(&self) -> bool {
        self.word.load(Ordering::Relaxed) & (MADE | CLOSED) == MADE
    }

    /// Closes it, for good. If somebody uses the value at this moment, `hang_up` is called with it.
    pub fn close(&self, hang_up: impl FnOnce(&T)) {
        let Some(value) = self.enter() else {
            // Not made: nobody can make it any more. Closed before: nothing changes.
            self.word.fetch_or(CLOSED, Ordering::Relaxed);
            return;
        };
        let before = self.word.fetch_or(CLOSED, Ordering::Relaxed);
        if before & CLOSED == 0 && before & USERS > 1 {
            hang_up(&value);
        }
    }

    fn free_if_last(&self) {
        let last = MADE | CLOSED;
        // SYNC: acquires what all users did, who released it when they let go.
        if self.word.compare_exchange(last, CLOSED, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            // SAFETY: MADE was there and is not any more, and CLOSED lets nobody in: this is the only reference.
            unsafe { (*self.value.get()).assume_init_drop() };
        }
    }
}

impl<T> Deref for Use<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: `enter` gives a `Use` away only if the value was there, and while users are counted nobody frees it.
        unsafe { (*self.0.value.get()).assume_init_ref() }
    }
}

impl<T> Drop for Use<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // SYNC: with the exchange in `free_if_last`.
        let before = self.0.word.fetch_sub(1, Ordering::Release);
        if before & CLOSED != 0 {
            self.0.free_if_last();
        }
    }
}

impl<T> Drop for Open<T> {
    fn drop(&mut self) {
        if *self.word.get_mut() & MADE != 0 {
            // SAFETY: MADE says that the value is there, and nobody else has a reference to `self`.
            unsafe { self.value.get_mut().assume_init_drop() };
        }
    }
}
