//! A lock for state of one process that a fork may not tear: the forking thread takes it around the fork.
//!
//! `std::sync::Mutex` does not do here: a child forked while another thread holds one waits for ever.
#![allow(unsafe_code)] // an UnsafeCell behind a lock bit, and release by another stack frame around fork

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};

/// Data of this process, guarded; meant for short sections that neither block nor call out.
pub(crate) struct Private<T> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached only through a guard, of which `taken` allows one at a time.
unsafe impl<T: Send> Sync for Private<T> {}

impl<T> Private<T> {
    pub(crate) const fn new(value: T) -> Private<T> {
        Private { taken: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    pub(crate) fn lock(&self) -> PrivateGuard<'_, T> {
        self.hold_for_fork();
        PrivateGuard { of: self }
    }

    /// As `lock`, but None if it stays taken for long: by the calling thread itself, perhaps.
    pub(crate) fn lock_unless_stuck(&self) -> Option<PrivateGuard<'_, T>> {
        for _ in 0..10_000 {
            // SYNC: as in `hold_for_fork`.
            if !self.taken.swap(true, Ordering::Acquire) {
                return Some(PrivateGuard { of: self });
            }
            std::thread::yield_now();
        }
        None
    }

    /// Takes the lock without a guard: the first half of what happens around a fork.
    pub(crate) fn hold_for_fork(&self) {
        let mut tries = 0u32;
        // SYNC: Acquire, with the Release in `release_after_fork`.
        while self
            .taken
            .compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            tries += 1;
            if tries < 50 {
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
    }

    /// The value, between `hold_for_fork` and `release_after_fork`.
    pub(crate) fn with_held<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        assert!(self.taken.load(Ordering::Relaxed), "the lock is held around a fork");
        // SAFETY: the lock is taken, and by the caller: only the forking thread calls this, between the two halves.
        work(unsafe { &mut *self.value.get() })
    }

    /// Gives the lock back, in the parent and in the child alike, after `hold_for_fork`.
    pub(crate) fn release_after_fork(&self) {
        self.taken.store(false, Ordering::Release);
    }
}

/// Access to the value; the lock is free again when this is dropped.
pub(crate) struct PrivateGuard<'a, T> {
    of: &'a Private<T>,
}

impl<T> Deref for PrivateGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: this guard exists, so `taken` is set by us and nobody else reaches the value.
        unsafe { &*self.of.value.get() }
    }
}

impl<T> DerefMut for PrivateGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and `self` is borrowed mutably.
        unsafe { &mut *self.of.value.get() }
    }
}

impl<T> Drop for PrivateGuard<'_, T> {
    fn drop(&mut self) {
        self.of.release_after_fork();
    }
}
