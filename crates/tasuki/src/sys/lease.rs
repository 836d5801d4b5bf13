//! A reference that lives exactly as long as some descriptor does, a descriptor in flight included.
//!
//! A lease is a new open file description of a memfd that holds a shared lock on one byte of it. The kernel drops
//! the lock when the last copy of the descriptor is gone: closed, its process killed, or its message discarded.
//! A process that has the memfd can ask whether any lease on a byte exists. The byte is only a number: nothing is
//! read or written there.
#![allow(unsafe_code)] // fcntl with a struct flock, which rustix does not offer for open file descriptions

use std::io;
use std::ops::RangeInclusive;
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

/// Whether this description, of which there may be copies elsewhere, has a lease on `byte`. Without /proc nobody can
/// tell, and the answer is no.
pub(crate) fn holds(lease: BorrowedFd<'_>, byte: u64) -> bool {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", lease.as_raw_fd()));
    info.is_ok_and(|info| info.lines().filter_map(leased_in).any(|range| range.contains(&byte)))
}

/// The range in a line such as `lock: 1: OFDLCK ADVISORY  READ -1 00:01:284841 5 7`.
fn leased_in(line: &str) -> Option<RangeInclusive<u64>> {
    let mut words = line.strip_prefix("lock:")?.split_whitespace();
    words.find(|word| *word == "OFDLCK")?;
    let (end, first) = (words.next_back()?, words.next_back()?);
    let last = if end == "EOF" { u64::MAX } else { end.parse().ok()? };
    Some(first.parse().ok()?..=last)
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

#[cfg(test)]
mod tests {
    use super::super::memory;
    use super::*;

    #[test]
    fn a_lease_is_told_from_another_and_from_a_descriptor_that_is_none() {
        let memfd = memory::create("leased", 1).unwrap();
        let lease = take(memfd.as_fd(), 5).unwrap();
        for byte in [6, 7, 4096] {
            extend(lease.as_fd(), byte).unwrap();
        }
        let other = take(memfd.as_fd(), 9).unwrap();
        let copy = lease.try_clone().unwrap();
        for fd in [&lease, &copy] {
            let held: Vec<u64> = (0..5000).filter(|&byte| holds(fd.as_fd(), byte)).collect();
            assert_eq!(held, [5, 6, 7, 4096]);
        }
        assert!(holds(other.as_fd(), 9) && !holds(other.as_fd(), 5));
        assert!(!holds(memfd.as_fd(), 5) && !holds(without(lease.as_fd()).unwrap().as_fd(), 5));
    }
}
