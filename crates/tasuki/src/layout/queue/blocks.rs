//! Room for large messages, filled and emptied outside the locks: one owner at a time, and never an orphan.
//!
//! ```text
//! state u64: bits 0-1 state | bits 32-61 token of the owner
//!   FREE     nobody's                                  -> WRITING by compare-and-swap of whoever needs it
//!   WRITING  owner fills it                            -> QUEUED under the put lock, just before the commit;
//!                                                         FREE by the owner, or taken over once the owner is dead
//!   QUEUED   belongs to the message with `ticket`      -> HELD under the get lock, just after the commit;
//!                                                         FREE by a repair, when no such message is queued
//!   HELD     owner reads it                            -> FREE by the owner, or taken over once it is dead
//! ```
//! Blocks come in sizes of 8 KiB times a power of two; [`room`](super::room) says where they lie. The numbers are
//! virtual: a block has memory only up to the longest message it carried, and gives it back when the queue keeps more
//! than [`KEPT`] in free blocks.

use super::entries::{BlockEntry, BlockId, CLASSES, Gap, SMALLEST};
use super::geometry::AREAS;
use super::large::Block;
use super::{SharedQueue, corrupt};
use crate::error::Error;
use crate::layout::failure::TransportFailure;
use crate::segment::Token;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::sync::{RobustLock, Wait, kill_point, wait};
use crate::sys::memory::PAGE;

/// How many entries are looked at in a place where a free one is likely.
const LIKELY: u32 = 64;
/// Free blocks keep this much memory between them.
const KEPT: u64 = 64 << 20;

const FREE: u64 = 0;
const WRITING: u64 = 1;
const QUEUED: u64 = 2;
const HELD: u64 = 3;
const STATE: u64 = 0b11;

#[repr(C, align(64))]
pub(super) struct Control {
    /// For a producer that gives a block a place; see [`room`](super::room).
    pub(super) lock: RobustLock,
    /// When somebody last looked for blocks of the dead; see [`wait::look_number`].
    looked: AtomicU32,
    /// Where new blocks may lie, by area.
    pub(super) gaps: [Gap; AREAS],
    /// Memory in free blocks; a hint, since a death may leave it off.
    pub(super) free_bytes: AtomicU64,
    /// Entries that were ever used, by class.
    high: [AtomicU32; CLASSES],
    /// The entry that was freed last, by class.
    recent: [AtomicU32; CLASSES],
    /// Where the last search ended, by class.
    cursor: [AtomicU32; CLASSES],
}

/// What became of a search for queued blocks that no message has.
pub(super) struct Sweep {
    /// Every entry could be looked at: none needs address space, or a descriptor, that this process does not have.
    pub(super) is_complete: bool,
    /// There are others, whose message waits, or will be put.
    pub(super) others_wait: bool,
}

impl SharedQueue {
    /// A block's entry, if there is one with memory.
    fn block(&self, id: BlockId) -> Result<&BlockEntry, Error> {
        if id.index >= self.geometry.entries(id.class) {
            return Err(corrupt("the number of a block"));
        }
        let offset = self.geometry.entry(id.class, id.index);
        match self.segment.get(offset) {
            Some(entry) => Ok(entry),
            None => Err(self.unreachable(offset, size_of::<BlockEntry>(), "a block's entry")),
        }
    }

    /// How many entries of a class were ever used.
    pub(super) fn high(&self, class: u32) -> u32 {
        let high = self.head().blocks.high[class as usize].load(Ordering::Relaxed);
        high.min(self.geometry.entries(class))
    }

    /// Takes a block for a message of `len` bytes, with memory.
    pub(super) fn claim_block(
        &self,
        len: usize,
        wait: &mut Wait<'_>,
    ) -> Result<Block, TransportFailure> {
        let class = len.div_ceil(SMALLEST).next_power_of_two().trailing_zeros();
        let me = self.segment.my_row()?;
        self.free_blocks_of_the_dead();
        if class as usize >= CLASSES {
            return Err(self.too_large(len).into());
        }
        let entries = self.geometry.entries(class);
        if entries == 0 {
            return Err(self.too_large(len).into());
        }
        let Some(index) = self.find_block(class, me)? else {
            return Err(Error::Limit(format!(
                "the queue holds {entries} messages of about {len} bytes already, the most it can"
            ))
            .into());
        };
        let id = BlockId { class, index };
        kill_point!(PutBlockClaimed);
        match self.give_block_memory(id, len, me, wait) {
            Ok(offset) => Ok(Block::new(self.clone(), id, offset, len)),
            Err(error) => {
                // A child that the caller's check forked has nothing of what its parent claimed.
                if !wait.has_forked() {
                    self.free_block(id);
                }
                Err(error)
            }
        }
    }

    fn find_block(&self, class: u32, me: Token) -> Result<Option<u32>, Error> {
        let control = &self.head().blocks;
        let entries = self.geometry.entries(class);
        let mine = WRITING | u64::from(me.bits()) << 32;
        let claim = |index: u32, state: u64| {
            let entry = self.block(BlockId { class, index })?;
            // SYNC: Acquire, with the Release that freed it.
            let claimed =
                entry.state.compare_exchange(state, mine, Ordering::Acquire, Ordering::Relaxed);
            Ok::<_, Error>(claimed.is_ok())
        };
        let high = self.high(class);
        let recent = control.recent[class as usize].load(Ordering::Relaxed);
        if recent < high && claim(recent, FREE)? {
            return Ok(Some(recent));
        }
        // The first ones are in use all the time and so in the caches; after them, where the last search ended.
        let cursor = control.cursor[class as usize].load(Ordering::Relaxed).min(high);
        for index in (0..LIKELY.min(high)).chain(cursor..(cursor + LIKELY).min(high)) {
            if claim(index, FREE)? {
                control.cursor[class as usize].store(index + 1, Ordering::Relaxed);
                return Ok(Some(index));
            }
        }
        // Before the table doubles, and when it cannot grow: any that is free or whose owner died.
        if high.is_power_of_two() || high == entries {
            control.cursor[class as usize].store(0, Ordering::Relaxed);
            for index in 0..high {
                if self.claim_unused(BlockId { class, index }, me)? {
                    return Ok(Some(index));
                }
            }
        }
        for index in high..entries {
            // The first one of a page gets the memory for all of them.
            if let Some(page) = self.geometry.page_begun_by(class, index) {
                self.segment.commit(page, PAGE)?;
            }
            control.high[class as usize].fetch_max(index + 1, Ordering::Relaxed);
            if claim(index, FREE)? {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// Whether a block belongs to a process that is gone.
    fn is_orphan(&self, state: u64, me: Token) -> bool {
        let owner = Token::from_bits((state >> 32) as u32);
        matches!(state & STATE, WRITING | HELD)
            && owner.is_none_or(|owner| owner != me && !self.segment.roster().is_alive(owner))
    }

    /// Gives a block a place and memory, and maps it here.
    fn give_block_memory(
        &self,
        id: BlockId,
        len: usize,
        me: Token,
        wait: &mut Wait<'_>,
    ) -> Result<usize, TransportFailure> {
        let control = &self.head().blocks;
        let entry = self.block(id)?;
        let size = SMALLEST << id.class;
        // What it had is no longer memory of free blocks.
        let committed = entry.committed.load(Ordering::Relaxed);
        let _ = control.free_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| {
            Some(free.saturating_sub(committed))
        });
        if entry.offset.load(Ordering::Relaxed) == 0 && !self.find_place(id, me, wait)? {
            return Err(self.too_large(len).into());
        }
        let offset = self.checked_offset(id, size)?;
        if committed < len as u64 {
            let len = len.next_multiple_of(PAGE);
            // Only what is missing: a refusal takes back what was asked for, and that must be nothing that the block
            // had.
            let had = committed as usize / PAGE * PAGE;
            self.segment.commit(offset + had, len - had)?;
            kill_point!(PutBlockBacked);
            entry.committed.store(len as u64, Ordering::Relaxed);
        }
        self.map(offset, len)?;
        Ok(offset)
    }

    /// Makes a block this process's if it is nobody's, or a dead process's.
    pub(super) fn claim_unused(&self, id: BlockId, me: Token) -> Result<bool, Error> {
        let entry = self.block(id)?;
        let state = entry.state.load(Ordering::Acquire);
        let mine = WRITING | u64::from(me.bits()) << 32;
        // SYNC: Acquire, with the Release that freed it.
        let claim = || {
            entry.state.compare_exchange(state, mine, Ordering::Acquire, Ordering::Relaxed).is_ok()
        };
        if !((state & STATE == FREE || self.is_orphan(state, me)) && claim()) {
            return Ok(false);
        }
        if state & STATE == WRITING {
            // Whoever was killed while it got memory for the block has not said how much. Dying in between asks again.
            entry.committed.store(0, Ordering::Relaxed);
            if let Ok(offset) = self.checked_offset(id, SMALLEST << id.class) {
                self.segment.give_back(offset, SMALLEST << id.class);
            }
        }
        Ok(true)
    }

    /// Takes away the place of a block that this process has claimed. First the memory: a process that dies in between
    /// leaves none that nobody knows of.
    pub(super) fn take_place_away(&self, id: BlockId) -> Result<(), Error> {
        let entry = self.block(id)?;
        if entry.committed.swap(0, Ordering::Relaxed) > 0 {
            if let Ok(offset) = self.checked_offset(id, SMALLEST << id.class) {
                self.segment.give_back(offset, SMALLEST << id.class);
            }
        }
        entry.offset.store(0, Ordering::Relaxed);
        Ok(())
    }

    /// Lays a block that this process has claimed there. The lock of places is held: the holder sees every place.
    pub(super) fn set_place(&self, id: BlockId, place: usize) -> Result<(), Error> {
        self.block(id)?.offset.store(place as u64, Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn set_free(&self, id: BlockId) -> Result<(), Error> {
        self.block(id)?.state.store(FREE, Ordering::Release);
        Ok(())
    }

    /// Where a block lies, if it has a place.
    pub(super) fn place_of(&self, id: BlockId) -> Result<Option<usize>, Error> {
        let offset = self.block(id)?.offset.load(Ordering::Relaxed) as usize;
        Ok((offset != 0).then_some(offset))
    }

    /// Frees what killed processes held, so that its memory is given back though nobody needs a block of that size. For
    /// those who put large messages and those who wait: once in half a second somebody looks.
    pub(super) fn free_blocks_of_the_dead(&self) {
        let looked = &self.head().blocks.looked;
        let now = wait::look_number();
        if looked.load(Ordering::Relaxed) == now || looked.swap(now, Ordering::Relaxed) == now {
            return;
        }
        self.finish_repairs();
        let Ok(me) = self.segment.my_row() else { return };
        // Many blocks in a row are mostly one process's, which is asked for once.
        let mut living = 0;
        for id in self.used_blocks() {
            let Ok(entry) = self.block(id) else { return };
            let state = entry.state.load(Ordering::Acquire);
            if !matches!(state & STATE, WRITING | HELD) || state >> 32 == living {
                continue;
            }
            if !self.is_orphan(state, me) {
                living = state >> 32;
            } else if self.claim_unused(id, me).unwrap_or(false) {
                self.free_block(id);
            }
        }
    }

    /// A block's place, checked to lie where blocks lie.
    fn checked_offset(&self, id: BlockId, size: usize) -> Result<usize, Error> {
        let offset = self.block(id)?.offset.load(Ordering::Relaxed) as usize;
        let inside = offset.is_multiple_of(PAGE) && self.geometry.is_for_blocks(offset, size);
        if inside { Ok(offset) } else { Err(corrupt("a block's place")) }
    }

    fn too_large(&self, len: usize) -> Error {
        let room: usize =
            (0..AREAS).map(|area| self.geometry.area(area)).map(|(start, end)| end - start).sum();
        let why = if self.segment.capacity() < super::SHORTEST {
            ", since files were to be short where it was made (RLIMIT_FSIZE, `ulimit -f`)"
        } else {
            ""
        };
        Error::Limit(format!(
            "a message of {len} bytes does not fit: this queue has room for {} KiB of large messages{why}",
            room >> 10
        ))
    }

    /// Whether the block is the one of the message with `ticket`, and mapped here; for the holder of the get lock,
    /// before the message is taken.
    pub(super) fn check_queued(&self, id: BlockId, len: usize, ticket: u64) -> Result<(), Error> {
        let entry = self.block(id)?;
        let state = entry.state.load(Ordering::Acquire);
        if state & STATE != QUEUED || entry.ticket.load(Ordering::Relaxed) != ticket {
            return Err(corrupt("the block of a large message"));
        }
        // What has no memory is not read: it would get some, or, where there is none, end this process.
        if len as u64 > entry.committed.load(Ordering::Relaxed) {
            return Err(corrupt("a block's length"));
        }
        let offset = self.checked_offset(id, SMALLEST << id.class)?;
        match self.segment.bytes(offset, len) {
            Some(_) => Ok(()),
            None => Err(self.unreachable(offset, len, "a block's length")),
        }
    }

    /// The message was taken: its block is this process's. The get lock is held.
    pub(super) fn hold_block(&self, id: BlockId, len: usize, me: Token) -> Result<Block, Error> {
        let entry = self.block(id)?;
        entry.state.store(HELD | u64::from(me.bits()) << 32, Ordering::Release);
        let offset = self.checked_offset(id, SMALLEST << id.class)?;
        Ok(Block::new(self.clone(), id, offset, len))
    }

    /// The block belongs to the message with this ticket from now on. The put lock is held and the message not
    /// committed.
    pub(super) fn give_to_message(&self, id: BlockId, ticket: u64) {
        let entry = self.block(id).expect("the entry of a block that was found by it");
        entry.ticket.store(ticket, Ordering::Relaxed);
        entry.state.store(QUEUED, Ordering::Release);
    }

    /// Makes a block nobody's, whose owner this process is or was found dead.
    pub(super) fn free_block(&self, id: BlockId) {
        let control = &self.head().blocks;
        let Ok(entry) = self.block(id) else { return }; // overwritten
        let committed = entry.committed.load(Ordering::Relaxed);
        if control.free_bytes.load(Ordering::Relaxed).saturating_add(committed) > KEPT {
            if let Ok(offset) = self.checked_offset(id, SMALLEST << id.class) {
                // First the mark, then the hole, then free: dying in between asks for the memory again.
                entry.committed.store(0, Ordering::Relaxed);
                self.segment.give_back(offset, SMALLEST << id.class);
            }
        } else {
            control.free_bytes.fetch_add(committed, Ordering::Relaxed);
        }
        entry.state.store(FREE, Ordering::Release);
        control.recent[id.class as usize].store(id.index, Ordering::Relaxed);
    }

    /// Frees queued blocks whose message is `gone`: what a death between two steps of a commit leaves.
    pub(super) fn free_queued_blocks(&self, gone: impl Fn(u64) -> bool) -> Sweep {
        let mut sweep = Sweep { is_complete: true, others_wait: false };
        for class in 0..CLASSES as u32 {
            for index in 0..self.high(class) {
                let id = BlockId { class, index };
                let Ok(entry) = self.block(id) else {
                    // Those after it lie behind it.
                    sweep.is_complete = false;
                    break;
                };
                let state = entry.state.load(Ordering::Acquire);
                if state & STATE != QUEUED {
                    continue;
                }
                if gone(entry.ticket.load(Ordering::Relaxed)) {
                    self.free_block(id);
                } else {
                    sweep.others_wait = true;
                }
            }
        }
        sweep
    }
}
