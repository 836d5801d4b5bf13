//! Where frames go: a ring of chunks that grows by a chunk when it is full and shrinks again.
//!
//! ```text
//! chunk table  u32 next | u32 order | u32 committed | u32 reserved     one entry per chunk that may ever exist
//! ring         tail chunk -> free chunks -> head chunk -> ... -> tail chunk, by `next`
//! free_list    a stack of chunks outside the ring, by `next`, most recently used first
//! frame        u64 what: len, codec, flags | u32 ticket | u32 attempt | bytes, padded to 8
//! ```
//! `order` rises by one from chunk to chunk along the ring, so the number of chunks in use is a difference. Only the
//! holder of the put lock changes `next`; consumers follow it only out of chunks that are in use, where it is final.
//! A chunk has room for a header after every frame, so there is always place for the JUMP that ends it.
#![allow(unsafe_code)] // declares which types may lie in shared memory, and refers to a frame where it was found to be

use std::marker::PhantomData;
use std::ptr::NonNull;

use super::entries::{CHUNK, ChunkEntry};
use super::geometry::Geometry;
use super::held::PutHeld;
use super::{Position, SharedQueue, corrupt};
use crate::error::Error;
use crate::segment::Shared;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::sync::kill_point;
use crate::sys::memory::PAGE;

pub(super) const HEADER: usize = size_of::<FrameHeader>();
/// The codec of the frame that ends a chunk: go on in the next one. Such a frame has flags, so that a consumer that
/// takes only frames without any need not look for it.
pub(crate) const JUMP: u16 = 0xffff;
/// Flag: the frame's bytes describe a block that holds the message.
pub(super) const BLOCK: u16 = 0x8000;
/// The number of descriptors that travel with the frame.
pub(super) const HANDLES: u16 = 0x00ff;
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

#[repr(C)]
pub(super) struct FrameHeader {
    /// [`What`] the frame is.
    what: AtomicU64,
    /// The low half of the message's ticket.
    pub(super) ticket: AtomicU32,
    /// Which sending of descriptors is the frame's own.
    pub(super) attempt: AtomicU32,
}

// SAFETY: atomics only.
unsafe impl Shared for FrameHeader {}

/// Bits 0-31 the length of the frame's bytes, 32-47 the codec, 48-63 flags: one word, since that is one access.
#[derive(Clone, Copy)]
pub(super) struct What(u64);

impl What {
    const JUMP: What = What::new(0, JUMP, BLOCK);

    #[inline]
    pub(super) const fn new(len: usize, codec: u16, flags: u16) -> What {
        What(len as u32 as u64 | (codec as u64) << 32 | (flags as u64) << 48)
    }

    #[inline]
    pub(super) fn from_bits(bits: u64) -> What {
        What(bits)
    }

    #[inline]
    pub(super) fn bits(self) -> u64 {
        self.0
    }

    #[inline]
    pub(super) fn len(self) -> usize {
        self.0 as u32 as usize
    }

    #[inline]
    pub(super) fn codec(self) -> u16 {
        (self.0 >> 32) as u16
    }

    #[inline]
    pub(super) fn flags(self) -> u16 {
        (self.0 >> 48) as u16
    }
}

impl FrameHeader {
    #[inline]
    pub(super) fn write(&self, what: What, ticket: u64) {
        self.what.store(what.0, Ordering::Relaxed);
        self.ticket.store(ticket as u32, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn what(&self) -> What {
        What(self.what.load(Ordering::Relaxed))
    }
}

/// Where a frame begins in a chunk that this process has mapped.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) header: &'a FrameHeader,
    /// How many bytes may follow the header; behind them there is room for the header of a JUMP.
    room: usize,
}

impl<'a> Place<'a> {
    /// The bytes of a frame that has so many; None when they do not fit into the chunk.
    #[inline(always)]
    pub(super) fn body(&self, len: usize) -> Option<Body<'a>> {
        if len > self.room {
            return None;
        }
        // SAFETY: the bytes behind the header up to the chunk's end are mapped, as `place_at` established.
        let at = unsafe { NonNull::from(self.header).cast().add(HEADER) };
        Some(Body { at, len, chunk: PhantomData })
    }
}

/// The bytes of a frame, which other processes may change at any moment: garbage then, never an invalid value.
pub(super) struct Body<'a> {
    at: NonNull<u8>,
    len: usize,
    chunk: PhantomData<&'a FrameHeader>,
}

impl Body<'_> {
    /// Copies these bytes there, as many as there is room for.
    #[inline(always)]
    pub(super) fn write(&self, bytes: &[u8]) {
        let len = bytes.len().min(self.len);
        // SAFETY: so many bytes are there, and private memory does not overlap them.
        unsafe { self.at.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), len) };
    }

    /// Its first bytes, if there are so many.
    #[inline(always)]
    pub(super) fn first<const N: usize>(&self) -> Option<[u8; N]> {
        // SAFETY: so many bytes are there, and any bits make bytes. One that is written meanwhile is garbage in this
        // copy.
        (N <= self.len).then(|| unsafe { self.at.cast::<[u8; N]>().read() })
    }

    /// Copies its bytes to the end of `out`.
    #[inline(always)]
    pub(super) fn append_to(&self, out: &mut Vec<u8>) {
        out.reserve(self.len);
        let before = out.len();
        // SAFETY: so many bytes are there, and the buffer has room for as many more, which are initialised after the
        // copy; private memory does not overlap shared memory.
        unsafe {
            out.as_mut_ptr().add(before).copy_from_nonoverlapping(self.at.as_ptr(), self.len);
            out.set_len(before + self.len);
        }
    }
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

/// The bytes that a frame with a body of `len` takes.
#[inline]
pub(super) fn frame_len(len: usize) -> usize {
    HEADER + ((len + 7) & !7) // as `next_multiple_of`, in fewer instructions
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

    #[inline]
    pub(super) fn frame_header(&self, offset: u64) -> Result<&FrameHeader, Error> {
        match self.segment.get(offset as usize) {
            Some(header) => Ok(header),
            None => Err(self.unreachable(offset as usize, HEADER, "a frame's place")),
        }
    }

    /// The place of a frame of at least `len` bytes at an offset from shared memory; None where no chunk has room for
    /// it, or this process has it not mapped.
    #[inline(always)]
    pub(super) fn place_at(&self, offset: u64, len: usize) -> Option<Place<'_>> {
        let offset = usize::try_from(offset).ok()?;
        let left = CHUNK - offset % CHUNK;
        if !offset.is_multiple_of(8) || left < HEADER + len + HEADER {
            return None;
        }
        let near = offset.wrapping_sub(self.geometry.near_chunks().start);
        let at = match self.near_chunks.at(near) {
            Some(at) => at,
            None => self.far_place(offset, left)?,
        };
        // SAFETY: up to the end of a chunk, `left` bytes from there are mapped, more than a header; chunks lie in one
        // piece and are aligned to their length, so the address is to 8; a header is `Shared`.
        let header = unsafe { at.cast::<FrameHeader>().as_ref() };
        Some(Place { header, room: left - 2 * HEADER })
    }

    /// As `place_at`, in a queue of which more than some hundred KiB wait.
    #[inline(always)]
    fn far_place(&self, offset: usize, left: usize) -> Option<NonNull<u8>> {
        self.geometry.chunk_at(offset)?;
        self.segment.mapped(offset, left)
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
        jump.what.store(What::JUMP.0, Ordering::Relaxed);
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
