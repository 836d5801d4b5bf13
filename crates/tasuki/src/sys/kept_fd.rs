//! A descriptor that is kept for later, while the program that it is in may close it.
//!
//! Daemons close all descriptors and open files of their own, which get the same numbers. What is kept out of sight,
//! and would be written to, made longer, or closed later, must not be theirs then: each use asks the kernel first what
//! the number stands for. The answer can only be outrun by a thread that closes the number in between.
#![allow(unsafe_code)] // a descriptor that may not be closed is taken out of its owner

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::memory::file_id;

/// The descriptor of a file. Closed when dropped, if it still is what it was.
#[derive(Debug)]
pub(crate) struct KeptFd {
    fd: ManuallyDrop<OwnedFd>,
    id: (u64, u64),
}

impl KeptFd {
    /// `id` is what `file_id` says of it.
    pub(crate) fn new(fd: OwnedFd, id: (u64, u64)) -> KeptFd {
        KeptFd { fd: ManuallyDrop::new(fd), id }
    }

    /// Device and inode: equal for all descriptors of one file.
    pub(crate) fn id(&self) -> (u64, u64) {
        self.id
    }

    /// The descriptor, unless it was closed: then the error is EBADF, whatever the number stands for by now.
    pub(crate) fn get(&self) -> io::Result<BorrowedFd<'_>> {
        if file_id(self.fd.as_fd())? == self.id {
            Ok(self.fd.as_fd())
        } else {
            Err(Errno::BADF.into())
        }
    }

    /// The descriptor, for a receiver that looks at what it gets.
    pub(crate) fn unchecked(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for KeptFd {
    fn drop(&mut self) {
        if self.get().is_ok() {
            // SAFETY: it is dropped here alone, and not used afterwards.
            unsafe { ManuallyDrop::drop(&mut self.fd) };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsRawFd, FromRawFd};

    use super::super::memory;
    use super::*;

    #[test]
    fn a_number_that_is_another_files_by_now_is_neither_used_nor_closed() {
        let ours = memory::create("ours", 1).unwrap();
        let theirs = memory::create("theirs", 1).unwrap();
        let id = file_id(ours.as_fd()).unwrap();
        let kept = KeptFd::new(ours, id);
        assert!(kept.get().is_ok());

        let number = kept.unchecked().as_raw_fd();
        // SAFETY: both are open; the number becomes another file's, which is what is tried here.
        assert_eq!(unsafe { libc::dup2(theirs.as_raw_fd(), number) }, number);
        assert_eq!(kept.get().unwrap_err().raw_os_error(), Some(libc::EBADF));
        drop(kept);

        // SAFETY: `dup2` made it, and `kept` left it alone.
        let number = unsafe { OwnedFd::from_raw_fd(number) };
        assert_eq!(file_id(number.as_fd()).unwrap(), file_id(theirs.as_fd()).unwrap());
    }
}
