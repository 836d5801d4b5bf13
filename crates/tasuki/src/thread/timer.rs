//! Threads that call their function after a while, unless they are cancelled before: [`Timer`].

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::process::{self, Builder, ChildThread, Process, child_methods};
use super::running::Running;
use super::task::Task;
use crate::ending::ProcessError;
use crate::sys::clock::deadline;

/// A function that a thread of its own calls after a delay, unless it is cancelled before:
/// [`tasuki::Timer`](crate::Timer) with a thread in place of the process.
///
/// ```
/// use std::time::Duration;
/// use tasuki::thread::Timer;
///
/// let egg = Timer::start(Duration::from_secs(360), || println!("The egg!"), ())?;
/// let tea = Timer::start(Duration::from_millis(3), |what| format!("The {what}!"), ("tea",))?;
/// assert!(egg.cancel());
/// assert_eq!(egg.join()?, None);
/// assert_eq!(tea.join()?, Some("The tea!".to_owned()));
/// # Ok::<(), tasuki::ProcessError>(())
/// ```
#[derive(Debug)]
pub struct Timer<R> {
    /// Its result is nothing when it was cancelled.
    process: Process<Option<R>>,
    canceller: Canceller,
}

impl Timer<()> {
    /// Starts a thread that calls `task` with `arguments`, a tuple, when `delay` has passed.
    ///
    /// [`Builder::start_after`](super::Builder::start_after) does so for a thread with a name of its own, or for a
    /// daemon.
    ///
    /// # Errors
    ///
    /// As [`Process::spawn`].
    pub fn start<Args, F>(
        delay: Duration,
        task: F,
        arguments: Args,
    ) -> Result<Timer<F::Output>, ProcessError>
    where
        F: Task<Args>,
        Args: Send + 'static,
        F::Output: Send + 'static,
    {
        Process::builder(task, arguments).start_after(delay)
    }
}

impl<F, Args> Builder<F, Args>
where
    F: Task<Args>,
    Args: Send + 'static,
    F::Output: Send + 'static,
{
    /// Starts the thread, which calls the function when `delay` has passed, unless the timer is cancelled before.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Builder::spawn).
    pub fn start_after(self, delay: Duration) -> Result<Timer<F::Output>, ProcessError> {
        let Builder { task, name, daemon, values, .. } = self;
        let (canceller, delay) = begin(delay);
        let process =
            process::start(name, daemon, move || delay.passes().then(|| task.call(values)))?;
        Ok(Timer { process, canceller })
    }
}

impl<R> Timer<R> {
    /// Keeps the function from being called, if that has not begun, and says whether it did: `true` for the one call
    /// that cancelled the timer, `false` when the function has begun or the timer was cancelled before.
    pub fn cancel(&self) -> bool {
        self.canceller.cancel()
    }

    /// What can cancel the timer from elsewhere.
    pub fn canceller(&self) -> Canceller {
        self.canceller.clone()
    }

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

    /// The timer as a child of any kind: without its result, and cloneable.
    pub fn as_child(&self) -> &ChildThread {
        self.process.as_child()
    }

    fn running(&self) -> &Running {
        self.process.running()
    }
}

child_methods!([R] Timer<R>);

/// Cancels a timer from anywhere in the process; from [`Timer::canceller`].
#[derive(Debug, Clone)]
pub struct Canceller {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    decided: Condvar,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Begun,
    Cancelled,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Canceller {
    /// As [`Timer::cancel`].
    pub fn cancel(&self) -> bool {
        let mut state = self.shared.state();
        let open = *state == State::Open;
        if open {
            *state = State::Cancelled;
            self.shared.decided.notify_one();
        }
        open
    }
}

/// What a timer's thread has to wait for.
struct Delay {
    /// `None` when it is so far away that it never comes.
    due: Option<Instant>,
    shared: Arc<Shared>,
}

impl Delay {
    /// Waits, and says whether it is time to call the function: not when the timer was cancelled.
    pub fn passes(self) -> bool {
        let mut state = self.shared.state();
        while *state == State::Open {
            let left = match self.due {
                None => Duration::MAX,
                Some(due) => due.saturating_duration_since(Instant::now()),
            };
            if left.is_zero() {
                *state = State::Begun;
                return true;
            }
            let woken = self.shared.decided.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        false
    }
}

/// A delay that begins now, and what cancels it.
fn begin(delay: Duration) -> (Canceller, Delay) {
    let shared = Arc::new(Shared { state: Mutex::new(State::Open), decided: Condvar::new() });
    let due = deadline(delay);
    (Canceller { shared: Arc::clone(&shared) }, Delay { due, shared })
}
