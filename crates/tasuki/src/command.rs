//! Any program as a child, with queues, locks and values handed to it by name: [`Command`] in the
//! parent, [`inherited`] in the child. What travels is MessagePack, so parent and child may be
//! written in different languages. The work is done in `launch`.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::{ChildStderr, ChildStdin, ChildStdout};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::launch::children::Running;
use crate::launch::inherited::{self, Missing};
use crate::launch::parent::{Environment, Handle, ProgramPlan};
use crate::process::{ChildProcess, child_methods};
use crate::protocol::transfer::{self, Incoming, Outgoing};
use crate::sys::descriptors;

/// A program to start, with handles.
///
/// It works as `std::process::Command` does; what it adds is [`handle`](Command::handle). The
/// program inherits its standard streams and one socket, and no other descriptor.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut child = tasuki::Command::new("python3")
///     .arg("worker.py")
///     .handle("greeting", &"hello")
///     .spawn()?;
/// assert!(child.wait()?.success());
/// # Ok(()) }
/// ```
///
/// In the program, `tasuki.inherited("greeting")` in Python or [`inherited`] in Rust gets it.
#[derive(Debug)]
pub struct Command {
    program: OsString,
    arguments: Vec<OsString>,
    environment: Environment,
    folder: Option<PathBuf>,
    streams: [Stdio; 3],
    handles: Vec<Handle>,
    daemon: bool,
    /// What went wrong while collecting; told at the start, so that calls can be chained.
    refused: Option<CommandError>,
}

/// What a program gets as one of its standard streams.
#[derive(Debug, Default)]
pub enum Stdio {
    /// The stream of this process.
    #[default]
    Inherit,
    /// Nothing to read; what is written is lost.
    Null,
    /// The other end of a pipe, whose near end is in the [`Child`].
    Piped,
    /// This file, pipe or socket.
    Descriptor(OwnedFd),
}

impl<T: Into<OwnedFd>> From<T> for Stdio {
    fn from(descriptor: T) -> Stdio {
        Stdio::Descriptor(descriptor.into())
    }
}

impl Command {
    /// A program by its path, or by a name that is looked up in `PATH`.
    pub fn new(program: impl AsRef<OsStr>) -> Command {
        Command {
            program: program.as_ref().to_owned(),
            arguments: Vec::new(),
            environment: Environment::default(),
            folder: None,
            streams: [Stdio::Inherit, Stdio::Inherit, Stdio::Inherit],
            handles: Vec::new(),
            daemon: false,
            refused: None,
        }
    }

    /// Adds an argument.
    pub fn arg(&mut self, argument: impl AsRef<OsStr>) -> &mut Command {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args<A: AsRef<OsStr>>(
        &mut self,
        arguments: impl IntoIterator<Item = A>,
    ) -> &mut Command {
        for argument in arguments {
            self.arg(argument);
        }
        self
    }

    /// Sets an environment variable for the program.
    pub fn env(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Command {
        let value = Some(value.as_ref().to_owned());
        self.environment.changes.insert(name.as_ref().to_owned(), value);
        self
    }

    /// Takes an environment variable away from the program.
    pub fn env_remove(&mut self, name: impl AsRef<OsStr>) -> &mut Command {
        self.environment.changes.insert(name.as_ref().to_owned(), None);
        self
    }

    /// Gives the program no environment variables but those set from now on.
    pub fn env_clear(&mut self) -> &mut Command {
        self.environment = Environment { cleared: true, ..Environment::default() };
        self
    }

    /// Starts the program in this folder. A relative path to the program is looked up from there.
    pub fn current_dir(&mut self, folder: impl Into<PathBuf>) -> &mut Command {
        self.folder = Some(folder.into());
        self
    }

    /// Chooses the program's standard input.
    pub fn stdin(&mut self, stream: impl Into<Stdio>) -> &mut Command {
        self.streams[0] = stream.into();
        self
    }

    /// Chooses the program's standard output.
    pub fn stdout(&mut self, stream: impl Into<Stdio>) -> &mut Command {
        self.streams[1] = stream.into();
        self
    }

    /// Chooses the program's standard error.
    pub fn stderr(&mut self, stream: impl Into<Stdio>) -> &mut Command {
        self.streams[2] = stream.into();
        self
    }

    /// Whether the program ends with this process: by SIGTERM at the end of a `main` marked
    /// `#[tasuki::main]`, and by SIGKILL when this process ends in any other way.
    pub fn daemon(&mut self, daemon: bool) -> &mut Command {
        self.daemon = daemon;
        self
    }

    /// Hands a value to the program under a name: a queue, a lock, a shared value, or anything that
    /// serde can write. A name given twice means the later value.
    pub fn handle<T: Serialize + ?Sized>(
        &mut self,
        name: impl Into<String>,
        value: &T,
    ) -> &mut Command {
        let name = name.into();
        let (bytes, outgoing) = transfer::collect(|| rmp_serde::to_vec_named(value));
        match bytes {
            Ok(bytes) => self.handle_raw(name, bytes, outgoing),
            Err(error) => {
                let reason = error.to_string();
                self.refused.get_or_insert(CommandError::Handle { name, reason });
                self
            }
        }
    }

    /// [`handle`](Command::handle) for a value that is MessagePack already, with the descriptors of
    /// the handles in it: how other languages hand over theirs.
    pub fn handle_raw(
        &mut self,
        name: impl Into<String>,
        bytes: Vec<u8>,
        descriptors: Outgoing,
    ) -> &mut Command {
        let name = name.into();
        self.handles.retain(|handle| handle.name != name);
        self.handles.push(Handle { name, bytes, descriptors: descriptors.into_descriptors() });
        self
    }

    /// Starts the program.
    ///
    /// A stream given as a descriptor, and the near ends of pipes, belong to this start; a second
    /// start of the same command inherits those streams.
    ///
    /// # Errors
    ///
    /// When a value could not be written, or the system cannot start the program.
    pub fn spawn(&mut self) -> Result<Child, CommandError> {
        if let Some(refused) = self.refused.take() {
            return Err(refused);
        }
        self.start().map_err(|source| CommandError::Os { program: self.program.clone(), source })
    }

    fn start(&mut self) -> io::Result<Child> {
        let [input, output, error] = std::mem::take(&mut self.streams);
        let (input, stdin) = open(input, Direction::In)?;
        let (output, stdout) = open(output, Direction::Out)?;
        let (error, stderr) = open(error, Direction::Out)?;
        let plan = ProgramPlan {
            program: &self.program,
            arguments: &self.arguments,
            environment: &self.environment,
            folder: self.folder.as_deref(),
            streams: [&input, &output, &error].map(|stream| stream.as_ref().map(AsFd::as_fd)),
            handles: &self.handles,
            daemon: self.daemon,
        };
        Ok(Child {
            process: ChildProcess::new(plan.start()?),
            stdin: stdin.map(ChildStdin::from),
            stdout: stdout.map(ChildStdout::from),
            stderr: stderr.map(ChildStderr::from),
        })
    }
}

enum Direction {
    In,
    Out,
}

/// What the program gets, and what we keep.
fn open(stream: Stdio, direction: Direction) -> io::Result<(Option<OwnedFd>, Option<OwnedFd>)> {
    let theirs = match stream {
        Stdio::Inherit => return Ok((None, None)),
        Stdio::Null => File::options().read(true).write(true).open("/dev/null")?.into(),
        Stdio::Descriptor(descriptor) => descriptor,
        Stdio::Piped => {
            let (read, write) = descriptors::pipe()?;
            let (theirs, ours) = match direction {
                Direction::In => (read, write),
                Direction::Out => (write, read),
            };
            return Ok((Some(descriptors::above_standard_streams(theirs)?), Some(ours)));
        }
    };
    Ok((Some(descriptors::above_standard_streams(theirs)?), None))
}

/// A started program. Dropping it leaves the program running.
#[derive(Debug)]
pub struct Child {
    process: ChildProcess,
    /// The near end of the program's standard input, if that is [`Stdio::Piped`].
    pub stdin: Option<ChildStdin>,
    /// The near end of the program's standard output, if that is [`Stdio::Piped`].
    pub stdout: Option<ChildStdout>,
    /// The near end of the program's standard error, if that is [`Stdio::Piped`].
    pub stderr: Option<ChildStderr>,
}

impl Child {
    /// The program's process, cloneable and without the streams.
    pub fn as_child(&self) -> &ChildProcess {
        &self.process
    }

    fn running(&self) -> &Running {
        self.process.running()
    }
}

child_methods!([] Child);

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.sentinel()
    }
}

/// Why a program was not started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// A value could not be written.
    #[error("the handle {name:?} cannot travel: {reason}")]
    Handle {
        /// The name it was to have.
        name: String,
        /// What serde said.
        reason: String,
    },
    /// The operating system refused.
    #[error("cannot start {program:?}: {source}")]
    Os {
        /// The program.
        program: OsString,
        /// The system's own word for it.
        source: io::Error,
    },
}

/// Gets what the parent handed to this program under a name.
///
/// Asking twice gives two handles to the same object.
///
/// # Errors
///
/// When this program was not started by [`Command`], when it was handed nothing of that name, or
/// something of another type.
pub fn inherited<T: DeserializeOwned>(name: &str) -> Result<T, InheritError> {
    let (bytes, incoming) = inherited_raw(name)?;
    transfer::provide(incoming, || rmp_serde::from_slice(bytes)).map_err(|error| {
        InheritError::Unreadable { name: name.to_owned(), reason: error.to_string() }
    })
}

/// What the parent handed over under a name, as MessagePack and with the descriptors of the handles
/// in it: how other languages get at it.
///
/// # Errors
///
/// As [`inherited`], but for the type.
pub fn inherited_raw(name: &str) -> Result<(&'static [u8], Incoming), InheritError> {
    inherited::get_raw(name).map_err(|missing| match missing {
        Missing::NotStarted => InheritError::NotInherited,
        Missing::Name => InheritError::Unknown {
            name: name.to_owned(),
            available: inherited_names().into_iter().map(str::to_owned).collect(),
        },
        Missing::Unreadable(reason) => InheritError::Unreadable { name: name.to_owned(), reason },
    })
}

/// The names under which the parent handed something to this program.
pub fn inherited_names() -> Vec<&'static str> {
    inherited::names()
}

/// Why there is nothing of a name.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InheritError {
    /// Nobody handed anything to this program.
    #[error(
        "this program was not started with handles: start it by tasuki::Command in Rust or \
         tasuki.Command in Python"
    )]
    NotInherited,
    /// The parent handed over other things.
    #[error("the parent handed over nothing called {name:?}, only: {}", available.join(", "))]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names there are.
        available: Vec<String>,
    },
    /// What came is not what was asked for, or is damaged.
    #[error("what the parent handed over as {name:?} cannot be read: {reason}")]
    Unreadable {
        /// The name asked for.
        name: String,
        /// What was expected and what came.
        reason: String,
    },
}
