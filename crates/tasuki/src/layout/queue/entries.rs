//! What the tables of a queue are made of, and how large chunks and blocks are: for `geometry.rs`, which says where they lie,
//! and for those who use them.
#![allow(unsafe_code)] // declares which types may lie in shared memory

use super::tally::Tally;
use crate::segment::Shared;
use crate::sync::atomic::{AtomicU32, AtomicU64};

/// The bytes of a chunk.
pub(super) const CHUNK: usize = 64 << 10;
/// The bytes of the smallest blocks.
pub(super) const SMALLEST: usize = 8 << 10;
/// How many sizes of blocks there are: 8 KiB to 64 GiB, each twice the one before.
pub(super) const CLASSES: usize = 24;

/// A chunk that may exist.
#[repr(C)]
pub(super) struct ChunkEntry {
    pub(super) next: AtomicU32,
    pub(super) order: AtomicU32,
    pub(super) committed: AtomicU32,
    pub(super) reserved: AtomicU32,
}

// SAFETY: atomics only.
unsafe impl Shared for ChunkEntry {}

/// A block that may exist.
#[repr(C)]
pub(super) struct BlockEntry {
    pub(super) state: AtomicU64,
    pub(super) ticket: AtomicU64,
    /// Where the block lies; 0 until it is used for the first time.
    pub(super) offset: AtomicU64,
    /// How much of it has memory.
    pub(super) committed: AtomicU64,
}

// SAFETY: atomics only.
unsafe impl Shared for BlockEntry {}

/// What one process has taken, and how much of that it has done.
#[derive(Debug)]
#[repr(C, align(128))]
pub(super) struct TaskRow {
    pub(super) token: AtomicU32,
    pub(super) pid: AtomicU32,
    pub(super) taken: Tally,
    pub(super) done: Tally,
}

// SAFETY: atomics only.
unsafe impl Shared for TaskRow {}

/// One area's gap.
#[repr(C)]
pub(super) struct Gap {
    /// 0: the area's start.
    pub(super) from: AtomicU64,
    /// 0: the area's end.
    pub(super) to: AtomicU64,
}
