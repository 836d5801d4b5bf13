//! The users' lock: held by a process for as long as it likes, and taken over from a process that died.
//!
//! ```text
//! word u32   bits 0-29 token of the owning process (roster row + 1, generation), 0 = free
//!            bit 30    POISONED: an owner died; stays until it is cleared
//!            bit 31    WAITERS: somebody may sleep on the word
//! thread     id of the owning thread, for recursion; 0 while nobody owns it recursively
//! depth      how often that thread holds it
//! sleepers   how many sleep on the word, or are about to: never too low
//! died       the last owner that died: pid, name, when that was noticed
//! owner u64  token and pid of the last owner: who it was, should its row be another's when its death is noticed
//! ```
//! All zero is free. The owner is a process: any of its threads, and any other process, may release. The kernel
//! does not watch this lock (it may be held for hours, many at a time); a waiter looks whether the owner lives
//! after 5 ms, after each slice of half a second and before it gives up; a call that does not wait looks at once.
//!
//! A sleeper that gets the lock leaves WAITERS set if others sleep, whose mark the releaser took away, and which have
//! counted themselves before they marked the word. A killed one stays counted: the next release after a sleep makes a
//! system call for nothing.
//!
//! Feared: the releaser dies between freeing the word and waking a sleeper. The sleeper's slice ends within half a
//! second, it sees the word free and takes it. Feared: a token's row is used by a new process. Its
//! generation differs, so the owner counts as dead, which it is.
#![allow(unsafe_code)] // declares which types may lie in shared memory

use super::failure::AcquireFailure;
use crate::error::Error;
use crate::segment::death::{Death, DeathWords};
use crate::segment::{Segment, Shared, Token};
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::sync::futex::Woken;
use crate::sync::wait::FIRST_LOOK;
use crate::sync::{GaveUp, Spin, Wait, futex, kill_point};
use crate::sys::identity::thread_id;

const POISONED: u32 = 1 << 30;
const WAITERS: u32 = 1 << 31;

/// The state of one lock, in a slot of an arena.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct LockWords {
    word: AtomicU32,
    thread: AtomicU32,
    depth: AtomicU32,
    sleepers: AtomicU32,
    owner: AtomicU64,
    died: DeathWords,
}

// SAFETY: atomics only.
unsafe impl Shared for LockWords {}

/// How a lock was got.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Acquired {
    /// From nobody, or from an owner that released it.
    Clean,
    /// It is poisoned: this process, which held it, ended before it released it.
    OwnerDied(Box<Death>),
}

/// The lock was not held by the process that wanted to release it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotHeld;

/// A lock's words with the segment whose roster says who lives.
#[derive(Clone, Copy)]
pub(crate) struct LockView<'a> {
    pub(crate) words: &'a LockWords,
    pub(crate) segment: &'a Segment,
    pub(crate) spin: &'a Spin,
}

impl LockView<'_> {
    /// Takes the lock for this process; a second take by the same process waits for the first one's release.
    #[inline]
    pub(crate) fn acquire(self, wait: &mut Wait<'_>) -> Result<Acquired, AcquireFailure> {
        if self.acquire_fast() {
            return Ok(Acquired::Clean);
        }
        self.acquire_busy(self.segment.my_row()?, wait)
    }

    /// The quick part of `acquire`: false says nothing but that the rest has to be done.
    #[inline]
    pub(crate) fn acquire_fast(self) -> bool {
        let Some(me) = self.segment.known_row() else { return false };
        // SYNC: Acquire, with the Release in `release`.
        let taken =
            self.words.word.compare_exchange(0, me.bits(), Ordering::Acquire, Ordering::Relaxed);
        if taken.is_ok() {
            self.note_owner(me);
            kill_point!(UserLockTaken);
        }
        taken.is_ok()
    }

    /// Whether it is free, clean, and nobody waits for it.
    #[inline]
    pub(crate) fn is_untouched(self) -> bool {
        // SYNC: SeqCst, for a reader of `rwlock.rs`; Acquire, with the Release in `release`.
        self.words.word.load(Ordering::SeqCst) == 0
    }

    /// The last death of an owner that was noted.
    #[cold]
    pub(crate) fn last_death(self) -> Box<Death> {
        Box::new(self.words.died.read().unwrap_or_else(|| Death::of_pid(0)))
    }

    /// Forgets whose death was noted last.
    #[cold]
    pub(crate) fn forget_death(self) {
        self.words.died.clear();
    }

    /// Frees the lock if this process has it.
    pub(crate) fn release_own(self) -> Result<(), NotHeld> {
        self.release_if_own(self.segment.known_row().ok_or(NotHeld)?)
    }

    /// Takes the lock if that needs no waiting, from a dead owner too. Else the release by its owner is marked, which
    /// `release_telling` tells, and what the caller did before is seen by who is told.
    pub(crate) fn acquire_or_mark(self) -> Result<Option<Acquired>, AcquireFailure> {
        let word = &self.words.word;
        loop {
            match self.acquire(&mut Wait::now()) {
                Ok(acquired) => return Ok(Some(acquired)),
                Err(AcquireFailure::GaveUp(_)) => {}
                Err(why) => return Err(why),
            }
            let seen = word.load(Ordering::Relaxed);
            if seen & Token::MASK == 0 {
                continue;
            }
            // SYNC: Release, with the owner's fence after `release_telling`; also where the mark is there already.
            let marked =
                word.compare_exchange(seen, seen | WAITERS, Ordering::Release, Ordering::Relaxed);
            if marked.is_ok() {
                return Ok(None);
            }
        }
    }

    /// The quick part of `acquire_recursive`: false says nothing but that the rest has to be done.
    #[inline]
    pub(crate) fn acquire_recursive_fast(self) -> bool {
        if self.words.word.load(Ordering::Relaxed) != 0 {
            return matches!(self.acquire_again(), Ok(true));
        }
        let taken = self.acquire_fast();
        if taken {
            self.words.depth.store(1, Ordering::Relaxed);
            self.words.thread.store(thread_id(), Ordering::Relaxed);
        }
        taken
    }

    /// Runs `work` with the lock held if that is free or this thread's; None says nothing but that it was not run. The
    /// work must not panic, and be so short that nobody minds not knowing which thread holds the lock.
    #[inline]
    pub(crate) fn with_lock_fast<R>(self, work: impl FnOnce() -> R) -> Option<R> {
        if self.words.word.load(Ordering::Relaxed) != 0 {
            return matches!(self.is_mine(), Ok(true)).then(work);
        }
        if !self.acquire_fast() {
            return None;
        }
        let result = work();
        if !self.release_fast(|| {}) {
            let _ = self.release();
        }
        Some(result)
    }

    /// Takes the lock once more if this thread has it; false when it has not.
    #[inline]
    fn acquire_again(self) -> Result<bool, Error> {
        if !self.is_mine()? {
            return Ok(false);
        }
        // Only this thread changes the depth while it owns the lock.
        let depth = self.words.depth.load(Ordering::Relaxed);
        let deeper = depth
            .checked_add(1)
            .ok_or_else(|| Error::Limit("a lock was taken 2^32 times by one thread".into()))?;
        self.words.depth.store(deeper, Ordering::Relaxed);
        Ok(true)
    }

    /// As `acquire`, but the thread that holds the lock may take it again.
    #[inline]
    pub(crate) fn acquire_recursive(self, wait: &mut Wait<'_>) -> Result<Acquired, AcquireFailure> {
        if self.acquire_again()? {
            return Ok(Acquired::Clean);
        }
        let acquired = self.acquire(wait)?;
        self.words.depth.store(1, Ordering::Relaxed);
        self.words.thread.store(thread_id(), Ordering::Relaxed);
        Ok(acquired)
    }

    /// Frees the lock, whoever holds it.
    #[inline]
    pub(crate) fn release(self) -> Result<(), NotHeld> {
        self.release_awaited().map(drop)
    }

    /// As `release`; says whether others wait.
    #[inline]
    fn release_awaited(self) -> Result<bool, NotHeld> {
        let word = &self.words.word;
        let mut seen = word.load(Ordering::Relaxed);
        loop {
            if seen & Token::MASK == 0 {
                return Err(NotHeld);
            }
            // SYNC: Release, with the Acquire of the next owner.
            match word.compare_exchange_weak(
                seen,
                seen & POISONED,
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => break,
                Err(other) => seen = other,
            }
        }
        let awaited = seen & WAITERS != 0;
        if awaited {
            self.wake_one();
        }
        Ok(awaited)
    }

    #[cold]
    fn wake_one(self) {
        kill_point!(UserLockFreed);
        futex::wake(&self.words.word, 1);
    }

    /// The quick part of `release` for an owner that nobody waits for, and `work` before it, which must not panic:
    /// false says that nothing was done.
    #[inline]
    pub(crate) fn release_fast(self, work: impl FnOnce()) -> bool {
        let Some(me) = self.segment.known_row() else { return false };
        let word = &self.words.word;
        if word.load(Ordering::Relaxed) != me.bits() {
            return false;
        }
        work();
        // SYNC: as in `release`.
        if word.compare_exchange(me.bits(), 0, Ordering::Release, Ordering::Relaxed).is_err() {
            // Somebody came to wait, or released it, which any process may: then there is nothing to do.
            let _ = self.release_if_own(me);
        }
        true
    }

    /// Frees the lock of this process and says whether others wait, or marked it with `acquire_or_mark`. A caller that
    /// is told fences before it looks at what they did.
    #[inline]
    pub(crate) fn release_telling(self) -> bool {
        let me = self.segment.known_row().map_or(0, Token::bits);
        let word = &self.words.word;
        // SYNC: as in `release`.
        if word.compare_exchange(me, 0, Ordering::Release, Ordering::Relaxed).is_ok() {
            return false;
        }
        // Of another process: a broken peer's doing, or this is a child that was forked in a wait, and has nothing.
        let is_own = self.words.word.load(Ordering::Relaxed) & Token::MASK == me;
        is_own && self.release_awaited().unwrap_or(false)
    }

    /// Lets `is_mine` say that the lock, which this process has, is the calling thread's, or nobody's in particular.
    pub(crate) fn note_thread(self, mine: bool) {
        let thread = if mine { thread_id() } else { 0 };
        self.words.thread.store(thread, Ordering::Relaxed);
    }

    #[cold]
    fn release_if_own(self, me: Token) -> Result<(), NotHeld> {
        let word = self.words.word.load(Ordering::Relaxed);
        if Token::from_bits(word) == Some(me) { self.release() } else { Err(NotHeld) }
    }

    /// Undoes one `acquire_recursive` of this thread.
    #[inline]
    pub(crate) fn release_recursive(self) -> Result<(), NotHeld> {
        if !self.is_mine().unwrap_or(false) {
            return Err(NotHeld);
        }
        let depth = self.words.depth.load(Ordering::Relaxed);
        self.words.depth.store(depth.saturating_sub(1), Ordering::Relaxed);
        if depth > 1 {
            return Ok(());
        }
        // Before the word: another thread of this process that takes it next must not find this thread's id there.
        self.words.thread.store(0, Ordering::Relaxed);
        self.release()
    }

    /// Frees the lock however often the caller took it; the number is for `acquire_all`.
    pub(crate) fn release_all(self, recursive: bool) -> u32 {
        let depth = if recursive { self.depth() } else { 1 };
        if recursive {
            self.words.depth.store(0, Ordering::Relaxed);
            self.words.thread.store(0, Ordering::Relaxed);
        }
        let _ = self.release(); // another process may have done it
        depth
    }

    /// Undoes `release_all`, however long it takes.
    pub(crate) fn acquire_all(
        self,
        recursive: bool,
        depth: u32,
    ) -> Result<Acquired, AcquireFailure> {
        let acquired = self.acquire(&mut Wait::forever())?;
        if recursive {
            self.words.depth.store(depth, Ordering::Relaxed);
            self.words.thread.store(thread_id(), Ordering::Relaxed);
        }
        Ok(acquired)
    }

    /// Whether a dead process has the lock, which nobody has noticed yet.
    pub(crate) fn owner_is_dead(self) -> bool {
        let owner = Token::from_bits(self.words.word.load(Ordering::Relaxed));
        owner.is_some_and(|owner| {
            self.segment.known_row() != Some(owner) && !self.segment.roster().is_alive(owner)
        })
    }

    /// Whether the calling thread holds the lock recursively.
    #[inline]
    pub(crate) fn is_mine(self) -> Result<bool, Error> {
        Ok(self.is_owned_by_this_process()?
            && self.words.thread.load(Ordering::Relaxed) == thread_id())
    }

    /// How often the thread that owns it recursively holds it.
    pub(crate) fn depth(self) -> u32 {
        self.words.depth.load(Ordering::Relaxed)
    }

    /// How often any thread of this process holds it: what another thread's view of the depth is good for is to show.
    pub(crate) fn depth_in_process(self, recursive: bool) -> Result<u32, Error> {
        let owned = self.is_owned_by_this_process()?;
        Ok(if owned && recursive { self.depth().max(1) } else { u32::from(owned) })
    }

    pub(crate) fn is_owned_by_this_process(self) -> Result<bool, Error> {
        // A process without a row owns nothing.
        let me = self.segment.known_row();
        let word = self.words.word.load(Ordering::Relaxed);
        Ok(me.is_some() && Token::from_bits(word) == me)
    }

    pub(crate) fn is_locked(self) -> bool {
        self.words.word.load(Ordering::Relaxed) & Token::MASK != 0
    }

    pub(crate) fn is_poisoned(self) -> bool {
        self.words.word.load(Ordering::Relaxed) & POISONED != 0
    }

    #[cold]
    pub(crate) fn poison(self) {
        self.words.died.clear(); // nobody died: a thread panicked
        self.words.word.fetch_or(POISONED, Ordering::Relaxed);
    }

    pub(crate) fn clear_poison(self) {
        self.words.word.fetch_and(!POISONED, Ordering::Relaxed);
    }

    #[cold]
    fn acquire_busy(self, me: Token, wait: &mut Wait<'_>) -> Result<Acquired, AcquireFailure> {
        let is_free = || self.words.word.load(Ordering::Relaxed) & Token::MASK == 0;
        if !wait.is_now() {
            self.spin.until_released(is_free);
        }
        let mut is_counted = false;
        let acquired = self.acquire_sleeping(me, &mut is_counted, wait);
        // In a child that the check forked, the one who was counted is the parent.
        if is_counted && !wait.has_forked() {
            self.words.sleepers.fetch_sub(1, Ordering::Relaxed);
        }
        acquired
    }

    /// WAITERS if others than the caller sleep, which is one of them if it is counted.
    fn mark_of_others(self, is_counted: bool) -> u32 {
        let others = is_counted && self.words.sleepers.load(Ordering::Relaxed) != 1;
        if others { WAITERS } else { 0 }
    }

    fn acquire_sleeping(
        self,
        me: Token,
        is_counted: &mut bool,
        wait: &mut Wait<'_>,
    ) -> Result<Acquired, AcquireFailure> {
        let word = &self.words.word;
        // Whether the owner lives takes five system calls to say: most waits are over before that is worth it.
        let mut look = wait.is_now() || cfg!(loom);
        let mut has_slept = false;
        loop {
            // SYNC: Acquire, with the Release of a mark: a waiter that was counted before a mark that is gone is
            // counted here.
            let seen = word.load(Ordering::Acquire);
            let Some(owner) = Token::from_bits(seen) else {
                // Free, or overwritten by a broken peer: taking it makes it whole.
                let keep = self.mark_of_others(*is_counted);
                let taken = me.bits() | (seen & (POISONED | WAITERS)) | keep;
                if word.compare_exchange(seen, taken, Ordering::Acquire, Ordering::Relaxed).is_ok()
                {
                    self.note_owner(me);
                    kill_point!(UserLockTaken);
                    return Ok(self.how(seen));
                }
                continue;
            };
            if look && owner != me && !self.segment.roster().is_alive(owner) {
                let keep = self.mark_of_others(*is_counted);
                let taken = me.bits() | POISONED | (seen & WAITERS) | keep;
                let death = self.segment.roster().death_of(owner, self.noted_pid(owner));
                if word.compare_exchange(seen, taken, Ordering::Acquire, Ordering::Relaxed).is_ok()
                {
                    self.note_owner(me);
                    self.words.died.note(&death);
                    self.words.depth.store(0, Ordering::Relaxed);
                    self.words.thread.store(0, Ordering::Relaxed);
                    return Ok(Acquired::OwnerDied(Box::new(death)));
                }
                continue;
            }
            let slice = if has_slept || look { wait.slice() } else { wait.first_slice() };
            let slice = match slice {
                Ok(slice) if look => slice,
                Ok(slice) => slice.min(FIRST_LOOK),
                // The last look of a short wait.
                Err(GaveUp::TimedOut) if !look => {
                    look = true;
                    continue;
                }
                Err(why) => {
                    if has_slept {
                        futex::wake(word, 1); // the wake-up that this thread may have used goes on
                    }
                    return Err(why.into());
                }
            };
            if !*is_counted {
                self.words.sleepers.fetch_add(1, Ordering::Relaxed);
                *is_counted = true;
            }
            let marked = seen | WAITERS;
            // SYNC: Release, with the load above, of another sleeper.
            if seen != marked
                && word
                    .compare_exchange(seen, marked, Ordering::Release, Ordering::Relaxed)
                    .is_err()
            {
                continue;
            }
            look = futex::wait(word, marked, Some(slice)) != Woken::Maybe;
            has_slept = true;
        }
    }

    #[inline]
    fn note_owner(self, me: Token) {
        let owner = u64::from(me.bits()) | u64::from(self.segment.known_pid()) << 32;
        self.words.owner.store(owner, Ordering::Relaxed);
    }

    /// The pid that an owner noted; 0 when it died before that.
    fn noted_pid(self, owner: Token) -> u32 {
        let noted = self.words.owner.load(Ordering::Relaxed);
        if noted as u32 == owner.bits() { (noted >> 32) as u32 } else { 0 }
    }

    fn how(self, seen: u32) -> Acquired {
        if seen & POISONED == 0 {
            return Acquired::Clean;
        }
        Acquired::OwnerDied(self.last_death())
    }
}

#[cfg(loom)]
impl LockWords {
    pub(crate) fn new() -> LockWords {
        let word = || AtomicU32::new(0);
        let (owner, died) = (AtomicU64::new(0), DeathWords::new());
        let [thread, depth, sleepers] = [word(), word(), word()];
        LockWords { word: word(), thread, depth, sleepers, owner, died }
    }
}
