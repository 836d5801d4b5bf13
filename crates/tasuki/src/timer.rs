//! Processes that call their function after a while, unless they are cancelled before: [`Timer`]. Uses `process` to
//! start them and a queue to wait and to be cancelled; has no thread and no clock that ticks.
//!
//! The queue has room for one message and holds one: the token. Whoever takes it decides.
//!
//! ```text
//! the timer's process                              somebody who cancels
//! put, until the delay has passed: it sleeps,      take what is there
//! since there is no room                             the token: cancelled, and the sleeper's put has room
//!   put: cancelled                                   nothing, or what the sleeper put: too late
//!   no room: take what is there
//!     the token: nobody can cancel any more; call
//!     nothing: cancelled at the last moment
//! ```
//! A message is taken at most once, so exactly one side has it; a side that is killed with the token in its hand has
//! decided all the same, and the queue's own promises say that the other one does not wait for it.

use std::fmt;
use std::io;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::launch::Task;
use crate::launch::children::Running;
use crate::process::{ChildProcess, Process, ProcessError, child_methods};
use crate::queues::Queue;
use crate::sys::clock;

/// A function that a process of its own calls after a delay, unless it is cancelled before.
///
/// The process starts at once and waits, without using the processor; the delay counts from the start. It is a process
/// in everything else: it has a name, is waited for at the end of `main` unless it is a daemon, and a daemon ends with
/// its parent, also while it waits. Dropping a `Timer` leaves it running.
///
/// ```no_run
/// use std::time::Duration;
/// use tasuki::Timer;
///
/// #[tasuki::task]
/// fn ring(what: String) {
///     println!("{what}");
/// }
///
/// #[tasuki::main]
/// fn main() -> Result<(), tasuki::ProcessError> {
///     let egg = Timer::start(Duration::from_secs(360), ring, ("The egg!".to_owned(),))?;
///     let tea = Timer::start(Duration::from_secs(180), ring, ("The tea!".to_owned(),))?;
///     assert!(egg.cancel());
///     assert_eq!(egg.join()?, None);
///     assert_eq!(tea.join()?, Some(()));
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct Timer<R> {
    /// Its result is nothing when it was cancelled.
    process: Process<Option<R>>,
    canceller: Canceller,
}

impl Timer<()> {
    /// Starts a process that calls `task` with `arguments`, a tuple, when `delay` has passed.
    ///
    /// [`Builder::start_after`](crate::process::Builder::start_after) does so for a process with a name of its own, or
    /// for a daemon.
    ///
    /// # Errors
    ///
    /// As [`Process::spawn`]; and when the system refuses memory for the timer.
    pub fn start<Args, F>(
        delay: Duration,
        task: F,
        arguments: Args,
    ) -> Result<Timer<F::Output>, ProcessError>
    where
        F: Task<Args>,
        Args: Serialize,
        F::Output: DeserializeOwned,
    {
        Process::builder(task, arguments).start_after(delay)
    }
}

impl<R> Timer<R> {
    pub(crate) fn new(process: Process<Option<R>>, canceller: Canceller) -> Timer<R> {
        Timer { process, canceller }
    }

    /// Keeps the function from being called, if that has not begun, and says whether it did: `true` for the one call
    /// that cancelled the timer, `false` when the function has begun or the timer was cancelled before.
    pub fn cancel(&self) -> bool {
        self.canceller.cancel()
    }

    /// What can cancel the timer from elsewhere: it can be cloned, and travel to other processes.
    pub fn canceller(&self) -> Canceller {
        self.canceller.clone()
    }

    /// The timer as a child of any kind: without its result, and cloneable.
    pub fn as_child(&self) -> &ChildProcess {
        self.process.as_child()
    }

    fn running(&self) -> &Running {
        self.process.running()
    }
}

impl<R: DeserializeOwned> Timer<R> {
    /// Waits for the end and returns what the function returned; `None` when the timer was cancelled.
    ///
    /// # Errors
    ///
    /// As [`Process::join`].
    pub fn join(self) -> Result<Option<R>, ProcessError> {
        self.process.join()
    }

    /// Like [`join`](Timer::join), but gives up after `timeout` with the outer `None`; the timer goes on.
    ///
    /// # Errors
    ///
    /// As [`Process::join_timeout`].
    pub fn join_timeout(&self, timeout: Duration) -> Result<Option<Option<R>>, ProcessError> {
        self.process.join_timeout(timeout)
    }
}

child_methods!([R] Timer<R>);

/// Cancels a timer from anywhere; from [`Timer::canceller`]. It travels as the handle of a queue does.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canceller {
    token: Queue<Token>,
}

impl Canceller {
    /// As [`Timer::cancel`].
    pub fn cancel(&self) -> bool {
        matches!(self.token.try_get(), Ok(Token::Open))
    }
}

impl fmt::Debug for Canceller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Canceller").finish_non_exhaustive()
    }
}

/// What is in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Token {
    /// Nothing is decided.
    Open,
    /// The timer has seen that it was cancelled.
    Cancelled,
}

/// What a timer's process has to wait for; it travels before the arguments.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Delay {
    /// By the clock that all processes share.
    due: Duration,
    canceller: Canceller,
}

impl Delay {
    /// Waits, and says whether it is time to call the function: not when the timer was cancelled.
    pub(crate) fn passes(&self) -> bool {
        let token = &self.canceller.token;
        let left = self.due.saturating_sub(clock::monotonic());
        match token.put_timeout(Token::Cancelled, left) {
            Ok(()) => false,
            Err(error) if error.is_full() => matches!(token.try_get(), Ok(Token::Open)),
            // Told to whoever joins: to call the function now could be too early, never to call it is no better.
            Err(error) => panic!("a timer cannot wait: {error}"),
        }
    }
}

/// A delay that begins now, and what cancels it.
pub(crate) fn begin(delay: Duration) -> Result<(Canceller, Delay), ProcessError> {
    let due = clock::monotonic().saturating_add(delay);
    let token = made(Queue::builder().capacity(1).label("timer").create())?;
    token.put(Token::Open).map_err(|error| unusable(io::Error::other(error.to_string())))?;
    let canceller = Canceller { token };
    Ok((canceller.clone(), Delay { due, canceller }))
}

fn made<T>(object: Result<T, Error>) -> Result<T, ProcessError> {
    object.map_err(|error| match error {
        Error::Os { source, .. } => unusable(source),
        other => unusable(io::Error::other(other)),
    })
}

fn unusable(error: io::Error) -> ProcessError {
    ProcessError::os("make a timer", error)
}
