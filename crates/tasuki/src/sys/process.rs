//! Waiting for processes and signalling them, always by pidfd, never by a number that might meanwhile mean somebody
//! else; and what this one does at its own end.

#![allow(unsafe_code)] // atexit

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{Signal, WaitId, WaitIdOptions, WaitIdStatus};

/// Waits until the process has ended or the deadline has passed, and tells whether it has ended.
/// Reaps nothing.
pub(crate) fn wait(pidfd: BorrowedFd<'_>, deadline: Option<Instant>) -> io::Result<bool> {
    let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
    loop {
        let left = deadline.map(|deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            // A time too long for the system is as good as no end.
            Timespec::try_from(left).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 })
        });
        match rustix::event::poll(&mut fds, left.as_ref()) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Which of these processes have ended, without waiting.
pub(crate) fn ended(pidfds: &[BorrowedFd<'_>]) -> io::Result<Vec<bool>> {
    let mut fds: Vec<_> = pidfds.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    loop {
        match rustix::event::poll(&mut fds, Some(&now)) {
            Ok(_) => return Ok(fds.iter().map(|fd| !fd.revents().is_empty()).collect()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// What became of a process that was asked for its end.
pub(crate) enum Reaped {
    /// It still runs.
    Running,
    /// It has ended; from now on its pid may mean another process.
    Ended(ExitStatus),
    /// It has ended, and somebody else took its status: a `waitpid` for any child in this process,
    /// or SIGCHLD is ignored.
    Lost,
}

/// How many children this process knows to have ended.
static ENDED: AtomicU64 = AtomicU64::new(0);

/// See `note_ended`: it changes whenever a child was joined.
#[inline]
pub(crate) fn children_ended() -> u64 {
    ENDED.load(Ordering::Relaxed)
}

/// A child was joined: what the kernel knew only now, such as who has the other end of a pipe, is to be asked again.
pub(crate) fn note_ended() {
    ENDED.fetch_add(1, Ordering::Relaxed);
}

/// Takes the exit status of a child that has ended, so that no zombie remains. Does not wait.
#[doc(alias = "waitid")]
pub(crate) fn reap(pidfd: BorrowedFd<'_>) -> io::Result<Reaped> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    loop {
        match rustix::process::waitid(WaitId::PidFd(pidfd), options) {
            Ok(None) => return Ok(Reaped::Running),
            Ok(Some(status)) => {
                note_ended();
                return Ok(Reaped::Ended(exit_status(&status)));
            }
            Err(Errno::CHILD | Errno::BADF) => {
                note_ended();
                return Ok(Reaped::Lost);
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The form in which `wait` has always told it: exit code in bits 8-15, or signal in bits 0-6 with
/// bit 7 for a core dump.
fn exit_status(status: &WaitIdStatus) -> ExitStatus {
    let raw = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => (code & 0xff) << 8,
        (None, Some(signal)) => signal | if status.dumped() { 0x80 } else { 0 },
        (None, None) => 0,
    };
    ExitStatus::from_raw(raw)
}

/// A descriptor that answers as the pidfd of a process that has ended and whose status is lost:
/// readable for ever, and to signals and waiting no pidfd at all.
pub(super) fn ended_pidfd() -> io::Result<OwnedFd> {
    Ok(rustix::event::eventfd(1, rustix::event::EventfdFlags::CLOEXEC)?)
}

/// Sends a signal. A process that has ended gets none, and that is no error.
#[doc(alias = "pidfd_send_signal")]
pub(crate) fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let signal = Signal::from_named_raw(signal)
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    match rustix::process::pidfd_send_signal(pidfd, signal) {
        Ok(()) | Err(Errno::SRCH | Errno::BADF) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Runs the function when this process ends by `exit`, also in children forked from now on.
pub(crate) fn at_exit(handler: extern "C" fn()) {
    // SAFETY: the function is `'static` and takes no arguments. A refusal, for lack of memory, loses the call.
    unsafe { libc::atexit(handler) };
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_stand_in_for_a_lost_process_says_that_it_has_ended() {
        let pidfd = ended_pidfd().unwrap();
        assert!(wait(pidfd.as_fd(), None).unwrap());
        assert_eq!(ended(&[pidfd.as_fd()]).unwrap(), [true]);
        assert!(matches!(reap(pidfd.as_fd()), Ok(Reaped::Lost)));
        send_signal(pidfd.as_fd(), crate::sys::signal::KILL).unwrap();
    }
}
