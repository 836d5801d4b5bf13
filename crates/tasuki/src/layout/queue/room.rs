//! Places for blocks: where one lies that has none yet, and how places that nobody uses become places of another size.
//!
//! ```text
//! gap, one per area   [from, to): no block lies there. A place is cut off at its lower end
//! ```
//! A block keeps its place when it is free, so most messages never come here. When no gap has room, everything that is
//! free, or held by the dead, loses its place and its memory; what is left in use says where the gaps are now. Only the
//! holder of the lock changes gaps, gives places and takes them away. A process that dies here leaves a block that is
//! WRITING by a dead token, and a gap that is too small: both are found at the next time, since everything is computed
//! from the blocks.

use super::SharedQueue;
use super::blocks::Control;
use super::entries::{BlockId, CLASSES, Gap, SMALLEST};
use super::geometry::AREAS;
use crate::error::Error;
use crate::layout::failure::TransportFailure;
use crate::segment::Token;
use crate::sync::atomic::Ordering;
use crate::sync::{Held, Wait, kill_point};

impl SharedQueue {
    /// Gives a block that this process has claimed, and that has no place, one that is nobody's; false when there is
    /// none.
    pub(super) fn find_place(
        &self,
        id: BlockId,
        me: Token,
        wait: &mut Wait<'_>,
    ) -> Result<bool, TransportFailure> {
        let size = SMALLEST << id.class;
        // Nothing is to be repaired after a death: see the file's head.
        let held = self.head().blocks.lock.lock_within(wait)?;
        if self.cut_off(&held, id, size)? {
            return Ok(true);
        }
        self.take_places_away(&held, me)?;
        self.find_gaps(&held, size)?;
        Ok(self.cut_off(&held, id, size)?)
    }

    fn gap(&self, area: usize) -> (&Gap, usize, usize) {
        let gap = &self.head().blocks.gaps[area];
        let (start, end) = self.geometry.area(area);
        let to = match gap.to.load(Ordering::Relaxed) as usize {
            0 => end,
            to => to.min(end),
        };
        (gap, (gap.from.load(Ordering::Relaxed) as usize).max(start), to)
    }

    /// Cuts the block's place off a gap. The block has it before the lock is free, or the next one to look for gaps
    /// would find the place to be nobody's.
    fn cut_off(&self, _held: &Held<'_>, id: BlockId, size: usize) -> Result<bool, Error> {
        for area in 0..AREAS {
            let (gap, from, to) = self.gap(area);
            if let Some(next) = from.checked_add(size).filter(|&next| next <= to) {
                gap.from.store(next as u64, Ordering::Relaxed);
                kill_point!(PutPlaceCut);
                self.set_place(id, from)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes the places of all blocks that are free or a dead process's, and gives their memory back.
    fn take_places_away(&self, _held: &Held<'_>, me: Token) -> Result<(), TransportFailure> {
        for id in self.used_blocks() {
            if self.claim_unused(id, me)? {
                self.take_place_away(id)?;
                kill_point!(PutPlaceTaken);
                self.set_free(id)?;
            }
        }
        let control: &Control = &self.head().blocks;
        control.free_bytes.store(0, Ordering::Relaxed);
        Ok(())
    }

    /// Makes the gap of each area the first one of `size` bytes or more between blocks, or the largest one.
    fn find_gaps(&self, _held: &Held<'_>, size: usize) -> Result<(), TransportFailure> {
        let mut used = Vec::new();
        for id in self.used_blocks() {
            if let Some(start) = self.place_of(id)? {
                used.push((start, start.saturating_add(SMALLEST << id.class)));
            }
        }
        used.sort_unstable();
        for area in 0..AREAS {
            let (start, end) = self.geometry.area(area);
            let inside = used.iter().filter(|&&(from, to)| from < end && to > start);
            let mut best = (0, 0);
            let mut at = start;
            for &(from, to) in inside.chain(&[(end, end)]) {
                let gap = from.saturating_sub(at);
                if gap > best.1 {
                    best = (at, gap);
                }
                if best.1 >= size {
                    break;
                }
                at = at.max(to);
            }
            let gap = &self.head().blocks.gaps[area];
            let (from, to) = (best.0, best.0 + best.1);
            // No room first: a process that dies in between leaves no gap with blocks in it.
            gap.from.store(u64::MAX, Ordering::SeqCst);
            gap.to.store(to.max(1) as u64, Ordering::SeqCst);
            kill_point!(PutGapMoved);
            gap.from.store(from as u64, Ordering::SeqCst);
        }
        Ok(())
    }

    /// All blocks that were ever used.
    pub(super) fn used_blocks(&self) -> impl Iterator<Item = BlockId> {
        (0..CLASSES as u32)
            .flat_map(|class| (0..self.high(class)).map(move |index| BlockId { class, index }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::queue::Options;

    #[test]
    fn a_place_that_is_nonsense_is_nobodys_and_disturbs_no_search() {
        let options = Options {
            capacity: None,
            byte_limit: None,
            soft_limit: false,
            structured: 0,
            joinable: false,
            label: "room".into(),
        };
        let queue = SharedQueue::create_of(&options).unwrap();
        let bytes = [7; 9000];
        let put = || queue.put(1, &[&bytes], &[], &mut Wait::now()).unwrap();
        put();
        let id = queue.used_blocks().next().expect("a block");
        for nonsense in [u64::MAX, u64::MAX - 0xfff, 1] {
            queue.set_place(id, nonsense as usize).unwrap();
            let held = queue.head().blocks.lock.lock();
            queue.find_gaps(&held, SMALLEST).unwrap();
            drop(held);
            put();
        }
    }
}
