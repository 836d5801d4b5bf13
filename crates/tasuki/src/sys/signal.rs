//! Signals: their names for the error texts, and the one that ends a daemon when its parent died.
//!
//! # Dying with the parent
//!
//! `PR_SET_PDEATHSIG` is the known way, and the wrong one: it fires when the *thread* that started
//! the process ends, so a daemon started from a short-lived thread would die while its parent
//! lives. Here the daemon's end of the bootstrap socket raises the signal: the kernel closes the
//! other end with the last thread of the parent, whatever killed it, and a socket in `O_ASYNC` mode
//! then signals its owner (`F_SETOWN`) with the signal asked for (`F_SETSIG`). The owner is kept as
//! a process, not as a number, so that a reused pid is never hit.
//!
//! **Feared race:** the parent dies before the mode is set, and no signal comes. So whoever sets it
//! looks once more whether the other end is still there ([`Peer::Gone`]).
//!
//! **Condition:** nothing but the end may happen on the socket: a packet sent to the daemon would
//! kill it too. The bootstrap protocol sends nothing after its first message.

#![allow(unsafe_code)] // fcntl's F_SETSIG and F_SETOWN_EX have no safe wrapper.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags};

/// Whether the other end of a socket is still open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// Somebody holds the other end.
    There,
    /// The other end is closed; what it sent can still be read.
    Gone,
}

/// Asks the kernel to kill the process `pid` at the moment when the other end of `socket` is
/// closed, and tells whether it already is (then no signal comes any more).
#[doc(alias = "PR_SET_PDEATHSIG")]
#[doc(alias = "F_SETSIG")]
pub(crate) fn kill_when_peer_is_gone(socket: BorrowedFd<'_>, pid: u32) -> io::Result<Peer> {
    let fd = socket.as_raw_fd();
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    // SAFETY: fcntl with these commands takes an integer and touches no memory of ours; `fd` is
    // open as long as `socket` is borrowed.
    unsafe {
        match check(libc::fcntl(fd, libc::F_SETOWN, pid)) {
            // It has ended, and the kernel forgot it: SIGCHLD is ignored.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(Peer::Gone),
            owned => owned?,
        };
        check(libc::fcntl(fd, F_SETSIG, libc::SIGKILL))?;
        let flags = check(libc::fcntl(fd, libc::F_GETFL))?;
        check(libc::fcntl(fd, libc::F_SETFL, flags | libc::O_ASYNC))?;
    }
    peer(socket)
}

/// `fcntl`'s command for the signal of `O_ASYNC` (`asm-generic/fcntl.h`, the same everywhere); the
/// crate libc does not name it for glibc.
pub(super) const F_SETSIG: libc::c_int = 10;

/// Looks whether the other end of a socket is still open.
pub(crate) fn peer(socket: BorrowedFd<'_>) -> io::Result<Peer> {
    let mut fds = [PollFd::new(&socket, PollFlags::empty())];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    loop {
        match rustix::event::poll(&mut fds, Some(&now)) {
            Ok(_) => break,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let gone = fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR);
    Ok(if gone { Peer::Gone } else { Peer::There })
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Asks a process to end.
pub(crate) const TERMINATE: i32 = libc::SIGTERM;
/// Ends a process at once.
pub(crate) const KILL: i32 = libc::SIGKILL;
/// What Ctrl-C sends.
pub(crate) const INTERRUPT: i32 = libc::SIGINT;

/// The signal's usual name, as `SIGKILL`; its number when it has none.
pub(crate) fn name(signal: i32) -> String {
    let known = match signal {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGALRM => "SIGALRM",
        libc::SIGTERM => "SIGTERM",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        libc::SIGVTALRM => "SIGVTALRM",
        libc::SIGPROF => "SIGPROF",
        libc::SIGIO => "SIGIO",
        libc::SIGSYS => "SIGSYS",
        _ => return format!("signal {signal}"),
    };
    known.to_owned()
}

/// Ignores SIGPIPE, as the standard library does before `main`: for code of ours that runs earlier.
pub(crate) fn ignore_broken_pipes() {
    // SAFETY: setting a disposition to SIG_IGN installs no handler and touches no memory.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
    }
}
