//! A thread in the shape of a process: [`Process`], its [`Builder`], and what can be done with any thread that one has
//! started ([`ChildThread`]).

use std::any::Any;
use std::marker::PhantomData;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::running::{self, Running};
use super::task::Task;
use crate::ending::{Exit, ProcessError, message_of};
use crate::sys::clock::deadline;

/// A function that runs in a thread of its own and returns an `R`: [`tasuki::Process`](crate::Process) with a thread
/// in place of the process. The [module](super) says what differs.
///
/// Dropping one leaves the thread running; at the end of a `main` marked `#[tasuki::main]` it is waited for unless it
/// is a daemon, and `std::process::exit` waits for nobody.
///
/// ```
/// use tasuki::thread::Process;
///
/// let text = "a relay needs a sash".to_owned();
/// let words = Process::spawn(move || text.split(' ').count(), ())?;
/// assert_eq!(words.join()?, 5);
/// # Ok::<(), tasuki::ProcessError>(())
/// ```
#[derive(Debug)]
pub struct Process<R> {
    child: ChildThread,
    result: Arc<Mutex<Outcome<R>>>,
}

/// What became of the function; written by the thread before it ends, taken once.
#[derive(Debug)]
enum Outcome<R> {
    None,
    Returned(R),
    Panicked { message: String },
    Taken,
}

impl Process<()> {
    /// Starts `task`, a function or a closure, with `arguments`, a tuple, in a new thread.
    ///
    /// # Errors
    ///
    /// [`Os`](ProcessError::Os) when the system starts no thread.
    pub fn spawn<Args, F>(task: F, arguments: Args) -> Result<Process<F::Output>, ProcessError>
    where
        F: Task<Args>,
        Args: Send + 'static,
        F::Output: Send + 'static,
    {
        Process::builder(task, arguments).spawn()
    }

    /// Prepares to start `task` with `arguments`, to say more about the thread first.
    pub fn builder<Args, F>(task: F, arguments: Args) -> Builder<F, Args>
    where
        F: Task<Args>,
        Args: Send + 'static,
        F::Output: Send + 'static,
    {
        Builder { task, name: None, daemon: None, arguments: PhantomData, values: arguments }
    }
}

/// A thread about to be started; from [`Process::builder`].
#[derive(Debug)]
#[must_use = "a builder starts nothing before `spawn`"]
pub struct Builder<F, Args> {
    pub(super) task: F,
    pub(super) name: Option<String>,
    pub(super) daemon: Option<bool>,
    arguments: PhantomData<fn(Args)>,
    pub(super) values: Args,
}

impl<F, Args> Builder<F, Args>
where
    F: Task<Args>,
    Args: Send + 'static,
    F::Output: Send + 'static,
{
    /// Names the thread, for errors, [`current_thread`](super::current_thread) and (15 bytes of it) `top -H`. Without
    /// this, names are `Thread-1`, `Thread-2` and so on.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Whether the thread ends with the process instead of being waited for. Without this, it is what the current
    /// thread is. As with processes, a daemon starts only daemons.
    pub fn daemon(mut self, daemon: bool) -> Self {
        self.daemon = Some(daemon);
        self
    }

    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// As [`Process::spawn`]; and [`ChildOfDaemon`](ProcessError::ChildOfDaemon).
    pub fn spawn(self) -> Result<Process<F::Output>, ProcessError> {
        let Builder { task, name, daemon, values, .. } = self;
        start(name, daemon, move || task.call(values))
    }
}

pub(super) fn start<R: Send + 'static>(
    name: Option<String>,
    daemon: Option<bool>,
    work: impl FnOnce() -> R + Send + 'static,
) -> Result<Process<R>, ProcessError> {
    let by_daemon = running::current().is_some_and(|current| current.daemon);
    if by_daemon && daemon == Some(false) {
        return Err(ProcessError::ChildOfDaemon);
    }
    let result = Arc::new(Mutex::new(Outcome::None));
    let place = Arc::clone(&result);
    let running = Running::start(name, daemon.unwrap_or(by_daemon), move || {
        let (outcome, end) = match panic::catch_unwind(AssertUnwindSafe(work)) {
            Ok(returned) => (Outcome::Returned(returned), Exit::Returned),
            Err(panic) => (Outcome::Panicked { message: told_by(panic) }, Exit::Panicked),
        };
        *place.lock().unwrap_or_else(PoisonError::into_inner) = outcome;
        end
    })
    .map_err(|error| ProcessError::os("start a thread", error))?;
    Ok(Process { child: ChildThread { running }, result })
}

/// What a panic said. Its payload may be a value whose destructor panics; that ends here.
fn told_by(panic: Box<dyn Any + Send>) -> String {
    let message = message_of(&*panic).to_owned();
    let _ = panic::catch_unwind(AssertUnwindSafe(|| drop(panic)));
    message
}

impl<R> Process<R> {
    /// Waits for the end of the thread and returns what its function returned.
    ///
    /// # Errors
    ///
    /// [`Panicked`](ProcessError::Panicked) when the function did; its place is not known here, the panic hook has
    /// shown it.
    pub fn join(self) -> Result<R, ProcessError> {
        match self.take(None)? {
            Some(result) => Ok(result),
            None => unreachable!("without a deadline, the wait ends with the thread"),
        }
    }

    /// Like [`join`](Process::join), but gives up after `timeout` with `None`; the thread goes on.
    ///
    /// # Errors
    ///
    /// As `join`; and [`AlreadyTaken`](ProcessError::AlreadyTaken) when an earlier call returned the result or an
    /// error.
    pub fn join_timeout(&self, timeout: Duration) -> Result<Option<R>, ProcessError> {
        self.take(deadline(timeout))
    }

    fn take(&self, deadline: Option<Instant>) -> Result<Option<R>, ProcessError> {
        if self.child.running.wait(deadline)?.is_none() {
            return Ok(None);
        }
        let (pid, name) = (self.pid(), self.name().to_owned());
        let mut outcome = self.result.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *outcome, Outcome::Taken) {
            Outcome::Returned(result) => Ok(Some(result)),
            Outcome::Panicked { message } => {
                Err(ProcessError::Panicked { pid, name, message, location: None })
            }
            Outcome::Taken | Outcome::None => Err(ProcessError::AlreadyTaken { pid, name }),
        }
    }

    /// The thread as a child of any kind: without its result, and cloneable.
    pub fn as_child(&self) -> &ChildThread {
        &self.child
    }

    pub(super) fn running(&self) -> &Running {
        &self.child.running
    }
}

/// A thread that this thread has started, without the type of its result; from
/// [`active_children`](super::active_children) and [`Process::as_child`]. Clones stand for the same thread.
#[derive(Debug, Clone)]
pub struct ChildThread {
    running: Arc<Running>,
}

impl ChildThread {
    pub(super) fn new(running: Arc<Running>) -> ChildThread {
        ChildThread { running }
    }

    fn running(&self) -> &Running {
        &self.running
    }
}

/// The methods of every child, for the type that is one and for those that hold one.
macro_rules! child_methods {
    ([$($parameter:ident)?] $child:ty) => {
        impl $(<$parameter>)? $child {
            /// The number by which the kernel knows the thread.
            pub fn pid(&self) -> u32 {
                self.running().id()
            }

            /// The name given at the start, or made then.
            pub fn name(&self) -> &str {
                &self.running().name
            }

            /// Whether nobody waits for it at the end of the program.
            pub fn is_daemon(&self) -> bool {
                self.running().daemon
            }

            /// Whether the thread still runs.
            pub fn is_alive(&self) -> bool {
                self.running().is_alive()
            }

            /// How the thread ended, when it has, as a process would have that ended so: success, or the exit code 101
            /// after a panic.
            pub fn exit_status(&self) -> Option<std::process::ExitStatus> {
                self.running().exit_status()
            }

            /// Waits for the end of the thread, however it ends.
            ///
            /// # Errors
            ///
            /// [`NotOurChild`](crate::ProcessError::NotOurChild) in a fork of the process, which has not its threads.
            pub fn wait(&self) -> Result<std::process::ExitStatus, $crate::ProcessError> {
                let ended = self.running().wait(None)?;
                Ok(ended.expect("without a deadline, wait ends with the thread"))
            }

            /// Waits for the end of the thread, but no longer than `timeout`.
            ///
            /// # Errors
            ///
            /// As [`wait`](Self::wait).
            pub fn wait_timeout(
                &self,
                timeout: std::time::Duration,
            ) -> Result<Option<std::process::ExitStatus>, $crate::ProcessError> {
                self.running().wait($crate::sys::clock::deadline(timeout))
            }
        }
    };
}
pub(super) use child_methods;

child_methods!([] ChildThread);
child_methods!([R] Process<R>);
