//! Shared memory without a name: a sealed memfd, mapped once, grown and given back page by page.
//!
//! Called by `segment`; `raw::shared_memory` uses the mapping, for files with a name. It never remaps and never changes a
//! file's size after the seals are on.
#![allow(unsafe_code)] // mmap returns a raw address that only this file owns and unmaps

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};

/// The unit in which memory is committed and given back.
pub(crate) const PAGE: usize = 4096;

const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// Makes a memfd of `len` bytes, all of them holes, that can neither shrink nor grow from now on.
pub(crate) fn create(name: &str, len: usize) -> io::Result<OwnedFd> {
    let mut name: String = name.chars().filter(|c| !c.is_control()).collect();
    while name.len() > 200 {
        name.pop();
    }
    let name = CString::new(name).unwrap_or_default();
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Kernels before 6.3 do not know NOEXEC_SEAL and answer EINVAL.
    let fd = match rustix::fs::memfd_create(&name, flags | MemfdFlags::NOEXEC_SEAL) {
        Err(rustix::io::Errno::INVAL) => rustix::fs::memfd_create(&name, flags)?,
        other => other?,
    };
    rustix::fs::ftruncate(&fd, len as u64)?;
    rustix::fs::fcntl_add_seals(&fd, SEALS)?;
    Ok(fd)
}

/// The size of the file, if it is a memfd with the seals that make touching it safe from SIGBUS by truncation.
pub(crate) fn sealed_len(fd: BorrowedFd<'_>) -> io::Result<Option<usize>> {
    match rustix::fs::fcntl_get_seals(fd) {
        Ok(seals) if seals.contains(SEALS) => {}
        Ok(_) | Err(rustix::io::Errno::INVAL) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    Ok(usize::try_from(rustix::fs::fstat(fd)?.st_size).ok())
}

/// The file's identity on this machine, equal for all descriptors of one segment: device and inode.
pub(crate) fn file_id(fd: BorrowedFd<'_>) -> io::Result<(u64, u64)> {
    let stat = rustix::fs::fstat(fd)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// Fetches the cache line at an address, which need not be valid, in order to write it soon.
#[inline]
pub(crate) fn prefetch_to_write(address: *const i8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
        // SAFETY: a hint, which touches nothing.
        unsafe { _mm_prefetch::<_MM_HINT_ET0>(address) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// Gives the range its pages now, so that touching it later cannot fail.
pub(crate) fn commit(fd: BorrowedFd<'_>, offset: usize, len: usize) -> io::Result<()> {
    loop {
        match rustix::fs::fallocate(fd, FallocateFlags::empty(), offset as u64, len as u64) {
            Err(rustix::io::Errno::INTR) => continue,
            other => return Ok(other?),
        }
    }
}

/// Gives the range's pages back to the kernel; whoever reads it afterwards sees zeros.
pub(crate) fn give_back(fd: BorrowedFd<'_>, offset: usize, len: usize) -> io::Result<()> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    loop {
        match rustix::fs::fallocate(fd, flags, offset as u64, len as u64) {
            Err(rustix::io::Errno::INTR) => continue,
            other => return Ok(other?),
        }
    }
}

/// How much memory the machine has, in bytes.
pub(crate) fn physical() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram.saturating_mul(u64::from(info.mem_unit))
}

/// How much memory could still be had, in bytes, as far as the kernel can tell: what the machine has free or could free,
/// and what the limits of this process's cgroups leave.
///
/// Asking for more than that is answered by the kernel with killing somebody, not with an error.
pub(crate) fn available() -> u64 {
    let machine = match std::fs::read_to_string("/proc/meminfo") {
        Ok(info) => {
            let kib = |name| field(&info, name).unwrap_or(0);
            (kib("MemAvailable:") + kib("SwapFree:")).saturating_mul(1024)
        }
        Err(_) => physical(),
    };
    machine.min(left_by_cgroups().unwrap_or(u64::MAX))
}

/// What the limits of this process's cgroup and of those around it leave; None when there are none.
fn left_by_cgroups() -> Option<u64> {
    let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let root = Path::new("/sys/fs/cgroup");
    let left = |folder: &Path| -> Option<u64> {
        let read = |name| std::fs::read_to_string(folder.join(name)).ok();
        let limit: u64 = read("memory.max")?.trim().parse().ok()?; // or "max"
        let used: u64 = read("memory.current")?.trim().parse().ok()?;
        let parts = read("memory.stat").unwrap_or_default();
        let part = |name| field(&parts, name).unwrap_or(0);
        // Cached files give way; shared memory is counted among them and does not.
        let cached = part("file").saturating_sub(part("shmem"));
        Some(limit.saturating_sub(used.saturating_sub(cached)))
    };
    root.join(path).ancestors().take_while(|folder| folder.starts_with(root)).filter_map(left).min()
}

/// The number behind a name in one of the kernel's tables.
fn field(table: &str, name: &str) -> Option<u64> {
    table.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next() == Some(name)).then(|| words.next()?.parse().ok())?
    })
}

/// Fills `buffer` with random bytes from the kernel.
pub(crate) fn random(buffer: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        match rustix::rand::getrandom(&mut buffer[filled..], rustix::rand::GetRandomFlags::empty())
        {
            Ok(n) => filled += n,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// A file's bytes in this process's address space, unmapped when dropped.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: a mapping is an address range with no thread affinity; who may read and write what inside it is the
// business of the layouts, which use atomics or locks.
unsafe impl Send for Mapping {}
// SAFETY: as above; `Mapping` itself offers only its address and length.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `len` bytes of `fd`, shared and writable.
    pub(crate) fn new(fd: impl AsFd, len: usize) -> io::Result<Mapping> {
        // SAFETY: the kernel chooses a fresh range, so no memory that Rust knows of is touched; the range is
        // owned by the returned value alone until its drop.
        let base = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED | MapFlags::NORESERVE,
                fd.as_fd(),
                0,
            )?
        };
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Mapping { base, len })
    }

    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The address of `len` bytes at `offset`, unless they do not lie inside.
    pub(crate) fn place(&self, offset: usize, len: usize) -> Option<NonNull<u8>> {
        let end = offset.checked_add(len)?;
        // SAFETY: `offset` is at most the mapping's length, as its end is.
        (end <= self.len).then(|| unsafe { self.base.add(offset) })
    }

    /// Copies bytes out, 8 aligned ones in one piece. False, and nothing done, when they do not lie inside.
    #[must_use]
    pub(crate) fn read(&self, offset: usize, into: &mut [u8]) -> bool {
        let Some(from) = self.place(offset, into.len()) else { return false };
        let word = from.cast::<AtomicU64>();
        match <&mut [u8; 8]>::try_from(&mut *into) {
            Ok(bytes) if word.is_aligned() => {
                // SAFETY: eight aligned bytes of the mapping; every bit pattern is a number.
                *bytes = unsafe { word.as_ref() }.load(Ordering::Relaxed).to_ne_bytes();
            }
            // SAFETY: the source lies in the mapping, the target is private; another process may write meanwhile, and
            // then the copy is a mixture, which is good enough for bytes.
            _ => unsafe { into.as_mut_ptr().copy_from_nonoverlapping(from.as_ptr(), into.len()) },
        }
        true
    }

    /// Copies bytes in, 8 aligned ones in one piece. False, and nothing done, when they do not lie inside.
    #[must_use]
    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) -> bool {
        let Some(to) = self.place(offset, bytes.len()) else { return false };
        let word = to.cast::<AtomicU64>();
        match <[u8; 8]>::try_from(bytes) {
            Ok(bytes) if word.is_aligned() => {
                // SAFETY: as in `read`.
                unsafe { word.as_ref() }.store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
            }
            // SAFETY: the target lies in the mapping, the source is private.
            _ => unsafe { to.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) },
        }
        true
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `new` mapped exactly this range, nobody else unmaps it, and every reference into it borrows
        // from the segment that owns this value.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.len) };
    }
}
