//! A reference that lives exactly as long as some descriptor does, a descriptor in flight included.
//!
//! A lease is a new open file description of a memfd that holds a shared lock on one byte of it. The kernel drops
//! the lock when the last copy of the descriptor is gone: closed, its process killed, or its message discarded.
//! Whoever has the memfd can ask whether any lease on a byte exists. The byte is only a number: nothing is
//! read or written there.
#![allow(unsafe_code)] // fcntl with a struct flock, which rustix does not offer for open file descriptions

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

/// Takes a lease on `byte` of the memfd. The returned descriptor is also one of the memfd itself.
pub(crate) fn take(memfd: BorrowedFd<'_>, byte: u64) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", memfd.as_raw_fd());
    let lease = rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    control(lease.as_fd(), libc::F_OFD_SETLK, libc::F_RDLCK, byte)?;
    Ok(lease)
}

/// Lets a lease hold one more byte.
pub(crate) fn extend(lease: BorrowedFd<'_>, byte: u64) -> io::Result<()> {
    control(lease, libc::F_OFD_SETLK, libc::F_RDLCK, byte).map(drop)
}

/// A descriptor of the same memfd that is no part of the lease; without /proc there are no leases and a copy does.
pub(crate) fn without(lease: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", lease.as_raw_fd());
    match rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        Ok(fd) => Ok(fd),
        Err(_) => lease.try_clone_to_owned(),
    }
}

/// Whether anybody but `memfd`'s own description holds a lease on `byte`.
pub(crate) fn exists(memfd: BorrowedFd<'_>, byte: u64) -> io::Result<bool> {
    control(memfd, libc::F_OFD_GETLK, libc::F_WRLCK, byte).map(|found| found != libc::F_UNLCK)
}

fn control(
    fd: BorrowedFd<'_>,
    command: libc::c_int,
    kind: libc::c_int,
    byte: u64,
) -> io::Result<libc::c_int> {
    let start = libc::off_t::try_from(byte).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: all-zero is a valid `flock`, whose fields are plain numbers.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_start = start;
    lock.l_len = 1;
    // SAFETY: both commands take a pointer to a `flock` that lives through the call.
    if unsafe { libc::fcntl(fd.as_raw_fd(), command, &raw mut lock) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(libc::c_int::from(lock.l_type))
}
