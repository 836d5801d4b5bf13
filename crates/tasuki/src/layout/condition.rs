//! A condition: a list of those who wait, oldest first, in which `notify` marks exactly as many as it is told.
//!
//! ```text
//! entry   word u32    bits 0-29 token of the waiting process, 0 = free; all ones: OWED, nobody's any more
//!                     bit 30    NOTIFIED: its thread may go on
//!                     bit 31    ALL: so may everybody who waited then, so this one's share needs no heir
//!         ticket u32  who came first; once NOTIFIED, the first ticket that came too late for that notification
//! turns   counts what those without an entry sleep on, when more wait than there are entries
//! ```
//! Only who holds the condition's own lock takes entries and notifies; the waiting thread frees its own without it, by
//! compare-and-swap, so that a process stopped with the lock keeps nobody from giving up in time. The steps, and why no
//! notification is lost or absorbed by the dead, are in `README.md`, "Condition".
#![allow(unsafe_code)] // declares which types may lie in shared memory

use super::failure::AcquireFailure;
use super::lock::{Acquired, LockView, LockWords};
use crate::error::Error;
use crate::segment::{Segment, Shared, Token};
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::wait::is_first_to_look;
use crate::sync::{GaveUp, Held, RobustLock, Spin, Wait, futex, kill_point};

const NOTIFIED: u32 = 1 << 30;
const ALL: u32 = 1 << 31;
/// In place of a token: who was notified was interrupted, and another one is owed the notification.
const OWED: u32 = Token::MASK;

/// How many can wait with an entry of their own; those beyond may wake without having been notified.
pub(crate) const ENTRIES: usize = if cfg!(loom) { 3 } else { 240 };

/// One who waits.
#[derive(Debug)]
#[repr(C)]
struct Entry {
    word: AtomicU32,
    ticket: AtomicU32,
}

/// What all processes share.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct ConditionWords {
    /// The lock that a condition brings along.
    pub(crate) own: LockWords,
    lock: RobustLock,
    next: AtomicU32,
    turns: AtomicU32,
    /// How many wait without an entry; too many after one of them was killed, which costs a wake-up for nothing.
    without: AtomicU32,
    /// Entries that were ever used are below this.
    high: AtomicU32,
    /// In which slice somebody looked at the dead last: one look is enough for all who sleep.
    looked: AtomicU32,
    reserved: [AtomicU32; 10],
    entries: [Entry; ENTRIES],
}

// SAFETY: lock words and atomics.
unsafe impl Shared for ConditionWords {}

const _: () = assert!(cfg!(loom) || size_of::<ConditionWords>() == 2048);

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// It was notified, or has reason to look: the process that had the lock died with it.
    Notified,
    /// Its time was over, or the caller's check called it off; nobody's notification is lost by that.
    GaveUp(GaveUp),
}

/// Why nothing was waited for.
#[derive(Debug)]
pub enum NotWaited {
    /// The caller does not hold the lock.
    NotHeld,
    /// It cannot be waited for.
    Failed(Box<Error>),
}

impl From<Error> for NotWaited {
    fn from(error: Error) -> NotWaited {
        NotWaited::Failed(Box::new(error))
    }
}

/// Where a thread waits.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Seat {
    Entry(usize),
    /// No entry was free; the turn that it saw, and its ticket.
    None {
        turn: u32,
        ticket: u32,
    },
}

/// The lock that is given up during the wait, and whether it counts how often its thread took it.
#[derive(Clone, Copy)]
pub(crate) struct UserLock<'a> {
    pub(crate) view: LockView<'a>,
    pub(crate) recursive: bool,
}

/// A condition's words with the segment whose roster says who lives.
#[derive(Clone, Copy)]
pub(crate) struct ConditionView<'a> {
    pub(crate) words: &'a ConditionWords,
    pub(crate) segment: &'a Segment,
    pub(crate) spin: &'a Spin,
}

impl UserLock<'_> {
    pub(crate) fn is_mine(self) -> Result<bool, Error> {
        if self.recursive { self.view.is_mine() } else { self.view.is_owned_by_this_process() }
    }
}

impl ConditionView<'_> {
    /// Frees the lock, waits, and takes the lock again as often as it was taken, whatever happens in between.
    pub(crate) fn wait(
        self,
        lock: UserLock<'_>,
        wait: &mut Wait<'_>,
    ) -> Result<(Woken, Acquired), NotWaited> {
        if !lock.is_mine()? {
            return Err(NotWaited::NotHeld);
        }
        let mut seat = match self.sit_down(wait) {
            Ok(seat) => seat,
            // Nobody could be told that it waits: the lock was not given up.
            Err(AcquireFailure::GaveUp(why)) => return Ok((Woken::GaveUp(why), Acquired::Clean)),
            Err(AcquireFailure::Failed(error)) => return Err(NotWaited::Failed(error)),
        };
        let ticket = self.ticket_of(seat);
        let depth = lock.view.release_all(lock.recursive);
        kill_point!(ConditionReleased);
        let mut woken = self.sleep(&mut seat, Some(lock), wait);
        kill_point!(ConditionWoken);
        let acquired = lock.view.acquire_all(lock.recursive, depth);
        kill_point!(ConditionReacquired);
        if !wait.has_forked() {
            self.stand_up(seat);
        } else if !self.still_waits(seat, ticket) {
            woken = Woken::Notified;
            wait.forget_fork();
        }
        match acquired {
            Ok(acquired) => Ok((woken, acquired)),
            Err(AcquireFailure::Failed(error)) => Err(NotWaited::Failed(error)),
            Err(AcquireFailure::GaveUp(_)) => {
                unreachable!("a wait without end or check does not end")
            }
        }
    }

    /// Enters the list: from here on the caller is notified, and must `stand_up` in the end.
    pub(crate) fn sit_down(self, wait: &mut Wait<'_>) -> Result<Seat, AcquireFailure> {
        let me = self.segment.my_row()?;
        let _held = self.words.lock.lock_within(wait)?;
        kill_point!(ConditionEntered);
        let ticket = self.words.next.fetch_add(1, Ordering::Relaxed);
        let seat = match self.take_entry(me, ticket) {
            Some(index) => Seat::Entry(index),
            None => {
                self.words.without.fetch_add(1, Ordering::Relaxed);
                Seat::None { turn: self.words.turns.load(Ordering::Relaxed), ticket }
            }
        };
        kill_point!(ConditionListed);
        Ok(seat)
    }

    /// Waits until notified. `lock` is the one that was given up, if it is known to the engine.
    pub(crate) fn sleep(
        self,
        seat: &mut Seat,
        lock: Option<UserLock<'_>>,
        wait: &mut Wait<'_>,
    ) -> Woken {
        if !wait.is_now() {
            self.spin.until(|| self.is_notified(*seat));
        }
        loop {
            if self.is_notified(*seat) {
                return Woken::Notified;
            }
            if self.look_at_the_dead(lock) {
                self.leave(seat);
                return Woken::Notified;
            }
            self.move_up(seat);
            let slice = match wait.slice() {
                Ok(slice) => slice,
                // The seat is the parent's.
                Err(why) if wait.has_forked() => return Woken::GaveUp(why),
                Err(why) if self.leave(seat) => return Woken::GaveUp(why),
                Err(GaveUp::TimedOut) => return Woken::Notified,
                Err(why @ GaveUp::Interrupted) => {
                    self.hand_on(seat);
                    return Woken::GaveUp(why);
                }
            };
            kill_point!(ConditionAsleep);
            match *seat {
                Seat::Entry(index) => {
                    let word = &self.words.entries[index].word;
                    // SYNC: with the store in `mark`: either the word is another by now, or that wakes this thread.
                    let seen = word.load(Ordering::Relaxed);
                    if seen & NOTIFIED == 0 && seen != 0 {
                        futex::wait(word, seen, Some(slice));
                    }
                }
                Seat::None { turn, .. } => {
                    futex::wait(&self.words.turns, turn, Some(slice));
                }
            }
        }
    }

    /// When the one in this seat came.
    pub(crate) fn ticket_of(self, seat: Seat) -> u32 {
        match seat {
            Seat::Entry(index) => self.words.entries[index].ticket.load(Ordering::Relaxed),
            Seat::None { ticket, .. } => ticket,
        }
    }

    /// Whether the parent, in whose wait this process was forked, waits where it did. If not, a notification came that
    /// may have been for this process as well, had it had a seat.
    pub(crate) fn still_waits(self, seat: Seat, ticket: u32) -> bool {
        !self.is_notified(seat) && self.ticket_of(seat) == ticket
    }

    /// Leaves the list, after the lock was taken again: until then a killed thread's notification has an heir.
    pub(crate) fn stand_up(self, seat: Seat) {
        if let Seat::Entry(index) = seat {
            let word = &self.words.entries[index].word;
            if word.load(Ordering::Relaxed) & NOTIFIED != 0 {
                word.store(0, Ordering::Release);
            } else {
                self.leave(&mut { seat });
            }
        }
    }

    /// Lets the `count` oldest of those who wait go on. The dead among them do not count.
    pub(crate) fn notify(self, count: usize, wait: &mut Wait<'_>) -> Result<(), GaveUp> {
        let me = self.segment.known_row();
        let held = self.words.lock.lock_within(wait)?;
        let next = self.words.next.load(Ordering::Relaxed);
        let mut waiting = [(0, 0); ENTRIES];
        let mut found = 0;
        for index in 0..self.high() {
            let entry = &self.words.entries[index];
            let word = entry.word.load(Ordering::Relaxed);
            if word != 0 && word & NOTIFIED == 0 {
                let age = next.wrapping_sub(entry.ticket.load(Ordering::Relaxed));
                waiting[found] = (age, index);
                found += 1;
            }
        }
        let waiting = &mut waiting[..found];
        waiting.sort_unstable_by(|one, other| other.cmp(one)); // the oldest first
        let without = self.words.without.load(Ordering::Relaxed);
        let all = if count >= found && without == 0 { ALL } else { 0 };
        let mut left = count;
        for &(_, index) in waiting.iter() {
            if left == 0 {
                break;
            }
            // When everybody is notified, it is no matter who lives.
            if all == 0 && !self.is_alive(index, me) {
                self.words.entries[index].word.store(0, Ordering::Relaxed);
                continue;
            }
            if self.mark(index, next, all) {
                left -= 1;
            }
        }
        if left > 0 && without > 0 {
            self.words.without.store(0, Ordering::Relaxed);
            self.words.turns.fetch_add(1, Ordering::Release);
            futex::wake(&self.words.turns, u32::MAX);
        }
        drop(held);
        Ok(())
    }

    /// How many wait, the killed ones of whom nobody knows yet among them.
    pub(crate) fn waiting(self) -> usize {
        let waits = |entry: &&Entry| {
            let word = entry.word.load(Ordering::Relaxed);
            word != 0 && word & NOTIFIED == 0
        };
        self.words.entries.iter().filter(waits).count()
            + self.words.without.load(Ordering::Relaxed) as usize
    }

    fn high(self) -> usize {
        (self.words.high.load(Ordering::Relaxed) as usize).min(ENTRIES)
    }

    fn is_notified(self, seat: Seat) -> bool {
        match seat {
            // SYNC: Acquire, with the Release in `mark`. A free entry is a broken peer's doing: then look and see.
            Seat::Entry(index) => {
                let word = self.words.entries[index].word.load(Ordering::Acquire);
                word & NOTIFIED != 0 || word == 0
            }
            Seat::None { turn, .. } => self.words.turns.load(Ordering::Acquire) != turn,
        }
    }

    fn is_alive(self, index: usize, me: Option<Token>) -> bool {
        let word = self.words.entries[index].word.load(Ordering::Relaxed);
        let token = Token::from_bits(word).filter(|_| word & OWED != OWED);
        token.is_some_and(|token| Some(token) == me || self.segment.roster().is_alive(token))
    }

    /// Notifies one, unless it has just left. `next` is the first ticket that comes too late for this. The caller has
    /// the condition's lock.
    fn mark(self, index: usize, next: u32, all: u32) -> bool {
        let entry = &self.words.entries[index];
        let word = entry.word.load(Ordering::Relaxed);
        if word == 0 || word & NOTIFIED != 0 {
            return false;
        }
        entry.ticket.store(next, Ordering::Relaxed);
        // SYNC: Release, with the Acquire in `is_notified`; the swap has an order with that in `leave`, which frees it.
        let marked = entry.word.compare_exchange(
            word,
            word | NOTIFIED | all,
            Ordering::Release,
            Ordering::Relaxed,
        );
        if marked.is_ok() {
            kill_point!(ConditionMarked);
            futex::wake(&entry.word, 1);
        }
        marked.is_ok()
    }

    /// Takes a free entry, those of the dead among them if there is no other. The caller has the condition's lock.
    fn take_entry(self, me: Token, ticket: u32) -> Option<usize> {
        let free =
            || self.words.entries.iter().position(|entry| entry.word.load(Ordering::Acquire) == 0);
        let index = match free() {
            Some(index) => index,
            None => {
                self.bury(Some(me));
                free()?
            }
        };
        self.words.entries[index].ticket.store(ticket, Ordering::Relaxed);
        self.words.entries[index].word.store(me.bits(), Ordering::Relaxed);
        self.words.high.fetch_max(index as u32 + 1, Ordering::Relaxed);
        Some(index)
    }

    /// Frees the entries of the dead; their notifications go to those who waited at that time. With the lock.
    fn bury(self, me: Option<Token>) {
        for index in 0..self.high() {
            let word = self.words.entries[index].word.load(Ordering::Relaxed);
            if word != 0 && !self.is_alive(index, me) {
                self.inherit(index, word, me);
            }
        }
    }

    /// Frees a dead one's entry. The oldest one that waited when the dead one was notified goes on in its stead.
    fn inherit(self, index: usize, word: u32, me: Option<Token>) {
        let dead = &self.words.entries[index];
        if word & NOTIFIED != 0 && word & ALL == 0 {
            let too_late = dead.ticket.load(Ordering::Relaxed);
            let heir = || {
                let age = |other: usize| {
                    let entry = &self.words.entries[other];
                    let word = entry.word.load(Ordering::Relaxed);
                    let age = too_late.wrapping_sub(entry.ticket.load(Ordering::Relaxed));
                    // A ticket that came later is nearly the whole way round.
                    let waited = word != 0 && word & NOTIFIED == 0 && age != 0 && age < 1 << 31;
                    (waited && self.is_alive(other, me)).then_some((age, other))
                };
                (0..self.high()).filter_map(age).max()
            };
            // First the heir: killed in between, one too many goes on rather than one too few. One that leaves at
            // this moment is not among those who wait any more.
            while let Some((_, heir)) = heir() {
                if self.mark(heir, too_late, 0) {
                    break;
                }
            }
        }
        dead.word.store(0, Ordering::Relaxed);
    }

    /// One of the sleepers looks once in each slice: for notifications of the dead, and whether the lock's owner is.
    fn look_at_the_dead(self, lock: Option<UserLock<'_>>) -> bool {
        if !is_first_to_look(&self.words.looked) {
            return false;
        }
        self.pass_on();
        lock.is_some_and(|lock| lock.view.owner_is_dead())
    }

    /// Gives the notifications of the dead, and of those who were interrupted, to others; not while the list is busy,
    /// since another look comes half a second later.
    pub(crate) fn pass_on(self) {
        if (0..self.high()).any(|index| self.is_owed(index)) {
            if let Some(held) = self.words.lock.try_lock() {
                self.pass_on_owed(&held);
            }
        }
    }

    fn pass_on_owed(self, _held: &Held<'_>) {
        for index in 0..self.high() {
            if self.is_owed(index) {
                let word = self.words.entries[index].word.load(Ordering::Relaxed);
                self.inherit(index, word, self.segment.known_row());
            }
        }
    }

    /// Whether this entry is notified and nobody goes on for that.
    fn is_owed(self, index: usize) -> bool {
        let word = self.words.entries[index].word.load(Ordering::Relaxed);
        word & NOTIFIED != 0 && !self.is_alive(index, self.segment.known_row())
    }

    /// One that waits without an entry takes one as soon as there is one.
    fn move_up(self, seat: &mut Seat) {
        let Seat::None { turn, ticket } = *seat else { return };
        let Some(me) = self.segment.known_row() else { return };
        let Some(_held) = self.words.lock.try_lock() else { return };
        if self.words.turns.load(Ordering::Relaxed) != turn {
            return;
        }
        if let Some(index) = self.take_entry(me, ticket) {
            let without = self.words.without.load(Ordering::Relaxed);
            self.words.without.store(without.saturating_sub(1), Ordering::Relaxed);
            *seat = Seat::Entry(index);
        }
    }

    /// Leaves the list unless notified meanwhile; says whether it left.
    fn leave(self, seat: &mut Seat) -> bool {
        match *seat {
            Seat::Entry(index) => {
                let word = &self.words.entries[index].word;
                let seen = word.load(Ordering::Relaxed);
                // SYNC: has an order with the swap in `mark`: either this one left, or it was notified.
                let left = seen & NOTIFIED == 0
                    && word.compare_exchange(seen, 0, Ordering::Release, Ordering::Acquire).is_ok();
                if !left {
                    return false;
                }
            }
            Seat::None { turn, .. } => {
                // Counted too long by one if the list is busy: as if it had been killed.
                let held = self.words.lock.try_lock();
                if self.words.turns.load(Ordering::Acquire) != turn {
                    return false;
                }
                if held.is_some() {
                    let without = self.words.without.load(Ordering::Relaxed);
                    self.words.without.store(without.saturating_sub(1), Ordering::Relaxed);
                }
            }
        }
        kill_point!(ConditionLeft);
        // Nothing of it is in the list any more.
        *seat = Seat::None { turn: self.words.turns.load(Ordering::Relaxed), ticket: 0 };
        true
    }

    /// Gives the notification that the caller got, and has no use for, to the oldest of the others who waited then.
    fn hand_on(self, seat: &mut Seat) {
        if let Seat::Entry(index) = *seat {
            let word = &self.words.entries[index].word;
            let owed = word.load(Ordering::Relaxed) & (NOTIFIED | ALL) == NOTIFIED;
            // From here on whoever looks does it, should this process be killed or the list be somebody's for long.
            word.store(if owed { OWED | NOTIFIED } else { 0 }, Ordering::Release);
            kill_point!(ConditionOwed);
            *seat = Seat::None { turn: self.words.turns.load(Ordering::Relaxed), ticket: 0 };
            if owed {
                if let Ok(held) = self.words.lock.lock_within(&mut Wait::now()) {
                    self.pass_on_owed(&held);
                }
            }
        }
    }
}

#[cfg(loom)]
impl ConditionWords {
    pub(crate) fn new() -> ConditionWords {
        let word = || AtomicU32::new(0);
        ConditionWords {
            own: LockWords::new(),
            lock: RobustLock::new(),
            next: word(),
            turns: word(),
            without: word(),
            high: word(),
            looked: word(),
            reserved: std::array::from_fn(|_| word()),
            entries: std::array::from_fn(|_| Entry { word: word(), ticket: word() }),
        }
    }
}
