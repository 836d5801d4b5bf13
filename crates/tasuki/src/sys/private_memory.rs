//! A file's bytes seen by one process alone: writes stay in the process, a forked child gets a copy of its own.
//!
//! Until it is told to keep its bytes, a view shows those of the file, without a copy where nothing was written.
#![allow(unsafe_code)] // mmap returns a raw address that only this file owns and unmaps

use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::mm::{Advice, MapFlags, ProtFlags};

use super::memory::PAGE;

/// The view; unmapped when dropped.
#[derive(Debug)]
pub(crate) struct PrivateMemory {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: an address range has no thread affinity; who may read and write there is its user's business.
unsafe impl Send for PrivateMemory {}
// SAFETY: as above; a shared reference gives no access but the address.
unsafe impl Sync for PrivateMemory {}

impl PrivateMemory {
    /// A view of `len` bytes of the file from `offset` on, which is a multiple of a page.
    pub(crate) fn new(
        file: BorrowedFd<'_>,
        offset: usize,
        len: usize,
    ) -> io::Result<PrivateMemory> {
        // SAFETY: the kernel chooses a fresh range, which the returned value owns alone until its drop.
        let base = unsafe {
            let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
            rustix::mm::mmap(std::ptr::null_mut(), len, access, flags, file, offset as u64)?
        };
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        let memory = PrivateMemory { base, len };
        // Page after page as they are touched would take three times as long. Kernels before 5.14 do not know how.
        // SAFETY: the range is this value's; the advice changes nothing that can be seen.
        let _ =
            unsafe { rustix::mm::madvise(base.as_ptr().cast(), len, Advice::LinuxPopulateRead) };
        Ok(memory)
    }

    pub(crate) fn as_ptr(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// Makes every page the process's own, as a write to each would: from now on the file does not matter. Others may
    /// read and write there meanwhile.
    pub(crate) fn keep(&self) {
        // SAFETY: the range is this value's; the advice changes nothing that can be seen.
        let kept = unsafe {
            rustix::mm::madvise(self.base.as_ptr().cast(), self.len, Advice::LinuxPopulateWrite)
        };
        if kept.is_ok() {
            return;
        }
        for offset in (0..self.len).step_by(PAGE) {
            // SAFETY: the byte lies in the range, which is writable and stays mapped; every access is made by the
            // processor's atomic operation, which leaves the byte as it is.
            let byte = unsafe { AtomicU8::from_ptr(self.base.as_ptr().add(offset)) };
            byte.fetch_or(0, Ordering::Relaxed);
        }
    }
}

impl Drop for PrivateMemory {
    fn drop(&mut self) {
        // SAFETY: `new` mapped exactly this range, nobody else unmaps it, and who knows its address borrows this value.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.len) };
    }
}
