//! Closing what a descriptor refers to while its number is in use.
#![allow(unsafe_code)] // exchanges what a borrowed number stands for

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::DupFlags;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

/// Puts a socket whose other end is closed in the place of `fd`: this process has no copy any more of what `fd` was,
/// and threads that use the number find the end there.
#[doc(alias = "dup3")]
pub(crate) fn hang_up(fd: BorrowedFd<'_>) -> io::Result<()> {
    let (dead, peer) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    drop(peer);
    // SAFETY: the number is open as long as `fd` is borrowed, stays open, and is not closed here.
    let mut place = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(fd.as_raw_fd()) });
    Ok(rustix::io::dup3(&dead, &mut place, DupFlags::CLOEXEC)?)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn the_peer_sees_the_end_and_so_does_who_uses_the_number() {
        let (mut here, mut there) = UnixStream::pair().unwrap();
        super::hang_up(here.as_fd()).unwrap();
        assert_eq!(there.read(&mut [0; 1]).unwrap(), 0);
        assert!(there.write(b"x").is_err());
        assert_eq!(here.read(&mut [0; 1]).unwrap(), 0);
        assert!(here.write(b"x").is_err());
    }
}
