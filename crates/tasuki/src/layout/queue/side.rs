//! One side of a queue: its lock, its committed position, and how the other side waits for it.
//!
//! Nothing here knows bytes or chunks, so that loom can explore it as it is (`crates/tasuki-model`).

use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence, in_single_order};
use crate::sync::{EventCount, GaveUp, Held, RobustLock, Wait, kill_point};

/// What one side changes. `ticket` is the one word that commits: it says which mark counts.
#[repr(C, align(64))]
pub(super) struct Side {
    pub(super) lock: RobustLock,
    /// [`SETS_READINESS`] and so on; changed under the lock, but for [`WATCHED`].
    flags: AtomicU32,
    /// How many messages this side has completed, ever.
    pub(super) ticket: AtomicU64,
    /// What this side last saw of the other's ticket.
    pub(super) seen: AtomicU64,
    /// The low half of the ticket that each mark belongs to.
    mark_tickets: [AtomicU32; 2],
    /// The position after `ticket` messages is the mark of that ticket; the other one is being written.
    marks: [Mark; 2],
}

/// Flag: somebody polls this side's readiness, so that it is set before a commit.
pub(super) const SETS_READINESS: u32 = 1;
/// Flag: somebody polls the other side's readiness, so that after a commit one looks whether it is to be cleared.
pub(super) const CLEARS_READINESS: u32 = 2;
/// Flag: this side commits nothing any more, and its readiness stays set.
pub(super) const SHUT: u32 = 4;
/// Flag: this side's readiness is set. As [`UNREPAIRED`], taken back.
const READY: u32 = 8;
/// Flag: somebody may ask who uses this side, so that a process that does takes a row in the roster. Set without the
/// lock, since one that misses it is found another way.
pub(super) const WATCHED: u32 = 16;

/// Flag: the process that came after a death could not repair all of it; the next one tries again. For the put side
/// that is the ring of chunks, without which nobody puts; for the get side, blocks that may belong to no message. Taken
/// back under the lock.
pub(super) const UNREPAIRED: u32 = 32;

/// Flag: this side's readiness may be set for nothing, and the process that saw that found the lock held: it is left to
/// the holder. Set without the lock, taken back under it.
const CLEAR_LEFT: u32 = 64;

/// The kernel's half of it: a descriptor that can be polled. See `README.md`.
pub(super) trait Readiness {
    fn set(&self);
    fn clear(&self);
}

/// The mark of no ticket, at the beginning: the ticket that has this low half comes after 2^32 commits or more.
const NO_TICKET: u32 = u32::MAX;

#[repr(C)]
struct Mark {
    offset: AtomicU64,
    bytes: AtomicU64,
}

/// What one side had committed at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// How many messages.
    pub(super) ticket: u64,
    /// Where the next frame begins.
    pub(super) offset: u64,
    /// How many bytes those messages had.
    pub(super) bytes: u64,
}

/// The mark that is not the committed one.
#[derive(Debug)]
pub(super) struct Unused(usize);

impl Side {
    #[cfg(loom)]
    pub(super) fn new() -> Side {
        let mark = || Mark { offset: AtomicU64::new(0), bytes: AtomicU64::new(0) };
        Side {
            lock: RobustLock::new(),
            flags: AtomicU32::new(0),
            ticket: AtomicU64::new(0),
            seen: AtomicU64::new(0),
            mark_tickets: [AtomicU32::new(0), AtomicU32::new(NO_TICKET)],
            marks: [mark(), mark()],
        }
    }

    /// Makes `offset` the first position, before anybody else has the queue.
    pub(super) fn begin(&self, offset: u64) {
        self.marks[0].offset.store(offset, Ordering::Relaxed);
        self.mark_tickets[1].store(NO_TICKET, Ordering::Relaxed);
    }

    /// This side's flags. Exact with its lock held; without it, one that is just being added may be missing.
    #[inline]
    pub(super) fn flags(&self) -> u32 {
        // SYNC: SeqCst, with `flag`: a sleeper that misses SHUT sees the lock held.
        self.flags.load(Ordering::SeqCst)
    }

    /// Adds a flag, for good.
    pub(super) fn flag(&self, _held: &Held<'_>, flag: u32) {
        self.flags.fetch_or(flag, Ordering::SeqCst);
    }

    /// Adds [`UNREPAIRED`], without the lock for a process that owes the other side a repair.
    pub(super) fn owe_repair(&self) {
        self.flags.fetch_or(UNREPAIRED, Ordering::SeqCst);
    }

    /// Takes [`UNREPAIRED`] back, and says whether it was there. Before the look that decides whether it comes again:
    /// one that is added during the look stays.
    pub(super) fn take_repair_on(&self, _held: &Held<'_>) -> bool {
        self.flags() & UNREPAIRED != 0
            && self.flags.fetch_and(!UNREPAIRED, Ordering::SeqCst) & UNREPAIRED != 0
    }

    /// Adds [`WATCHED`].
    pub(super) fn watch(&self) {
        self.flags.fetch_or(WATCHED, Ordering::Relaxed);
    }

    /// Sets this side's readiness, for a commit that comes under the same lock.
    pub(super) fn set_readiness(&self, held: &Held<'_>, readiness: &impl Readiness) {
        if self.flags() & READY == 0 {
            self.resync_readiness(held, true, readiness);
        }
    }

    /// Clears this side's readiness: under the lock, the other side was seen to have nothing to wait for.
    pub(super) fn clear_readiness(&self, held: &Held<'_>, readiness: &impl Readiness) {
        if self.flags() & READY != 0 {
            self.resync_readiness(held, false, readiness);
        }
    }

    /// Leaves it to the holder of this side's lock to clear the readiness. If there is none any more, the caller has to
    /// see to it.
    pub(super) fn leave_clearing(&self) {
        // SYNC: SeqCst, with the load in `is_clearing_left`: the holder sees this after its unlock, or the caller that
        // it is free.
        self.flags.fetch_or(CLEAR_LEFT, Ordering::SeqCst);
        in_single_order();
    }

    /// Whether somebody left it to the caller, which has just left the section or found it busy.
    #[inline]
    pub(super) fn is_clearing_left(&self) -> bool {
        in_single_order();
        let is_left = self.flags() & CLEAR_LEFT != 0;
        in_single_order();
        is_left
    }

    /// Takes over what was left to the holder; false: another one did.
    pub(super) fn take_clearing(&self, _held: &Held<'_>) -> bool {
        self.flags.fetch_and(!CLEAR_LEFT, Ordering::SeqCst) & CLEAR_LEFT != 0
    }

    /// Makes the readiness what it should be, whatever it was.
    pub(super) fn resync_readiness(
        &self,
        _held: &Held<'_>,
        ready: bool,
        readiness: &impl Readiness,
    ) {
        if ready {
            readiness.set();
            kill_point!(ReadinessSetting);
            // SYNC: SeqCst, with the load in `may_be_set`.
            self.flags.fetch_or(READY, Ordering::SeqCst);
            kill_point!(ReadinessSet);
        } else {
            self.flags.fetch_and(!READY, Ordering::SeqCst);
            kill_point!(ReadinessClearing);
            readiness.clear();
            kill_point!(ReadinessClear);
        }
    }

    /// Whether the readiness may be set; asked after nothing was found, so that no edge of it is missed.
    pub(super) fn may_be_set(&self) -> bool {
        // In this order: a section that sets and commits lies wholly after the first look, which is in time to be
        // seen by those that poll afterwards, or wholly before the second.
        self.lock.is_held() || self.flags() & READY != 0
    }

    /// Whether this side once saw the other ahead of what it has committed itself.
    #[inline]
    pub(super) fn saw_more_than_committed(&self) -> bool {
        self.seen.load(Ordering::Relaxed) != self.ticket.load(Ordering::Relaxed)
    }

    /// The committed position, for the holder of this side's lock: nobody else changes it.
    #[inline]
    pub(super) fn held_position(&self, held: &Held<'_>) -> Position {
        self.held_marks(held).0
    }

    /// As `held_position`, with the mark for the next commit of this section.
    #[inline]
    pub(super) fn held_marks(&self, _held: &Held<'_>) -> (Position, Unused) {
        let ticket = self.ticket.load(Ordering::Relaxed);
        let used = self.mark_of(ticket);
        let mark = &self.marks[used];
        let position = Position {
            ticket,
            offset: mark.offset.load(Ordering::Relaxed),
            bytes: mark.bytes.load(Ordering::Relaxed),
        };
        (position, Unused(1 - used))
    }

    /// The committed position, of some moment.
    #[inline]
    pub(super) fn position(&self) -> Position {
        loop {
            // SYNC: Acquire, with the store in `commit`.
            let ticket = self.ticket.load(Ordering::Acquire);
            let mark = &self.marks[self.mark_of(ticket)];
            let offset = mark.offset.load(Ordering::Relaxed);
            let bytes = mark.bytes.load(Ordering::Relaxed);
            // SYNC: with the fence in `commit`: a mark of a later commit is not read without its ticket.
            fence(Ordering::Acquire);
            // The mark is written again only after the next commit.
            if self.ticket.load(Ordering::Relaxed) == ticket {
                return Position { ticket, offset, bytes };
            }
        }
    }

    #[inline]
    fn mark_of(&self, ticket: u64) -> usize {
        usize::from(self.mark_tickets[1].load(Ordering::Relaxed) == ticket as u32)
    }

    /// Makes `next` the position, in one store, however many messages it is ahead, for the holder of this side's lock.
    #[inline]
    pub(super) fn commit(&self, _held: &Held<'_>, next: Position) {
        let unused = 1 - self.mark_of(self.ticket.load(Ordering::Relaxed));
        self.commit_in(Unused(unused), next);
    }

    /// As `commit`, for the only one of a section that looked for the mark before.
    #[inline]
    pub(super) fn commit_in(&self, Unused(unused): Unused, next: Position) {
        let mark = &self.marks[unused];
        // SYNC: with the fence in `position`.
        fence(Ordering::Release);
        self.mark_tickets[unused].store(next.ticket as u32, Ordering::Relaxed);
        mark.offset.store(next.offset, Ordering::Relaxed);
        mark.bytes.store(next.bytes, Ordering::Relaxed);
        // SYNC: Release, for readers of the mark and the frame. A sleeper that misses this store sees the lock held,
        // and looks again after the unlock, which comes later.
        self.ticket.store(next.ticket, Ordering::Release);
    }
}

/// How often a waiter spins until a notifier commits, before going through its lock: some 5 us.
const SPINS: u32 = if cfg!(loom) { 1 } else { 200 };

/// Sleeps until `ready`, which the holder of the lock `notifier` makes true after it notified `event`; may return early
/// for no reason.
///
/// `enter` enters the notifier's section, to leave it at once: a notifier inside may have notified and not yet
/// committed, or be dead; having been through, one knows which.
pub(super) fn sleep_until<Entered, E: From<GaveUp>>(
    event: &EventCount,
    notifier: &RobustLock,
    ready: impl Fn() -> bool,
    enter: impl FnOnce(&mut Wait<'_>) -> Result<Entered, E>,
    wait: &mut Wait<'_>,
) -> Result<(), E> {
    // A notifier notifies and then commits: the waiter that was just woken mostly comes in between, and need not go to
    // its lock.
    let mut spins = SPINS;
    while spins > 0 && notifier.is_held() {
        if ready() {
            return Ok(());
        }
        spins -= 1;
        std::hint::spin_loop();
    }
    let prepared = event.prepare();
    if notifier.is_held() {
        drop(enter(wait)?);
    }
    // After the lock, never before: a notifier that found no waiter may commit and leave between the two looks.
    if ready() {
        return Ok(());
    }
    match event.wait(prepared, wait) {
        Ok(()) => Ok(()),
        Err(GaveUp::TimedOut) if ready() => Ok(()),
        Err(why) => {
            if ready() {
                event.notify_all(); // the wake-up may have been meant for another sleeper
            }
            Err(why.into())
        }
    }
}
