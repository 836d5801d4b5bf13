//! The child's end of the bootstrap socket: found in the environment, and watched for the parent's end.

use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

use crate::ending::Exit;
use crate::sys::signal::{self, Peer};
use crate::sys::spawn;

/// Tells a child which of its descriptors is the bootstrap socket: `NUMBER:INODE`.
pub(super) const VARIABLE: &str = "TASUKI_BOOTSTRAP";

/// The bootstrap socket, if this process was started by tasuki and nobody took it yet.
pub(super) fn take_socket() -> Option<OwnedFd> {
    let variable = std::env::var(VARIABLE).ok()?;
    let (number, inode) = variable.split_once(':')?;
    spawn::adopt_socket(number.parse::<RawFd>().ok()?, inode.parse().ok()?)
}

/// Ties the life of this process to its parent's; a process whose parent is already gone ends here.
pub(super) fn live_with_parent(socket: BorrowedFd<'_>) {
    match signal::kill_when_peer_is_gone(socket, std::process::id()) {
        Ok(Peer::There) => {}
        Ok(Peer::Gone) => std::process::exit(Exit::Refused as i32),
        Err(error) => eprintln!("tasuki: this process may outlive its parent: {error}"),
    }
}
