//! Processes that run a function: [`Process`], its [`Builder`], what can be done with any child
//! ([`ChildProcess`]). The work is done in `launch`; what can go wrong ([`ProcessError`]) is in `ending.rs`.

use std::ffi::OsString;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use crate::ending::ProcessError;
use crate::launch::children::{Kind, Running};
use crate::launch::parent::{self, Environment, TaskPlan};
use crate::launch::{Task, name_of};
use crate::protocol::transfer;
use crate::sys::clock::deadline;

/// A function that runs in a process of its own and returns an `R`.
///
/// The function is marked `#[tasuki::task]`, the program's `main` is marked `#[tasuki::main]`.
/// Spawn starts the same program again; there, `main` runs the function instead of the program.
/// Arguments and result are copied as bytes (postcard); queues, locks and values among them stay
/// shared.
///
/// ```no_run
/// use tasuki::Process;
///
/// #[tasuki::task]
/// fn square(n: u64) -> u64 {
///     n * n
/// }
///
/// #[tasuki::main]
/// fn main() -> Result<(), tasuki::ProcessError> {
///     let process = Process::spawn(square, (12,))?;
///     assert_eq!(process.join()?, 144);
///     Ok(())
/// }
/// ```
///
/// # What the new process is
///
/// It shares standard output and error, the environment, the folder and the command line of its
/// parent; its standard input is empty. It inherits no other descriptor and no memory. When the
/// function has returned, the process joins its own children and ends, with exit code 0; a panic
/// makes that 101. Threads that were not started with [`tasuki::thread`](crate::thread) end there,
/// as at the end of any `main`.
///
/// # When nobody joins
///
/// Dropping a `Process` leaves it running. At the end of a `main` marked `#[tasuki::main]` daemons
/// are ended and all others waited for; `std::process::exit` waits for nobody. A parent that is
/// killed takes its daemons along, and leaves all others running.
///
/// # Large bytes
///
/// serde writes a `Vec<u8>` byte by byte. For large bytes use `serde_bytes::ByteBuf`, which is
/// copied as a block.
#[derive(Debug)]
pub struct Process<R> {
    child: ChildProcess,
    /// The result is here to be taken once.
    taken: AtomicBool,
    result: PhantomData<fn() -> R>,
}

impl Process<()> {
    /// Starts `task` with `arguments`, a tuple, in a new process.
    ///
    /// Returns when the process exists. Whether it came up, found the task and could read its
    /// arguments is known at [`join`](Process::join).
    ///
    /// # Errors
    ///
    /// [`MissingMain`](ProcessError::MissingMain), [`NotRegistered`](ProcessError::NotRegistered),
    /// [`Arguments`](ProcessError::Arguments) when they cannot be serialised, and
    /// [`Os`](ProcessError::Os) when the system starts no process.
    pub fn spawn<Args, F>(task: F, arguments: Args) -> Result<Process<F::Output>, ProcessError>
    where
        F: Task<Args>,
        Args: Serialize,
        F::Output: DeserializeOwned,
    {
        Process::builder(task, arguments).spawn()
    }

    /// Prepares to start `task` with `arguments`, to say more about the process first.
    ///
    /// A function pointer does not compile, because it does not tell which function is meant:
    ///
    /// ```compile_fail
    /// #[tasuki::task]
    /// fn square(n: u64) -> u64 {
    ///     n * n
    /// }
    ///
    /// let pointer: fn(u64) -> u64 = square;
    /// tasuki::Process::builder(pointer, (12,));
    /// ```
    pub fn builder<Args, F>(task: F, arguments: Args) -> Builder<F, Args>
    where
        F: Task<Args>,
        Args: Serialize,
        F::Output: DeserializeOwned,
    {
        const {
            assert!(
                size_of::<F>() == 0,
                "a process runs a function marked #[tasuki::task], named here by itself: \
                 not a function pointer, and not a closure that captures something"
            );
        }
        Builder {
            plan: TaskPlan {
                task: name_of(&task),
                name: None,
                daemon: None,
                executable: None,
                environment: Environment::default(),
                delayed: false,
            },
            arguments,
            task: PhantomData,
        }
    }
}

/// A process about to be started; from [`Process::builder`].
#[derive(Debug)]
#[must_use = "a builder starts nothing before `spawn`"]
pub struct Builder<F, Args> {
    pub(crate) plan: TaskPlan,
    pub(crate) arguments: Args,
    task: PhantomData<F>,
}

impl<F, Args> Builder<F, Args>
where
    F: Task<Args>,
    Args: Serialize,
    F::Output: DeserializeOwned,
{
    /// Names the process, for errors, [`current_process`](crate::current_process) and (15 bytes of
    /// it) `ps`. Without this, names are `Process-1`, `Process-2`, and `Process-2:1` for the first
    /// child of the latter.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.plan.name = Some(name.into());
        self
    }

    /// Whether the process ends with this one instead of being waited for. Without this, it is what
    /// the current process is. A daemon can have no other children than daemons.
    pub fn daemon(mut self, daemon: bool) -> Self {
        self.plan.daemon = Some(daemon);
        self
    }

    /// Sets an environment variable for the process.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.plan.environment.changes.insert(name.into(), Some(value.into()));
        self
    }

    /// Executes this file instead of the running program. It must have been built from the same
    /// tasks; the process refuses to run when it was not.
    pub fn executable(mut self, file: impl Into<PathBuf>) -> Self {
        self.plan.executable = Some(file.into());
        self
    }

    /// Starts the process.
    ///
    /// # Errors
    ///
    /// As [`Process::spawn`]; and [`ChildOfDaemon`](ProcessError::ChildOfDaemon).
    pub fn spawn(self) -> Result<Process<F::Output>, ProcessError> {
        start(self.plan, &self.arguments)
    }
}

/// Starts a process whose message carries these values.
pub(crate) fn start<R>(
    plan: TaskPlan,
    values: &impl Serialize,
) -> Result<Process<R>, ProcessError> {
    plan.check()?;
    let (bytes, outgoing) = transfer::collect(|| postcard::to_stdvec(values));
    let bytes = bytes.map_err(|error| ProcessError::Arguments { reason: error.to_string() })?;
    let running = plan.start(&bytes, &outgoing.descriptors())?;
    Ok(Process {
        child: ChildProcess::new(running),
        taken: AtomicBool::new(false),
        result: PhantomData,
    })
}

impl<R: DeserializeOwned> Process<R> {
    /// Waits for the end of the process and returns what its function returned.
    ///
    /// # Errors
    ///
    /// When the function panicked, the process was killed or left without a result, could not
    /// begin, or the result could not travel: see [`ProcessError`].
    pub fn join(self) -> Result<R, ProcessError> {
        match self.take(None)? {
            Some(result) => Ok(result),
            None => unreachable!("without a deadline, the wait ends with the process"),
        }
    }

    /// Like [`join`](Process::join), but gives up after `timeout` with `None`; the process goes on.
    ///
    /// # Errors
    ///
    /// As `join`; and [`AlreadyTaken`](ProcessError::AlreadyTaken) when an earlier call returned
    /// the result or an error.
    pub fn join_timeout(&self, timeout: Duration) -> Result<Option<R>, ProcessError> {
        self.take(deadline(timeout))
    }

    fn take(&self, deadline: Option<Instant>) -> Result<Option<R>, ProcessError> {
        let running = &self.child.running;
        let status = match running.wait(deadline) {
            Ok(Some(status)) => Some(status),
            Ok(None) => return Ok(None),
            // The result is in the socket even when the exit status went elsewhere.
            Err(ProcessError::StatusLost { .. }) => None,
            Err(error) => return Err(error),
        };
        if self.taken.swap(true, Ordering::AcqRel) {
            return Err(ProcessError::AlreadyTaken { pid: self.pid(), name: self.name().into() });
        }
        let payload = parent::outcome(running, status)?;
        payload.read().map(Some).map_err(|reason| ProcessError::Result {
            pid: self.pid(),
            name: self.name().into(),
            reason,
        })
    }
}

impl<R> Process<R> {
    /// The process as a child of any kind: without its result, and cloneable.
    pub fn as_child(&self) -> &ChildProcess {
        &self.child
    }
}

/// A process that this process has started, without the type of its result; from
/// [`active_children`](crate::active_children), [`Process::as_child`] and
/// [`Command`](crate::Command). Clones stand for the same process.
#[derive(Debug, Clone)]
pub struct ChildProcess {
    running: Arc<Running>,
}

impl ChildProcess {
    pub(crate) fn new(running: Arc<Running>) -> ChildProcess {
        ChildProcess { running }
    }

    pub(crate) fn is_task(&self) -> bool {
        self.running.kind == Kind::Task
    }
}

/// The methods of every child, for the type that is one and for those that hold one.
macro_rules! child_methods {
    ([$($parameter:ident)?] $child:ty) => {
        impl $(<$parameter>)? $child {
            /// The process id. It may mean another process once this one has ended.
            pub fn pid(&self) -> u32 {
                self.running().pid
            }

            /// The name given at the start, or made then.
            pub fn name(&self) -> &str {
                &self.running().name
            }

            /// Whether the process ends with this one.
            pub fn is_daemon(&self) -> bool {
                self.running().daemon
            }

            /// Whether the process still runs.
            pub fn is_alive(&self) -> bool {
                self.running().is_alive()
            }

            /// The exit status, when the process has ended.
            pub fn exit_status(&self) -> Option<std::process::ExitStatus> {
                self.running().exit_status()
            }

            /// Waits for the end of the process, however it ends.
            ///
            /// # Errors
            ///
            /// [`StatusLost`](crate::ProcessError::StatusLost) or
            /// [`NotOurChild`](crate::ProcessError::NotOurChild).
            pub fn wait(&self) -> Result<std::process::ExitStatus, $crate::ProcessError> {
                let ended = self.running().wait(None)?;
                Ok(ended.expect("without a deadline, wait ends with the process"))
            }

            /// Waits for the end of the process, but no longer than `timeout`.
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

            /// Asks the process to end, by SIGTERM. A process that has ended is left alone.
            ///
            /// # Errors
            ///
            /// When the system refuses, as for a program that runs under another user.
            pub fn terminate(&self) -> Result<(), $crate::ProcessError> {
                self.running().send_signal($crate::sys::signal::TERMINATE)
            }

            /// Ends the process at once, by SIGKILL. A process that has ended is left alone.
            ///
            /// # Errors
            ///
            /// As [`terminate`](Self::terminate).
            pub fn kill(&self) -> Result<(), $crate::ProcessError> {
                self.running().send_signal($crate::sys::signal::KILL)
            }

            /// Interrupts the process as Ctrl-C does, by SIGINT.
            ///
            /// # Errors
            ///
            /// As [`terminate`](Self::terminate).
            pub fn interrupt(&self) -> Result<(), $crate::ProcessError> {
                self.running().send_signal($crate::sys::signal::INTERRUPT)
            }

            /// A descriptor that becomes readable when the process has ended, for `poll` and the
            /// like: a pidfd.
            pub fn sentinel(&self) -> std::os::fd::BorrowedFd<'_> {
                self.running().pidfd()
            }
        }
    };
}
pub(crate) use child_methods;

impl ChildProcess {
    pub(crate) fn running(&self) -> &Running {
        &self.running
    }
}

impl<R> Process<R> {
    pub(crate) fn running(&self) -> &Running {
        &self.child.running
    }
}

child_methods!([] ChildProcess);
child_methods!([R] Process<R>);

impl AsFd for ChildProcess {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.sentinel()
    }
}

impl<R> AsFd for Process<R> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.sentinel()
    }
}
