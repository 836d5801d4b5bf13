//! What a row of the roster says, and the token that names its process.
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
//! A token whose generation is not its row's any more belongs to somebody who is gone: so nothing has to be cleaned up
//! before a dead process's row is used again.

use std::num::NonZeroU32;

use crate::segment::Shared;
use crate::segment::death::NAME;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::sys::identity::Identity;
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

/// A role: the process took something out of the object, or waited for it.
pub(crate) const READER: u32 = 1;
/// In `roles`: the process will not put into the queue.
pub(crate) const NO_WRITER: u32 = 2;

pub(super) const FREE: u64 = 0;
pub(super) const CLAIMING: u64 = 1;
pub(super) const LIVE: u64 = 2;
pub(super) const STATE: u64 = 0b111;
const ROW_BITS: u32 = ROWS.ilog2();
/// How many generations a row goes through before the first one comes again: what a token has room for, less one, so
/// that no token is 0. In the crate's own tests fewer, so that they come round.
pub(super) const GENERATIONS: u64 = if cfg!(test) { 127 } else { (1 << (30 - ROW_BITS)) - 1 };

pub(super) fn pack(state: u64, generation: u64, pid: u32) -> u64 {
    state | (generation % GENERATIONS) << 3 | u64::from(pid) << 32
}

pub(super) fn generation(word: u64) -> u64 {
    (word >> 3 & 0x3_ffff) % GENERATIONS
}

pub(super) fn left_bit(generation: u64) -> u64 {
    1 << (generation % 64)
}

pub(super) fn worker(word: u64) -> u32 {
    (word >> 32) as u32
}

/// One process's row: two cache lines.
#[repr(C, align(64))]
pub(crate) struct Row {
    pub(super) state: AtomicU64,
    pub(super) start: AtomicU64,
    pub(super) pidfd_inode: AtomicU64,
    /// What a consumer is taking: the first ticket + 1, or 0; written before the head moves.
    in_hand_ticket: AtomicU64,
    /// How many bytes those messages have.
    in_hand_len: AtomicU64,
    /// How many messages those are.
    in_hand_count: AtomicU64,
    pub(super) pid: AtomicU32,
    /// What the process did with the object, or will not do: [`READER`], [`NO_WRITER`].
    pub(crate) roles: AtomicU32,
    /// Bit `g % 64`: the process of generation g ended by itself, or dropped its last handle; else it was killed. So
    /// this is known of a process whose row is another's by now.
    pub(super) left: AtomicU64,
    pub(super) name: [AtomicU64; NAME / 8],
    reserved: [AtomicU64; 5],
}

// SAFETY: atomics only.
unsafe impl Shared for Row {}

const _: () = assert!(ROW == 128);

impl Row {
    /// Whether the process has taken nothing yet.
    #[inline]
    pub(crate) fn never_got(&self) -> bool {
        self.in_hand_ticket.load(Ordering::Relaxed) == 0
    }

    /// Notes what the process is taking: so many messages from `ticket` on, of so many bytes together.
    #[inline]
    pub(crate) fn note_in_flight(&self, ticket: u64, count: u64, bytes: u64) {
        self.in_hand_len.store(bytes, Ordering::Relaxed);
        self.in_hand_count.store(count, Ordering::Relaxed);
        self.in_hand_ticket.store(ticket.wrapping_add(1), Ordering::Relaxed);
    }

    pub(super) fn identity(&self) -> Identity {
        Identity {
            pid: self.pid.load(Ordering::Relaxed),
            start: self.start.load(Ordering::Relaxed),
            pidfd_inode: self.pidfd_inode.load(Ordering::Relaxed),
        }
    }

    pub(super) fn clear(&self, generation: u64) {
        self.in_hand_ticket.store(0, Ordering::Relaxed);
        self.in_hand_len.store(0, Ordering::Relaxed);
        self.in_hand_count.store(0, Ordering::Relaxed);
        self.roles.store(0, Ordering::Relaxed);
        self.left.fetch_and(!left_bit(generation), Ordering::Relaxed);
    }
}

/// A process's row together with its generation: who owns a lock or a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token(pub(super) NonZeroU32);

impl Token {
    /// All bits a token can have.
    pub(crate) const MASK: u32 = 0x3fff_ffff;

    pub(super) fn new(row: usize, generation: u64) -> Token {
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

    pub(super) fn generation(self) -> u64 {
        u64::from(self.bits() >> ROW_BITS) - 1
    }
}
