//! Where everything of an arena lies in its segment, and what the entry of a slot says. What is done with it is in
//! `allocator.rs` and `pages.rs`; `slot.rs` reads the entry of its own object.
//!
//! ```text
//! payload  control: lock | slot size | next hint | pages kept | forked: there may be the lease of a fork
//!          slots  [4096] u64: bits 0-15 run length, 0 = free, 0xffff = inside a run | 16-30 kind, 31 LEASED: there may be a
//!                             lease; of a slot that begins no run what is known of its page (`pages.rs`) | 32-63 generation, which only goes up, whatever
//!                             else becomes of the slot
//!          bitmap [rows of the roster][4096 bits]
//!          data   [4096][slot size]
//! ```

use crate::error::Error;
use crate::segment::{Segment, Shared, payload};
use crate::sync::RobustLock;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::sys::memory::PAGE;

/// How many slots an arena has.
pub(crate) const SLOTS: usize = 4096;
/// The slot size of the arenas that small objects share: a cache line.
pub(crate) const SLOT: usize = 64;
/// The slot size of the arenas that middle-sized objects share, whose memory mostly comes and goes with the objects.
pub(crate) const PAGE_SLOT: usize = PAGE;

pub(crate) const BITMAP: usize = SLOTS / 8;

/// Where the table of slots begins, the bitmaps and the slots themselves, in an arena whose roster has so many rows.
pub(crate) const fn table(rows: usize) -> usize {
    payload(rows) + PAGE
}

pub(crate) const fn bitmaps(rows: usize) -> usize {
    table(rows) + SLOTS * 8
}

pub(crate) const fn data(rows: usize) -> usize {
    bitmaps(rows) + rows * BITMAP
}

/// The part of a slot's entry that says how long the run is.
pub(crate) const RUN: u64 = 0xffff;
pub(crate) const INSIDE_RUN: u64 = RUN;
/// In the entry of a run's first slot: there may be leases on it. Above all kinds.
pub(crate) const LEASED: u64 = 1 << 31;
pub(crate) const KIND_SHIFT: u32 = 16;
const MOST_KIND: u16 = (1 << 15) - 1;

/// What is known of each slot.
pub(crate) type Table = [AtomicU64; SLOTS];

#[repr(C)]
pub(crate) struct Control {
    pub(crate) lock: RobustLock,
    pub(crate) slot_size: AtomicU32,
    pub(crate) hint: AtomicU32,
    /// How many pages of free slots have memory, see `pages.rs`.
    pub(crate) kept: AtomicU32,
    /// Not 0: some process was forked that had this arena, so that there may be the lease of a fork.
    pub(crate) forked: AtomicU32,
}

// SAFETY: a lock word and atomics.
unsafe impl Shared for Control {}

/// What an object in an arena is; it decides who may open it as what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotKind(pub(crate) u16);

/// Which slot an object begins at, and in which of the slot's lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotAddress {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

#[inline]
pub(crate) fn table_of(segment: &Segment) -> &Table {
    segment.place(table(segment.rows()))
}

pub(crate) fn kind_of(entry: u64) -> SlotKind {
    SlotKind((entry >> KIND_SHIFT) as u16 & MOST_KIND)
}

pub(crate) fn check_size(segment: &Segment) -> Result<(), Error> {
    if segment.capacity() < data(segment.rows()) + SLOT {
        return Err(Error::Invalid("an arena too small for its tables".into()));
    }
    Ok(())
}

/// Clears what an earlier process held in this row; called while the row is being claimed.
pub(crate) fn forget_row(segment: &Segment, row: usize) -> Result<(), Error> {
    check_size(segment)?;
    let first = bitmaps(segment.rows()) + row * BITMAP;
    segment.commit(first / PAGE * PAGE, PAGE)?;
    for word in 0..BITMAP / 8 {
        segment.place::<AtomicU64>(first + word * 8).store(0, Ordering::Relaxed);
    }
    Ok(())
}
