//! The users' semaphore: permits in a pool, and a ledger of who owns some, so that those of the dead come back.
//!
//! ```text
//! lock     a robust lock: the ledger changes under it
//! waiters  a counted event count: permits came
//! permits  u64: bits 0-31 pool, permits that no bare acquire took | bits 32-63 owned, the sum of the ledger
//! looked   the half second in which a sleeper last looked for dead owners
//! died     a death that nobody has been told of yet
//! ledger   [n] u64: bits 0-29 token of the owner, 0 = free entry | bits 32-63 how many permits it owns
//! ```
//! Available are `pool - owned`. What is nobody's changes by one compare-and-swap, without the lock: nobody who was
//! stopped somewhere keeps others from it. `README.md` has the steps and what is feared.
#![allow(unsafe_code)] // declares which types may lie in shared memory

use crate::layout::failure::AcquireFailure;
use crate::layout::lock::Acquired;
use crate::segment::death::DeathWords;
use crate::segment::{Segment, Shared, Token};
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::sync::counted_event_count::Prepared;
use crate::sync::wait::is_first_to_look;
use crate::sync::{CountedEventCount, GaveUp, Held, RobustLock, Spin, Wait, kill_point};

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
    pub(super) waiters: CountedEventCount,
    pub(super) permits: AtomicU64,
    looked: AtomicU32,
    died: DeathWords,
}

// SAFETY: atomics, a lock and an event count only.
unsafe impl Shared for SemaphoreWords {}

/// Whose a permit is that is being acquired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permit {
    /// Nobody's: any process may release it.
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

/// The two numbers in `permits`.
#[derive(Clone, Copy)]
struct Permits {
    pool: u32,
    owned: u32,
}

impl Permits {
    fn new(word: u64) -> Permits {
        Permits { pool: word as u32, owned: (word >> 32) as u32 }
    }

    fn word(self) -> u64 {
        u64::from(self.pool) | u64::from(self.owned) << 32
    }

    fn available(self) -> u32 {
        self.pool.saturating_sub(self.owned)
    }

    /// So many owned ones less, or all: never more than `max` are available for that.
    fn disowned(self, count: u32, max: u32) -> Permits {
        let owned = self.owned.saturating_sub(count);
        Permits { owned, pool: self.pool.min(owned.saturating_add(max)) }
    }
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
            waiters: CountedEventCount::new(),
            permits: AtomicU64::new(0),
            looked: AtomicU32::new(0),
            died: DeathWords::new(),
        }
    }

    /// Before anybody else has the semaphore.
    pub(crate) fn begin(&self, initial: u32) {
        self.permits.store(u64::from(initial), Ordering::Relaxed);
    }
}

impl SemaphoreView<'_> {
    /// Takes a permit, waiting for one.
    #[inline]
    pub(crate) fn acquire(
        self,
        permit: Permit,
        wait: &mut Wait<'_>,
    ) -> Result<Acquired, AcquireFailure> {
        match self.take_if_available(permit, wait)? {
            Some(acquired) => Ok(acquired),
            None => self.acquire_later(permit, wait),
        }
    }

    /// The quick part of `acquire`: the dead are not looked for. None when no permit is available.
    #[inline]
    pub(crate) fn take_if_available(
        self,
        permit: Permit,
        wait: &mut Wait<'_>,
    ) -> Result<Option<Acquired>, GaveUp> {
        match permit {
            Permit::Bare => Ok(self.take_bare().then(|| self.news())),
            Permit::Owned(me) => {
                if self.available() == 0 && !self.words.lock.is_held() {
                    return Ok(None);
                }
                let held = self.enter(wait)?;
                Ok(self.take_owned(&held, me).then(|| self.news_inside(&held)))
            }
        }
    }

    /// Takes a permit without waiting for anything; false says nothing but that `acquire` has to look.
    #[inline]
    pub(crate) fn take_fast(self, permit: Permit) -> bool {
        if self.words.died.is_noted() {
            return false;
        }
        match permit {
            Permit::Bare => self.take_bare(),
            Permit::Owned(me) => {
                self.words.lock.lock_fast().is_some_and(|held| self.take_owned(&held, me))
            }
        }
    }

    /// Adds `count` permits, which were nobody's.
    #[inline]
    pub(crate) fn release(self, count: u32) -> Result<(), TooMany> {
        let added = self.change(|permits| {
            let room = self.max.saturating_sub(permits.available());
            let pool = permits.pool.saturating_add(count);
            (count <= room).then_some(Permits { pool, ..permits })
        });
        if added.is_none() {
            return Err(TooMany);
        }
        kill_point!(SemaphoreGiven);
        self.words.waiters.notify(count);
        Ok(())
    }

    /// Gives back a permit that this process owns; if it owns none, as `release`. Nothing is done if the wait is given
    /// up.
    #[inline]
    pub(crate) fn release_owned(
        self,
        me: Token,
        wait: &mut Wait<'_>,
    ) -> Result<Result<(), TooMany>, GaveUp> {
        let held = self.enter(wait)?;
        Ok(self.give_owned(held, me))
    }

    /// `release_owned` if nobody is inside; None says nothing but that it was not done.
    #[inline]
    pub(crate) fn release_owned_fast(self, me: Token) -> Option<Result<(), TooMany>> {
        Some(self.give_owned(self.words.lock.lock_fast()?, me))
    }

    /// As `release_owned_fast`, if there is room as well.
    #[inline]
    pub(crate) fn release_owned_fast_if_room(self, me: Token) -> Option<Result<(), TooMany>> {
        let held = self.words.lock.lock_fast()?;
        if self.available() >= self.max {
            return None;
        }
        Some(self.give_owned(held, me))
    }

    #[inline]
    fn give_owned(self, held: Held<'_>, me: Token) -> Result<(), TooMany> {
        let is_mine = |seen| seen as u32 == me.bits() && count_of(seen) > 0;
        let Some((place, seen)) = self.find(me, is_mine) else {
            drop(held);
            return self.release(1);
        };
        place.store(entry(me, count_of(seen) - 1), Ordering::Relaxed);
        kill_point!(SemaphoreDisowned);
        let before = self.disown(1);
        drop(held);
        // Others may have released what this process owned: then there is no room for it any more.
        if before.available() >= self.max {
            return Err(TooMany);
        }
        kill_point!(SemaphoreGiven);
        self.words.waiters.notify(1);
        Ok(())
    }

    /// How many permits are available, those of the dead among them.
    pub(crate) fn value(self) -> u32 {
        self.mend();
        if self.permits().owned > 0 {
            let _ = self.reclaim(&mut Wait::attempt()); // later, if somebody was stopped inside
        }
        self.available()
    }

    #[cold]
    fn acquire_later(
        self,
        permit: Permit,
        wait: &mut Wait<'_>,
    ) -> Result<Acquired, AcquireFailure> {
        if !wait.is_now() && self.spin.until(|| self.available() > 0) {
            if let Some(acquired) = self.take_if_available(permit, wait)? {
                return Ok(acquired);
            }
        }
        self.mend();
        // Looking at the owners asks the kernel five things about each: most waits are over before that is worth it.
        let mut looked = wait.is_now() || cfg!(loom);
        if looked {
            self.reclaim(wait)?;
        }
        if wait.is_now() {
            let taken = self.take_if_available(permit, wait)?;
            return taken.ok_or(AcquireFailure::GaveUp(GaveUp::TimedOut));
        }
        let mut prepared = self.words.waiters.prepare();
        let taken = self.sleep_for_one(permit, &mut prepared, &mut looked, wait);
        if !wait.has_forked() {
            self.words.waiters.cancel(prepared);
        }
        taken.or_else(|why| self.give_up(permit, why, looked))
    }

    fn sleep_for_one(
        self,
        permit: Permit,
        prepared: &mut Prepared,
        looked: &mut bool,
        wait: &mut Wait<'_>,
    ) -> Result<Acquired, GaveUp> {
        loop {
            kill_point!(SemaphorePrepared);
            if let Some(acquired) = self.take_if_available(permit, wait)? {
                return Ok(acquired);
            }
            let slice = if *looked { wait.slice()? } else { wait.first_slice()? };
            self.words.waiters.wait(*prepared, slice);
            if let Some(acquired) = self.take_after_sleep(permit, looked, wait)? {
                return Ok(acquired);
            }
            *prepared = self.words.waiters.prepare_again(*prepared);
        }
    }

    fn take_after_sleep(
        self,
        permit: Permit,
        looked: &mut bool,
        wait: &mut Wait<'_>,
    ) -> Result<Option<Acquired>, GaveUp> {
        if let Some(acquired) = self.take_if_available(permit, wait)? {
            return Ok(Some(acquired));
        }
        self.mend();
        if *looked {
            self.reclaim_in_turn(wait)?;
        } else {
            *looked = true;
            self.reclaim(wait)?;
        }
        self.take_if_available(permit, wait)
    }

    /// The last look of one that may have been woken for a permit.
    fn give_up(
        self,
        permit: Permit,
        why: GaveUp,
        looked: bool,
    ) -> Result<Acquired, AcquireFailure> {
        if why == GaveUp::TimedOut {
            self.mend();
            if !looked {
                let _ = self.reclaim(&mut Wait::attempt()); // not if somebody was stopped inside
            }
            if let Ok(Some(acquired)) = self.take_if_available(permit, &mut Wait::attempt()) {
                return Ok(acquired);
            }
        }
        // The notification that this one may have used up goes on: it comes after its permits.
        if self.available() > 0 {
            self.words.waiters.notify(1);
        }
        Err(why.into())
    }

    #[inline]
    fn enter(&self, wait: &mut Wait<'_>) -> Result<Held<'_>, GaveUp> {
        let held = self.words.lock.lock_within(wait)?;
        self.repair(&held);
        Ok(held)
    }

    /// Looks whether somebody died inside; not if somebody is there.
    #[inline]
    fn mend(&self) {
        if self.words.lock.is_held() {
            if let Some(held) = self.words.lock.try_lock() {
                self.repair(&held);
            }
        }
    }

    /// After a death inside: the ledger says what is owned, and the sum may not know.
    #[inline]
    fn repair(&self, held: &Held<'_>) {
        if held.must_repair() {
            let count = |entry: &AtomicU64| count_of(entry.load(Ordering::Relaxed));
            let owned = self.ledger.iter().map(count).fold(0, u32::saturating_add);
            self.change(|permits| Some(Permits { owned, ..permits }.disowned(0, self.max)));
            self.words.waiters.notify_all();
        }
    }

    #[inline]
    fn permits(&self) -> Permits {
        // SYNC: SeqCst, after `prepare` of a sleeper and before `notify` of a releaser; Acquire is with the swap in
        // `change`.
        Permits::new(self.words.permits.load(Ordering::SeqCst))
    }

    #[inline]
    fn available(&self) -> u32 {
        self.permits().available()
    }

    /// Replaces the two numbers by what `next` makes of them, and returns those before; None when `next` says so.
    #[inline]
    fn change(&self, next: impl Fn(Permits) -> Option<Permits>) -> Option<Permits> {
        let word = &self.words.permits;
        // SYNC: SeqCst, after `prepare` of a sleeper.
        let mut seen = word.load(Ordering::SeqCst);
        loop {
            let permits = Permits::new(seen);
            let changed = next(permits)?.word();
            // SYNC: SeqCst, with the load in `permits`: a release is seen by a waiter that prepared before it notifies.
            match word.compare_exchange_weak(seen, changed, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => return Some(permits),
                Err(other) => seen = other,
            }
        }
    }

    #[inline]
    fn take_bare(self) -> bool {
        let taken = self.change(|permits| {
            (permits.available() > 0).then(|| Permits { pool: permits.pool - 1, ..permits })
        });
        if taken.is_some() {
            kill_point!(SemaphoreTakenBare);
        }
        taken.is_some()
    }

    #[inline]
    fn take_owned(self, _held: &Held<'_>, me: Token) -> bool {
        let mine_or_free = |seen| owner_of(seen).is_none_or(|owner| owner == me);
        let Some((place, seen)) = self.find(me, mine_or_free) else {
            return self.take_bare(); // more owners than the ledger has entries
        };
        let taken = self.change(|permits| {
            let owned = permits.owned.saturating_add(1);
            (permits.available() > 0).then_some(Permits { owned, ..permits })
        });
        if taken.is_none() {
            return false;
        }
        kill_point!(SemaphoreTaken);
        place.store(entry(me, count_of(seen).saturating_add(1)), Ordering::Relaxed);
        true
    }

    /// So many permits are not owned any more, which the ledger knows already; the numbers before.
    fn disown(&self, count: u32) -> Permits {
        let changed = self.change(|permits| Some(permits.disowned(count, self.max)));
        changed.unwrap_or(Permits { pool: 0, owned: 0 })
    }

    /// The entry of the ledger that suits, from this process's usual place on.
    #[inline]
    fn find(&self, me: Token, suits: impl Fn(u64) -> bool) -> Option<(&AtomicU64, u64)> {
        // Divided only where it must be: a division takes as long as the rest.
        let (row, entries) = (me.row(), self.ledger.len());
        let usual = if row < entries { row } else { row % entries };
        let place = &self.ledger[usual];
        let seen = place.load(Ordering::Relaxed);
        if suits(seen) { Some((place, seen)) } else { self.find_from(usual, suits) }
    }

    #[cold]
    fn find_from(&self, first: usize, suits: impl Fn(u64) -> bool) -> Option<(&AtomicU64, u64)> {
        let (before, from) = self.ledger.split_at(first);
        from.iter()
            .chain(before)
            .map(|place| (place, place.load(Ordering::Relaxed)))
            .find(|(_, seen)| suits(*seen))
    }

    /// The death that nobody was told of yet; the next one is told if somebody is inside for long.
    fn news(&self) -> Acquired {
        if !self.words.died.is_noted() {
            return Acquired::Clean;
        }
        self.enter(&mut Wait::attempt()).map_or(Acquired::Clean, |held| self.news_inside(&held))
    }

    fn news_inside(&self, _held: &Held<'_>) -> Acquired {
        match self.words.died.read() {
            None => Acquired::Clean,
            Some(death) => {
                self.words.died.clear();
                Acquired::OwnerDied(Box::new(death))
            }
        }
    }

    /// `reclaim`, by one sleeper in each half second.
    fn reclaim_in_turn(self, wait: &mut Wait<'_>) -> Result<(), GaveUp> {
        if is_first_to_look(&self.words.looked) { self.reclaim(wait) } else { Ok(()) }
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
            let held = self.enter(wait)?;
            let seen = place.load(Ordering::Relaxed);
            if owner_of(seen) != Some(owner) {
                continue; // somebody else did it
            }
            self.words.died.note(&death);
            kill_point!(SemaphoreNoted);
            place.store(0, Ordering::Relaxed);
            kill_point!(SemaphoreReclaimed);
            self.disown(count_of(seen));
            drop(held);
            self.words.waiters.notify(count_of(seen));
        }
        Ok(())
    }
}
