//! What a party is told that does not come through a barrier.

use std::fmt;

use crate::error::Error;
use crate::segment::death::Death;
use crate::sync::GaveUp;

/// Why a barrier is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Broken {
    /// This process called `abort`.
    Aborted {
        /// Its process id.
        pid: u32,
    },
    /// This process waited as long as it wanted to.
    TimedOut {
        /// Its process id.
        pid: u32,
    },
    /// The action failed in this process.
    ActionFailed {
        /// Its process id.
        pid: u32,
    },
    /// This process took part, and ended.
    Died(Death),
    /// Somebody called `reset` while the caller waited.
    Reset,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::Aborted { pid } => {
                write!(f, "the barrier is broken: process {pid} aborted it")
            }
            Broken::TimedOut { pid } => {
                write!(f, "the barrier is broken: the timeout of process {pid} ran out")
            }
            Broken::ActionFailed { pid } => {
                write!(f, "the barrier is broken: its action failed in process {pid}")
            }
            Broken::Died(death) => write!(f, "the barrier is broken: {death}, which was a party"),
            Broken::Reset => f.write_str("the barrier was reset while this party waited"),
        }
    }
}

/// Why a party did not come through a barrier.
#[derive(Debug)]
pub enum NotPassed {
    /// The time was over, which broke the barrier for the others; or the caller's check called the wait off, and its
    /// seat is free again.
    GaveUp(GaveUp),
    /// The barrier is broken.
    Broken(Broken),
    /// It cannot be waited for.
    Failed(Error),
}

impl From<Error> for NotPassed {
    fn from(error: Error) -> NotPassed {
        NotPassed::Failed(error)
    }
}
