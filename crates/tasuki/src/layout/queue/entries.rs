//! What the tables of a queue are made of, and how large chunks and blocks are: for `geometry.rs`, which says where
//! they lie, and for those who use them.
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

/// Which block: it is what the frame of a large message holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockId {
    pub(super) class: u32,
    pub(super) index: u32,
}

impl BlockId {
    /// The frame's body.
    pub(super) const LEN: usize = 16;

    pub(super) fn to_bytes(self, len: usize) -> [u8; BlockId::LEN] {
        let mut bytes = [0; BlockId::LEN];
        bytes[..4].copy_from_slice(&self.class.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.index.to_le_bytes());
        bytes[8..].copy_from_slice(&(len as u64).to_le_bytes());
        bytes
    }

    /// The block and the message's length, if the bytes name a block that can exist.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<(BlockId, usize)> {
        let bytes: &[u8; BlockId::LEN] = bytes.try_into().ok()?;
        let class = u32::from_le_bytes(bytes[..4].try_into().ok()?);
        let index = u32::from_le_bytes(bytes[4..8].try_into().ok()?);
        let len = usize::try_from(u64::from_le_bytes(bytes[8..].try_into().ok()?)).ok()?;
        let fits = (class as usize) < CLASSES;
        (fits && len <= SMALLEST << class).then_some((BlockId { class, index }, len))
    }
}

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
