//! The users' semaphore: permits in a pool, and a ledger of who owns some, so that those of the dead come back.
//!
//! ```text
//! lock     everything below changes under it
//! bell     rung before permits come
//! pool     permits that no bare acquire took
//! owned    the sum of the ledger; added up anew by who repairs
//! looked   the half second in which a sleeper last looked for dead owners
//! died     a death that nobody has been told of yet
//! ledger   [n] u64: bits 0-29 token of the owner, 0 = free entry | bits 32-63 how many permits it owns
//! ```
//! Available are `pool - owned`. Each operation commits with one store: `README.md` has the steps and what is feared.
#![allow(unsafe_code)] // declares which types may lie in shared memory

use crate::layout::lock::{Acquired, NotAcquired};
use crate::segment::death::DeathWords;
use crate::segment::{Segment, Shared, Token};
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::sync::wait::SLICE;
use crate::sync::{GaveUp, Held, RobustLock, SleepWord, Spin, Wait, kill_point};
use crate::sys::clock;

/// The most permits that a semaphore can have: the standard library's `SEM_VALUE_MAX`.
pub(crate) const MOST: u32 = i32::MAX as u32;

/// How many processes can own permits of a semaphore with so many at the beginning.
pub(crate) fn owners(initial: u32) -> usize {
    (initial as usize).clamp(FEWEST_OWNERS, MOST_OWNERS)
}

pub(crate) const FEWEST_OWNERS: usize = 8;
/// What still fits into the arenas that small objects share.
pub(crate) const MOST_OWNERS: usize = 500;

/// The state of one semaphore but its ledger, which follows.
#[derive(Debug)]
#[repr(C, align(8))]
pub(crate) struct SemaphoreWords {
    pub(super) lock: RobustLock,
    pub(super) bell: SleepWord,
    pool: AtomicU32,
    pub(super) owned: AtomicU32,
    looked: AtomicU32,
    died: DeathWords,
}

// SAFETY: atomics, a lock and a bell only.
unsafe impl Shared for SemaphoreWords {}

/// Whose a permit is that is being acquired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permit {
    /// Nobody's: whoever likes releases it.
    Bare,
    /// This process's: it comes back when the process dies.
    Owned(Token),
}

/// There would be more permits than the semaphore may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

/// A semaphore's words with the segment whose roster says who lives.
#[derive(Clone, Copy)]
pub(crate) struct SemaphoreView<'a> {
    pub(crate) words: &'a SemaphoreWords,
    pub(crate) ledger: &'a [AtomicU64],
    pub(crate) segment: &'a Segment,
    pub(crate) spin: &'a Spin,
    /// The most permits there may be.
    pub(crate) max: u32,
}

fn entry(owner: Token, count: u32) -> u64 {
    if count == 0 { 0 } else { u64::from(owner.bits()) | u64::from(count) << 32 }
}

fn owner_of(entry: u64) -> Option<Token> {
    Token::from_bits(entry as u32).filter(|_| count_of(entry) > 0)
}

fn count_of(entry: u64) -> u32 {
    (entry >> 32) as u32
}

impl SemaphoreWords {
    #[cfg(loom)]
    pub(crate) fn new() -> SemaphoreWords {
        SemaphoreWords {
            lock: RobustLock::new(),
            bell: SleepWord::new(),
            pool: AtomicU32::new(0),
            owned: AtomicU32::new(0),
            looked: AtomicU32::new(0),
            died: DeathWords::new(),
        }
    }

    /// Before anybody else has the semaphore.
    pub(crate) fn begin(&self, initial: u32) {
        self.pool.store(initial, Ordering::Relaxed);
    }
}

impl SemaphoreView<'_> {
    /// Takes a permit, waiting for one.
    #[inline]
    pub(crate) fn acquire(
        self,
        permit: Permit,
        wait: &mut Wait<'_>,
    ) -> Result<Acquired, NotAcquired> {
        match self.take_if_available(permit, wait)? {
            Some(acquired) => Ok(acquired),
            None => self.acquire_later(permit, wait),
        }
    }

    /// The quick part of `acquire`: nobody is looked for who died. None when no permit is available.
    #[inline]
    pub(crate) fn take_if_available(
        self,
        permit: Permit,
        wait: &mut Wait<'_>,
    ) -> Result<Option<Acquired>, GaveUp> {
        let held = self.enter(wait)?;
        Ok(self.take(&held, permit))
    }

    /// Takes a permit without waiting for anything; false says nothing but that `acquire` has to look.
    #[inline]
    pub(crate) fn take_quickly(self, permit: Permit) -> bool {
        let Some(held) = self.words.lock.try_lock() else { return false };
        self.repair(&held);
        !self.words.died.is_noted() && self.take(&held, permit).is_some()
    }

    /// Adds `count` permits, which were nobody's.
    #[inline]
    pub(crate) fn release(self, count: u32) -> Result<(), TooMany> {
        let _held = self.enter_for_sure();
        self.release_bare(count)
    }

    /// Gives back a permit that this process owns; if it owns none, as `release`.
    #[inline]
    pub(crate) fn release_owned(self, me: Token) -> Result<(), TooMany> {
        let _held = self.enter_for_sure();
        let Some((place, seen)) = self.find(me, |seen| owner_of(seen) == Some(me)) else {
            return self.release_bare(1);
        };
        let enough = self.available() >= self.max;
        if enough {
            // Others released what this process owned. In this order a death in between leaves it to the ledger.
            let pool = self.words.pool.load(Ordering::Relaxed);
            self.words.pool.store(pool.saturating_sub(1), Ordering::Relaxed);
        } else {
            self.words.bell.ring(1);
            kill_point!(SemaphoreRung);
        }
        place.store(entry(me, count_of(seen) - 1), Ordering::Relaxed);
        kill_point!(SemaphoreGiven);
        self.count_owned(-1);
        if enough { Err(TooMany) } else { Ok(()) }
    }

    /// How many permits are available, those of the dead among them.
    pub(crate) fn value(self) -> u32 {
        if self.words.owned.load(Ordering::Relaxed) > 0 {
            let done = self.reclaim(&mut Wait::forever());
            debug_assert!(done.is_ok(), "a wait without deadline and check does not give up");
        }
        let _held = self.enter_for_sure();
        self.available()
    }

    #[cold]
    fn acquire_later(self, permit: Permit, wait: &mut Wait<'_>) -> Result<Acquired, NotAcquired> {
        if !wait.is_now() && self.spin.until(|| self.available() > 0) {
            if let Some(acquired) = self.take_if_available(permit, wait)? {
                return Ok(acquired);
            }
        }
        self.reclaim(wait)?;
        if wait.is_now() {
            let taken = self.take_if_available(permit, wait)?;
            return taken.ok_or(NotAcquired::GaveUp(GaveUp::TimedOut));
        }
        loop {
            let announced = self.words.bell.announce();
            kill_point!(SemaphoreAnnounced);
            if let Some(acquired) = self.take_if_available(permit, wait)? {
                return Ok(acquired);
            }
            if let Err(why) = self.words.bell.sleep(announced, wait) {
                return self.give_up(permit, why);
            }
            self.reclaim_in_turn(wait)?;
            if let Some(acquired) = self.take_if_available(permit, wait)? {
                return Ok(acquired);
            }
        }
    }

    /// The last look of one that may have been woken for a permit.
    fn give_up(self, permit: Permit, why: GaveUp) -> Result<Acquired, NotAcquired> {
        let held = self.enter(&mut Wait::now())?;
        match why {
            GaveUp::TimedOut => self.take(&held, permit).ok_or_else(|| why.into()),
            GaveUp::Interrupted => {
                if self.available() > 0 {
                    self.words.bell.ring(1);
                }
                Err(why.into())
            }
        }
    }

    fn enter_for_sure(&self) -> Held<'_> {
        let held = self.words.lock.lock();
        self.repair(&held);
        held
    }

    #[inline]
    fn enter(&self, wait: &mut Wait<'_>) -> Result<Held<'_>, GaveUp> {
        let held = self.words.lock.lock_within(wait)?;
        self.repair(&held);
        Ok(held)
    }

    /// After a death inside: one store committed or did not, and the sum may not know.
    #[inline]
    fn repair(&self, held: &Held<'_>) {
        if held.must_repair() {
            let count = |entry: &AtomicU64| count_of(entry.load(Ordering::Relaxed));
            let owned = self.ledger.iter().map(count).fold(0, u32::saturating_add);
            self.words.owned.store(owned, Ordering::Relaxed);
            self.words.bell.ring_all();
        }
    }

    #[inline]
    fn available(&self) -> u32 {
        let owned = self.words.owned.load(Ordering::Relaxed);
        self.words.pool.load(Ordering::Relaxed).saturating_sub(owned)
    }

    fn count_owned(&self, change: i32) {
        let owned = self.words.owned.load(Ordering::Relaxed);
        self.words.owned.store(owned.saturating_add_signed(change), Ordering::Relaxed);
    }

    #[inline]
    fn take(self, _held: &Held<'_>, permit: Permit) -> Option<Acquired> {
        if self.available() == 0 {
            return None;
        }
        let place = match permit {
            Permit::Bare => None,
            Permit::Owned(me) => {
                let mine_or_free = |seen| owner_of(seen).is_none_or(|owner| owner == me);
                self.find(me, mine_or_free).map(|found| (me, found))
            }
        };
        match place {
            Some((me, (place, seen))) => {
                place.store(entry(me, count_of(seen).saturating_add(1)), Ordering::Relaxed);
                kill_point!(SemaphoreTaken);
                self.count_owned(1);
            }
            None => {
                let pool = self.words.pool.load(Ordering::Relaxed);
                self.words.pool.store(pool.saturating_sub(1), Ordering::Relaxed);
                kill_point!(SemaphoreTakenBare);
            }
        }
        Some(self.news())
    }

    /// The entry of the ledger that suits, from this process's usual place on.
    fn find(&self, me: Token, suits: impl Fn(u64) -> bool) -> Option<(&AtomicU64, u64)> {
        let first = me.row() % self.ledger.len();
        let (before, from) = self.ledger.split_at(first);
        from.iter()
            .chain(before)
            .map(|place| (place, place.load(Ordering::Relaxed)))
            .find(|(_, seen)| suits(*seen))
    }

    /// The death that nobody was told of yet.
    fn news(&self) -> Acquired {
        match self.words.died.read() {
            None => Acquired::Clean,
            Some(death) => {
                self.words.died.clear();
                Acquired::OwnerDied(death)
            }
        }
    }

    fn release_bare(&self, count: u32) -> Result<(), TooMany> {
        if count > self.max.saturating_sub(self.available()) {
            return Err(TooMany);
        }
        self.words.bell.ring(count);
        kill_point!(SemaphoreRung);
        let pool = self.words.pool.load(Ordering::Relaxed);
        self.words.pool.store(pool.saturating_add(count), Ordering::Relaxed);
        kill_point!(SemaphoreGiven);
        Ok(())
    }

    /// `reclaim`, by one sleeper in each half second.
    fn reclaim_in_turn(self, wait: &mut Wait<'_>) -> Result<(), GaveUp> {
        let now = (clock::monotonic().as_millis() / SLICE.as_millis()) as u32;
        let looked = &self.words.looked;
        let last = looked.load(Ordering::Relaxed);
        let order = Ordering::Relaxed;
        if last != now && looked.compare_exchange(last, now, order, order).is_ok() {
            self.reclaim(wait)?;
        }
        Ok(())
    }

    /// Gives back what dead processes own.
    fn reclaim(self, wait: &mut Wait<'_>) -> Result<(), GaveUp> {
        let me = self.segment.known_row();
        let roster = self.segment.roster();
        for place in self.ledger {
            let Some(owner) = owner_of(place.load(Ordering::Relaxed)) else { continue };
            if Some(owner) == me || roster.is_alive(owner) {
                continue;
            }
            let death = roster.death_of(owner, 0);
            let _held = self.enter(wait)?;
            let seen = place.load(Ordering::Relaxed);
            if owner_of(seen) != Some(owner) {
                continue; // somebody else did it
            }
            self.words.died.note(&death);
            kill_point!(SemaphoreNoted);
            self.give_back(place, count_of(seen));
        }
        Ok(())
    }

    fn give_back(&self, place: &AtomicU64, count: u32) {
        let room = self.max.saturating_sub(self.available());
        if count > room {
            let pool = self.words.pool.load(Ordering::Relaxed);
            self.words.pool.store(pool.saturating_sub(count - room), Ordering::Relaxed);
        }
        self.words.bell.ring(count.min(room));
        place.store(0, Ordering::Relaxed);
        kill_point!(SemaphoreReclaimed);
        self.count_owned(-i32::try_from(count).unwrap_or(i32::MAX));
    }
}
