//! The consumers' side: copy out, say what is in flight, notify, commit.

use std::os::fd::{AsFd, OwnedFd};

use super::entries::BlockId;
use super::frame::{self, BLOCK, HANDLES, JUMP};
use super::held::GetHeld;
use super::large::Block;
use super::ring::TRIMMED;
use super::side::{CLEARS_READINESS, SETS_READINESS, SHUT, UNREPAIRED, sleep_until};
use super::{Position, SharedQueue, corrupt};
use crate::error::Error;
use crate::layout::failure::TransportFailure;
use crate::segment::Token;
use crate::sync::atomic::Ordering;
use crate::sync::{GaveUp, Wait, kill_point};
use crate::sys::descriptor_socket::{self, Label};

/// What few messages have. The caller provides an empty one, which most messages leave alone: a result that is moved
/// through some layers would cost more than the rest of a small message.
#[derive(Debug, Default)]
pub(crate) struct Attachments {
    /// The block that holds the bytes, this process's until it is dropped; None: they are in the caller's buffer.
    pub(crate) block: Option<Box<Block>>,
    pub(crate) fds: Vec<OwnedFd>,
}

/// A message that was taken.
#[derive(Debug)]
pub struct Taken {
    /// What the bytes mean.
    pub codec: u16,
    /// The bytes, when they are too many for the caller's buffer.
    pub large: Option<Box<Block>>,
    /// The descriptors that came along.
    pub fds: Vec<OwnedFd>,
}

/// A frame that was found at the head, checked.
pub(super) struct Frame {
    pub(super) codec: u16,
    pub(super) flags: u16,
    attempt: u32,
    body: u64,
    pub(super) len: usize,
    /// Where the next frame begins.
    end: u64,
    pub(super) jumped: bool,
}

impl Frame {
    /// The head behind this frame, whose message has `len` bytes.
    #[inline]
    pub(super) fn after(&self, head: Position, len: usize) -> Position {
        Position {
            ticket: head.ticket.wrapping_add(1),
            offset: self.end,
            bytes: head.bytes.wrapping_add(len as u64),
        }
    }
}

impl SharedQueue {
    /// Takes the oldest message, waiting for one as long as `wait` says. A small one's bytes are in `buffer` then,
    /// which is emptied first; a large one's are in the returned [`Block`].
    #[inline]
    pub fn get(
        &self,
        buffer: &mut Vec<u8>,
        wait: &mut Wait<'_>,
    ) -> Result<Taken, TransportFailure> {
        let mut attachments = Attachments::default();
        let codec = self.get_with(buffer, &mut attachments, wait)?;
        Ok(Taken { codec, large: attachments.block, fds: attachments.fds })
    }

    /// As `get`, and returns what the bytes mean; what few messages have goes into `attachments`, which comes empty.
    #[inline]
    pub(crate) fn get_with(
        &self,
        out: &mut Vec<u8>,
        attachments: &mut Attachments,
        wait: &mut Wait<'_>,
    ) -> Result<u16, TransportFailure> {
        match self.get_bytes(out) {
            Some(codec) => Ok(codec),
            None => self.get_slowly(out, attachments, wait),
        }
    }

    /// As `get_with`, for a caller that knows that something is in the way of the short one.
    pub(crate) fn get_slowly(
        &self,
        out: &mut Vec<u8>,
        attachments: &mut Attachments,
        wait: &mut Wait<'_>,
    ) -> Result<u16, TransportFailure> {
        out.clear();
        let me = self.segment.my_row()?;
        if self.joinable {
            self.join_table(me, wait)?;
        }
        loop {
            if !self.knows_of_message() && !self.has_message() {
                self.wait_for_put(wait)?;
            }
            let held = self.lock_get(wait)?;
            kill_point!(GetLocked);
            let head = self.head().get.held_position(&held);
            if !self.is_behind_tail(head.ticket) {
                drop(held);
                continue;
            }
            let frame = self.get_locked(&held, head, me, out, attachments)?;
            self.leave_get(held);
            kill_point!(GetUnlocked);
            if frame.jumped && self.is_loose() {
                self.trim_if_nobody_puts();
            }
            return Ok(frame.codec);
        }
    }

    #[inline]
    fn get_locked(
        &self,
        held: &GetHeld<'_>,
        head: Position,
        me: Token,
        out: &mut Vec<u8>,
        attachments: &mut Attachments,
    ) -> Result<Frame, Error> {
        let frame = self.frame_at(head)?;
        let (len, block) = self.copy_frame(&frame, head.ticket, out)?;
        if frame.flags & HANDLES != 0 {
            attachments.fds = self.peek_descriptors(&frame, head.ticket)?;
        }
        kill_point!(GetCopied);
        self.commit_get(held, me, head, frame.after(head, len));
        if let Some(id) = block {
            attachments.block = Some(Box::new(self.hold_block(id, len, me)?));
        }
        kill_point!(GetBlockHeld);
        if frame.flags & HANDLES != 0 {
            descriptor_socket::drop_first(self.descriptor_socket.as_fd());
        }
        Ok(frame)
    }

    /// Appends the frame's bytes to `out`, or nothing if they are in a block, and says how long the message is.
    #[inline]
    pub(super) fn copy_frame(
        &self,
        frame: &Frame,
        ticket: u64,
        out: &mut Vec<u8>,
    ) -> Result<(usize, Option<BlockId>), Error> {
        let before = out.len();
        if !self.segment.read(frame.body as usize, frame.len, out) {
            return Err(corrupt("a frame's length"));
        }
        if frame.flags & BLOCK == 0 {
            return Ok((frame.len, None));
        }
        let named = BlockId::from_bytes(&out[before..]);
        out.truncate(before);
        let (id, len) = named.ok_or_else(|| corrupt("a large message's frame"))?;
        self.check_queued(id, len, ticket)?;
        Ok((len, Some(id)))
    }

    /// Takes the messages from `head` to `next` out of the queue, all at once.
    #[inline]
    pub(super) fn commit_get(&self, held: &GetHeld<'_>, me: Token, from: Position, next: Position) {
        let head = self.head();
        let count = next.ticket.wrapping_sub(from.ticket);
        if let Some(row) = self.segment.roster().row(me.row()) {
            if row.never_got() {
                self.note_reader(me);
                if !self.joinable {
                    self.segment.note_reader();
                }
            }
            row.note_in_flight(from.ticket, count, next.bytes.wrapping_sub(from.bytes));
        }
        if self.joinable {
            self.prepare_taken(held, me, from.ticket, count);
        }
        kill_point!(GetInFlight);
        // Notify before the commit, as in put.
        // Where bytes are counted, one large message may make room for many small ones.
        let woken = if self.byte_limit == u64::MAX { count as u32 } else { u32::MAX };
        head.nonfull.0.notify(woken);
        kill_point!(GetNotified);
        if head.get.flags() & SETS_READINESS != 0 {
            self.set_writable(held);
        }
        head.get.commit(held, next);
        kill_point!(GetCommitted);
    }

    /// The frame at the head. Every number is read once and checked before it is used.
    #[inline]
    pub(super) fn frame_at(&self, head: Position) -> Result<Frame, Error> {
        let mut offset = head.offset;
        let mut chunk = self.geometry.chunk_of(offset).ok_or_else(|| corrupt("the head"))?;
        let mut header = self.frame_header(offset)?;
        let mut what = header.what();
        let jumped = what.codec() == JUMP;
        if jumped {
            chunk = self.next_chunk(chunk)?;
            offset = self.chunk_start(chunk);
            header = self.frame_header(offset)?;
            what = header.what();
        }
        let len = what.len();
        let ticket = header.ticket.load(Ordering::Relaxed);
        let whole = frame::frame_len(len);
        if what.codec() == JUMP || ticket != head.ticket as u32 {
            return Err(corrupt("a frame's ticket"));
        }
        if whole + frame::HEADER > self.geometry.left(offset) {
            return Err(corrupt("a frame's length"));
        }
        Ok(Frame {
            codec: what.codec(),
            flags: what.flags(),
            attempt: header.attempt.load(Ordering::Relaxed),
            body: offset + frame::HEADER as u64,
            len,
            end: offset + whole as u64,
            jumped,
        })
    }

    /// Copies of the frame's descriptors; what belongs to messages that never came is closed on the way.
    #[cold]
    pub(super) fn peek_descriptors(
        &self,
        frame: &Frame,
        ticket: u64,
    ) -> Result<Vec<OwnedFd>, Error> {
        const DOING: &str = "receive the handles of a message";
        let expected = (frame.flags & HANDLES) as usize;
        let mine = Label { ticket, attempt: frame.attempt };
        loop {
            let first = descriptor_socket::peek(self.descriptor_socket.as_fd())
                .map_err(|e| Error::os(DOING, e))?;
            match first {
                Some((label, fds)) if label == mine => {
                    if fds.len() == expected && descriptor_socket::can_open_as_many(&fds) {
                        return Ok(fds);
                    }
                    // The message stays in the queue: close some descriptors and get it again.
                    return Err(Error::os(DOING, descriptor_socket::too_many_open_files()));
                }
                Some((label, _)) if (label.ticket.wrapping_sub(ticket) as i64) <= 0 => {
                    descriptor_socket::drop_first(self.descriptor_socket.as_fd());
                }
                _ => return Err(corrupt("the handles of a message are missing")),
            }
        }
    }

    /// Enters the consumers' section; repairs it if the last one died there.
    #[inline(always)]
    pub(super) fn lock_get(&self, wait: &mut Wait<'_>) -> Result<GetHeld<'_>, GaveUp> {
        let held = self.get_held(self.head().get.lock.lock_within(wait)?);
        if held.must_repair() {
            self.repair_get(&held);
        }
        Ok(held)
    }

    /// Enters the consumers' section if nobody is there. What the last one died of is left to the caller.
    pub(super) fn try_lock_get(&self) -> Option<GetHeld<'_>> {
        Some(self.get_held(self.head().get.lock.try_lock()?))
    }

    /// As `lock_get`, for one that comes to see what became of a consumer.
    #[cold]
    pub(super) fn visit_get(&self, wait: &mut Wait<'_>) -> Result<GetHeld<'_>, GaveUp> {
        let held = self.get_held(self.head().get.lock.visit_within(wait)?);
        if held.must_repair() {
            self.repair_get(&held);
        }
        Ok(held)
    }

    /// Leaves the consumers' section after a commit.
    #[inline]
    pub(super) fn leave_get(&self, held: GetHeld<'_>) {
        let flags = self.head().get.flags();
        drop(held);
        if flags & (CLEARS_READINESS | UNREPAIRED) != 0 {
            self.after_get(flags);
        }
    }

    /// What few queues need, without a lock. The message is taken, so this must neither fail nor wait.
    #[cold]
    pub(super) fn after_get(&self, flags: u32) {
        if flags & CLEARS_READINESS != 0 {
            self.clear_readable_if_empty();
        }
        if flags & UNREPAIRED != 0 {
            self.free_blocks_of_the_dead();
        }
    }

    /// Whether there is a message, as far as one can see without the lock.
    #[inline]
    pub(super) fn has_message(&self) -> bool {
        let head = self.head();
        head.put.ticket.load(Ordering::SeqCst) != head.get.ticket.load(Ordering::SeqCst)
    }

    /// Whether a consumer saw a message that was not taken since. A guess, but one that leaves the producers' cache
    /// line alone while there are messages.
    #[inline]
    pub(super) fn knows_of_message(&self) -> bool {
        self.head().get.saw_more_than_committed()
    }

    /// Whether there is a message after `ticket` ones, for the holder of the get lock.
    #[inline]
    pub(super) fn is_behind_tail(&self, ticket: u64) -> bool {
        let side = &self.head().get;
        if side.seen.load(Ordering::Relaxed) != ticket {
            return true;
        }
        let tail = self.head().put.ticket.load(Ordering::Acquire);
        side.seen.store(tail, Ordering::Relaxed);
        tail != ticket
    }

    /// Sleeps until there may be a message.
    #[cold]
    pub(super) fn wait_for_put(&self, wait: &mut Wait<'_>) -> Result<(), TransportFailure> {
        let head = self.head();
        if head.get.flags() & CLEARS_READINESS != 0 {
            self.clear_readable_seen_empty(wait)?;
        }
        let is_shut = || head.put.flags() & SHUT != 0;
        let over = || self.has_message() || is_shut();
        if !wait.is_brief() && !over() && !self.get_spin.until(over) {
            let enter = |wait: &mut Wait<'_>| self.visit_put(wait);
            self.note_reader(self.segment.my_row()?);
            while !over() {
                sleep_until(&head.nonempty.0, &head.put.lock, over, enter, wait)?;
                if !over() {
                    self.free_blocks_of_the_dead();
                }
            }
        }
        if self.has_message() {
            return Ok(());
        }
        if is_shut() {
            // Now the tail is final, and the last message may have come between the two looks.
            return if self.has_message() { Ok(()) } else { Err(TransportFailure::ShutDown) };
        }
        // The waiter has seen a message, and another one was faster: it looks again, and is never told "empty" early.
        if wait.is_brief() { Err(GaveUp::TimedOut.into()) } else { Ok(()) }
    }

    /// As `trim_if_nobody_puts`, until hardly any is free.
    pub(super) fn trim_all(&self) {
        // No more often than there can be chunks, whatever the memory says.
        for _ in 0..=self.geometry.chunks() / TRIMMED {
            if !self.is_loose() || !self.trim_if_nobody_puts() {
                return;
            }
        }
    }

    /// After a burst: gives some chunks back, unless a producer is busy, which needs them and will do it. An
    /// overwritten queue says so at the next get or put.
    #[cold]
    pub(super) fn trim_if_nobody_puts(&self) -> bool {
        let Some(held) = self.try_lock_put() else { return false };
        let repaired = !held.must_repair() || self.repair_put(&held).is_ok();
        let is_whole = repaired && self.head().put.flags() & UNREPAIRED == 0;
        is_whole && self.trim(&held).is_ok()
    }
}
