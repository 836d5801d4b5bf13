//! Bytes that nobody can guess.

use std::io;

use rustix::io::Errno;
use rustix::rand::GetRandomFlags;

/// As many unguessable bytes as asked for.
pub(crate) fn bytes<const N: usize>() -> io::Result<[u8; N]> {
    const { assert!(N <= 256, "the kernel gives so many at once, and no fewer") };
    let mut bytes = [0; N];
    loop {
        match rustix::rand::getrandom(&mut bytes[..], GetRandomFlags::empty()) {
            Err(Errno::INTR) => {}
            other => return Ok(other.map(|_| bytes)?),
        }
    }
}
