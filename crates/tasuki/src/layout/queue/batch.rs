//! Many messages at a time: as many as there is room for are put, or as many as wait are taken, under one lock and with
//! one commit.
//!
//! The steps are those of one message, with P4 to P6 and G3 to G5 repeated; see `README.md`, "Batches".

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};

use super::entries::BlockId;
use super::frame::{self, HANDLES};
use super::get::Attachments;
use super::held::{GetHeld, PutHeld};
use super::large::Block;
use super::put::check_codec;
use super::{INLINE, Position, SharedQueue};
use crate::error::Error;
use crate::layout::failure::TransportFailure;
use crate::layout::message::Outbound;
use crate::segment::Token;
use crate::sync::{Wait, kill_point};
use crate::sys::descriptor_socket;

/// How many bytes of frames are copied before the lock is given to others: some 50 us.
const UNDER_ONE_LOCK: usize = 256 << 10;
/// How many bytes of large messages are copied into blocks before the first of them is put.
const AHEAD: usize = 4 << 20;
/// For at most so many small messages room is made before they are taken.
const EXPECTED: usize = 1024;

/// Messages that were taken together: memory that the next [`get_many`](SharedQueue::get_many) uses again.
#[derive(Debug, Default)]
pub struct Batch {
    /// The bytes of all small messages, one after the other.
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    /// What few messages have, each with the number of its message, in order.
    attachments: Vec<(usize, Attachments)>,
    /// Blocks of messages that are not committed yet, each with the number of its message.
    blocks: Vec<(usize, BlockId, usize)>,
}

/// One message of a [`Batch`].
#[derive(Debug)]
pub struct BatchMessage<'a> {
    /// What the bytes mean.
    pub codec: u16,
    /// The bytes; none if the message is a large one.
    pub bytes: &'a [u8],
    /// The bytes of a large message.
    pub large: Option<Box<Block>>,
    /// The descriptors that came along.
    pub fds: Vec<OwnedFd>,
}

/// Where one message of a batch lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) codec: u16,
    /// Where its bytes end; they begin where those of the one before end.
    pub(crate) end: usize,
}

impl Batch {
    /// An empty one.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes the messages out, oldest first. Those that are not asked for are dropped with the iterator.
    pub fn drain(&mut self) -> impl Iterator<Item = BatchMessage<'_>> {
        let Batch { bytes, entries, attachments, .. } = self;
        let (all, mut attachments) = (&bytes[..], attachments.drain(..).peekable());
        let mut start = 0;
        entries.drain(..).enumerate().map(move |(index, entry)| {
            let attachments =
                attachments.next_if(|(of, _)| *of == index).map(|(_, attachments)| attachments);
            let attachments = attachments.unwrap_or_default();
            let bytes = &all[start..entry.end];
            start = entry.end;
            BatchMessage {
                codec: entry.codec,
                bytes,
                large: attachments.block,
                fds: attachments.fds,
            }
        })
    }

    /// All of it, for an iterator that owns it.
    pub(crate) fn into_parts(self) -> (Vec<u8>, Vec<Entry>, Vec<(usize, Attachments)>) {
        (self.bytes, self.entries, self.attachments)
    }

    /// Forgets all messages and keeps some memory.
    fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(2 * UNDER_ONE_LOCK);
        self.entries.clear();
        self.attachments.clear();
        self.blocks.clear();
    }
}

/// A message that is ready to go into the ring: its length, and its bytes if they are in a block.
type Ready = (usize, Option<Block>);

/// What adding one message to a batch came to.
struct Added {
    /// Where the one after it is.
    next: Position,
    /// Its descriptors; it is the last one of the batch then.
    handles: Option<Vec<OwnedFd>>,
    jumped: bool,
}

/// Why nothing of a part could be put for now.
enum Full {
    /// There was no room when so many messages had been taken.
    At(u64),
    /// The socket that carries descriptors has no room.
    Socket,
}

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
                // What is wrong with a later message is said when those before it are put.
                if let (Err(why), true) = (prepared, ready.is_empty()) {
                    return (put, Err(why));
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

    /// Takes up to `max` of the oldest messages in one step, waiting for the first one. `batch` is emptied first.
    ///
    /// It may take fewer than wait: a batch ends with a message that has descriptors, and with some 256 KiB of small
    /// messages. Should this process be killed before it used them, all of them are lost with it.
    pub fn get_many(
        &self,
        max: usize,
        batch: &mut Batch,
        wait: &mut Wait<'_>,
    ) -> Result<(), TransportFailure> {
        batch.clear();
        if max == 0 {
            return Ok(());
        }
        let me = self.segment.my_row()?;
        if self.joinable {
            self.join_table(me, wait)?;
        }
        loop {
            if !self.knows_of_message() && !self.has_message() {
                self.wait_for_put(wait)?;
            }
            // Before the lock, or others would wait for the allocator.
            let expected = max.min(usize::try_from(self.len()).unwrap_or(max)).min(EXPECTED);
            batch.entries.reserve(expected);
            batch.bytes.reserve(expected * size_of::<u64>());
            let held = self.lock_get(wait)?;
            kill_point!(GetLocked);
            let head = self.head().get.position();
            if !self.is_behind_tail(head.ticket) {
                drop(held);
                continue;
            }
            let jumped = match self.get_part(&held, head, me, max, batch) {
                Ok(jumped) => jumped,
                Err(error) => {
                    batch.clear();
                    return Err(error.into());
                }
            };
            self.leave_get(held);
            kill_point!(GetUnlocked);
            if jumped && self.is_loose() {
                self.trim_if_nobody_puts();
            }
            return Ok(());
        }
    }

    /// Takes one message at least; says whether it left a chunk on the way.
    fn get_part(
        &self,
        held: &GetHeld<'_>,
        head: Position,
        me: Token,
        max: usize,
        batch: &mut Batch,
    ) -> Result<bool, Error> {
        let (mut next, mut jumped, mut handles) = (head, false, None);
        let is_full = |batch: &Batch| {
            batch.entries.len() >= max
                || batch.bytes.len() + batch.entries.len() * frame::HEADER >= UNDER_ONE_LOCK
        };
        while handles.is_none() && !is_full(batch) && self.is_behind_tail(next.ticket) {
            if let Some((codec, behind)) = self.read_bytes(next, &mut batch.bytes) {
                batch.entries.push(Entry { codec, end: batch.bytes.len() });
                next = behind;
                continue;
            }
            match self.add_next(next, batch) {
                Ok(added) => {
                    next = added.next;
                    jumped |= added.jumped;
                    handles = added.handles;
                }
                Err(error) if batch.entries.is_empty() => return Err(error),
                Err(_) => break, // said when its turn comes
            }
        }
        kill_point!(GetCopied);
        self.commit_get(held, me, head, next);
        for (index, id, len) in batch.blocks.drain(..) {
            let block = Some(Box::new(self.hold_block(id, len, me)?));
            kill_point!(GetSomeHeld);
            batch.attachments.push((index, Attachments { block, fds: Vec::new() }));
        }
        kill_point!(GetBlockHeld);
        if let Some(fds) = handles {
            descriptor_socket::drop_first(self.descriptor_socket.as_fd());
            let last = batch.entries.len() - 1;
            match batch.attachments.last_mut() {
                Some((index, attachments)) if *index == last => attachments.fds = fds,
                _ => batch.attachments.push((last, Attachments { block: None, fds })),
            }
        }
        Ok(jumped)
    }

    /// Copies the message behind `head` into the batch. Nothing is added when that fails.
    fn add_next(&self, head: Position, batch: &mut Batch) -> Result<Added, Error> {
        let frame = self.frame_at(head)?;
        let before = batch.bytes.len();
        let (len, block) = self.copy_frame(&frame, head.ticket, &mut batch.bytes)?;
        let mut handles = None;
        if frame.flags & HANDLES != 0 {
            let peeked = self.peek_descriptors(&frame, head.ticket);
            handles = Some(peeked.inspect_err(|_| batch.bytes.truncate(before))?);
        }
        batch.blocks.extend(block.map(|id| (batch.entries.len(), id, len)));
        batch.entries.push(Entry { codec: frame.codec, end: batch.bytes.len() });
        Ok(Added { next: frame.after(head, len), handles, jumped: frame.jumped })
    }
}
