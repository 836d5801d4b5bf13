//! Something that several threads use and one of them closes: closed at once, freed when the last one lets go.
//! Connections, listeners and queues are such.
//!
//! ```text
//! word   bits 0-28 users | 29 MAKING | 30 MADE | 31 CLOSED
//! 0 -> MAKING -> MADE          `make`, once
//! users                        up by `enter`, which gives up unless MADE alone is set; down when a `Use` is dropped
//! CLOSED                       set by `close`, for good
//! CLOSED, users 0, own 0: MADE away   by whoever sees it first, who frees the value
//!
//! owner  0 nobody yet | 1 nobody any more | the mark of the first thread that used it
//! own    how often the owner is using it: only that thread changes it
//! ```
//! To count in the word costs two locked instructions a call, as much as a tenth of a small put and get. So the first
//! thread that comes counts its uses apart, with plain stores. **Feared: the owner enters while another thread
//! closes**, and neither sees the other. The owner counts and then looks at CLOSED; who closes sets CLOSED, has all
//! threads fence (`fence_all_threads`), and then looks at the count: one of the two sees the other. The same when the
//! owner leaves: it takes its count away and then looks at CLOSED, so that one of the two frees the value, and never
//! both, since MADE is taken away by one exchange. Without that fence in the system there is no owner.
//!
//! A forked child counts users that it does not have: threads of its parent. Those that wait (`Use::while_waiting`) are
//! taken away there, any other one is hardly ever met; then the value stays until the object goes.
#![allow(unsafe_code)] // a cell whose value may be gone, behind the counters above

use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering, compiler_fence};

use tasuki::raw;

const USERS: u32 = (1 << 29) - 1;
const MAKING: u32 = 1 << 29;
const MADE: u32 = 1 << 30;
const CLOSED: u32 = 1 << 31;

const NOBODY: usize = 0;
const NEVER: usize = 1;

/// See the file's head.
pub struct Open<T> {
    word: AtomicU32,
    own: AtomicU32,
    owner: AtomicUsize,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: shared references to the value go to several threads, and the last one to let go drops it.
unsafe impl<T: Send + Sync> Sync for Open<T> {}
// SAFETY: it owns the value.
unsafe impl<T: Send> Send for Open<T> {}

/// The value, in use by one thread.
pub struct Use<'a, T> {
    of: &'a Open<T>,
    by_owner: bool,
    /// The owner's is counted by the owner: it stays in its thread.
    here: PhantomData<*const ()>,
}

// SAFETY: a reference to it, which others may have while it stays, gives no more than references to the value.
unsafe impl<T: Send + Sync> Sync for Use<'_, T> {}

impl<T> Open<T> {
    pub const fn empty() -> Open<T> {
        Open {
            word: AtomicU32::new(0),
            own: AtomicU32::new(0),
            owner: AtomicUsize::new(NOBODY),
            value: UnsafeCell::new(MaybeUninit::uninit()),
        }
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
        let by_owner = self.owner.load(Ordering::Relaxed) == raw::thread_mark() || self.is_first();
        let before = if by_owner {
            self.own.store(self.own.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            // SYNC: with the fence in `free_if_last`; the processor's order comes from there.
            compiler_fence(Ordering::SeqCst);
            // SYNC: with the store in `make`.
            self.word.load(Ordering::Acquire)
        } else {
            // SYNC: with the store in `make`.
            self.word.fetch_add(1, Ordering::Acquire)
        };
        let visitor = Use { of: self, by_owner, here: PhantomData };
        if before & (MADE | CLOSED) == MADE { Some(visitor) } else { None }
    }

    /// Whether the caller has become the owner, being the first who comes.
    #[inline]
    fn is_first(&self) -> bool {
        self.owner.load(Ordering::Relaxed) == NOBODY && self.become_owner()
    }

    #[cold]
    fn become_owner(&self) -> bool {
        let owner = if raw::can_fence_all_threads() { raw::thread_mark() } else { NEVER };
        let set = self.owner.compare_exchange(NOBODY, owner, Ordering::SeqCst, Ordering::Relaxed);
        set.is_ok() && owner != NEVER
    }

    /// Whether there is a value to enter.
    pub fn is_open(&self) -> bool {
        self.word.load(Ordering::Relaxed) & (MADE | CLOSED) == MADE
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.word.load(Ordering::Relaxed) & CLOSED != 0
    }

    /// Closes it, for good. If somebody uses the value at this moment, `hang_up` is called with it.
    pub fn close(&self, hang_up: impl FnOnce(&T)) {
        let Some(value) = self.enter() else {
            // Not made: nobody can make it any more. Closed before: nothing changes.
            self.word.fetch_or(CLOSED, Ordering::SeqCst);
            return;
        };
        let before = self.word.fetch_or(CLOSED, Ordering::SeqCst);
        let owner = self.owner.load(Ordering::SeqCst);
        // SYNC: with the fence of the compiler in `enter`: an owner that did not see CLOSED is seen in `own` after
        // this.
        let is_sure = matches!(owner, NOBODY | NEVER)
            || owner == raw::thread_mark()
            || raw::fence_all_threads();
        let others = (before & USERS) + self.own.load(Ordering::Relaxed) > 1;
        if before & CLOSED == 0 && (others || !is_sure) {
            hang_up(&value);
        }
    }

    /// Called when CLOSED may be set, by whoever has just let go.
    #[cold]
    fn free_if_last(&self) {
        if self.word.load(Ordering::Relaxed) & (MADE | CLOSED | USERS) != MADE | CLOSED {
            return;
        }
        // No process that comes now becomes the owner. The one that is, sees CLOSED, or is seen in `own` after this.
        let _ = self.owner.compare_exchange(NOBODY, NEVER, Ordering::SeqCst, Ordering::Relaxed);
        let owner = self.owner.load(Ordering::Relaxed);
        // SYNC: with the fence of the compiler in `enter` and in `drop`.
        if owner != NEVER && owner != raw::thread_mark() && !raw::fence_all_threads() {
            return; // it stays until the object goes
        }
        // SYNC: Acquire, with the store in `drop`: all that the owner did is done.
        if self.own.load(Ordering::Acquire) != 0 {
            return;
        }
        let last = MADE | CLOSED;
        // SYNC: acquires what all users did, who released it when they let go.
        if self.word.compare_exchange(last, CLOSED, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            // SAFETY: MADE was there and is not any more, and CLOSED lets nobody in: this is the only reference.
            unsafe { (*self.value.get()).assume_init_drop() };
        }
    }
}

impl<T> Use<'_, T> {
    /// Runs a call that waits, during which another thread may fork: its child does not count this use.
    pub fn while_waiting<R>(&self, call: impl FnOnce() -> R) -> R {
        raw::while_counted(if self.by_owner { &self.of.own } else { &self.of.word }, call)
    }
}

impl<T> Deref for Use<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: `enter` gives a `Use` away only if the value was there, and while users are counted nobody frees it.
        unsafe { (*self.of.value.get()).assume_init_ref() }
    }
}

impl<T> Drop for Use<'_, T> {
    #[inline]
    fn drop(&mut self) {
        let word = if self.by_owner {
            let own = self.of.own.load(Ordering::Relaxed);
            // SYNC: with the load in `free_if_last`.
            self.of.own.store(own - 1, Ordering::Release);
            // SYNC: with the fence in `free_if_last`.
            compiler_fence(Ordering::SeqCst);
            self.of.word.load(Ordering::Relaxed)
        } else {
            // SYNC: with the exchange in `free_if_last`.
            self.of.word.fetch_sub(1, Ordering::Release)
        };
        if word & CLOSED != 0 {
            self.of.free_if_last();
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
