//! Shared memory without a name: a sealed memfd, mapped in pieces, grown and given back page by page.
//!
//! Called by `segment`; `raw::shared_memory` uses the mapping, for files with a name. It never remaps, and no file with
//! the seals on becomes shorter.
#![allow(unsafe_code)] // mmap returns a raw address that only this file owns and unmaps; signal masks

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags};

/// The unit in which memory is committed and given back.
pub(crate) const PAGE: usize = 4096;

/// How much is committed in one call: some milliseconds' work at most, and some microseconds'. A signal undoes one
/// call, not all that went before.
const LONGEST_STEP: usize = 64 << 20;
const SHORTEST_STEP: usize = 64 << 10;

/// What makes touching a file safe that others have, too: it never gets shorter, and nobody adds other seals.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::SEAL);

/// Makes a memfd of `len` bytes, all of them holes, that cannot shrink from now on. It can grow, by `commit`.
pub(crate) fn create(name: &str, len: usize) -> io::Result<OwnedFd> {
    let mut name: String = name.chars().filter(|c| !c.is_control()).collect();
    while name.len() > 200 {
        name.pop();
    }
    let name = CString::new(name).unwrap_or_default();
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Kernels before 6.3 do not know NOEXEC_SEAL and answer EINVAL.
    let fd = match rustix::fs::memfd_create(&name, flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => rustix::fs::memfd_create(&name, flags)?,
        other => other?,
    };
    within_file_limit(|| rustix::fs::ftruncate(&fd, len as u64))?;
    rustix::fs::fcntl_add_seals(&fd, SEALS)?;
    Ok(fd)
}

/// Whether the file is a memfd with the seals that make touching it safe from SIGBUS by truncation.
pub(crate) fn is_sealed(fd: BorrowedFd<'_>) -> io::Result<bool> {
    match rustix::fs::fcntl_get_seals(fd) {
        Ok(seals) => Ok(seals.contains(SEALS)),
        Err(Errno::INVAL) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// How long the file is now. One that is sealed only gets longer.
pub(crate) fn len(fd: BorrowedFd<'_>) -> io::Result<usize> {
    let len = rustix::fs::fstat(fd)?.st_size;
    usize::try_from(len).map_err(|_| Errno::OVERFLOW.into())
}

/// How long a file of this process may become, which memory without a name obeys, too; `u64::MAX` for no limit.
#[doc(alias = "RLIMIT_FSIZE")]
pub(crate) fn longest_file() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure lives through the call that fills it.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &raw mut limit) } == 0;
    // A sandbox may refuse to tell; what goes beyond a limit that is there all the same is an error then.
    if known { limit.rlim_cur } else { u64::MAX }
}

/// Makes a file longer. Where that goes beyond the limit on files, it is an error, and not the end of the process, as
/// the kernel would have it.
#[doc(alias = "SIGXFSZ")]
pub(super) fn within_file_limit<T>(
    grow: impl FnOnce() -> rustix::io::Result<T>,
) -> rustix::io::Result<T> {
    if longest_file() == u64::MAX {
        return grow();
    }
    // SAFETY: the sets are plain data that is filled before it is read; all that changes is which signals this thread
    // takes, until it is as it was. A signal about a file goes to the thread that made the call.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGXFSZ);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, &raw mut before);
        let mut pending: libc::sigset_t = std::mem::zeroed();
        libc::sigpending(&raw mut pending);
        let was_pending = libc::sigismember(&raw const pending, libc::SIGXFSZ) == 1;
        let result = grow();
        if matches!(result, Err(Errno::FBIG)) && !was_pending {
            let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            libc::sigtimedwait(&raw const set, std::ptr::null_mut(), &raw const now);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut());
        result
    }
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

/// Gives the range its pages now, so that touching it later cannot fail; makes the file as long as that takes.
///
/// It goes in steps. A signal makes the kernel give up all that it did of one call; the steps become smaller then, so
/// that steady signals cannot keep it from ending. What cannot be had as a whole is given back: of more than one step's
/// length nobody asks for what has memory already.
pub(crate) fn commit(fd: BorrowedFd<'_>, offset: usize, len: usize) -> io::Result<()> {
    let (mut done, mut step) = (0, LONGEST_STEP);
    while done < len {
        let part = step.min(len - done);
        let (from, part_len) = ((offset + done) as u64, part as u64);
        let flags = FallocateFlags::empty();
        match within_file_limit(|| rustix::fs::fallocate(fd, flags, from, part_len)) {
            Ok(()) => done += part,
            Err(Errno::INTR) => step = (step / 2).max(SHORTEST_STEP),
            Err(error) => {
                if done > 0 {
                    // Nobody has put anything there yet: a range of more than one step is one object's, and new.
                    let _ = give_back(fd, offset, done);
                }
                return Err(error.into());
            }
        }
    }
    Ok(())
}

/// Gives the range's pages back to the kernel; a reader sees zeros afterwards.
pub(crate) fn give_back(fd: BorrowedFd<'_>, offset: usize, len: usize) -> io::Result<()> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    loop {
        match rustix::fs::fallocate(fd, flags, offset as u64, len as u64) {
            Err(Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

/// How much memory the machine has, in bytes.
pub(crate) fn physical() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram.saturating_mul(u64::from(info.mem_unit))
}

/// How much memory could still be had, in bytes, as far as the kernel can tell: what the machine has free or could
/// free, and what the limits of this process's cgroups leave.
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
        Mapping::of(fd, 0, len)
    }

    /// Maps `len` bytes of `fd` from `offset` on, shared and writable. What is beyond the end of the file can be
    /// touched once the file is longer.
    ///
    /// A dump of this process leaves it out, if it dies: it may be gigabytes, others need it, and they wait for the
    /// end.
    #[doc(alias = "MADV_DONTDUMP")]
    pub(crate) fn of(fd: impl AsFd, offset: usize, len: usize) -> io::Result<Mapping> {
        // SAFETY: the kernel chooses a fresh range, so no memory that Rust knows of is touched; the range is
        // owned by the returned value alone until its drop.
        let base = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED | MapFlags::NORESERVE,
                fd.as_fd(),
                offset as u64,
            )?
        };
        // SAFETY: the range just mapped; the advice changes nothing that a program sees, and refusing it does no harm.
        let _ = unsafe { rustix::mm::madvise(base, len, Advice::LinuxDontDump) };
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Mapping { base, len })
    }

    /// The address alone, for a caller that keeps the length elsewhere.
    pub(crate) fn into_raw(self) -> NonNull<u8> {
        std::mem::ManuallyDrop::new(self).base
    }

    /// What `into_raw` took apart.
    ///
    /// # Safety
    /// `base` and `len` are those of a mapping that `into_raw` took apart, and are put together once.
    pub(crate) unsafe fn from_raw(base: NonNull<u8>, len: usize) -> Mapping {
        Mapping { base, len }
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
