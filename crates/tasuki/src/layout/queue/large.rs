//! A large message as the process has it whose block it is: bytes in shared memory, given back when dropped.
#![allow(unsafe_code)] // copies a block's bytes to where a caller says

use super::SharedQueue;
use super::entries::BlockId;
use crate::error::Error;
use crate::sync::kill_point;
use crate::sys::fork;
use crate::sys::private_memory::PrivateMemory;

/// The bytes of a large message, still in shared memory and nobody else's: a block, for writing before a put or for
/// reading after a get. Given back when dropped.
#[derive(Debug)]
pub struct Block {
    queue: SharedQueue,
    id: BlockId,
    offset: usize,
    len: usize,
    /// A forked child's copy owns nothing.
    epoch: u64,
    owned: bool,
}

impl Block {
    /// The block that this process has claimed, or taken with its message; `offset` and `len` are checked.
    pub(super) fn new(queue: SharedQueue, id: BlockId, offset: usize, len: usize) -> Block {
        Block { queue, id, offset, len, epoch: fork::epoch(), owned: true }
    }

    /// How many bytes there are.
    #[allow(clippy::len_without_is_empty)] // a large message is never empty
    pub fn len(&self) -> usize {
        self.len
    }

    /// Copies all bytes to `to`.
    ///
    /// # Safety
    /// `to` points to `len()` bytes that may be written and are no part of shared memory.
    pub unsafe fn copy_to(&self, to: *mut u8) {
        let from = self.queue.segment.bytes(self.offset, self.len).expect("a checked block");
        // SAFETY: the source was checked to lie in the mapping; the caller vouches for the target.
        unsafe { to.copy_from_nonoverlapping(from.as_ptr(), self.len) };
        kill_point!(GetBlockCopied);
    }

    /// The address of the first byte, aligned to 4096, for as long as this lives and this process did not fork: a child
    /// of a fork sees the same memory and has no hold on it. Nobody who keeps to the protocol writes there meanwhile; a
    /// broken process could.
    pub fn as_ptr(&self) -> *mut u8 {
        self.queue.segment.bytes(self.offset, self.len).expect("a checked block").as_ptr()
    }

    /// The message as memory that only this process sees, from its first byte to its last page's end.
    pub(super) fn private_memory(&self) -> Result<PrivateMemory, Error> {
        let fd = self.queue.segment.fd();
        fd.and_then(|fd| PrivateMemory::new(fd, self.offset, self.len))
            .map_err(|e| Error::os("map a large message", e))
    }

    /// Gives the block back before it is dropped.
    pub(super) fn give_back(&mut self) {
        if self.is_held() {
            self.queue.free_block(self.id);
        }
        self.owned = false;
    }

    /// Whether this process holds the memory: false in a child that was forked while this existed, where the bytes may
    /// become those of another message.
    pub fn is_held(&self) -> bool {
        self.owned && self.epoch == fork::epoch()
    }

    /// The bytes, copied.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len);
        let inside = self.queue.segment.read(self.offset, self.len, &mut bytes);
        assert!(inside, "a checked block");
        kill_point!(GetBlockCopied);
        bytes
    }

    /// Fills the block with the parts, one after the other.
    pub(super) fn fill(&self, parts: &[&[u8]]) {
        let mut at = self.offset;
        for part in parts {
            let inside = self.queue.segment.write(at, part);
            assert!(inside, "a block as long as its parts");
            at += part.len();
        }
    }

    pub(super) fn id(&self) -> BlockId {
        self.id
    }

    /// Gives the block to the message with this ticket. The put lock is held and the message not committed.
    pub(super) fn enqueue(&self, ticket: u64) {
        self.queue.give_to_message(self.id, ticket);
    }

    /// The message is committed: the block is no longer this process's.
    pub(super) fn given_away(mut self) {
        self.owned = false;
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.give_back();
    }
}
