//! Many messages that are taken together: as many as wait, under one lock and with one commit.
//!
//! The steps are those of one message, with G3 to G5 repeated; see `README.md`, "Batches".

use std::os::fd::{AsFd, OwnedFd};

use super::entries::BlockId;
use super::frame::{self, HANDLES};
use super::get::Attachments;
use super::held::GetHeld;
use super::large::Block;
use super::{Position, SharedQueue};
use crate::error::Error;
use crate::layout::failure::TransportFailure;
use crate::segment::Token;
use crate::sync::{Wait, kill_point};
use crate::sys::descriptor_socket;

/// How many bytes of frames are copied before the lock is given to others: some 50 us.
pub(super) const UNDER_ONE_LOCK: usize = 256 << 10;
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

/// What adding one message to a batch came to.
struct Added {
    /// Where the one after it is.
    next: Position,
    /// Its descriptors; it is the last one of the batch then.
    handles: Option<Vec<OwnedFd>>,
    jumped: bool,
}

impl SharedQueue {
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
