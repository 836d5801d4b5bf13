//! Large messages as memory of the process that took them, without a copy as long as that makes no difference.
//!
//! ```text
//! SHOWN   the pages are those of the message's block, which this process holds  -> KEPT by a fork; gone when dropped
//! KEPT    the pages are the process's own, the block is free                    -> gone when dropped
//! COPIED  the pages were its own from the start, the block is free              -> gone when dropped
//! ```
//! A message is COPIED where the mapping is refused, as in a daemon that has closed its descriptors: it is taken by
//! then, and must not be lost for that. Only a consumer that has no memory for a copy either gets an error, and the
//! message is gone.
//!
//! Just before this process forks, every message that is SHOWN is made KEPT: the child gets it as it gets all memory,
//! and neither sees what the other writes, nor another message that the block carries later. A write before makes a
//! page the process's own already. The list of messages is locked around the fork, so that the child finds it whole.
#![allow(unsafe_code)] // a function that the loader runs

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use super::large::Block;
use crate::error::Error;
use crate::sync::private::Private;
use crate::sys::at_load::at_load;
use crate::sys::fork;
use crate::sys::memory::PAGE;
use crate::sys::private_memory::PrivateMemory;

/// The bytes of a large message as private memory, for as long as this lives; see [`Block::into_private`].
#[derive(Debug)]
pub struct PrivateBlock {
    memory: *mut u8,
    len: usize,
    bytes: Bytes,
}

/// What the bytes are in.
#[derive(Debug)]
enum Bytes {
    /// An entry of the list, which is SHOWN or KEPT.
    Listed(u64),
    #[expect(dead_code, reason = "it is there to be dropped")]
    Copied(Vec<Page>),
}

/// So that a copy begins where a mapping would: at a multiple of a page.
#[derive(Debug)]
#[repr(align(4096))]
struct Page(#[expect(dead_code, reason = "only its address is used")] [u8; PAGE]);

// SAFETY: the address is that of memory which lives as long as this value, and which no thread owns.
unsafe impl Send for PrivateBlock {}
// SAFETY: as above; what is behind the address is reached by its user's own unsafe code only.
unsafe impl Sync for PrivateBlock {}

/// What the list has of each message. Fields are dropped in this order.
#[derive(Debug)]
struct Shown {
    memory: PrivateMemory,
    block: Box<Block>,
}

static LIST: Private<BTreeMap<u64, Shown>> = Private::new(BTreeMap::new());
static NUMBERS: AtomicU64 = AtomicU64::new(0);

at_load!(HOOKS, || fork::around_fork(prepare, release, release));

extern "C" fn prepare() {
    LIST.hold_for_fork();
    LIST.with_held(|list| {
        for shown in list.values_mut().filter(|shown| shown.block.is_held()) {
            shown.memory.keep();
            // Only the block: to let go of the queue may take locks that are held around the fork.
            shown.block.give_back();
        }
    });
}

extern "C" fn release() {
    LIST.release_after_fork();
}

impl Block {
    /// The message as memory of this process alone, without a copy: what is written there nobody else sees, and a child
    /// that is forked has its own. It costs a mapping, and before a fork a copy. Where the kernel refuses the mapping,
    /// the message is copied at once; it is lost only if there is no memory for that either.
    pub fn into_private(self: Box<Self>) -> Result<PrivateBlock, Error> {
        HOOKS.ensure();
        let memory = match self.private_memory() {
            Ok(memory) => memory,
            Err(refused) => return PrivateBlock::copied(&self).ok_or(refused),
        };
        let (address, len) = (memory.as_ptr(), self.len());
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        // Should another thread fork before this, its child has a mapping that nobody there knows of.
        LIST.lock().insert(number, Shown { memory, block: self });
        Ok(PrivateBlock { memory: address, len, bytes: Bytes::Listed(number) })
    }
}

impl PrivateBlock {
    /// A copy, made from the mapping in which the message was found; None when there is no memory.
    #[cold]
    fn copied(block: &Block) -> Option<PrivateBlock> {
        let len = block.len();
        let mut pages = Vec::<Page>::new();
        pages.try_reserve_exact(len.div_ceil(PAGE)).ok()?;
        let memory = pages.as_mut_ptr().cast();
        // SAFETY: room for as many bytes was just reserved, and nobody else knows of it.
        unsafe { block.copy_to(memory) };
        Some(PrivateBlock { memory, len, bytes: Bytes::Copied(pages) })
    }

    /// The address of the first byte, aligned to 4096. The bytes are there as long as this lives, and nobody but this
    /// process's own threads writes there.
    pub fn as_ptr(&self) -> *mut u8 {
        self.memory
    }

    /// How many bytes there are.
    #[allow(clippy::len_without_is_empty)] // a large message is never empty
    pub fn len(&self) -> usize {
        self.len
    }
}

impl Drop for PrivateBlock {
    fn drop(&mut self) {
        if let Bytes::Listed(number) = self.bytes {
            let shown = LIST.lock().remove(&number);
            drop(shown); // without the lock
        }
    }
}
