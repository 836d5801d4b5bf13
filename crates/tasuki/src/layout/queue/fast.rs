//! The short way of a small message in and out: one section, and all that it needs in registers.
//!
//! The steps, their order and their kill points are those of `put.rs` and `get.rs`. Whatever is not usual is left to
//! them before anything was written that counts: somebody is inside or died there, sleeps, or polls; there is no room
//! or no message, a chunk ends, something comes with the message, tasks are counted, it is the first one here.
//! Nothing is called on the usual way, so that no register has to be saved: a call with something to do after it
//! costs as much as a third of the rest.

use std::num::NonZeroU64;

use super::frame::{self, JUMP, What};
use super::side::{CLEARS_READINESS, SETS_READINESS, SHUT, UNREPAIRED, WATCHED};
use super::{INLINE, Position, SharedQueue};
use crate::sync::atomic::Ordering;
use crate::sync::{Awaited, Held, kill_point};

/// A message of at most eight bytes. It goes through calls in two registers, which is what it is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word {
    /// What a frame's header says of it, and [`WORD`].
    what: NonZeroU64,
    /// The bytes as they lie in memory.
    bytes: u64,
}

/// A bit that no header of a word has, so that no word is 0.
const WORD: u64 = 1 << 63;

impl Word {
    const LONGEST: usize = 8;

    /// The first `len` of these bytes, eight at most.
    #[inline]
    pub(crate) fn new(codec: u16, bytes: [u8; 8], len: usize) -> Word {
        Word::of(What::new(len.min(Word::LONGEST), codec, 0), u64::from_ne_bytes(bytes))
    }

    #[inline]
    fn of(what: What, bytes: u64) -> Word {
        let what = NonZeroU64::new(what.bits() | WORD).expect("it has that bit");
        Word { what, bytes }
    }

    #[inline]
    fn what(self) -> What {
        What::from_bits(self.what.get() & !WORD)
    }

    #[inline]
    pub(crate) fn codec(self) -> u16 {
        self.what().codec()
    }

    #[inline]
    pub(crate) fn len(self) -> usize {
        self.what().len()
    }

    /// Its bytes, of which `len` count.
    #[inline]
    pub(crate) fn bytes(self) -> [u8; 8] {
        self.bytes.to_ne_bytes()
    }
}

impl SharedQueue {
    /// The quick part of `put`: false says nothing but that the rest has to be done.
    pub(crate) fn put_word(&self, word: Word) -> bool {
        self.put_free(word.what(), &word.bytes())
    }

    /// As `put_word`, for some more bytes.
    pub(crate) fn put_bytes(&self, codec: u16, bytes: &[u8]) -> bool {
        bytes.len() <= INLINE
            && codec != JUMP
            && self.put_free(What::new(bytes.len(), codec, 0), bytes)
    }

    /// Writes the frame of a small message behind `tail`, which nobody sees yet, for a batch; None where that is not
    /// a matter of a few instructions.
    #[inline]
    pub(super) fn write_bytes(&self, tail: Position, codec: u16, bytes: &[u8]) -> Option<Position> {
        let len = bytes.len();
        let place = self.place_at(tail.offset, len)?;
        let body = place.body(len)?;
        place.header.write(What::new(len, codec, 0), tail.ticket);
        kill_point!(PutHalfWritten);
        body.write(bytes);
        kill_point!(PutWritten);
        kill_point!(PutHandlesSent);
        Some(after(tail, len))
    }

    /// Appends the message behind `head` to `out`, for a batch, and gives its codec and what is behind it; None where
    /// that is not a matter of a few instructions.
    #[inline]
    pub(super) fn read_bytes(&self, head: Position, out: &mut Vec<u8>) -> Option<(u16, Position)> {
        let place = self.place_at(head.offset, 0)?;
        let (what, ticket) = (place.header.what(), place.header.ticket.load(Ordering::Relaxed));
        let len = what.len();
        if len > INLINE || what.flags() != 0 || ticket != head.ticket as u32 {
            return None;
        }
        place.body(len)?.append_to(out);
        Some((what.codec(), after(head, len)))
    }

    /// Puts a message, which may have fewer bytes than these.
    #[inline(always)]
    fn put_free(&self, what: What, bytes: &[u8]) -> bool {
        let (len, room) = (what.len(), bytes.len());
        let head = self.head();
        if self.segment.is_foreign() {
            return false;
        }
        let Some(held) = head.put.lock.lock_fast() else { return false };
        kill_point!(PutLocked);
        let (tail, unused) = head.put.held_marks(&held);
        let flags = head.put.flags();
        // Whether somebody waits may be looked at anywhere in the section before the commit.
        if flags & (SHUT | UNREPAIRED | SETS_READINESS) != 0 || head.nonempty.0.has_sleepers() {
            self.leave_put_undone(held);
            return false;
        }
        if self.has_room(tail, len as u64).is_err() {
            self.leave_put_undone(held);
            return false;
        }
        let Some(place) = self.place_at(tail.offset, room) else {
            self.leave_put_undone(held);
            return false;
        };
        let Some(body) = place.body(room) else {
            self.leave_put_undone(held);
            return false;
        };
        place.header.write(what, tail.ticket);
        kill_point!(PutHalfWritten);
        body.write(bytes);
        kill_point!(PutWritten);
        kill_point!(PutHandlesSent);
        kill_point!(PutNotified);
        head.put.commit_in(unused, after(tail, len));
        kill_point!(PutCommitted);
        let awaited = held.leave();
        if awaited.is_some() || flags & (CLEARS_READINESS | WATCHED) != 0 {
            self.finish_put(awaited, flags);
        }
        kill_point!(PutUnlocked);
        true
    }

    /// Leaves the section as it was found.
    #[cold]
    #[inline(never)]
    fn leave_put_undone(&self, held: Held<'_>) {
        drop(self.put_held(held));
    }

    #[cold]
    #[inline(never)]
    fn leave_get_undone(&self, held: Held<'_>) {
        drop(self.get_held(held));
    }

    #[cold]
    #[inline(never)]
    fn finish_put(&self, awaited: Option<Awaited<'_>>, flags: u32) {
        drop(awaited);
        self.after_put(flags);
    }

    /// The quick part of `get`, for a message that is a word: None says nothing but that the rest has to be done.
    pub(crate) fn get_word(&self) -> Option<Word> {
        self.get_free(Word::LONGEST, Word::LONGEST, |what, place| {
            let bytes = place.body(Word::LONGEST)?.first()?;
            Some(Word::of(what, u64::from_ne_bytes(bytes)))
        })
    }

    /// As `get_word`, for a message of some more bytes, which are in `out` then; it is emptied first. Gives the
    /// codec.
    pub(crate) fn get_bytes(&self, out: &mut Vec<u8>) -> Option<u16> {
        out.clear();
        self.get_free(INLINE, 0, |what, place| {
            place.body(what.len())?.append_to(out);
            Some(what.codec())
        })
    }

    /// Takes a message of at most `longest` bytes, which `read` reads where there is room for `least` bytes or more.
    #[inline(always)]
    fn get_free<R>(
        &self,
        longest: usize,
        least: usize,
        read: impl FnOnce(What, frame::Place<'_>) -> Option<R>,
    ) -> Option<R> {
        let head = self.head();
        let row = self.segment.my_row_as_reader()?;
        if !head.get.saw_more_than_committed() && !self.has_message() {
            return None;
        }
        let held = head.get.lock.lock_fast()?;
        kill_point!(GetLocked);
        let (from, unused) = head.get.held_marks(&held);
        let flags = head.get.flags();
        if flags & SETS_READINESS != 0
            || head.nonfull.0.has_sleepers()
            || !self.is_behind_tail(from.ticket)
        {
            self.leave_get_undone(held);
            return None;
        }
        let Some(place) = self.place_at(from.offset, least) else {
            self.leave_get_undone(held);
            return None;
        };
        let (what, ticket) = (place.header.what(), place.header.ticket.load(Ordering::Relaxed));
        let len = what.len();
        // A JUMP has flags.
        if len > longest || what.flags() != 0 || ticket != from.ticket as u32 {
            self.leave_get_undone(held);
            return None;
        }
        let Some(result) = read(what, place) else {
            self.leave_get_undone(held);
            return None;
        };
        kill_point!(GetCopied);
        row.note_in_flight(from.ticket, 1, len as u64);
        kill_point!(GetInFlight);
        kill_point!(GetNotified);
        head.get.commit_in(unused, after(from, len));
        kill_point!(GetCommitted);
        kill_point!(GetBlockHeld);
        let awaited = held.leave();
        if awaited.is_some() || flags & (CLEARS_READINESS | UNREPAIRED) != 0 {
            return Some(self.finish_get(awaited, flags, result));
        }
        kill_point!(GetUnlocked);
        Some(result)
    }

    /// What comes after a get whose result is at hand, which goes through so that nothing is left to do after the
    /// call.
    #[cold]
    #[inline(never)]
    fn finish_get<R>(&self, awaited: Option<Awaited<'_>>, flags: u32, result: R) -> R {
        drop(awaited);
        self.after_get(flags);
        kill_point!(GetUnlocked);
        result
    }
}

/// The position behind a message of `len` bytes.
#[inline]
fn after(before: Position, len: usize) -> Position {
    Position {
        ticket: before.ticket.wrapping_add(1),
        offset: before.offset + frame::frame_len(len) as u64,
        bytes: before.bytes.wrapping_add(len as u64),
    }
}
