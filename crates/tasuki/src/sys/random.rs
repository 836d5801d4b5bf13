//! Bytes that nobody can guess.

use std::fs::File;
use std::io::{self, Read};

use rustix::io::Errno;
use rustix::rand::GetRandomFlags;

/// As many unguessable bytes as asked for.
pub(crate) fn bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    fill(&mut bytes)?;
    Ok(bytes)
}

fn fill(buffer: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        match rustix::rand::getrandom(&mut buffer[filled..], GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            // A sandbox that refuses the call; the file gives the same.
            Err(Errno::NOSYS | Errno::PERM) => {
                return File::open("/dev/urandom")?.read_exact(&mut buffer[filled..]);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
