//! Many messages that are put together: as many as there is room for, under one lock and with one commit.
//!
//! The steps are those of one message, with P4 to P6 repeated; see `README.md`, "Batches".

use std::collections::VecDeque;

use super::batch::{Entry, UNDER_ONE_LOCK};
use super::entries::BlockId;
use super::frame;
use super::held::PutHeld;
use super::large::Block;
use super::put::check_codec;
use super::{INLINE, Position, SharedQueue};
use crate::layout::failure::TransportFailure;
use crate::layout::message::Outbound;
use crate::sync::{GaveUp, Wait, kill_point};

/// How many bytes of large messages are copied into blocks before the first of them is put.
const AHEAD: usize = 4 << 20;

impl SharedQueue {
    /// Puts many messages in order, waiting for room for each, and says how many were put.
    ///
    /// As many as there is room for, and not more than some 256 KiB of small ones, are put in one step: they appear at
    /// once, and if this process is killed, all of them or none. Other producers' messages may come between two such
    /// parts.
    pub fn put_many(
        &self,
        messages: &[Outbound<'_>],
        wait: &mut Wait<'_>,
    ) -> (usize, Result<(), TransportFailure>) {
        // Nothing is put when one of them could never be.
        if let Err(error) = messages.iter().try_for_each(|message| check_codec(message.codec)) {
            return (0, Err(error.into()));
        }
        let mut put = 0;
        let mut ready = VecDeque::new();
        let mut socket_was_full_at = None;
        while put < messages.len() {
            if ready.is_empty() {
                let prepared = self.prepare(&messages[put..], &mut ready, wait);
                if let Err(why) = prepared {
                    // What is wrong with a later message is said when those before it are put. A caller that calls it
                    // off is not kept; it may be a child that its check forked, to which nothing of this belongs.
                    let is_called_off =
                        matches!(why, TransportFailure::GaveUp(GaveUp::Interrupted));
                    if ready.is_empty() || is_called_off {
                        return (put, Err(why));
                    }
                }
            }
            let full = match self.put_part(&messages[put..], &mut ready, wait) {
                Ok(Ok(count)) => {
                    put += count;
                    continue;
                }
                Ok(Err(full)) => full,
                Err(why) => return (put, Err(why)),
            };
            if let Err(why) = self.wait_for_room(full, &mut socket_was_full_at, wait) {
                return (put, Err(why));
            }
        }
        (put, Ok(()))
    }

    /// As `put_many`, for messages without descriptors of at most [`INLINE`] bytes each, which lie in `bytes` one after
    /// the other: there is nothing to prepare.
    pub(crate) fn put_small(
        &self,
        bytes: &[u8],
        entries: &[Entry],
        wait: &mut Wait<'_>,
    ) -> (usize, Result<(), TransportFailure>) {
        let (mut put, mut start) = (0, 0);
        while put < entries.len() {
            match self.put_small_part(bytes, start, &entries[put..], wait) {
                Ok(Ok(count)) => {
                    put += count;
                    start = entries[put - 1].end;
                }
                Ok(Err(full_at)) => {
                    if let Err(why) = self.wait_for_get(full_at, wait) {
                        return (put, Err(why));
                    }
                }
                Err(why) => return (put, Err(why)),
            }
        }
        (put, Ok(()))
    }

    /// Puts as many as there is room for, and says how many; or that there was no room when so many messages had been
    /// taken.
    fn put_small_part(
        &self,
        bytes: &[u8],
        mut start: usize,
        entries: &[Entry],
        wait: &mut Wait<'_>,
    ) -> Result<Result<usize, u64>, TransportFailure> {
        self.segment.check_namespace()?;
        let held = self.lock_put(wait)?;
        kill_point!(PutLocked);
        self.check_open(&held)?;
        let tail = self.head().put.position();
        let (mut next, mut count) = (tail, 0);
        for entry in entries {
            let message = &bytes[start..entry.end];
            if let Err(full_at) = self.has_room(next, message.len() as u64) {
                if count == 0 {
                    self.checked_len(&Outbound {
                        codec: entry.codec,
                        parts: &[message],
                        fds: &[],
                    })?;
                    self.check_consumers(&held)?;
                    return Ok(Err(full_at));
                }
                break;
            }
            let written = match self.write_bytes(next, entry.codec, message) {
                Some(after) => Ok(Some(after)),
                None => self.write_one(&held, next, entry.codec, message),
            };
            match written {
                Ok(Some(after)) => (next, count, start) = (after, count + 1, entry.end),
                Err(why) if count == 0 => return Err(why),
                _ => break, // said when its turn comes
            }
            let copied = next.bytes.wrapping_sub(tail.bytes) as usize + count * frame::HEADER;
            if copied >= UNDER_ONE_LOCK {
                break;
            }
        }
        self.commit_put(&held, next, count as u32);
        self.leave_put(held);
        kill_point!(PutUnlocked);
        Ok(Ok(count))
    }

    /// As `write_bytes`, for any.
    #[cold]
    fn write_one(
        &self,
        held: &PutHeld<'_>,
        tail: Position,
        codec: u16,
        message: &[u8],
    ) -> Result<Option<Position>, TransportFailure> {
        let outbound = Outbound { codec, parts: &[message], fds: &[] };
        let len = self.checked_len(&outbound)?;
        Ok(self.write_frame(held, tail, &outbound, outbound.parts, len, false)?)
    }

    /// Fills blocks for the large ones among the next messages.
    fn prepare(
        &self,
        messages: &[Outbound<'_>],
        ready: &mut VecDeque<Ready>,
        wait: &mut Wait<'_>,
    ) -> Result<(), TransportFailure> {
        let (mut frames, mut ahead) = (0, 0);
        for message in messages {
            let len = self.checked_len(message)?;
            let block = if len > INLINE { self.filled_block(message, len, wait)? } else { None };
            frames += frame::frame_len(if block.is_some() { BlockId::LEN } else { len });
            ahead += if block.is_some() { len } else { 0 };
            ready.push_back((len, block));
            if frames >= UNDER_ONE_LOCK || ahead >= AHEAD {
                break;
            }
        }
        Ok(())
    }

    /// Puts as many of the messages that are ready as there is room for, and says how many, or why none.
    fn put_part(
        &self,
        messages: &[Outbound<'_>],
        ready: &mut VecDeque<Ready>,
        wait: &mut Wait<'_>,
    ) -> Result<Result<usize, Full>, TransportFailure> {
        let held = self.lock_put(wait)?;
        kill_point!(PutLocked);
        self.check_open(&held)?;
        let tail = self.head().put.position();
        let (mut next, mut count) = (tail, 0);
        for ((len, block), message) in ready.iter().zip(messages) {
            // Descriptors are sent for the first ticket of a commit only: a void datagram never has a later one than
            // the next message, whatever process dies.
            if count > 0 && !message.fds.is_empty() {
                break;
            }
            if let Err(full_at) = self.has_room(next, *len as u64) {
                if count == 0 {
                    self.check_consumers(&held)?;
                    return Ok(Err(Full::At(full_at)));
                }
                break;
            }
            let body = block.as_ref().map(|block| block.id().to_bytes(*len));
            let in_block = body.as_ref().map(|body| [&body[..]]);
            let parts = in_block.as_ref().map_or(message.parts, |parts| &parts[..]);
            match self.write_frame(&held, next, message, parts, *len, block.is_some()) {
                Ok(Some(after)) => (next, count) = (after, count + 1),
                Ok(None) => return Ok(Err(Full::Socket)),
                Err(error) if count == 0 => return Err(error.into()),
                Err(_) => break, // said when its turn comes
            }
        }
        // From here to the commit nothing can fail, as in a put of one.
        for (index, (_, block)) in ready.iter().take(count).enumerate() {
            if let Some(block) = block {
                block.enqueue(tail.ticket.wrapping_add(index as u64));
                kill_point!(PutSomeQueued);
            }
        }
        self.commit_put(&held, next, count as u32);
        self.leave_put(held);
        kill_point!(PutUnlocked);
        ready.drain(..count).filter_map(|(_, block)| block).for_each(Block::given_away);
        Ok(Ok(count))
    }

    #[cold]
    fn wait_for_room(
        &self,
        full: Full,
        socket_was_full_at: &mut Option<u64>,
        wait: &mut Wait<'_>,
    ) -> Result<(), TransportFailure> {
        match full {
            Full::At(full_at) => self.wait_for_get(full_at, wait),
            Full::Socket => {
                let head = self.drop_void_descriptors(wait)?;
                if socket_was_full_at.replace(head) == Some(head) {
                    return self.wait_for_get(head, wait);
                }
                Ok(())
            }
        }
    }
}

/// A message that is ready to go into the ring: its length, and its bytes if they are in a block.
type Ready = (usize, Option<Block>);

/// Why nothing of a part could be put for now.
enum Full {
    /// There was no room when so many messages had been taken.
    At(u64),
    /// The socket that carries descriptors has no room.
    Socket,
}
