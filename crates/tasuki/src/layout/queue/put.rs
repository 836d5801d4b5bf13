//! The producers' side: reserve a place, write, notify, commit.

use std::os::fd::{AsFd, OwnedFd};

use super::entries::BlockId;
use super::entries::CHUNK;
use super::frame::{self, BLOCK, HANDLES, JUMP, What};
use super::held::PutHeld;
use super::large::Block;
use super::side::{CLEARS_READINESS, SETS_READINESS, SHUT, UNREPAIRED, WATCHED, sleep_until};
use super::{INLINE, Position, SharedQueue, corrupt};
use crate::error::Error;
use crate::layout::failure::TransportFailure;
use crate::layout::message::Outbound;
use crate::sync::atomic::Ordering;
use crate::sync::{GaveUp, Wait, kill_point};
use crate::sys::descriptor_socket::{self, Label};

/// What a producer does that finds the descriptor socket full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WhenSocketFull {
    Wait,
    Leave,
}

impl SharedQueue {
    /// Puts a message of `codec` that consists of `parts`, one after the other, together with `fds`, waiting for room
    /// as long as `wait` says.
    ///
    /// When this returns `Ok`, a process that learns of it and then gets will see the message, even if this process is
    /// killed at once. On any failure the message is wholly outside.
    #[inline]
    pub fn put(
        &self,
        codec: u16,
        parts: &[&[u8]],
        fds: &[OwnedFd],
        wait: &mut Wait<'_>,
    ) -> Result<(), TransportFailure> {
        if let ([bytes], []) = (parts, fds) {
            if self.put_bytes(codec, bytes) {
                return Ok(());
            }
        }
        self.put_slowly(codec, parts, fds, wait)
    }

    /// As `put`, for a caller that knows that something is in the way of the short one.
    pub(crate) fn put_slowly(
        &self,
        codec: u16,
        parts: &[&[u8]],
        fds: &[OwnedFd],
        wait: &mut Wait<'_>,
    ) -> Result<(), TransportFailure> {
        self.put_as(&Outbound { codec, parts, fds }, WhenSocketFull::Wait, wait).map(drop)
    }

    /// As `put`, for a caller that has another way to hand over what `fds` are for: false, and nothing put, when the
    /// descriptors of too many other messages wait already. The kernel takes those of some 280 messages.
    pub fn put_if_descriptors_fit(
        &self,
        codec: u16,
        parts: &[&[u8]],
        fds: &[OwnedFd],
        wait: &mut Wait<'_>,
    ) -> Result<bool, TransportFailure> {
        self.put_as(&Outbound { codec, parts, fds }, WhenSocketFull::Leave, wait)
    }

    #[inline]
    fn put_as(
        &self,
        message: &Outbound<'_>,
        when_socket_full: WhenSocketFull,
        wait: &mut Wait<'_>,
    ) -> Result<bool, TransportFailure> {
        let len = self.checked_len(message)?;
        if len <= INLINE {
            return self.put_frame(message, message.parts, len, None, when_socket_full, wait);
        }
        let Some(block) = self.filled_block(message, len, wait)? else {
            return self.put_frame(message, message.parts, len, None, when_socket_full, wait);
        };
        let body = block.id().to_bytes(len);
        let is_put =
            self.put_frame(message, &[&body], len, Some(&block), when_socket_full, wait)?;
        if is_put {
            block.given_away();
        }
        Ok(is_put)
    }

    /// The message's length, if it can be put at all.
    #[inline]
    pub(super) fn checked_len(&self, message: &Outbound<'_>) -> Result<usize, TransportFailure> {
        self.segment.check_namespace()?;
        check_codec(message.codec)?;
        let len: usize = message.parts.iter().map(|part| part.len()).sum();
        if message.fds.len() > descriptor_socket::MOST {
            return Err(Error::Limit(format!(
                "a message can carry at most {} descriptors, this one has {}",
                descriptor_socket::MOST,
                message.fds.len()
            ))
            .into());
        }
        if len as u64 > self.byte_limit && !self.soft_limit {
            return Err(Error::Limit(format!(
                "a message of {len} bytes never fits into a queue limited to {} bytes",
                self.byte_limit
            ))
            .into());
        }
        Ok(len)
    }

    /// A block with the bytes of a message that is not a small one; None when it has to go into the ring all the same.
    pub(super) fn filled_block(
        &self,
        message: &Outbound<'_>,
        len: usize,
        wait: &mut Wait<'_>,
    ) -> Result<Option<Block>, TransportFailure> {
        let block = match self.claim_block(len, wait) {
            // So many blocks of that size are queued already: in the ring there is room for any number.
            Err(TransportFailure::Failed(error))
                if matches!(*error, Error::Limit(_))
                    && frame::frame_len(len) + frame::HEADER <= CHUNK =>
            {
                return Ok(None);
            }
            other => other?,
        };
        block.fill(message.parts);
        kill_point!(PutBlockFilled);
        Ok(Some(block))
    }

    fn put_frame(
        &self,
        message: &Outbound<'_>,
        parts: &[&[u8]],
        len: usize,
        block: Option<&Block>,
        when_socket_full: WhenSocketFull,
        wait: &mut Wait<'_>,
    ) -> Result<bool, TransportFailure> {
        let mut socket_was_full_at = None;
        loop {
            let held = self.lock_put(wait)?;
            kill_point!(PutLocked);
            self.check_open(&held)?;
            let tail = self.head().put.held_position(&held);
            if let Err(full_at) = self.has_room(tail, len as u64) {
                self.check_consumers(&held)?;
                drop(held);
                self.wait_for_get(full_at, wait)?;
                continue;
            }
            if self.put_locked(&held, tail, message, parts, len, block)? {
                self.leave_put(held);
                kill_point!(PutUnlocked);
                return Ok(true);
            }
            drop(held);
            // The socket that carries descriptors is full: as good as a full queue, once it was looked through.
            let head = self.drop_void_descriptors(wait)?;
            if socket_was_full_at.replace(head) == Some(head) {
                if when_socket_full == WhenSocketFull::Leave {
                    return Ok(false);
                }
                self.wait_for_get(head, wait)?;
            }
        }
    }

    /// Writes and commits one frame; false when its descriptors find no room.
    #[inline]
    fn put_locked(
        &self,
        held: &PutHeld<'_>,
        tail: Position,
        message: &Outbound<'_>,
        parts: &[&[u8]],
        len: usize,
        block: Option<&Block>,
    ) -> Result<bool, Error> {
        let Some(next) = self.write_frame(held, tail, message, parts, len, block.is_some())? else {
            return Ok(false);
        };
        // From here to the commit nothing can fail: a block that says QUEUED is committed, or its producer died.
        if let Some(block) = block {
            block.enqueue(tail.ticket);
        }
        self.commit_put(held, next, 1);
        Ok(true)
    }

    /// Writes one frame behind `tail`, which nobody sees yet, and says where the tail is then; None when its
    /// descriptors find no room. A frame with descriptors is the first one since the last commit.
    #[inline]
    pub(super) fn write_frame(
        &self,
        held: &PutHeld<'_>,
        tail: Position,
        message: &Outbound<'_>,
        parts: &[&[u8]],
        len: usize,
        in_block: bool,
    ) -> Result<Option<Position>, Error> {
        let body = if in_block { BlockId::LEN } else { len };
        let frame_len = frame::frame_len(body);
        let offset = self.place_for(held, tail, frame_len)?;
        let header = self.frame_header(offset)?;
        let mut flags = message.fds.len() as u16 & HANDLES;
        if in_block {
            flags |= BLOCK;
        }
        header.write(What::new(body, message.codec, flags), tail.ticket);
        kill_point!(PutHalfWritten);
        let mut at = offset as usize + frame::HEADER;
        for part in parts {
            if !self.segment.write(at, part) {
                return Err(corrupt("the tail"));
            }
            at += part.len();
        }
        kill_point!(PutWritten);
        if !message.fds.is_empty() && !self.send_descriptors(header, tail.ticket, message.fds)? {
            return Ok(None);
        }
        kill_point!(PutHandlesSent);
        Ok(Some(Position {
            ticket: tail.ticket.wrapping_add(1),
            offset: offset + frame_len as u64,
            bytes: tail.bytes.wrapping_add(len as u64),
        }))
    }

    /// Makes `count` messages visible, all at once.
    #[inline]
    pub(super) fn commit_put(&self, held: &PutHeld<'_>, next: Position, count: u32) {
        let head = self.head();
        // Notify before the commit: a killed producer has woken a consumer for its message, or committed nothing.
        head.nonempty.0.notify(count);
        kill_point!(PutNotified);
        if head.put.flags() & SETS_READINESS != 0 {
            self.set_readable(held);
        }
        head.put.commit(held, next);
        kill_point!(PutCommitted);
    }

    #[cold]
    fn send_descriptors(
        &self,
        header: &frame::FrameHeader,
        ticket: u64,
        fds: &[OwnedFd],
    ) -> Result<bool, Error> {
        let attempt = self.head().settings.attempt.fetch_add(1, Ordering::SeqCst).wrapping_add(1);
        header.attempt.store(attempt, Ordering::Relaxed);
        match descriptor_socket::send(
            self.descriptor_socket.as_fd(),
            Label { ticket, attempt },
            fds,
        ) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(Error::os("send handles through a queue", error)),
        }
    }

    /// Enters the producers' section; repairs it if the last one died there.
    #[inline(always)]
    pub(super) fn lock_put(&self, wait: &mut Wait<'_>) -> Result<PutHeld<'_>, TransportFailure> {
        let held = self.put_held(self.head().put.lock.lock_within(wait)?);
        if held.must_repair() {
            self.repair_put(&held)?;
        }
        Ok(held)
    }

    /// Enters the producers' section if nobody is there. What the last one died of is left to the caller.
    pub(super) fn try_lock_put(&self) -> Option<PutHeld<'_>> {
        Some(self.put_held(self.head().put.lock.try_lock()?))
    }

    /// As `lock_put`, for a consumer, which comes to see what became of a producer.
    #[cold]
    pub(super) fn visit_put(&self, wait: &mut Wait<'_>) -> Result<PutHeld<'_>, TransportFailure> {
        let held = self.put_held(self.head().put.lock.visit_within(wait)?);
        if held.must_repair() {
            self.repair_put(&held)?;
        }
        Ok(held)
    }

    /// Whether anything may be put at all.
    #[inline]
    pub(super) fn check_open(&self, held: &PutHeld<'_>) -> Result<(), TransportFailure> {
        let flags = self.head().put.flags();
        if flags & (SHUT | UNREPAIRED) == 0 { Ok(()) } else { self.try_to_open(held, flags) }
    }

    #[cold]
    fn try_to_open(&self, held: &PutHeld<'_>, flags: u32) -> Result<(), TransportFailure> {
        if flags & SHUT != 0 {
            return Err(TransportFailure::ShutDown);
        }
        Ok(self.repair_ring(held)?)
    }

    /// For a producer of a full queue that is open: whether the consumers' side is as well. They are shut in the other
    /// order, and a producer that waited here would be sent back to look again, for ever.
    #[cold]
    pub(super) fn check_consumers(&self, _held: &PutHeld<'_>) -> Result<(), Error> {
        if self.head().get.flags() & SHUT != 0 { Err(corrupt("the flags")) } else { Ok(()) }
    }

    /// Leaves the producers' section after a commit.
    #[inline]
    pub(super) fn leave_put(&self, held: PutHeld<'_>) {
        let flags = self.head().put.flags();
        drop(held);
        if flags & (CLEARS_READINESS | WATCHED) != 0 {
            self.after_put(flags);
        }
    }

    /// What few queues need, without a lock.
    #[cold]
    pub(super) fn after_put(&self, flags: u32) {
        if flags & CLEARS_READINESS != 0 {
            self.clear_writable_if_full();
        }
        if flags & WATCHED != 0 {
            self.note_writer();
        }
    }

    /// Whether a message of `len` bytes may go behind `tail`; if not, the consumers' ticket that this was seen at.
    #[inline]
    pub(super) fn has_room(&self, tail: Position, len: u64) -> Result<(), u64> {
        let side = &self.head().put;
        // Without a limit the capacity is more than there will ever be.
        if tail.ticket.wrapping_sub(side.seen.load(Ordering::Relaxed)) >= self.capacity {
            let head = self.head().get.ticket.load(Ordering::Acquire);
            side.seen.store(head, Ordering::Relaxed);
            if tail.ticket.wrapping_sub(head) >= self.capacity {
                return Err(head);
            }
        }
        if self.byte_limit != u64::MAX {
            let head = self.head().get.position();
            let waiting = tail.bytes.wrapping_sub(head.bytes);
            let beyond = if self.soft_limit { 1 } else { len };
            if waiting.saturating_add(beyond) > self.byte_limit {
                return Err(head.ticket);
            }
        }
        Ok(())
    }

    /// Sleeps until the consumers' ticket is no longer `seen`, or for no reason: the caller looks again.
    #[cold]
    pub(super) fn wait_for_get(
        &self,
        seen: u64,
        wait: &mut Wait<'_>,
    ) -> Result<(), TransportFailure> {
        let head = self.head();
        let is_shut = || head.get.flags() & SHUT != 0;
        let changed = || head.get.ticket.load(Ordering::SeqCst) != seen || is_shut();
        if is_shut() {
            return Err(TransportFailure::ShutDown); // not left to the other flag, or nonsense in this one would be an endless loop
        }
        if changed() {
            return Ok(());
        }
        if head.put.flags() & CLEARS_READINESS != 0 && self.clear_writable_seen(seen, wait)? {
            return Ok(());
        }
        if wait.is_brief() {
            return Err(GaveUp::TimedOut.into());
        }
        if self.put_spin.until(changed) {
            return Ok(());
        }
        let enter = |wait: &mut Wait<'_>| Ok::<_, TransportFailure>(self.visit_get(wait)?);
        sleep_until(&head.nonfull.0, &head.get.lock, changed, enter, wait)?;
        if changed() {
            return Ok(());
        }
        self.free_blocks_of_the_dead();
        self.look_for_readers()
    }
}

/// That a message does not have a queue's own mark.
#[inline]
pub(super) fn check_codec(codec: u16) -> Result<(), Error> {
    if codec == JUMP { Err(no_codec(codec)) } else { Ok(()) }
}

#[cold]
fn no_codec(codec: u16) -> Error {
    Error::Invalid(format!("{codec} is no codec: it marks a queue's own frames"))
}
