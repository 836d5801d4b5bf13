//! Memory that a test shares with its children, to keep count in or to tell each other what has come to pass.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};

/// Zeroed 64-bit words that this process shares with the children it forks from now on.
#[derive(Debug)]
pub struct Words {
    base: *const AtomicU64,
    count: usize,
}

// SAFETY: the words are atomics in a mapping that lives as long as the value.
unsafe impl Send for Words {}
// SAFETY: as above.
unsafe impl Sync for Words {}

impl Words {
    pub fn new(count: usize) -> Words {
        // SAFETY: a fresh anonymous mapping at an address that the kernel chooses.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                count * 8,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        assert_ne!(base, libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
        Words { base: base.cast(), count }
    }

    /// Tells the other processes that something has come to pass, which this word stands for.
    pub fn tell(&self, word: usize) {
        self[word].store(1, Ordering::SeqCst);
    }

    /// Whether somebody told of it.
    pub fn told(&self, word: usize) -> bool {
        self[word].load(Ordering::SeqCst) != 0
    }
}

impl Deref for Words {
    type Target = [AtomicU64];
    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: the mapping has `count` zeroed or atomically written words and is page-aligned.
        unsafe { std::slice::from_raw_parts(self.base, self.count) }
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        // SAFETY: `new` mapped exactly this range, and nobody unmaps it but this.
        unsafe { libc::munmap(self.base.cast_mut().cast(), self.count * 8) };
    }
}
