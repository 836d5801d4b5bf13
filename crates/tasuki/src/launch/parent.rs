//! The parent's side of a start: make the socket, put the whole message into it, start the program;
//! and later read what the child answered. It never waits for the child to come up: what goes wrong
//! there is known at join.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;

use super::child;
use super::children::{self, Kind, Running};
use super::current::current_process;
use super::message::{self, Answer, HandleStart, Payload, ProgramStart, Start, TaskStart};
use super::registry::{self, Found};
use super::socket::VARIABLE;
use crate::ending::ProcessError;
use crate::sys::descriptors::{self, Wait};
use crate::sys::{signal, spawn};

/// The program that runs now: also when its file was moved or deleted.
const OURSELVES: &CStr = c"/proc/self/exe";

/// Changes to the environment: a value to set, or `None` to take the variable out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    pub cleared: bool,
    pub changes: BTreeMap<OsString, Option<OsString>>,
}

impl Environment {
    /// The value that the program will see.
    pub fn get(&self, name: &OsStr) -> Option<OsString> {
        match self.changes.get(name) {
            Some(change) => change.clone(),
            None if self.cleared => None,
            None => std::env::var_os(name),
        }
    }

    fn lines(&self, bootstrap: &str) -> io::Result<Vec<CString>> {
        let mut lines = Vec::new();
        let mut push = |name: &OsStr, value: &OsStr| {
            let mut line = OsString::with_capacity(name.len() + value.len() + 1);
            line.push(name);
            line.push("=");
            line.push(value);
            lines.push(spawn::c_string(line)?);
            io::Result::Ok(())
        };
        if !self.cleared {
            for (name, value) in std::env::vars_os() {
                if name != VARIABLE && !self.changes.contains_key(&name) {
                    push(&name, &value)?;
                }
            }
        }
        for (name, value) in &self.changes {
            match value {
                Some(value) if name != VARIABLE => push(name, value)?,
                _ => {}
            }
        }
        push(VARIABLE.as_ref(), bootstrap.as_ref())?;
        Ok(lines)
    }
}

/// A task to start.
#[derive(Debug)]
pub(crate) struct TaskPlan {
    pub task: &'static str,
    pub name: Option<String>,
    pub daemon: Option<bool>,
    pub executable: Option<PathBuf>,
    pub environment: Environment,
    /// Whether a delay stands before the arguments.
    pub delayed: bool,
}

impl TaskPlan {
    /// What can be refused before the arguments are looked at.
    pub fn check(&self) -> Result<(), ProcessError> {
        if !child::is_entered() {
            return Err(ProcessError::MissingMain);
        }
        match registry::find(self.task) {
            Found::One(_) => {}
            Found::None => return Err(ProcessError::NotRegistered { task: self.task.to_owned() }),
            Found::Several => return Err(ProcessError::Ambiguous { task: self.task.to_owned() }),
        }
        if current_process().is_daemon() && self.daemon == Some(false) {
            return Err(ProcessError::ChildOfDaemon);
        }
        Ok(())
    }

    /// Starts the task in a process of its own.
    pub fn start(
        self,
        arguments: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<Arc<Running>, ProcessError> {
        self.check()?;
        let ourselves = current_process();
        let number = children::next_number();
        let lineage = match ourselves.lineage() {
            "" => number.to_string(),
            above => format!("{above}:{number}"),
        };
        let name = self.name.unwrap_or_else(|| format!("Process-{lineage}"));
        let daemon = self.daemon.unwrap_or(ourselves.is_daemon());
        let start = Start::Task(TaskStart {
            task: self.task,
            table: registry::fingerprint(),
            name: &name,
            lineage: &lineage,
            daemon,
            parent: std::process::id(),
            delayed: self.delayed,
        });
        let (process, socket) = (|| {
            let executable = match &self.executable {
                Some(path) => spawn::c_string(path)?,
                None => OURSELVES.to_owned(),
            };
            // The child sees our own command line: it is the same program.
            let command_line: Vec<CString> =
                std::env::args_os().map(spawn::c_string).collect::<Result<_, _>>()?;
            let nothing = File::open("/dev/null")?;
            launch(
                &Image {
                    executable: &executable,
                    arguments: &command_line,
                    environment: &self.environment,
                    folder: None,
                    streams: [Some(nothing.as_fd()), None, None],
                },
                &start,
                arguments,
                descriptors,
                AfterStart::LeaveAlone,
            )
        })()
        .map_err(|error| ProcessError::os("start a process", error))?;
        Ok(children::add(Running::new(process, socket, name, Kind::Task, daemon)))
    }
}

/// One handle for a program: its name, its value as MessagePack, its descriptors.
#[derive(Debug)]
pub(crate) struct Handle {
    pub name: String,
    pub bytes: Vec<u8>,
    pub descriptors: Vec<OwnedFd>,
}

/// Another program to start.
pub(crate) struct ProgramPlan<'a> {
    pub program: &'a OsStr,
    pub arguments: &'a [OsString],
    pub environment: &'a Environment,
    pub folder: Option<&'a Path>,
    pub streams: [Option<BorrowedFd<'a>>; 3],
    pub handles: &'a [Handle],
    pub daemon: bool,
}

impl ProgramPlan<'_> {
    /// Starts the program.
    pub fn start(self) -> io::Result<Arc<Running>> {
        let handles = self
            .handles
            .iter()
            .map(|handle| HandleStart {
                name: &handle.name,
                bytes: &handle.bytes,
                descriptors: handle.descriptors.len() as u32,
            })
            .collect();
        let parent = std::process::id();
        let start = Start::Program(ProgramStart { daemon: self.daemon, parent, handles });
        let descriptors: Vec<_> =
            self.handles.iter().flat_map(|handle| &handle.descriptors).map(AsFd::as_fd).collect();
        let executable = spawn::c_string(find_program(self.program, self.environment)?)?;
        let arguments: Vec<CString> = [self.program]
            .into_iter()
            .chain(self.arguments.iter().map(OsString::as_os_str))
            .map(spawn::c_string)
            .collect::<Result<_, _>>()?;
        let folder = self.folder.map(spawn::c_string).transpose()?;
        let after = if self.daemon { AfterStart::BindToUs } else { AfterStart::LeaveAlone };
        let (process, socket) = launch(
            &Image {
                executable: &executable,
                arguments: &arguments,
                environment: self.environment,
                folder: folder.as_deref(),
                streams: self.streams,
            },
            &start,
            &[],
            &descriptors,
            after,
        )?;
        let name = Path::new(self.program).file_name().unwrap_or(self.program);
        let name = name.to_string_lossy().into_owned();
        Ok(children::add(Running::new(process, socket, name, Kind::Program, self.daemon)))
    }
}

/// The file that a program's name means: a path as it is, a bare name looked up in the `PATH` that
/// the program will see.
fn find_program(program: &OsStr, environment: &Environment) -> io::Result<PathBuf> {
    if program.as_bytes().contains(&b'/') {
        return Ok(program.into());
    }
    let path = environment.get("PATH".as_ref()).unwrap_or_else(|| "/bin:/usr/bin".into());
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| spawn::is_executable(file))
        .ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("no program {program:?} in PATH"))
        })
}

/// What is executed.
struct Image<'a> {
    executable: &'a CStr,
    arguments: &'a [CString],
    environment: &'a Environment,
    folder: Option<&'a CStr>,
    streams: [Option<BorrowedFd<'a>>; 3],
}

/// Who sees to it that a daemon dies with us.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AfterStart {
    /// The child itself, or nobody.
    LeaveAlone,
    /// We do: the program may know nothing of tasuki.
    BindToUs,
}

/// Starts a program with its message already waiting in the socket.
fn launch(
    image: &Image<'_>,
    start: &Start<'_>,
    payload: &[u8],
    descriptors: &[BorrowedFd<'_>],
    after: AfterStart,
) -> io::Result<((u32, OwnedFd), OwnedFd)> {
    let (ours, theirs) = descriptors::socket_pair()?;
    message::send(ours.as_fd(), start, payload, descriptors)?;
    let inode = descriptors::socket_inode(&theirs)
        .ok_or_else(|| io::Error::other("a socket that the kernel does not call one"))?;
    let environment = image.environment.lines(&format!("{}:{inode}", spawn::INHERITED))?;
    let process = spawn::spawn(&spawn::Program {
        executable: image.executable,
        arguments: image.arguments,
        environment: &environment,
        folder: image.folder,
        streams: image.streams,
        inherited: theirs.as_fd(),
    })?;
    if after == AfterStart::BindToUs {
        // The mode belongs to the open socket, not to the number: set here, it holds there.
        if let Err(error) = signal::kill_when_peer_is_gone(theirs.as_fd(), process.0) {
            spawn::undo_spawn(process.1.as_fd());
            return Err(error);
        }
    }
    Ok((process, ours))
}

/// The result of an ended task, or the reason why there is none. What the child said counts more
/// than how it ended: a result that is here is a result, even of a process killed on its way out.
pub(crate) fn outcome(
    running: &Running,
    status: Option<ExitStatus>,
) -> Result<Payload, ProcessError> {
    let unreadable = |error| ProcessError::os("read the answer of a process", error);
    let pid = running.pid;
    let name = running.name.clone();

    let mut ready = false;
    let mut last = None;
    while let Some(message) = message::receive(running.socket(), Wait::Never).map_err(unreadable)? {
        let (answer, payload) = message.split::<Answer>().map_err(unreadable)?;
        let length = payload.len();
        match answer {
            Answer::Ready => ready = true,
            answer => last = Some((answer, message.into_payload(length))),
        }
    }

    let Some((answer, payload)) = last else {
        return Err(match status.map(|status| (status.signal(), status.code())) {
            Some((Some(signal), _)) => ProcessError::Signaled { pid, name, signal },
            Some((None, Some(code))) if ready => ProcessError::Exited { pid, name, code },
            Some((None, Some(code))) => ProcessError::NeverStarted { pid, name, code },
            _ => ProcessError::StatusLost { pid, name },
        });
    };
    match answer {
        Answer::Returned | Answer::Ready => Ok(payload),
        Answer::Panicked { message, location } => {
            Err(ProcessError::Panicked { pid, name, message, location })
        }
        Answer::BadResult(reason) => Err(ProcessError::Result { pid, name, reason }),
        Answer::BadArguments(reason) => Err(ProcessError::Arguments { reason }),
        Answer::OtherTable(theirs) => {
            let (only_here, only_there) = registry::difference(&registry::table(), &theirs);
            Err(ProcessError::TableMismatch { pid, name, only_here, only_there })
        }
        Answer::NotRegistered => Err(ProcessError::TableMismatch {
            pid,
            name,
            only_here: Vec::new(),
            only_there: Vec::new(),
        }),
    }
}
