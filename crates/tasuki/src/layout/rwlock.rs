//! A lock that many readers or one writer have. `README.md` has the steps and why nobody is forgotten.
//!
//! Writers exclude each other by a user's lock, and readers that find one go through it, too. A reader that meets no
//! writer changes one word: the place of its process.
#![allow(unsafe_code)] // declares which types may lie in shared memory

use super::failure::AcquireFailure;
use super::lock::{Acquired, LockView, NotHeld};
use crate::error::Error;
use crate::segment::{Shared, Token};
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence, in_single_order};
use crate::sync::futex::Woken;
use crate::sync::{GaveUp, Spin, Wait, futex, kill_point};

/// How many processes can read at a time; a further one waits.
pub(crate) const PLACES: usize = if cfg!(loom) { 2 } else { 128 };

/// The holder of the lock may change what it guards.
const WRITING: u32 = 1;
/// A writer died, or panicked, in the middle of that.
const POISONED: u32 = 2;
/// And from this bit on: a process once read on this line of places. It stays, so that writers look at few lines.
const FIRST_LINE: u32 = 1 << 16;

/// How many places are on a cache line.
const PER_LINE: usize = 8;

const _: () = assert!(PLACES.div_ceil(PER_LINE) <= 16, "a bit for each line");

/// What there is beside the lock of the writers.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct ReaderWords {
    left: AtomicU32,
    state: AtomicU32,
    places: Places,
}

/// On lines of their own: readers write them, and look at the rest.
#[derive(Debug)]
#[repr(C, align(64))]
struct Places([AtomicU64; PLACES]);

// SAFETY: atomics only.
unsafe impl Shared for ReaderWords {}

/// A lock's words, with what is this process's own.
#[derive(Clone, Copy)]
pub(crate) struct RwLockView<'a> {
    pub(crate) writer: LockView<'a>,
    pub(crate) readers: &'a ReaderWords,
    pub(crate) spin: &'a Spin,
}

#[inline]
fn place_of(owner: Token, count: u32) -> u64 {
    u64::from(owner.bits()) << 32 | u64::from(count)
}

/// The bits of the token, and the count.
#[inline]
fn parts_of(place: u64) -> (u32, u32) {
    ((place >> 32) as u32, place as u32)
}

/// Counts one more reading of `me` in this place, unless another process has it.
#[inline]
fn count_up(place: &AtomicU64, me: Token) -> bool {
    let mut seen = place.load(Ordering::Relaxed);
    loop {
        let (owner, count) = parts_of(seen);
        if seen != 0 && (owner != me.bits() || count == u32::MAX) {
            return false;
        }
        // SYNC: SeqCst, before the look at the lock, with the fence in `write`; Acquire, with the Release of the lock.
        let next = place_of(me, count + 1);
        match place.compare_exchange(seen, next, Ordering::SeqCst, Ordering::Relaxed) {
            Ok(_) => return true,
            Err(other) => seen = other,
        }
    }
}

/// Counts one reading of `me` off in this place, and gives how often it still reads; None: it does not read here.
#[inline]
fn count_down(place: &AtomicU64, me: Token) -> Option<u32> {
    let mut seen = place.load(Ordering::Relaxed);
    loop {
        let (owner, count) = parts_of(seen);
        if owner != me.bits() || count == 0 {
            return None;
        }
        let left = count - 1;
        let next = if left > 0 { place_of(me, left) } else { 0 };
        // SYNC: SeqCst, before the look at the lock, and Release, with the look of a writer.
        match place.compare_exchange(seen, next, Ordering::SeqCst, Ordering::Relaxed) {
            Ok(_) => return Some(left),
            Err(other) => seen = other,
        }
    }
}

impl RwLockView<'_> {
    /// Begins to read; several threads of a process may.
    pub(crate) fn read(self, wait: &mut Wait<'_>) -> Result<Acquired, AcquireFailure> {
        if self.read_fast() {
            return Ok(Acquired::Clean);
        }
        self.read_behind_writer(wait)
    }

    /// The quick part of `read`: false says nothing but that the rest has to be done.
    #[inline]
    pub(crate) fn read_fast(self) -> bool {
        let Some(me) = self.writer.segment.known_row() else { return false };
        if !self.writer.is_untouched() || !self.take_place(me) {
            return false;
        }
        kill_point!(ReaderCounted);
        in_single_order();
        // SYNC: after the place was counted, with the fence in `write`. What is poisoned, was before the lock was free.
        if self.writer.is_untouched() && !self.is_poisoned() {
            return true;
        }
        let _ = self.leave(me); // nobody else changes it
        false
    }

    #[cold]
    fn read_behind_writer(self, wait: &mut Wait<'_>) -> Result<Acquired, AcquireFailure> {
        let me = self.writer.segment.my_row()?;
        let acquired = self.take_lock(wait)?;
        self.wait_until(|| self.take_place(me), wait)?;
        kill_point!(ReaderPlaced);
        let _ = self.writer.release_own(); // a broken peer may have done it
        Ok(acquired)
    }

    /// Ends one `read` of this process.
    #[inline]
    pub(crate) fn end_read(self) -> Result<(), NotHeld> {
        self.leave(self.writer.segment.known_row().ok_or(NotHeld)?)
    }

    /// Begins to write, when nobody reads or writes.
    pub(crate) fn write(self, wait: &mut Wait<'_>) -> Result<Acquired, AcquireFailure> {
        let acquired = self.take_lock(wait)?;
        // SYNC: between the lock and the look at the places, with `read_fast` and `leave`.
        fence(Ordering::SeqCst);
        self.wait_until(|| self.nobody_reads(), wait)?;
        self.readers.state.fetch_or(WRITING, Ordering::Relaxed);
        kill_point!(WriterIn);
        Ok(acquired)
    }

    /// Ends the `write` of this process.
    pub(crate) fn end_write(self) -> Result<(), NotHeld> {
        if !self.is_written_here() {
            return Err(NotHeld);
        }
        self.readers.state.fetch_and(!WRITING, Ordering::Relaxed);
        kill_point!(WriterOut);
        self.writer.release_own()
    }

    /// Whether this process writes.
    pub(crate) fn is_written_here(self) -> bool {
        self.writer.is_owned_by_this_process().unwrap_or(false)
            && self.readers.state.load(Ordering::Relaxed) & WRITING != 0
    }

    /// How often any process reads at this moment.
    pub(crate) fn reading(self) -> u64 {
        let counts =
            self.readers.places.0.iter().map(|place| parts_of(place.load(Ordering::Relaxed)));
        counts.map(|(_, count)| u64::from(count)).sum()
    }

    /// Whether any process writes, or is about to.
    pub(crate) fn is_wanted_by_writer(self) -> bool {
        self.writer.is_locked()
    }

    #[inline]
    pub(crate) fn is_poisoned(self) -> bool {
        self.readers.state.load(Ordering::Relaxed) & POISONED != 0
    }

    /// As if a writer had died; the caller writes.
    #[cold]
    pub(crate) fn poison(self) {
        self.writer.forget_death(); // nobody died: a thread panicked
        self.readers.state.fetch_or(POISONED, Ordering::Relaxed);
    }

    pub(crate) fn clear_poison(self) {
        self.readers.state.fetch_and(!POISONED, Ordering::Relaxed);
    }

    /// Takes the lock of the writers, and finds out what a dead holder of it was doing.
    fn take_lock(self, wait: &mut Wait<'_>) -> Result<Acquired, AcquireFailure> {
        if self.writer.is_mine()? {
            return Err(Error::Reentrant(
                "this thread waits for the readers of this lock already, and what interrupted that would wait for it".into(),
            )
            .into());
        }
        let state = &self.readers.state;
        if let Acquired::OwnerDied(_) = self.writer.acquire(wait)? {
            if state.load(Ordering::Relaxed) & WRITING != 0 {
                // One after the other: who dies between leaves both, and the next one comes here again.
                state.fetch_or(POISONED, Ordering::Relaxed);
                state.fetch_and(!WRITING, Ordering::Relaxed);
                kill_point!(WriterPoisoned);
            }
            self.writer.clear_poison();
        }
        Ok(match self.is_poisoned() {
            false => Acquired::Clean,
            true => Acquired::OwnerDied(self.writer.last_death()),
        })
    }

    /// All places by their numbers, from the one where this process looks first: few processes begin on the same line.
    #[inline]
    fn places_of(me: Token) -> (usize, impl Iterator<Item = usize>) {
        let first = me.row() * PER_LINE % PLACES;
        (first, (first..PLACES).chain(0..first).skip(1))
    }

    /// Counts one more reading of `me`; false: all places are taken.
    #[inline]
    fn take_place(self, me: Token) -> bool {
        let (first, mut others) = Self::places_of(me);
        self.take(first, me) || others.any(|place| self.take(place, me))
    }

    #[inline]
    fn take(self, place: usize, me: Token) -> bool {
        let line = FIRST_LINE << (place / PER_LINE);
        // SYNC: SeqCst, before the caller's look at the lock, with the load in `nobody_reads`.
        if self.readers.state.load(Ordering::SeqCst) & line == 0 {
            self.readers.state.fetch_or(line, Ordering::SeqCst);
        }
        count_up(&self.readers.places.0[place], me)
    }

    /// Counts one reading of `me` off, and wakes the writer that may wait for that.
    #[inline]
    fn leave(self, me: Token) -> Result<(), NotHeld> {
        let places = &self.readers.places.0;
        let (first, mut others) = Self::places_of(me);
        let left = count_down(&places[first], me)
            .or_else(|| others.find_map(|place| count_down(&places[place], me)));
        in_single_order();
        if left.ok_or(NotHeld)? == 0 && !self.writer.is_untouched() {
            self.tell_writer();
        }
        Ok(())
    }

    #[cold]
    fn tell_writer(self) {
        kill_point!(ReaderLeft);
        // SYNC: SeqCst, with the load in `sleep_until`.
        self.readers.left.fetch_add(1, Ordering::SeqCst);
        futex::wake(&self.readers.left, 1);
    }

    fn nobody_reads(self) -> bool {
        // SYNC: SeqCst, after the fence in `write`; Acquire, with the counting off of the last reader.
        let free = |place: &AtomicU64| place.load(Ordering::SeqCst) == 0;
        let state = self.readers.state.load(Ordering::SeqCst);
        let lines = self.readers.places.0.chunks(PER_LINE).enumerate();
        let mut used = lines.filter(|(line, _)| state & FIRST_LINE << line != 0);
        used.all(|(_, places)| places.iter().all(free))
    }

    /// Waits until `ready`, which becomes true when readers leave. The caller has the lock, which is given back on
    /// an error.
    fn wait_until(
        self,
        ready: impl Fn() -> bool,
        wait: &mut Wait<'_>,
    ) -> Result<(), AcquireFailure> {
        if ready() || (!wait.is_now() && self.spin.until(&ready)) {
            return Ok(());
        }
        // What interrupts this and asks for the lock gets an error.
        self.writer.note_thread(true);
        let result = self.sleep_until(ready, wait);
        // The child that a check forked is not the one that has the lock.
        if !wait.has_forked() {
            self.writer.note_thread(false);
            if result.is_err() {
                let _ = self.writer.release_own(); // a broken peer may have done it
            }
        }
        Ok(result?)
    }

    fn sleep_until(self, ready: impl Fn() -> bool, wait: &mut Wait<'_>) -> Result<(), GaveUp> {
        let left = &self.readers.left;
        // In a model no time passes after which to look.
        let mut look = cfg!(loom);
        let mut has_slept = false;
        loop {
            if look {
                self.free_places_of_the_dead();
            }
            // SYNC: SeqCst, before the look, with the count of a reader that leaves after it.
            let seen = left.load(Ordering::SeqCst);
            in_single_order();
            if ready() {
                return Ok(());
            }
            let slice = if has_slept { wait.slice() } else { wait.first_slice() };
            let slice = match slice {
                Ok(slice) => slice,
                Err(why) => {
                    if !wait.has_forked() {
                        self.free_places_of_the_dead();
                        if why == GaveUp::TimedOut && ready() {
                            return Ok(());
                        }
                    }
                    return Err(why);
                }
            };
            kill_point!(WriterWaits);
            look = futex::wait(left, seen, Some(slice)) != Woken::Maybe;
            has_slept = true;
        }
    }

    #[cold]
    fn free_places_of_the_dead(self) {
        let roster = self.writer.segment.roster();
        for place in &self.readers.places.0 {
            let seen = place.load(Ordering::Relaxed);
            let owner = Token::from_bits(parts_of(seen).0);
            if seen != 0 && !owner.is_some_and(|owner| roster.is_alive(owner)) {
                // SYNC: as when the reader itself leaves.
                let _ = place.compare_exchange(seen, 0, Ordering::SeqCst, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(loom)]
impl ReaderWords {
    pub(crate) fn new() -> ReaderWords {
        let places = std::array::from_fn(|_| AtomicU64::new(0));
        ReaderWords { left: AtomicU32::new(0), state: AtomicU32::new(0), places: Places(places) }
    }
}
