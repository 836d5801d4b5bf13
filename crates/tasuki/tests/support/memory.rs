//! An object of an arena as a broken process sees it: words that it can overwrite.

use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU32, Ordering};

use tasuki::protocol::transfer::{Outgoing, TransferError};

const PAGE: usize = 4096;
const SLOT: usize = 64;
/// Header, roster, the arena's control page, its table of slots, and a bitmap for each row: then the slots.
const DATA: usize = PAGE + 4096 * 128 + PAGE + 4096 * 8 + 4096 * (4096 / 8);

/// The memory of one object.
#[derive(Debug)]
pub struct ObjectMemory {
    base: *mut u8,
    mapped: usize,
    object: usize,
    words: usize,
}

// SAFETY: the mapping lives as long as the value and is accessed atomically.
unsafe impl Send for ObjectMemory {}
// SAFETY: as above.
unsafe impl Sync for ObjectMemory {}

impl ObjectMemory {
    /// The first `len` bytes of the object whose record `write` writes.
    pub fn of(
        write: impl FnOnce(&mut Outgoing) -> Result<Vec<u8>, TransferError>,
        len: usize,
    ) -> ObjectMemory {
        ObjectMemory::in_slots_of(SLOT, write, len)
    }

    /// As `of`, for an object in slots of that many bytes.
    pub fn in_slots_of(
        slot_size: usize,
        write: impl FnOnce(&mut Outgoing) -> Result<Vec<u8>, TransferError>,
        len: usize,
    ) -> ObjectMemory {
        let mut table = Outgoing::default();
        let record = write(&mut table).unwrap();
        let fds = table.into_descriptors();
        // kind, number of descriptors, an index each (the arena's first), slot
        let at = 2 + 4 * usize::from(record[1]);
        let slot = u32::from_le_bytes(record[at..at + 4].try_into().unwrap()) as usize;
        let path = format!("/proc/self/fd/{}", fds[0].as_raw_fd());
        let mapped = std::fs::metadata(path).unwrap().len() as usize;
        // SAFETY: a fresh mapping at an address that the kernel chooses.
        let base = unsafe {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            let fd = fds[0].as_raw_fd();
            libc::mmap(std::ptr::null_mut(), mapped, protection, libc::MAP_SHARED, fd, 0)
        };
        assert_ne!(base, libc::MAP_FAILED);
        let object = DATA + slot * slot_size;
        assert!(object + len <= mapped);
        ObjectMemory { base: base.cast(), mapped, object, words: len / 4 }
    }

    /// How many words of 32 bits it has.
    pub fn words(&self) -> usize {
        self.words
    }

    pub fn word(&self, index: usize) -> &AtomicU32 {
        assert!(index < self.words);
        // SAFETY: inside the mapping, which is page-aligned, and aligned; others access it atomically, too.
        unsafe { &*self.base.add(self.object + index * 4).cast::<AtomicU32>() }
    }

    pub fn write(&self, index: usize, value: u32) {
        self.word(index).store(value, Ordering::SeqCst);
    }
}

impl Drop for ObjectMemory {
    fn drop(&mut self) {
        // SAFETY: `of` mapped exactly this range.
        unsafe { libc::munmap(self.base.cast(), self.mapped) };
    }
}
