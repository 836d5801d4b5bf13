//! The engine's internal lock: short sections, and the kernel hands it on when its owner dies.
//!
//! ```text
//! bits 0-29  thread id of the owner, 0 = free
//! bit 30     OWNER_DIED: set by the kernel, cleared by the next owner, which repairs
//! bit 31     WAITERS: somebody may sleep on the word
//! ```
//! The format is the kernel's (futex(2), FUTEX_TID_MASK and so on). All zero is the fresh, free state.
//!
//! Rule: a thread never holds two of these, since it can tell the kernel of one only. `README.md` has the steps.

use std::mem::ManuallyDrop;

use super::atomic::{AtomicU32, Ordering};
use super::futex::{self, Woken};
use super::kill_point;
use super::wait::{GaveUp, Wait};
#[cfg(not(loom))]
use crate::sys::identity::thread_runs;
#[cfg(not(loom))]
use crate::sys::robust::{ThisThread, known_thread, this_thread};
#[cfg(loom)]
use model::{ThisThread, known_thread, this_thread, thread_runs};

const OWNER: u32 = 0x3fff_ffff;
const OWNER_DIED: u32 = 0x4000_0000;
const WAITERS: u32 = 0x8000_0000;

/// How often a thread spins on a busy lock before sleeping: some 2 us, twenty times a usual section.
const SPINS: u32 = if cfg!(loom) { 1 } else { 100 };

/// How often the processor is offered to others before sleeping: an owner that was preempted inside mostly goes on
/// then, without anybody having to be woken afterwards.
const YIELDS: u32 = if cfg!(loom) { 0 } else { 4 };

/// See the file's head.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct RobustLock(AtomicU32);

/// The right to be in the section; the lock is free again when this is dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct Held<'a> {
    lock: &'a RobustLock,
    /// The owner. Another thread may not unlock, so this is not [`Send`].
    owner: ThisThread,
    owner_died: bool,
}

impl<'a> Held<'a> {
    /// As dropping it, but makes no call: a waiter is woken when the caller drops what this returns.
    #[inline(always)]
    pub(crate) fn leave(self) -> Option<Awaited<'a>> {
        let Held { lock, owner, .. } = *ManuallyDrop::new(self);
        // SYNC: as in `drop`.
        if lock.0.swap(0, Ordering::SeqCst) & WAITERS != 0 {
            return Some(Awaited { lock, owner });
        }
        owner.disarm();
        None
    }

    /// Whether the last owner died inside, so that this one must repair what the lock guards.
    #[inline]
    pub(crate) fn must_repair(&self) -> bool {
        self.owner_died
    }
}

impl Drop for Held<'_> {
    #[inline]
    fn drop(&mut self) {
        // SYNC: Release, with the Acquire of the next owner; SeqCst because sleepers look whether it is held.
        let before = self.lock.0.swap(0, Ordering::SeqCst);
        if before & WAITERS != 0 {
            self.lock.wake_one();
        }
        self.owner.disarm();
    }
}

/// A lock that is free, and whose waiter is woken when this is dropped. The kernel, which is still told of the lock,
/// does it should this thread die before.
#[derive(Debug)]
#[must_use]
pub(crate) struct Awaited<'a> {
    lock: &'a RobustLock,
    owner: ThisThread,
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        self.lock.wake_one();
        self.owner.disarm();
    }
}

impl RobustLock {
    #[cfg(loom)]
    pub(crate) fn new() -> RobustLock {
        RobustLock(AtomicU32::new(0))
    }

    /// Enters the section, however long it takes. Sections are some 100 ns, so this is a matter of a stopped owner.
    #[inline]
    pub(crate) fn lock(&self) -> Held<'_> {
        match self.lock_within(&mut Wait::forever()) {
            Ok(held) => held,
            Err(_) => unreachable!("a wait without deadline and check does not give up"),
        }
    }

    /// Enters the section, or gives up in time: even the engine's own locks keep the caller's deadline.
    #[inline(always)]
    pub(crate) fn lock_within(&self, wait: &mut Wait<'_>) -> Result<Held<'_>, GaveUp> {
        let me = self.announce();
        // The look first, since many that come here have just found it taken: an exchange in vain takes the line away
        // from the owner. A model goes without, which would only try the same once more after each value that there
        // was.
        let seen = if cfg!(loom) { 0 } else { self.0.load(Ordering::Relaxed) };
        match self.try_take(seen, me, 0) {
            Some(held) => Ok(held),
            None => self.lock_busy(me, YIELDS, wait),
        }
    }

    /// As `lock_within`, for a caller that wants to know what became of the owner, not to go on in its place: a waiter
    /// that just woke, for example. It sleeps rather than to offer the processor, which on a busy machine others take,
    /// for long.
    pub(crate) fn visit_within(&self, wait: &mut Wait<'_>) -> Result<Held<'_>, GaveUp> {
        self.lock_busy(self.announce(), 0, wait)
    }

    /// Enters if the lock is free at this moment.
    pub(crate) fn try_lock(&self) -> Option<Held<'_>> {
        let me = self.announce();
        // SYNC: SeqCst: a process that finds it busy may leave something to the holder, which looks after its unlock.
        let held = self.try_take(self.0.load(Ordering::SeqCst), me, 0);
        if held.is_none() {
            me.disarm();
        }
        held
    }

    /// As `try_lock`, but not after a death: nothing is to be repaired. It makes no call, and may refuse for no reason.
    #[inline(always)]
    pub(crate) fn lock_fast(&self) -> Option<Held<'_>> {
        let me = known_thread()?;
        debug_assert!(!me.is_armed(), "internal locks never nest");
        me.arm(&self.0);
        if self.0.compare_exchange(0, me.id(), Ordering::SeqCst, Ordering::Relaxed).is_err() {
            me.disarm();
            return None;
        }
        kill_point!(LockTaken);
        Some(Held { lock: self, owner: me, owner_died: false })
    }

    /// Tells the kernel that the calling thread is about this word.
    #[inline]
    fn announce(&self) -> ThisThread {
        let me = this_thread();
        debug_assert!(!me.is_armed(), "internal locks never nest");
        me.arm(&self.0);
        me
    }

    #[cold]
    fn wake_one(&self) {
        kill_point!(LockFreedBeforeWake);
        futex::wake(&self.0, 1);
    }

    /// Whether somebody is inside, or died there.
    #[inline]
    pub(crate) fn is_held(&self) -> bool {
        // SYNC: SeqCst, after `announce` of a sleeper; see README.md.
        self.0.load(Ordering::SeqCst) != 0
    }

    #[cold]
    fn lock_busy(
        &self,
        me: ThisThread,
        mut yields: u32,
        wait: &mut Wait<'_>,
    ) -> Result<Held<'_>, GaveUp> {
        // A caller that wants an answer at once still waits out a section: "empty" must be true, not a guess.
        let mut long_enough = Wait::timeout(super::wait::SLICE * 2);
        let wait = if wait.is_now() { &mut long_enough } else { wait };
        let mut keep = 0;
        let mut spins = if super::spin::processors() > 1 { SPINS } else { 0 };
        loop {
            let seen = self.0.load(Ordering::Relaxed);
            if seen & OWNER == 0 {
                if let Some(held) = self.try_take(seen, me, keep) {
                    return Ok(held);
                }
                continue;
            }
            // Sections never nest, so it is not this thread that is inside, but one that died with the same number.
            if seen & OWNER == me.id() {
                if let Some(held) = self.take_over(seen, me) {
                    return Ok(held);
                }
                continue;
            }
            if spins > 0 {
                spins -= 1;
                std::hint::spin_loop();
                continue;
            }
            if yields > 0 {
                yields -= 1;
                std::thread::yield_now();
                continue;
            }
            let marked = seen | WAITERS;
            if seen != marked
                && self
                    .0
                    .compare_exchange(seen, marked, Ordering::SeqCst, Ordering::Relaxed)
                    .is_err()
            {
                continue;
            }
            // The caller's check may use other objects, whose locks are announced and taken back in the same place, or
            // fork: so nothing is announced meanwhile. The word is marked already; a wake-up finds others, or no
            // sleeper.
            me.disarm();
            let slice = wait.slice();
            let slice = match slice {
                Ok(slice) => slice,
                Err(gave_up) => {
                    if keep != 0 {
                        // This thread may have been the one that an unlock woke: pass that on.
                        futex::wake(&self.0, 1);
                    }
                    return Err(gave_up);
                }
            };
            me.arm(&self.0);
            let woken = futex::wait(&self.0, marked, Some(slice));
            // From here on others may still sleep whose mark the unlocking owner took away.
            keep = WAITERS;
            // The net for an owner that the kernel was not told of.
            if woken == Woken::TimedOut && !thread_runs(marked & OWNER) {
                if let Some(held) = self.take_over(marked, me) {
                    return Ok(held);
                }
            }
        }
    }

    /// Takes the lock from an owner that is dead and did not tell the kernel.
    #[cold]
    fn take_over(&self, seen: u32, me: ThisThread) -> Option<Held<'_>> {
        let taken = me.id() | WAITERS;
        self.0.compare_exchange(seen, taken, Ordering::SeqCst, Ordering::Relaxed).ok()?;
        kill_point!(LockTaken);
        Some(Held { lock: self, owner: me, owner_died: true })
    }

    #[inline]
    fn try_take(&self, seen: u32, me: ThisThread, keep: u32) -> Option<Held<'_>> {
        if seen & OWNER != 0 {
            return None;
        }
        let taken = me.id() | (seen & WAITERS) | keep;
        self.0.compare_exchange(seen, taken, Ordering::SeqCst, Ordering::Relaxed).ok()?;
        kill_point!(LockTaken);
        Some(Held { lock: self, owner: me, owner_died: seen & OWNER_DIED != 0 })
    }

    /// What the kernel does when the owner dies inside, for models and tests.
    #[cfg(loom)]
    pub(crate) fn owner_dies(held: Held<'_>) {
        let word = &held.lock.0;
        let before = word.load(Ordering::SeqCst);
        let mut seen = before;
        while let Err(other) = word.compare_exchange(
            seen,
            seen & WAITERS | OWNER_DIED,
            Ordering::SeqCst,
            Ordering::SeqCst,
        ) {
            seen = other;
        }
        if seen & WAITERS != 0 {
            futex::wake(word, 1);
        }
        std::mem::forget(held);
    }
}

/// In a model nobody dies unannounced, and threads have ids of the model's own.
#[cfg(loom)]
mod model {
    use super::AtomicU32;

    loom::thread_local! {
        static ID: std::cell::Cell<u32> = std::cell::Cell::new(0);
    }
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);

    #[derive(Clone, Copy, Debug)]
    pub(super) struct ThisThread(u32);

    pub(super) fn known_thread() -> Option<ThisThread> {
        Some(this_thread())
    }

    pub(super) fn this_thread() -> ThisThread {
        ID.with(|id| {
            if id.get() == 0 {
                id.set(NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed) & super::OWNER);
            }
            ThisThread(id.get())
        })
    }

    impl ThisThread {
        pub(super) fn id(self) -> u32 {
            self.0
        }
        pub(super) fn arm(self, _word: &AtomicU32) {}
        pub(super) fn disarm(self) {}
        pub(super) fn is_armed(self) -> bool {
            false
        }
    }

    pub(super) fn thread_runs(_id: u32) -> bool {
        true
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::process::Command;
    use std::time::{Duration, Instant};

    use super::*;

    /// The net: an owner that the kernel was not told of is a zombie, since its parent does something else.
    #[test]
    fn a_zombie_is_not_waited_for() {
        let mut child = Command::new("true").spawn().unwrap();
        let stat = format!("/proc/{}/stat", child.id());
        let start = Instant::now();
        while !std::fs::read_to_string(&stat).unwrap().contains(") Z ") {
            assert!(start.elapsed() < Duration::from_secs(120), "the child does not end");
            std::thread::sleep(Duration::from_millis(1));
        }
        let lock = RobustLock(AtomicU32::new(child.id()));
        let held = lock.lock_within(&mut Wait::timeout(Duration::from_secs(120))).unwrap();
        assert!(held.must_repair());
        drop(held);
        assert!(!lock.is_held());
        child.wait().unwrap();
    }

    #[test]
    fn what_an_earlier_thread_with_this_number_left_is_taken_over() {
        let lock = RobustLock(AtomicU32::new(this_thread().id()));
        assert!(
            lock.lock_within(&mut Wait::timeout(Duration::from_secs(120))).unwrap().must_repair()
        );
        assert!(!lock.is_held());
    }
}
