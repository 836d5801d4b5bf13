//! Where frames go: a ring of chunks that grows by a chunk when it is full and shrinks again.
//!
//! ```text
//! chunk table  u32 next | u32 order | u32 committed | u32 reserved     one entry per chunk that may ever exist
//! ring         tail chunk -> free chunks -> head chunk -> ... -> tail chunk, by `next`
//! free_list    a stack of chunks outside the ring, by `next`, most recently used first
//! ```
//! `order` rises by one from chunk to chunk along the ring, so the number of chunks in use is a difference. Only the
//! holder of the put lock changes `next`; consumers follow it only out of chunks that are in use, where it is final.
//! A chunk has room for a header after every frame, so there is always place for the JUMP that ends it.

use super::entries::{CHUNK, ChunkEntry};
use super::frame::{HEADER, What};
use super::geometry::Geometry;
use super::held::PutHeld;
use super::{Position, SharedQueue, corrupt};
use crate::error::Error;
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::kill_point;
use crate::sys::memory::PAGE;

/// Chunks outside the ring that keep their memory: 4 MiB.
const KEPT: u32 = 64;
/// How many chunks are taken out of the ring at a time.
pub(super) const TRIMMED: usize = 16;
const NONE: u32 = 0; // in lists, chunk numbers are stored plus one

/// The ring's own bookkeeping; changed under the put lock.
#[repr(C, align(64))]
pub(super) struct Control {
    chunks: AtomicU32,
    length: AtomicU32,
    free_list: AtomicU32,
    free_list_len: AtomicU32,
}

impl Geometry {
    /// The chunk that an offset from shared memory lies in, if it lies in one and where a frame may begin.
    #[inline]
    pub(super) fn chunk_of(&self, offset: u64) -> Option<usize> {
        let within = offset as usize % CHUNK;
        let may_begin = offset.is_multiple_of(8) && within <= CHUNK - HEADER;
        if may_begin { self.chunk_at(usize::try_from(offset).ok()?) } else { None }
    }

    /// How many bytes there are from an offset to the end of its chunk.
    #[inline]
    pub(super) fn left(&self, offset: u64) -> usize {
        CHUNK - offset as usize % CHUNK
    }
}

impl SharedQueue {
    #[inline]
    fn entry(&self, chunk: usize) -> Result<&ChunkEntry, Error> {
        let offset = self.geometry.chunk_entry(chunk);
        match self.segment.get(offset) {
            Some(entry) => Ok(entry),
            None => Err(self.unreachable(offset, size_of::<ChunkEntry>(), "a chunk")),
        }
    }

    /// Why a range that should be there is not: memory that this process could not map, or nonsense.
    #[cold]
    pub(super) fn unreachable(&self, offset: usize, len: usize, what: &str) -> Error {
        match self.segment.reach(offset, len) {
            Err(Error::Invalid(_)) | Ok(_) => corrupt(what),
            Err(refused) => refused,
        }
    }

    /// Maps a range, unless it is: only then does that need the segment's descriptor, which a daemon may have closed.
    pub(super) fn map(&self, offset: usize, len: usize) -> Result<(), Error> {
        match self.segment.bytes(offset, len) {
            Some(_) => Ok(()),
            None => self.segment.reach(offset, len).map(drop),
        }
    }

    pub(super) fn make_first_chunk(&self) -> Result<(), Error> {
        self.give_memory(0)?;
        let control = &self.head().ring;
        control.chunks.store(1, Ordering::Relaxed);
        control.length.store(1, Ordering::Relaxed);
        for side in [&self.head().put, &self.head().get] {
            side.begin(self.chunk_start(0));
        }
        Ok(())
    }

    /// The chunk after `chunk` in the ring.
    #[inline]
    pub(super) fn next_chunk(&self, chunk: usize) -> Result<usize, Error> {
        let next = self.entry(chunk)?.next.load(Ordering::Acquire) as usize;
        if next < self.geometry.chunks() { Ok(next) } else { Err(corrupt("a chunk's successor")) }
    }

    pub(super) fn chunk_start(&self, chunk: usize) -> u64 {
        self.geometry.chunk_start(chunk) as u64
    }

    /// Where a frame of `len` bytes can begin, at or after the tail; ends the tail's chunk if it must.
    #[inline]
    pub(super) fn place_for(
        &self,
        held: &PutHeld<'_>,
        tail: Position,
        len: usize,
    ) -> Result<u64, Error> {
        let chunk = self.geometry.chunk_of(tail.offset).ok_or_else(|| corrupt("the tail"))?;
        if len + HEADER <= self.geometry.left(tail.offset) {
            return Ok(tail.offset);
        }
        let next = self.begin_chunk(held, chunk)?;
        let jump = self.frame_header(tail.offset)?;
        jump.what.store(What::JUMP.bits(), Ordering::Relaxed);
        Ok(self.chunk_start(next))
    }

    /// The chunk to go on in after `chunk`: the next free one of the ring, or one more.
    #[cold]
    fn begin_chunk(&self, _held: &PutHeld<'_>, chunk: usize) -> Result<usize, Error> {
        let control = &self.head().ring;
        let used = self.chunks_in_use(chunk)?;
        let order = self.entry(chunk)?.order.load(Ordering::Relaxed).wrapping_add(1);
        let next = if used < control.length.load(Ordering::Relaxed) {
            self.next_chunk(chunk)?
        } else {
            let fresh = self.take_chunk()?;
            kill_point!(PutChunkTaken);
            let entry = self.entry(fresh)?;
            entry.next.store(self.next_chunk(chunk)? as u32, Ordering::Release);
            self.entry(chunk)?.next.store(fresh as u32, Ordering::Release);
            kill_point!(PutChunkLinked);
            control.length.fetch_add(1, Ordering::Relaxed);
            fresh
        };
        self.entry(next)?.order.store(order, Ordering::Relaxed);
        Ok(next)
    }

    fn chunks_in_use(&self, tail_chunk: usize) -> Result<u32, Error> {
        let head = self.head().get.position().offset;
        let head_chunk = self.geometry.chunk_of(head).ok_or_else(|| corrupt("the head"))?;
        let order = |chunk: usize| Ok::<_, Error>(self.entry(chunk)?.order.load(Ordering::Relaxed));
        Ok(order(tail_chunk)?.wrapping_sub(order(head_chunk)?).wrapping_add(1))
    }

    /// A chunk outside the ring, with memory.
    fn take_chunk(&self) -> Result<usize, Error> {
        let control = &self.head().ring;
        let first = control.free_list.load(Ordering::Relaxed);
        if first != NONE {
            let chunk = first as usize - 1;
            if chunk >= self.geometry.chunks() {
                return Err(corrupt("the free list of chunks"));
            }
            self.give_memory(chunk)?;
            control
                .free_list
                .store(self.entry(chunk)?.next.load(Ordering::Relaxed), Ordering::Relaxed);
            let len = control.free_list_len.load(Ordering::Relaxed);
            control.free_list_len.store(len.saturating_sub(1), Ordering::Relaxed);
            return Ok(chunk);
        }
        let chunk = control.chunks.load(Ordering::Relaxed) as usize;
        if chunk >= self.geometry.chunks() {
            return Err(Error::Limit(format!(
                "the queue is full: it holds {} MiB of small messages already, the most it can",
                (self.geometry.chunks() * CHUNK) >> 20
            )));
        }
        self.give_memory(chunk)?;
        control.chunks.store(chunk as u32 + 1, Ordering::Relaxed);
        Ok(chunk)
    }

    /// Gives a chunk its memory, and maps it here: the producer that takes it must not fail afterwards.
    fn give_memory(&self, chunk: usize) -> Result<(), Error> {
        let entry = self.geometry.chunk_entry(chunk);
        if entry.is_multiple_of(PAGE) {
            self.segment.commit(entry, PAGE)?;
        }
        let entry = self.entry(chunk)?;
        let start = self.geometry.chunk_start(chunk);
        if entry.committed.load(Ordering::Relaxed) == 0 {
            self.segment.commit(start, CHUNK)?;
            entry.committed.store(1, Ordering::Relaxed);
        }
        self.map(start, CHUNK)
    }

    /// Whether the ring holds many more chunks than are in use; a guess, taken without a lock.
    pub(super) fn is_loose(&self) -> bool {
        let tail = self.head().put.position().offset;
        let length = self.head().ring.length.load(Ordering::Relaxed);
        length > 8
            && self
                .geometry
                .chunk_of(tail)
                .and_then(|chunk| self.chunks_in_use(chunk).ok())
                .is_some_and(|used| length.saturating_sub(used) > 4)
    }

    /// Takes some free chunks out of the ring; those beyond a reserve give their memory back.
    pub(super) fn trim(&self, _held: &PutHeld<'_>) -> Result<(), Error> {
        let control = &self.head().ring;
        let tail = self.head().put.position().offset;
        let chunk = self.geometry.chunk_of(tail).ok_or_else(|| corrupt("the tail"))?;
        let used = self.chunks_in_use(chunk)?;
        let free = control.length.load(Ordering::Relaxed).saturating_sub(used);
        for _ in 1..free.min(TRIMMED as u32 + 1) {
            let out = self.next_chunk(chunk)?;
            let entry = self.entry(out)?;
            self.entry(chunk)?.next.store(entry.next.load(Ordering::Relaxed), Ordering::Release);
            kill_point!(TrimUnlinked);
            control.length.fetch_sub(1, Ordering::Relaxed);
            self.put_on_free_list(out)?;
        }
        Ok(())
    }

    fn put_on_free_list(&self, chunk: usize) -> Result<(), Error> {
        let control = &self.head().ring;
        let entry = self.entry(chunk)?;
        if control.free_list_len.load(Ordering::Relaxed) >= KEPT {
            // First the mark, then the hole: a process that dies in between leaves memory that is asked for again.
            entry.committed.store(0, Ordering::Relaxed);
            self.segment.give_back(self.geometry.chunk_start(chunk), CHUNK);
        }
        entry.next.store(control.free_list.load(Ordering::Relaxed), Ordering::Relaxed);
        control.free_list.store(chunk as u32 + 1, Ordering::Relaxed);
        control.free_list_len.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Counts the ring anew and puts every chunk outside it on the free list: what a death may have left undone.
    pub(super) fn rebuild_ring(&self, _held: &PutHeld<'_>) -> Result<(), Error> {
        let control = &self.head().ring;
        let tail = self.head().put.position().offset;
        let first = self.geometry.chunk_of(tail).ok_or_else(|| corrupt("the tail"))?;
        // One more may have been given memory than was counted: it is asked for again when its turn comes.
        let known = (control.chunks.load(Ordering::Relaxed) as usize).min(self.geometry.chunks());
        let mut in_circle = vec![false; known];
        let mut chunk = first;
        let mut length = 0;
        loop {
            match in_circle.get_mut(chunk) {
                Some(seen @ false) => *seen = true,
                _ => return Err(corrupt("the ring of chunks")),
            }
            length += 1;
            chunk = self.next_chunk(chunk)?;
            if chunk == first {
                break;
            }
        }
        control.length.store(length, Ordering::Relaxed);
        control.free_list.store(NONE, Ordering::Relaxed);
        control.free_list_len.store(0, Ordering::Relaxed);
        for (chunk, used) in in_circle.iter().enumerate() {
            if !used {
                self.put_on_free_list(chunk)?;
            }
        }
        Ok(())
    }
}
