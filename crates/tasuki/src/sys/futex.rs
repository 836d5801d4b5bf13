//! Sleeping on a 32-bit word that several processes map: the shared futex, with nothing added.
//!
//! Called by `sync` only.

use std::sync::atomic::AtomicU32;
use std::time::Duration;

use rustix::io::Errno;
use rustix::thread::Timespec;
use rustix::thread::futex::{self, Flags};

/// Why a sleeper is awake again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// Somebody called [`wake`], or the kernel did for a dead owner, or the word had changed already.
    Maybe,
    /// The time was over.
    TimedOut,
    /// A signal handler ran.
    Interrupted,
}

/// Sleeps while `word` holds `expected`, at most for `timeout`.
pub(crate) fn wait(word: &AtomicU32, expected: u32, timeout: Option<Duration>) -> Woken {
    let timeout = timeout.map(|time| Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(time.subsec_nanos()),
    });
    match futex::wait(word, Flags::empty(), expected, timeout.as_ref()) {
        Err(Errno::TIMEDOUT) => Woken::TimedOut,
        Err(Errno::INTR) => Woken::Interrupted,
        Ok(()) | Err(_) => Woken::Maybe,
    }
}

/// Wakes up to `count` sleepers and says how many there were.
pub(crate) fn wake(word: &AtomicU32, count: u32) -> usize {
    // The kernel reads the count as a signed number.
    futex::wake(word, Flags::empty(), count.min(i32::MAX as u32)).unwrap_or(0)
}
