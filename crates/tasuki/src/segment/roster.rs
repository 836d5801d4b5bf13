//! The table of the processes that use a segment: what turns "the owner died" into a fact that can be looked up.
//!
//! ```text
//! row state u64: bits 0-2 state | bits 3-20 generation | bits 32-63 pid of who is claiming it
//!   FREE      nobody's                                   -> CLAIMING by whoever wants it
//!   CLAIMING  being filled by pid                        -> LIVE by that pid; FREE by anybody once it is dead
//!   LIVE      a process's; its identity is in the row    -> FREE by that process when it leaves,
//!                                                           by anybody once it is dead
//!   every step to FREE adds one to the generation
//! token u32 (in lock words and blocks): bits 0-11 row | bits 12-29 generation + 1; 0 is nobody
//! ```
//! Rows are handed out in turn, so that a token means somebody else only after 16 million processes, or attachments.
//! A token whose generation is not its row's any more belongs to somebody who is gone: so nothing has to be
//! cleaned up before a dead process's row is used again.

use std::num::NonZeroU32;
use std::ptr::{self, NonNull};

use super::arena::geometry;
use super::death::{Death, NAME, ProcessName};
use super::{Kind, Segment, Shared};
use crate::error::Error;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use crate::sync::private::Private;
use crate::sys::fork;
use crate::sys::identity::{self, Identity};
use crate::sys::memory::PAGE;

/// How many processes can use one segment at a time at most.
pub(crate) const ROWS: usize = 4096;
/// No segment has fewer rows.
pub(crate) const FEWEST: usize = PAGE / ROW;
/// The bytes of a row.
pub(crate) const ROW: usize = size_of::<Row>();

/// How many rows a segment has whose file may be this long: half of it at most goes to what each process needs.
pub(crate) fn rows_for(longest_file: u64) -> usize {
    let rows = usize::try_from(longest_file / 2048).unwrap_or(ROWS).clamp(FEWEST, ROWS);
    1 << rows.ilog2()
}

const TABLE: usize = PAGE;

/// A role: the process took something out of the object, or waited for it.
pub(crate) const READER: u32 = 1;
/// In `roles`: the process will not put into the queue.
pub(crate) const NO_WRITER: u32 = 2;

const FREE: u64 = 0;
const CLAIMING: u64 = 1;
const LIVE: u64 = 2;
const STATE: u64 = 0b111;
const ROW_BITS: u32 = ROWS.ilog2();
/// How many generations a row goes through before the first one comes again: what a token has room for, less one, so that
/// no token is 0. In the crate's own tests fewer, so that they come round.
const GENERATIONS: u64 = if cfg!(test) { 127 } else { (1 << (30 - ROW_BITS)) - 1 };
/// Rows are handed out in turn among so many at least, though fewer would do.
const TURN: usize = 64;

fn pack(state: u64, generation: u64, pid: u32) -> u64 {
    state | (generation % GENERATIONS) << 3 | u64::from(pid) << 32
}

fn generation(word: u64) -> u64 {
    (word >> 3 & 0x3_ffff) % GENERATIONS
}

fn left_bit(generation: u64) -> u64 {
    1 << (generation % 64)
}

fn worker(word: u64) -> u32 {
    (word >> 32) as u32
}

/// One process's row: two cache lines.
#[repr(C, align(64))]
pub(crate) struct Row {
    state: AtomicU64,
    start: AtomicU64,
    pidfd_inode: AtomicU64,
    /// What a consumer is taking: the first ticket + 1, or 0; written before the head moves.
    in_hand_ticket: AtomicU64,
    /// How many bytes those messages have.
    in_hand_len: AtomicU64,
    /// How many messages those are.
    in_hand_count: AtomicU64,
    pid: AtomicU32,
    /// What the process did with the object, or will not do: [`READER`], [`NO_WRITER`].
    pub(crate) roles: AtomicU32,
    /// Bit `g % 64`: the process of generation g ended by itself, or dropped its last handle; else it was killed. So this
    /// is known of a process whose row is another's by now.
    left: AtomicU64,
    name: [AtomicU64; NAME / 8],
    reserved: [AtomicU64; 5],
}

// SAFETY: atomics only.
unsafe impl Shared for Row {}

const _: () = assert!(ROW == 128);

/// A process's row together with its generation: who owns a lock or a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token(NonZeroU32);

impl Token {
    /// All bits a token can have.
    pub(crate) const MASK: u32 = 0x3fff_ffff;

    fn new(row: usize, generation: u64) -> Token {
        let bits = row as u32 | (generation as u32 + 1) << ROW_BITS;
        Token(NonZeroU32::new(bits).expect("one is added to the generation"))
    }

    /// The token in a word, None for nobody.
    #[inline]
    pub(crate) fn from_bits(bits: u32) -> Option<Token> {
        let bits = bits & Token::MASK;
        if bits >> ROW_BITS != 0 { NonZeroU32::new(bits).map(Token) } else { None }
    }

    #[inline]
    pub(crate) fn bits(self) -> u32 {
        self.0.get()
    }

    #[inline]
    pub(crate) fn row(self) -> usize {
        (self.bits() & (ROWS as u32 - 1)) as usize
    }

    fn generation(self) -> u64 {
        u64::from(self.bits() >> ROW_BITS) - 1
    }
}

/// The roster of one segment.
#[derive(Clone, Copy)]
pub(crate) struct Roster<'a> {
    segment: &'a Segment,
}

impl<'a> Roster<'a> {
    #[inline]
    pub(super) fn new(segment: &'a Segment) -> Roster<'a> {
        Roster { segment }
    }

    /// Rows that were ever used are below this.
    pub(crate) fn high(self) -> usize {
        (self.segment.header().roster_high.load(Ordering::SeqCst) as usize).min(self.segment.rows)
    }

    /// The row with this number, if there is such a row.
    #[inline]
    pub(crate) fn row(self, index: usize) -> Option<&'a Row> {
        if index >= self.segment.rows {
            return None;
        }
        self.segment.get(TABLE + index * ROW)
    }

    /// Whether the process that a token names still runs.
    pub(crate) fn is_alive(self, token: Token) -> bool {
        let Some(row) = self.row(token.row()) else { return false };
        let state = row.state.load(Ordering::Acquire);
        if state & STATE != LIVE || generation(state) != token.generation() {
            return false;
        }
        let alive = identity::is_alive(&row.identity());
        alive && row.state.load(Ordering::Acquire) == state
    }

    /// The pid that a token names, 0 when its row is another's by now. A row that was freed and not claimed since
    /// still says whose it was.
    pub(crate) fn pid(self, token: Token) -> u32 {
        let Some(row) = self.row(token.row()) else { return 0 };
        let before = row.state.load(Ordering::Acquire);
        let pid = row.pid.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        let freed = pack(FREE, token.generation() + 1, 0);
        let its_own = generation(before) == token.generation() || before == freed;
        if its_own && row.state.load(Ordering::Relaxed) == before { pid } else { 0 }
    }

    /// Who the owner that a token names was, noticed as dead just now. `known_pid` is what the caller knows of it should
    /// its row be another's by now, or 0.
    pub(crate) fn death_of(self, token: Token, known_pid: u32) -> Death {
        let left = self.has_left(token).unwrap_or(false);
        let death = Death { left, ..Death::of_pid(known_pid) };
        let Some(row) = self.row(token.row()) else { return death };
        let name = ProcessName::read(&row.name);
        // Last: only if the row still is that process's was what we read its own.
        match self.pid(token) {
            0 => death,
            pid => Death { pid, name, ..death },
        }
    }

    /// Whether a process that is not alive ended by itself; None when its row was too many others' since.
    pub(crate) fn has_left(self, token: Token) -> Option<bool> {
        let row = self.row(token.row())?;
        // SYNC: Acquire, with the Release where a process leaves; the fence keeps the look at the state behind this one.
        let left = row.left.load(Ordering::Acquire) & left_bit(token.generation()) != 0;
        fence(Ordering::Acquire);
        let now = generation(row.state.load(Ordering::Acquire));
        // The last one is left out: its bit may be being cleared for the next.
        let since = (now + GENERATIONS - token.generation() % GENERATIONS) % GENERATIONS;
        (since < 63).then_some(left)
    }

    /// Whether a row is in use by anybody, alive or not yet reaped.
    pub(crate) fn is_taken(self, index: usize) -> bool {
        self.row(index).is_some_and(|row| row.state.load(Ordering::Acquire) & STATE != FREE)
    }

    /// Whether there is a row of a process that lives, and that is not `me`.
    pub(crate) fn names_another(self, me: Option<Token>) -> bool {
        let is_other = |&index: &usize| me.is_none_or(|me| me.row() != index);
        (0..self.high()).filter(is_other).filter_map(|index| self.row(index)).any(|row| {
            let state = row.state.load(Ordering::Acquire);
            match state & STATE {
                LIVE => identity::is_alive(&row.identity()),
                CLAIMING => identity::thread_exists(worker(state)),
                _ => false,
            }
        })
    }

    /// The pids of all processes that live, if all of them have this role. It costs little if one has not, however many have:
    /// whether a process lives is asked of the kernel.
    pub(crate) fn pids_if_all(self, role: u32) -> Option<Vec<u32>> {
        let rows = || (0..self.high()).filter_map(|index| self.row(index));
        let lacks_it = |row: &Row| row.roles.load(Ordering::SeqCst) & role == 0;
        let is_another = |row: &Row| {
            let state = row.state.load(Ordering::Acquire);
            match state & STATE {
                LIVE => lacks_it(row) && identity::is_alive(&row.identity()),
                CLAIMING => identity::thread_exists(worker(state)),
                _ => false,
            }
        };
        if rows().any(is_another) {
            return None;
        }
        let mut pids = Vec::new();
        for row in rows() {
            let is_live = row.state.load(Ordering::Acquire) & STATE == LIVE;
            if is_live && identity::is_alive(&row.identity()) {
                // It may have come in between.
                if lacks_it(row) {
                    return None;
                }
                pids.push(row.pid.load(Ordering::Relaxed));
            }
        }
        Some(pids)
    }

    /// Frees the rows of the dead, and says how many those were.
    pub(crate) fn reap(self) -> usize {
        let mut reaped = 0;
        for index in 0..self.high() {
            let Some(row) = self.row(index) else { continue };
            let state = row.state.load(Ordering::Acquire);
            let dead = match state & STATE {
                FREE => false,
                LIVE => !identity::is_alive(&row.identity()),
                CLAIMING => !identity::thread_exists(worker(state)),
                _ => true, // garbage from a broken peer
            };
            let free = pack(FREE, generation(state) + 1, 0);
            if dead
                && row
                    .state
                    .compare_exchange(state, free, Ordering::AcqRel, Ordering::Relaxed)
                    .is_ok()
            {
                reaped += 1;
            }
        }
        reaped
    }

    fn claim(self) -> Result<Token, Error> {
        let me = identity::current();
        let high = self.high();
        // After a burst of killed processes the table is cleaned before it grows further.
        if high >= 64 && high.is_power_of_two() && (0..high).all(|index| self.is_taken(index)) {
            self.reap();
        }
        loop {
            let next = &self.segment.header().roster_next;
            // In this order: what is next is at most one beyond those that were ever used.
            let first = next.load(Ordering::SeqCst) as usize;
            let turn = self.high().max(TURN.min(self.segment.rows));
            let first = first % turn;
            for index in (first..turn).chain(0..first).chain(turn..self.segment.rows) {
                if let Some(token) = self.claim_row(index, &me)? {
                    next.store(index as u32 + 1, Ordering::SeqCst);
                    return Ok(token);
                }
            }
            if self.reap() == 0 {
                return Err(Error::Limit(format!(
                    "{} processes use this object already, which is the most it allows",
                    self.segment.rows
                )));
            }
        }
    }

    /// Takes a row for this process, if it is free.
    fn claim_row(self, index: usize, me: &Identity) -> Result<Option<Token>, Error> {
        if index >= self.high() && index.is_multiple_of(PAGE / ROW) {
            self.segment.commit(TABLE + index * ROW, PAGE)?;
        }
        let row = self.row(index).expect("a row of the table");
        let state = row.state.load(Ordering::Relaxed);
        if state & STATE != FREE {
            return Ok(None);
        }
        let generation = generation(state);
        let claiming = pack(CLAIMING, generation, me.pid);
        if row.state.compare_exchange(state, claiming, Ordering::AcqRel, Ordering::Relaxed).is_err()
        {
            return Ok(None);
        }
        self.segment.header().roster_high.fetch_max(index as u32 + 1, Ordering::SeqCst);
        row.clear(generation);
        if self.segment.kind == Kind::Arena {
            if let Err(error) = geometry::forget_row(self.segment, index) {
                // Nobody has seen a token of it: it is free as it was.
                row.state.store(pack(FREE, generation, 0), Ordering::Release);
                return Err(error);
            }
        }
        process_name().write(&row.name);
        row.pid.store(me.pid, Ordering::Relaxed);
        row.start.store(me.start, Ordering::Relaxed);
        row.pidfd_inode.store(me.pidfd_inode, Ordering::Relaxed);
        // SYNC: Release, with the Acquire loads of `state`: a LIVE row has its identity.
        row.state.store(pack(LIVE, generation, 0), Ordering::Release);
        Ok(Some(Token::new(index, generation)))
    }
}

impl Row {
    /// Whether the process has taken nothing yet.
    #[inline]
    pub(crate) fn never_got(&self) -> bool {
        self.in_hand_ticket.load(Ordering::Relaxed) == 0
    }

    /// Notes what the process is taking: so many messages from `ticket` on, of so many bytes together.
    #[inline]
    pub(crate) fn note_in_hand(&self, ticket: u64, count: u64, bytes: u64) {
        self.in_hand_len.store(bytes, Ordering::Relaxed);
        self.in_hand_count.store(count, Ordering::Relaxed);
        self.in_hand_ticket.store(ticket.wrapping_add(1), Ordering::Relaxed);
    }

    fn identity(&self) -> Identity {
        Identity {
            pid: self.pid.load(Ordering::Relaxed),
            start: self.start.load(Ordering::Relaxed),
            pidfd_inode: self.pidfd_inode.load(Ordering::Relaxed),
        }
    }

    fn clear(&self, generation: u64) {
        self.in_hand_ticket.store(0, Ordering::Relaxed);
        self.in_hand_len.store(0, Ordering::Relaxed);
        self.in_hand_count.store(0, Ordering::Relaxed);
        self.roles.store(0, Ordering::Relaxed);
        self.left.fetch_and(!left_bit(generation), Ordering::Relaxed);
    }
}

/// This process's row of one segment, remembered; void in a forked child, which takes a row of its own.
#[derive(Debug)]
pub(super) struct MyRow {
    /// Low half: the token; high half: the fork epoch it belongs to.
    cached: std::sync::atomic::AtomicU64,
    /// The pid that belongs to it.
    pid: std::sync::atomic::AtomicU32,
    /// Where the row is, once the object's own code has said that this process may take things the short way.
    reader: std::sync::atomic::AtomicPtr<Row>,
}

/// Keeps two threads from claiming a row each for one segment.
static CLAIMS: Private<()> = Private::new(());

impl MyRow {
    pub(super) fn new() -> MyRow {
        MyRow {
            cached: std::sync::atomic::AtomicU64::new(0),
            pid: std::sync::atomic::AtomicU32::new(0),
            reader: std::sync::atomic::AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// This process's pid, after `cached` gave a row.
    #[inline]
    pub(super) fn pid(&self) -> u32 {
        self.pid.load(std::sync::atomic::Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn cached(&self) -> Option<Token> {
        match self.cached_fast() {
            Some(token) => Some(token),
            None => self.cached_slowly(),
        }
    }

    /// As `cached`, without a call; None may also say that nothing is known of forks.
    #[inline]
    pub(super) fn cached_fast(&self) -> Option<Token> {
        let cached = self.cached.load(std::sync::atomic::Ordering::Acquire);
        let is_mine = (cached >> 32) as u32 == fork::known_epoch() as u32;
        if is_mine { NonZeroU32::new(cached as u32).map(Token) } else { None }
    }

    #[cold]
    fn cached_slowly(&self) -> Option<Token> {
        let cached = self.cached.load(std::sync::atomic::Ordering::Acquire);
        let is_mine = (cached >> 32) as u32 == fork::epoch() as u32;
        if is_mine { NonZeroU32::new(cached as u32).map(Token) } else { None }
    }

    /// Where the row is, if `set_reader` was called in this process.
    #[inline]
    pub(super) fn reader(&self) -> Option<NonNull<Row>> {
        self.cached_fast()?;
        NonNull::new(self.reader.load(std::sync::atomic::Ordering::Relaxed))
    }

    pub(super) fn set_reader(&self, segment: &Segment) {
        if let Some(row) = self.cached().and_then(|token| segment.roster().row(token.row())) {
            let row = ptr::from_ref(row).cast_mut();
            self.reader.store(row, std::sync::atomic::Ordering::Relaxed);
        }
    }

    #[cold]
    pub(super) fn claim(&self, segment: &Segment) -> Result<Token, Error> {
        let _one = CLAIMS.lock();
        if let Some(token) = self.cached() {
            return Ok(token);
        }
        // Asked anew, since a fork may have brought this process into another one.
        if !segment.header().is_of_our_namespace() {
            segment.foreign.store(true, std::sync::atomic::Ordering::Relaxed);
            return Err(Error::ForeignNamespace);
        }
        let token = segment.roster().claim()?;
        let cached = u64::from(token.bits()) | fork::epoch() << 32;
        self.pid.store(std::process::id(), std::sync::atomic::Ordering::Relaxed);
        self.reader.store(ptr::null_mut(), std::sync::atomic::Ordering::Relaxed);
        self.cached.store(cached, std::sync::atomic::Ordering::Release);
        Ok(token)
    }

    /// Notes in the row, if this process has one, that this process ends by itself.
    pub(super) fn note_leaving(&self, segment: &Segment) {
        let Some(token) = self.cached() else { return };
        if let Some(row) = segment.roster().row(token.row()) {
            // SYNC: Release, with the Acquire in `has_left`.
            row.left.fetch_or(left_bit(token.generation()), Ordering::Release);
        }
    }

    /// Writes this process's name into the row, if there is one.
    pub(super) fn rename(&self, segment: &Segment) {
        if let Some(row) = self.cached().and_then(|token| segment.roster().row(token.row())) {
            process_name().write(&row.name);
        }
    }

    /// Frees the row, if this process has one.
    pub(super) fn leave(&self, segment: &Segment) {
        let Some(token) = self.cached() else { return };
        if let Some(row) = segment.roster().row(token.row()) {
            // By itself: whoever finds this process gone from here does not take it for killed.
            // SYNC: Release, and before the row is freed; with the Acquire in `has_left`.
            row.left.fetch_or(left_bit(token.generation()), Ordering::Release);
            let live = pack(LIVE, token.generation(), 0);
            let free = pack(FREE, token.generation() + 1, 0);
            // Fails only when a broken peer wrote over the row.
            let _ = row.state.compare_exchange(live, free, Ordering::AcqRel, Ordering::Relaxed);
        }
    }
}

/// What this process is called in the rosters.
static PROCESS_NAME: Private<ProcessName> = Private::new(ProcessName::EMPTY);

fn process_name() -> ProcessName {
    *PROCESS_NAME.lock()
}

pub(super) fn set_process_name(name: &str) {
    *PROCESS_NAME.lock() = ProcessName::new(name);
}

/// What happens to these locks around a fork; called by `local`.
pub(super) fn hold_for_fork() {
    CLAIMS.hold_for_fork();
    PROCESS_NAME.hold_for_fork();
}

pub(super) fn release_after_fork() {
    PROCESS_NAME.release_after_fork();
    CLAIMS.release_after_fork();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::{Shape, payload};

    fn segment(rows: usize) -> std::sync::Arc<Segment> {
        let shape = Shape { rows, capacity: payload(rows) + PAGE };
        Segment::create(Kind::Queue, "roster", shape).unwrap()
    }

    /// What a process does that comes, and goes again.
    fn come_and_go(roster: Roster<'_>) -> Token {
        let token = roster.claim().unwrap();
        let live = pack(LIVE, token.generation(), 0);
        let free = pack(FREE, token.generation() + 1, 0);
        let row = roster.row(token.row()).unwrap();
        row.state.compare_exchange(live, free, Ordering::AcqRel, Ordering::Relaxed).unwrap();
        token
    }

    #[test]
    fn a_token_names_nobody_else_until_all_generations_of_many_rows_are_over() {
        let segment = segment(128);
        let roster = segment.roster();
        let killed = roster.claim().unwrap();
        roster
            .row(killed.row())
            .unwrap()
            .state
            .store(pack(FREE, killed.generation() + 1, 0), Ordering::Relaxed);
        let others = TURN * (GENERATIONS as usize - 1);
        for _ in 0..others {
            let token = come_and_go(roster);
            assert_ne!(token, killed);
            assert!(!roster.is_alive(killed));
            assert!(Token::from_bits(token.bits()) == Some(token));
        }
        // With so few generations it comes round.
        assert!((0..=TURN).any(|_| come_and_go(roster) == killed));
    }

    #[test]
    fn who_left_is_known_for_a_while_and_then_nothing_even_where_generations_come_round() {
        let segment = segment(32);
        let roster = segment.roster();
        let mut tokens = std::collections::VecDeque::new();
        for number in 0..32 * 3 * GENERATIONS {
            let token = roster.claim().unwrap();
            let row = roster.row(token.row()).unwrap();
            let left = number % 3 == 0;
            if left {
                row.left.fetch_or(left_bit(token.generation()), Ordering::Release);
            }
            row.state.store(pack(FREE, token.generation() + 1, 0), Ordering::Release);
            tokens.push_back((token, left));
            if tokens.len() > 32 * 61 {
                let (old, left) = tokens.pop_front().unwrap();
                assert_eq!(roster.has_left(old), Some(left), "{number}");
            }
        }
    }

    #[test]
    fn a_row_stays_free_when_its_owner_could_not_be_entered() {
        // An arena too short for its tables: the process cannot say there what it holds.
        let shape = Shape { rows: 32, capacity: payload(32) + PAGE };
        let segment = Segment::create(Kind::Arena, "roster", shape).unwrap();
        for _ in 0..100 {
            assert!(matches!(segment.my_row(), Err(Error::Invalid(_))));
            assert!((0..32).all(|row| !segment.roster().is_taken(row)));
        }
    }

    #[test]
    fn rows_without_end_are_handed_out_to_processes_that_live_and_the_limit_is_told() {
        let segment = segment(64);
        let roster = segment.roster();
        let tokens: Vec<Token> = (0..64).map(|_| roster.claim().unwrap()).collect();
        assert!(tokens.iter().all(|&token| roster.is_alive(token)));
        assert!(matches!(roster.claim(), Err(Error::Limit(_))));
        // The next one that leaves makes room, wherever it is.
        let row = roster.row(17).unwrap();
        row.state.store(pack(FREE, 1, 0), Ordering::Release);
        assert_eq!(roster.claim().unwrap().row(), 17);
    }
}
