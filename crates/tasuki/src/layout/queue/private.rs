//! Large messages as memory of the process that took them, without a copy as long as that makes no difference.
//!
//! ```text
//! SHOWN   the pages are those of the message's block, which this process holds  -> KEPT by a fork; gone when dropped
//! KEPT    the pages are the process's own, the block is free                    -> gone when dropped
//! ```
//! Just before this process forks, every message that is SHOWN is made KEPT: the child gets it as it gets all memory, and neither
//! sees what the other writes, nor another message that the block carries later. A write before makes a page the process's own
//! already. The list of messages is locked around the fork, so that the child finds it whole.
#![allow(unsafe_code)] // a function that the loader runs

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::Block;
use crate::error::Error;
use crate::sync::private::Private;
use crate::sys::fork;
use crate::sys::private_memory::PrivateMemory;

/// A message's bytes, this process's own for as long as this lives.
#[derive(Debug)]
pub(crate) struct PrivateBlock {
    number: u64,
    memory: *mut u8,
    len: usize,
}

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

/// Run by the loader, as in `segment::local` and for the same reason.
#[used]
#[unsafe(link_section = ".init_array")]
static HOOK_AT_START: extern "C" fn() = hook;
static HOOKED: AtomicBool = AtomicBool::new(false);

extern "C" fn hook() {
    if !HOOKED.swap(true, Ordering::SeqCst) {
        fork::around_fork(prepare, release, release);
    }
}

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

impl PrivateBlock {
    /// The message in the block; gives the block back when that fails.
    pub(crate) fn of(block: Box<Block>) -> Result<PrivateBlock, Error> {
        if !HOOKED.load(Ordering::Relaxed) {
            hook(); // a linker that left the constructor out
        }
        let memory = block.private_memory()?;
        let (address, len) = (memory.as_ptr(), block.len());
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        // Should another thread fork before this, its child has a mapping that nobody there knows of.
        LIST.lock().insert(number, Shown { memory, block });
        Ok(PrivateBlock { number, memory: address, len })
    }

    pub(crate) fn as_ptr(&self) -> *mut u8 {
        self.memory
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl Drop for PrivateBlock {
    fn drop(&mut self) {
        let shown = LIST.lock().remove(&self.number);
        drop(shown); // without the lock
    }
}
