//! A frame: what its header says, and its bytes where they lie in a chunk.
//!
//! ```text
//! u64 what: len, codec, flags | u32 ticket | u32 attempt | bytes, padded to 8
//! ```
#![allow(unsafe_code)] // declares which types may lie in shared memory, and refers to a frame where it was found to be

use std::marker::PhantomData;
use std::ptr::NonNull;

use super::SharedQueue;
use super::entries::CHUNK;
use crate::error::Error;
use crate::segment::Shared;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// How long the header is.
pub(super) const HEADER: usize = size_of::<FrameHeader>();
/// The codec of the frame that ends a chunk: go on in the next one. Such a frame has flags, so that a consumer that
/// takes only frames without any need not look for it.
pub(crate) const JUMP: u16 = 0xffff;
/// Flag: the frame's bytes describe a block that holds the message.
pub(super) const BLOCK: u16 = 0x8000;
/// The number of descriptors that travel with the frame.
pub(super) const HANDLES: u16 = 0x00ff;

/// The bytes that a frame with a body of `len` takes.
#[inline]
pub(super) fn frame_len(len: usize) -> usize {
    HEADER + ((len + 7) & !7) // as `next_multiple_of`, in fewer instructions
}

#[repr(C)]
pub(super) struct FrameHeader {
    /// [`What`] the frame is.
    pub(super) what: AtomicU64,
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
    pub(super) const JUMP: What = What::new(0, JUMP, BLOCK);

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

impl SharedQueue {
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
}
