//! Processes that call their function after a while, unless they are cancelled before: [`Timer`]. Uses `process` to
//! start them; `launch/delay.rs` has how they wait and are cancelled.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use crate::launch::Canceller;
use crate::launch::Task;
use crate::launch::children::Running;
use crate::launch::delay;
use crate::process::{self, Builder, ChildProcess, Process, ProcessError, child_methods};

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

impl<F, Args> Builder<F, Args>
where
    F: Task<Args>,
    Args: Serialize,
    F::Output: DeserializeOwned,
{
    /// Starts the process, which calls the function when `delay` has passed, unless the timer is
    /// cancelled before.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Builder::spawn); and when the system refuses memory for the timer.
    pub fn start_after(mut self, delay: Duration) -> Result<Timer<F::Output>, ProcessError> {
        self.plan.check()?;
        self.plan.delayed = true;
        let (canceller, delay) = delay::begin(delay)?;
        Ok(Timer::new(process::start(self.plan, &(delay, self.arguments))?, canceller))
    }
}

impl<R> Timer<R> {
    fn new(process: Process<Option<R>>, canceller: Canceller) -> Timer<R> {
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
