//! Shared memory with a name: files in /dev/shm, which every program of the user can open.
//!
//! Called by `raw::shared_memory`, which composes these steps. Nothing here truncates a file, and nothing opens what is
//! no plain file. Names are those of `shm_open` without the slash, as `check_name` returns them.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, FallocateFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::memory;

pub(super) const FOLDER: &str = "/dev/shm";

/// In bytes, the limit of every Linux file system.
const LONGEST_NAME: usize = 255;

/// How much is reserved in one call: some milliseconds' work at most, and some microseconds'.
const LONGEST_STEP: u64 = 64 << 20;
const SHORTEST_STEP: u64 = 64 << 10;

/// From here on it is asked how much memory is free, which takes some 20 us.
const WORTH_ASKING: u64 = 1 << 20;

/// The file a name stands for: device and inode.
pub(crate) type FileId = (u64, u64);

pub(super) fn path(name: &str) -> String {
    format!("{FOLDER}/{name}")
}

/// The name without leading slashes, which `shm_open` drops as well, if it can be one; else the error and what is
/// wrong.
pub(crate) fn check_name(name: &str) -> Result<&str, (io::Error, &'static str)> {
    let bare = name.trim_start_matches('/');
    let (errno, hint) = match bare {
        "" => (Errno::INVAL, " (the name is empty)"),
        "." | ".." => (Errno::INVAL, " (this is the name of a folder)"),
        _ if bare.contains('/') => (Errno::INVAL, " (a name has no slash but one in front)"),
        _ if bare.contains('\0') => (Errno::INVAL, " (a name has no NUL character)"),
        _ if bare.len() > LONGEST_NAME => (Errno::NAMETOOLONG, " (a name has at most 255 bytes)"),
        _ => return Ok(bare),
    };
    Err((errno.into(), hint))
}

/// Refuses a name that something has already.
pub(crate) fn check_is_free(name: &str) -> io::Result<()> {
    match id_of(name) {
        Ok(_) => Err(Errno::EXIST.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether the system has a place for shared memory with a name at all.
pub(crate) fn has_folder() -> bool {
    rustix::fs::stat(FOLDER)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

/// Makes an empty file that has no name yet; `None` where the file system cannot.
#[doc(alias = "O_TMPFILE")]
pub(crate) fn create_unnamed(mode: u32) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::open(FOLDER, flags, Mode::from_bits_truncate(mode)) {
        Ok(fd) => Ok(Some(fd)),
        // What kernels and file systems say that do not know it.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Gives a file from [`create_unnamed`] its name, which must be free. False where there is no /proc to do it with.
pub(crate) fn give_name(fd: BorrowedFd<'_>, name: &str) -> io::Result<bool> {
    let unnamed = format!("/proc/self/fd/{}", fd.as_raw_fd());
    match rustix::fs::linkat(CWD, unnamed, CWD, path(name), AtFlags::SYMLINK_FOLLOW) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) if has_folder() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Makes an empty file with a name, which must be free: the way without [`create_unnamed`].
#[doc(alias = "shm_open")]
pub(crate) fn create_named(name: &str, mode: u32) -> io::Result<OwnedFd> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path(name), flags, Mode::from_bits_truncate(mode))?)
}

/// Writes the first bytes of a file whose memory is reserved.
pub(crate) fn write_at_start(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match rustix::io::pwrite(fd, &bytes[done..], done as u64) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => done += written,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Opens the file that has this name, and tells its size.
pub(crate) fn open(name: &str) -> io::Result<(OwnedFd, u64)> {
    // Whatever somebody put there must not make us wait.
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let fd = rustix::fs::open(path(name), flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&fd)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Errno::INVAL.into());
    }
    Ok((fd, stat.st_size.unsigned_abs()))
}

/// Takes the name away; the memory lives as long as somebody has it mapped.
#[doc(alias = "shm_unlink")]
pub(crate) fn unlink(name: &str) -> io::Result<()> {
    Ok(rustix::fs::unlink(path(name))?)
}

/// The file that has this name now.
pub(crate) fn id_of(name: &str) -> io::Result<FileId> {
    let stat = rustix::fs::lstat(path(name))?;
    Ok((stat.st_dev, stat.st_ino))
}

/// Gives an empty file `len` bytes and the memory for them, so that touching it later cannot fail.
///
/// It goes in steps, and asks `may_go_on` between them. A signal makes older kernels give up all that they have done
/// of one call; the steps become smaller then, so that steady signals cannot keep it from ending.
pub(crate) fn reserve(
    fd: BorrowedFd<'_>,
    len: u64,
    may_go_on: &mut dyn FnMut() -> io::Result<()>,
) -> io::Result<()> {
    if i64::try_from(len).is_err() {
        return Err(Errno::FBIG.into());
    }
    // Else the kernel would first fill what is there, and others would find no room meanwhile.
    let folder = rustix::fs::fstatvfs(fd)?;
    if folder.f_blocks > 0 && len.div_ceil(folder.f_frsize.max(1)) > folder.f_bavail {
        return Err(Errno::NOSPC.into());
    }
    // Else the kernel would make room by killing somebody, as /dev/shm may be larger than the memory there is for it.
    if len >= WORTH_ASKING && len > memory::available() {
        return Err(Errno::NOMEM.into());
    }
    let (mut done, mut step) = (0, LONGEST_STEP);
    while done < len {
        let part = step.min(len - done);
        match rustix::fs::fallocate(fd, FallocateFlags::empty(), done, part) {
            Ok(()) => done += part,
            Err(Errno::INTR) => step = (step / 2).max(SHORTEST_STEP),
            // A file system that reserves nothing, such as ramfs, which has no limit either.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(rustix::fs::ftruncate(fd, len)?),
            Err(error) => return Err(error.into()),
        }
        if done < len {
            may_go_on()?;
        }
    }
    Ok(())
}
