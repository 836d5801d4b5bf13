//! Named memory whose program was killed as a whole: how it is marked while it lives, and how it is found and unlinked
//! later.
//!
//! Called by `raw::shared_memory`. Memory that somebody is to unlink says so in an extended attribute: which processes
//! see to that, its *keepers* (the creator; from Python also the resource tracker). When all of them are dead and
//! nobody on the machine has the file open or mapped, it was left behind. The kernel answers the second question with a
//! write lease, which it grants only to the one opener of a file; it counts programs of the standard library and other
//! containers as well. Files of other users, without the mark, or marked in another pid namespace are never touched.
//! Where /dev/shm has no extended attributes (before Linux 6.6) nothing is marked and nothing swept.
#![allow(unsafe_code)] // fcntl with F_SETLEASE and F_SETSIG, which rustix does not offer

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, XattrFlags};

use super::identity::{self, Identity};
use super::named_memory::{FOLDER, path};
use super::signal::F_SETSIG;

const ATTRIBUTE: &str = "user.tasuki.keepers";

/// Longer than a namespace and a handful of keepers can be.
const LONGEST_MARK: usize = 512;

/// Notes who sees to it that the memory is unlinked. Without effect where the file system cannot note it.
pub(crate) fn mark(fd: BorrowedFd<'_>, keepers: &[u32]) {
    let mut text = identity::pid_namespace().to_string();
    for keeper in keepers.iter().filter_map(|pid| identity::of(*pid)) {
        text += &format!(" {}:{}:{}", keeper.pid, keeper.start, keeper.pidfd_inode);
    }
    let _ = rustix::fs::fsetxattr(fd, ATTRIBUTE, text.as_bytes(), XattrFlags::empty());
}

/// From now on the memory stays until somebody unlinks it by name.
pub(crate) fn unmark(name: &str) {
    let _ = rustix::fs::removexattr(path(name), ATTRIBUTE);
}

/// Unlinks what this user's killed programs left; returns the names.
pub(crate) fn sweep() -> Vec<String> {
    let Ok(folder) = rustix::fs::open(FOLDER, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
    else {
        return Vec::new();
    };
    let Ok(entries) = rustix::fs::Dir::read_from(&folder) else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str().ok().map(str::to_owned))
        .filter(|name| is_abandoned(name) && unlink_if_unused(name).unwrap_or(false))
        .collect()
}

/// Whether it is marked, and all its keepers are dead.
fn is_abandoned(name: &str) -> bool {
    let mut mark = [0; LONGEST_MARK];
    let Ok(len) = rustix::fs::lgetxattr(path(name), ATTRIBUTE, &mut mark) else { return false };
    let Some(keepers) = std::str::from_utf8(&mark[..len]).ok().and_then(parse) else {
        return false;
    };
    !keepers.iter().any(identity::is_alive)
}

/// The keepers that a mark names, if it is one of this pid namespace.
fn parse(mark: &str) -> Option<Vec<Identity>> {
    let (namespace, keepers) = mark.split_once(' ')?;
    if namespace.parse() != Ok(identity::pid_namespace()) || namespace == "0" {
        return None;
    }
    let parse = |keeper: &str| {
        let mut numbers = keeper.split(':');
        Some(Identity {
            pid: numbers.next()?.parse().ok()?,
            start: numbers.next()?.parse().ok()?,
            pidfd_inode: numbers.next()?.parse().ok()?,
        })
    };
    keepers.split(' ').map(parse).collect()
}

/// Unlinks a file of this user's that nobody else has open.
fn unlink_if_unused(name: &str) -> io::Result<bool> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let fd = rustix::fs::open(path(name), flags, Mode::empty())?;
    let file = rustix::fs::fstat(&fd)?;
    if FileType::from_raw_mode(file.st_mode) != FileType::RegularFile
        || file.st_uid != rustix::process::geteuid().as_raw()
        || !is_only_opener(&fd)
    {
        return Ok(false);
    }
    // A process that opens it from here on waits until the lease ends with `fd`, and then has a file without a name.
    let named = rustix::fs::statat(CWD, path(name), AtFlags::SYMLINK_NOFOLLOW)?;
    if (named.st_dev, named.st_ino) != (file.st_dev, file.st_ino) {
        return Ok(false);
    }
    rustix::fs::unlink(path(name))?;
    Ok(true)
}

/// Whether no other open file description or mapping of the file exists anywhere. It stays so until `fd` is closed.
#[doc(alias = "F_SETLEASE")]
fn is_only_opener(fd: &OwnedFd) -> bool {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: both commands take an integer. The first one chooses what tells us that somebody waits for the lease,
    // which is SIGIO otherwise and would end the process; SIGURG is ignored unless somebody asks for it.
    unsafe {
        libc::fcntl(fd, F_SETSIG, libc::SIGURG) == 0
            && libc::fcntl(fd, libc::F_SETLEASE, libc::F_WRLCK) == 0
    }
}
