//! How a process or a thread ends: its exit code, what a panic said, and why it was not started or has no result, which
//! is [`ProcessError`]. What `launch`, `thread` and their fronts have in common.

use std::any::Any;
use std::io;

use crate::sys::signal;

/// How a task's process ends when nothing cuts it short.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The result was sent.
    Returned = 0,
    /// Nothing ran, or the result could not be sent.
    Refused = 1,
    /// As every Rust program that panics.
    Panicked = 101,
}

/// What a panic's payload says.
pub(crate) fn message_of(panic: &(dyn Any + Send)) -> &str {
    if let Some(message) = panic.downcast_ref::<&str>() {
        message
    } else if let Some(message) = panic.downcast_ref::<String>() {
        message
    } else {
        "a panic whose payload is no text"
    }
}

/// Why a process was not started, or has no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// The function panicked in the process.
    #[error("process {name:?} (pid {pid}) panicked{}: {message}", at(location))]
    Panicked {
        /// The process's id.
        pid: u32,
        /// The process's name.
        name: String,
        /// What was given to `panic!`.
        message: String,
        /// File, line and column; `None` when the task replaced the panic hook.
        location: Option<String>,
    },
    /// A signal ended the process before it had a result.
    #[error("process {name:?} (pid {pid}) was ended by {}", signal::name(*signal))]
    Signaled {
        /// The process's id.
        pid: u32,
        /// The process's name.
        name: String,
        /// The signal's number.
        signal: i32,
    },
    /// The process left, by `std::process::exit` or the like, before its function returned.
    #[error("process {name:?} (pid {pid}) left with exit code {code} before its task returned")]
    Exited {
        /// The process's id.
        pid: u32,
        /// The process's name.
        name: String,
        /// The exit code.
        code: i32,
    },
    /// The process ended before it came as far as its task.
    #[error(
        "process {name:?} (pid {pid}) left with exit code {code} before it reached its task: \
         does its executable mark `fn main` with #[tasuki::main] (a test: call \
         tasuki::enable_tests!()), and does nothing before main end it?"
    )]
    NeverStarted {
        /// The process's id.
        pid: u32,
        /// The process's name.
        name: String,
        /// The exit code.
        code: i32,
    },
    /// This program cannot be started again to run a task.
    #[error(
        "this program's main would run again in the new process: mark `fn main` with \
         #[tasuki::main], and in tests write `tasuki::enable_tests!();` once in the test's file"
    )]
    MissingMain,
    /// The function is not in the table of tasks.
    #[error("the function `{task}` is not a task: mark it with #[tasuki::task]")]
    NotRegistered {
        /// The function's name.
        task: String,
    },
    /// Two functions have the same name.
    #[error(
        "several tasks are called `{task}`, because blocks of one function each hold one: \
         give them different names"
    )]
    Ambiguous {
        /// The functions' name.
        task: String,
    },
    /// The process runs a program with other tasks than this one.
    #[error(
        "process {name:?} (pid {pid}) runs a program with other tasks; start the same build of the \
         same program, and load libraries that register tasks in both. \
         Only here: [{}]. Only there: [{}]", only_here.join(", "), only_there.join(", ")
    )]
    TableMismatch {
        /// The process's id.
        pid: u32,
        /// The process's name.
        name: String,
        /// Tasks that the process lacks.
        only_here: Vec<String>,
        /// Tasks that this program lacks.
        only_there: Vec<String>,
    },
    /// The arguments could not be written, or not be read in the process.
    #[error("the arguments cannot travel to the process: {reason}")]
    Arguments {
        /// What serde or the system said.
        reason: String,
    },
    /// The result could not be written in the process, or not be read here.
    #[error("the result of process {name:?} (pid {pid}) cannot travel: {reason}")]
    Result {
        /// The process's id.
        pid: u32,
        /// The process's name.
        name: String,
        /// What serde or the system said.
        reason: String,
    },
    /// The result, or the error in its place, was returned by an earlier call.
    #[error("the result of process {name:?} (pid {pid}) was taken already")]
    AlreadyTaken {
        /// The process's id.
        pid: u32,
        /// The process's name.
        name: String,
    },
    /// A daemon tried to start a process that is none: nobody would end it.
    #[error("a daemon can only start daemons: they end with it, while others would be left alone")]
    ChildOfDaemon,
    /// Something else in this process took the exit status.
    #[error(
        "process {name:?} (pid {pid}) has ended, and its exit status went elsewhere: something in \
         this program waits for any child, or ignores SIGCHLD"
    )]
    StatusLost {
        /// The process's id.
        pid: u32,
        /// The process's name.
        name: String,
    },
    /// Only the process that started another can wait for it, not a fork of it.
    #[error("process {name:?} (pid {pid}) was started by another process than this one")]
    NotOurChild {
        /// The process's id.
        pid: u32,
        /// The process's name.
        name: String,
    },
    /// The operating system refused.
    #[error("cannot {doing}: {source}")]
    Os {
        /// What was being done.
        doing: &'static str,
        /// The system's own word for it.
        source: io::Error,
    },
}

impl ProcessError {
    pub(crate) fn os(doing: &'static str, source: io::Error) -> ProcessError {
        ProcessError::Os { doing, source }
    }
}

fn at(location: &Option<String>) -> String {
    location.as_ref().map(|location| format!(" at {location}")).unwrap_or_default()
}
