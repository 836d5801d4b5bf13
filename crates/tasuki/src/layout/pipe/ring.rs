//! One direction of a pipe: its words, the places of its frames, and copying in and out.
//!
//! `send.rs` and `receive.rs` decide; nothing here waits. Positions count bytes since the pipe began.
#![allow(unsafe_code)] // declares which types may lie in shared memory, and copies bytes of the ring

use std::os::fd::OwnedFd;
use std::ptr::NonNull;

use super::corrupt;
use super::descriptors::{Descriptors, Made};
use super::readiness::{Readiness, ReadinessFd};
use super::wait_word::{self, WaitWord};
use crate::error::Error;
use crate::layout::failure::TransportFailure;
use crate::layout::lock::{LockView, LockWords};
use crate::segment::Shared;
use crate::segment::slot::Slot;
use crate::sync::Spin;
use crate::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};
use crate::sys::eventfd;
use crate::sys::memory::{self, PAGE};

/// Bytes of a ring; a power of two. The standard library's pipes hold no more: of messages of four bytes 8192, of large
/// ones 212 KiB.
pub(super) const RING: u64 = 256 << 10;
/// What frames are aligned to.
const UNIT: u64 = 16;
const HEADER: u64 = size_of::<FrameHeader>() as u64;
/// A frame has at most this many bytes.
pub(super) const PIECE: usize = 16 << 10;
/// The ring gets its memory in steps of this.
const STEP: u64 = 16 << 10;
/// Set in every stamp, so that none is 0.
const STAMPED: u32 = 1 << 31;

/// The frame begins a message.
pub(super) const FIRST: u16 = 1;
/// The frame ends a message.
pub(super) const LAST: u16 = 2;
/// How many descriptors came with it, in the upper byte.
const HANDLES_SHIFT: u32 = 8;

#[repr(C, align(16))]
struct FrameHeader {
    stamp: AtomicU32,
    len: AtomicU32,
    codec: AtomicU16,
    flags: AtomicU16,
    attempt: AtomicU32,
}

/// A value on a cache line of its own.
#[repr(C, align(64))]
pub(super) struct Line<T>(pub(super) T);

/// What only the owner of the turn to send changes.
#[repr(C, align(64))]
pub(super) struct Sender {
    /// Where the next frame begins, unless there is one already.
    pub(super) tail: AtomicU64,
    /// The last head that a sender saw.
    pub(super) seen: AtomicU64,
    /// How many datagrams were tried.
    pub(super) attempt: AtomicU32,
    /// Bytes of the ring that have memory.
    pub(super) backed: AtomicU32,
}

/// What changes rarely.
#[repr(C, align(64))]
pub(super) struct Seldom {
    pub(super) waiters: WaitWord,
    pub(super) readiness: Readiness,
    /// How often a receiving end was closed.
    pub(super) closed: AtomicU32,
}

/// The words of one direction; zero is the fresh state.
#[repr(C)]
pub(super) struct Words {
    pub(super) sending: Line<LockWords>,
    pub(super) sender: Sender,
    pub(super) receiving: Line<LockWords>,
    pub(super) head: Line<AtomicU64>,
    pub(super) seldom: Seldom,
    pub(super) room: Line<WaitWord>,
}

impl Words {
    /// Those of the direction with this number.
    #[inline]
    pub(super) fn of(slot: &Slot, number: usize) -> &Words {
        slot.place(number * size_of::<Words>())
    }
}

// SAFETY: all fields are made of atomics.
unsafe impl Shared for Words {}
// SAFETY: atomics only.
unsafe impl Shared for FrameHeader {}

const _: () = assert!(2 * size_of::<Words>() <= PAGE && size_of::<FrameHeader>() == 16);

/// How long a pipe's memory is.
pub(super) const fn memory_len(directions: usize) -> usize {
    PAGE + directions * RING as usize
}

/// One direction of a pipe as this process sees it.
#[derive(Clone, Copy)]
pub(super) struct Direction<'a> {
    slot: &'a Slot,
    pub(super) words: &'a Words,
    descriptors: &'a Descriptors,
    number: usize,
}

/// Without descriptors it is clear: a process that sleeps or polls has them made before.
impl ReadinessFd for Direction<'_> {
    fn set_readable(&self) {
        if let Some(made) = self.descriptors.made() {
            eventfd::make_readable(self.eventfd_of(made));
        }
    }

    fn clear_readable(&self) {
        if let Some(made) = self.descriptors.made() {
            eventfd::make_writable(self.eventfd_of(made));
        }
    }
}

/// A committed frame, checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) position: u64,
    pub(super) codec: u16,
    pub(super) flags: u16,
    pub(super) attempt: u32,
    pub(super) len: usize,
}

impl Frame {
    /// Where the next frame begins.
    pub(super) fn end(&self) -> u64 {
        self.position.wrapping_add(frame_len(self.len))
    }

    pub(super) fn is(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// How many descriptors belong to it.
    pub(super) fn handles(&self) -> usize {
        usize::from(self.flags >> HANDLES_SHIFT)
    }
}

/// The flags of a frame with descriptors.
pub(super) fn handles_flag(count: usize) -> u16 {
    debug_assert!(count < 256, "the caller checked it against the kernel's limit");
    (count as u16) << HANDLES_SHIFT
}

/// Bytes that a frame takes up.
#[inline]
pub(super) fn frame_len(len: usize) -> u64 {
    (HEADER + len as u64).next_multiple_of(UNIT)
}

#[inline]
fn stamp_of(position: u64) -> u32 {
    (position / UNIT) as u32 | STAMPED
}

impl<'a> Direction<'a> {
    #[inline]
    pub(super) fn new(
        slot: &'a Slot,
        number: usize,
        descriptors: &'a Descriptors,
    ) -> Direction<'a> {
        Direction { slot, words: Words::of(slot, number), descriptors, number }
    }

    /// Where the ring begins in the slot.
    #[inline]
    fn ring(self) -> usize {
        PAGE + self.number * RING as usize
    }

    /// The direction's eventfd, of these descriptors.
    pub(super) fn eventfd_of(self, made: &Made) -> &OwnedFd {
        &made.eventfds()[self.number]
    }

    /// Gives the first bytes of a new ring their memory: a receiver that looks for the first frame reads them.
    pub(super) fn begin(self) -> Result<(), Error> {
        // That of the first ring lies behind the words and was made with them.
        if self.number != 0 {
            self.slot.back(self.ring(), PAGE)?;
            // There may be another pipe's frame. All further stamps are cleared by the sender that commits the frame
            // before.
            self.header(0).stamp.store(0, Ordering::Relaxed);
        }
        self.words.sender.backed.store(PAGE as u32, Ordering::Relaxed);
        Ok(())
    }

    /// The turn to send.
    pub(super) fn sending<'s: 'a>(self, spin: &'s Spin) -> LockView<'a> {
        LockView { words: &self.words.sending.0, segment: self.slot.segment(), spin }
    }

    /// The turn to receive.
    pub(super) fn receiving<'s: 'a>(self, spin: &'s Spin) -> LockView<'a> {
        LockView { words: &self.words.receiving.0, segment: self.slot.segment(), spin }
    }

    /// Whatever was written there, a position is inside of the ring and aligned.
    #[inline]
    fn header(self, position: u64) -> &'a FrameHeader {
        let slot: &'a Slot = self.slot;
        slot.place(self.ring() + (position % RING / UNIT * UNIT) as usize)
    }

    #[inline]
    pub(super) fn head(self) -> u64 {
        // SYNC: SeqCst, with the store in `set_head`.
        self.words.head.0.load(Ordering::SeqCst)
    }

    /// Gives everything before `head` back to the senders. The caller has the turn to receive.
    #[inline]
    pub(super) fn set_head(self, head: u64) {
        // SYNC: SeqCst, with the load in `head` (the frame was read before it is written again), and before the look of
        // `room.notify_here`: either it sees a waiter's flag, or the waiter's look sees this.
        self.words.head.0.store(head, Ordering::SeqCst);
    }

    /// Whether there is a frame at the head, as far as one can see without the turn.
    #[inline]
    pub(super) fn has_frame(self) -> bool {
        let head = self.head();
        match wait_word::stamp(&self.header(head).stamp) {
            0 => false,
            stamp if stamp == stamp_of(head) => true,
            // Others took it meanwhile, or it was overwritten, which the process with the turn will find.
            _ => self.head() == head,
        }
    }

    /// The frame at a position: None when nothing is committed there. Every number is read once and checked.
    #[inline]
    pub(super) fn frame_at(self, position: u64) -> Result<Option<Frame>, TransportFailure> {
        let header = self.header(position);
        match wait_word::stamp(&header.stamp) {
            0 => return Ok(None),
            stamp if stamp == stamp_of(position) => {}
            _ => return Err(corrupt("a frame's stamp")),
        }
        let frame = Frame {
            position,
            codec: header.codec.load(Ordering::Relaxed),
            flags: header.flags.load(Ordering::Relaxed),
            attempt: header.attempt.load(Ordering::Relaxed),
            len: header.len.load(Ordering::Relaxed) as usize,
        };
        if frame.len > PIECE || position % UNIT != 0 {
            return Err(corrupt("a frame's length"));
        }
        Ok(Some(frame))
    }

    /// Moves the tail behind what a killed sender committed last. The caller has the turn to send.
    #[cold]
    pub(super) fn find_tail(self) -> Result<(), TransportFailure> {
        let mut tail = self.words.sender.tail.load(Ordering::Relaxed);
        for _ in 0..=RING / HEADER {
            match self.frame_at(tail)? {
                None => return Ok(()),
                Some(frame) => tail = frame.end(),
            }
            self.words.sender.tail.store(tail, Ordering::Relaxed);
        }
        Err(corrupt("the tail"))
    }

    /// Whether a frame of `len` bytes fits behind `tail` when everything before `head` is free, the stamp behind it
    /// too.
    #[inline]
    pub(super) fn fits(tail: u64, head: u64, len: usize) -> Result<bool, TransportFailure> {
        let used = tail.wrapping_sub(head);
        if used > RING {
            return Err(corrupt("the head or the tail"));
        }
        Ok(used + frame_len(len) + UNIT <= RING)
    }

    /// The number that a frame begins with.
    pub(super) fn first_word(self, frame: Frame) -> u64 {
        let place = self.header(frame.position.wrapping_add(HEADER));
        u64::from(place.stamp.load(Ordering::Relaxed))
            | u64::from(place.len.load(Ordering::Relaxed)) << 32
    }

    /// Makes sure that the ring has memory for a frame of `len` bytes at `tail`, and the stamp behind it.
    #[inline]
    pub(super) fn back(self, tail: u64, len: usize) -> Result<(), TransportFailure> {
        let backed = u64::from(self.words.sender.backed.load(Ordering::Relaxed));
        if backed >= RING { Ok(()) } else { self.back_more(tail, len, backed) }
    }

    #[cold]
    fn back_more(self, tail: u64, len: usize, backed: u64) -> Result<(), TransportFailure> {
        let end = (tail % RING + frame_len(len) + UNIT).min(RING).next_multiple_of(STEP);
        if end > backed {
            self.slot.back(self.ring(), end as usize)?;
            self.words.sender.backed.store(end as u32, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Writes a frame's header, all but the stamp, and makes the place behind the frame one without a frame.
    #[inline]
    pub(super) fn write_header(self, frame: Frame) {
        let header = self.header(frame.position);
        header.len.store(frame.len as u32, Ordering::Relaxed);
        header.codec.store(frame.codec, Ordering::Relaxed);
        header.flags.store(frame.flags, Ordering::Relaxed);
        header.attempt.store(frame.attempt, Ordering::Relaxed);
        // Before the commit, which releases it.
        self.header(frame.end()).stamp.store(0, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn commit(self, position: u64) {
        wait_word::commit(&self.header(position).stamp, stamp_of(position));
    }

    /// After a commit: the line behind the one where the next frame begins is fetched while nobody waits for that.
    #[inline]
    pub(super) fn fetch_ahead(self, tail: u64) {
        const LINE: u64 = 64;
        let ahead = (tail / LINE + 1) * LINE;
        memory::prefetch_to_write(std::ptr::from_ref(self.header(ahead)).cast());
    }

    /// The first byte of the frame at `position`, counted from the begin of the ring, and the address of the ring.
    #[inline]
    fn body(self, position: u64, skip: usize) -> (NonNull<u8>, usize) {
        let offset = (position.wrapping_add(HEADER + skip as u64) % RING) as usize;
        // SAFETY: the slot was checked to be as long as the rings of all its directions.
        (unsafe { self.slot.bytes().add(self.ring()) }, offset)
    }

    /// Copies bytes into the frame at `position`, after `skip` others of it.
    #[inline]
    pub(super) fn write(self, position: u64, skip: usize, bytes: &[u8]) {
        debug_assert!(skip + bytes.len() <= PIECE);
        let (ring, offset) = self.body(position, skip);
        let before_end = bytes.len().min(RING as usize - offset);
        // SAFETY: both parts lie in the ring, which is longer than a frame: the first from `offset` to its end at most,
        // the second from its begin. A private slice does not overlap it. Another process may race; then the bytes are
        // garbage, never an invalid value, since nothing typed is there.
        unsafe {
            ring.add(offset).as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), before_end);
            let rest = &bytes[before_end..];
            ring.as_ptr().copy_from_nonoverlapping(rest.as_ptr(), rest.len());
        }
    }

    /// Appends the bytes of a frame, but for the first `skip`, to `out`, which has room for them.
    #[inline]
    pub(super) fn read(self, frame: Frame, skip: usize, out: &mut Vec<u8>) {
        let len = frame.len.saturating_sub(skip).min(PIECE);
        let (ring, offset) = self.body(frame.position, skip);
        let before_end = len.min(RING as usize - offset);
        out.reserve(len);
        // SAFETY: both parts lie in the ring, as in `write`; the target has room for `len` more bytes and is private;
        // after the copies those bytes are initialised.
        unsafe {
            let end = out.as_mut_ptr().add(out.len());
            end.copy_from_nonoverlapping(ring.add(offset).as_ptr(), before_end);
            end.add(before_end).copy_from_nonoverlapping(ring.as_ptr(), len - before_end);
            out.set_len(out.len() + len);
        }
    }
}
