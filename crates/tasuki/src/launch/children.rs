//! The processes that this process started: one [`Running`] each, and the table of all of them,
//! from which `active_children` is answered, zombies are reaped and the end of `main` waits. It
//! neither starts processes nor reads what they answer.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::ending::ProcessError;
use crate::sys::per_process::PerProcess;
use crate::sys::process::{self, Reaped};
use crate::sys::signal;

/// How long a daemon has for its own clean-up between SIGTERM and SIGKILL at the end of `main`.
const GRACE: Duration = Duration::from_secs(1);

/// What was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A task in our own program.
    Task,
    /// Another program.
    Program,
}

/// A process that this process started, until and after its end.
#[derive(Debug)]
pub(crate) struct Running {
    pub pid: u32,
    pub name: String,
    pub daemon: bool,
    pub kind: Kind,
    /// The process that may reap it: ours, but not a fork of ours.
    parent: u32,
    /// Readable from the moment when the process has ended.
    pidfd: OwnedFd,
    /// Our end of the bootstrap socket: it brings the answers, and a daemon lives as long as it is
    /// open.
    socket: OwnedFd,
    /// Held for a moment only, never while waiting.
    end: Mutex<Option<End>>,
}

#[derive(Debug, Clone, Copy)]
enum End {
    Status(ExitStatus),
    /// Somebody else took the status.
    Lost,
}

/// Whether an end is news.
#[derive(Debug, Clone, Copy)]
enum Seen {
    First,
    Before,
}

impl Running {
    pub fn new(
        (pid, pidfd): (u32, OwnedFd),
        socket: OwnedFd,
        name: String,
        kind: Kind,
        daemon: bool,
    ) -> Running {
        let parent = std::process::id();
        Running { pid, name, daemon, kind, parent, pidfd, socket, end: Mutex::new(None) }
    }

    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Whether the process still runs. Reaps it when it does not.
    pub fn is_alive(&self) -> bool {
        match self.end() {
            Ok(end) => end.is_none(),
            // In a fork of the parent: the pidfd tells the truth, and nobody may reap.
            Err(_) => !process::wait(self.pidfd(), Some(Instant::now())).unwrap_or(true),
        }
    }

    /// The exit status, when it is known already.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        match self.end() {
            Ok(Some(End::Status(status))) => Some(status),
            _ => None,
        }
    }

    /// Waits for the end; `None` when the deadline passes first.
    pub fn wait(&self, deadline: Option<Instant>) -> Result<Option<ExitStatus>, ProcessError> {
        loop {
            match self.end()? {
                Some(End::Status(status)) => return Ok(Some(status)),
                Some(End::Lost) => {
                    return Err(ProcessError::StatusLost {
                        pid: self.pid,
                        name: self.name.clone(),
                    });
                }
                None => {}
            }
            let ended = process::wait(self.pidfd(), deadline)
                .map_err(|error| ProcessError::os("wait for a process", error))?;
            if !ended {
                return Ok(None);
            }
        }
    }

    /// Sends a signal; nothing happens to a process that has ended.
    pub fn send_signal(&self, signal: i32) -> Result<(), ProcessError> {
        process::send_signal(self.pidfd(), signal)
            .map_err(|error| ProcessError::os("send a signal to a process", error))
    }

    /// How the process ended, if it has. The table forgets a process at that moment, so that its
    /// descriptors go with its last handle.
    fn end(&self) -> Result<Option<End>, ProcessError> {
        let reaped = self.reap()?;
        if let Some((_, Seen::First)) = reaped {
            lock(&TABLE.get().running).retain(|other| !std::ptr::eq(&**other, self));
        }
        Ok(reaped.map(|(end, _)| end))
    }

    /// Asks for the end and leaves the table alone.
    fn reap(&self) -> Result<Option<(End, Seen)>, ProcessError> {
        if self.parent != std::process::id() {
            // Also keeps us from a mutex that another thread held at the moment of the fork.
            return Err(ProcessError::NotOurChild { pid: self.pid, name: self.name.clone() });
        }
        let mut end = lock(&self.end);
        if let Some(end) = *end {
            return Ok(Some((end, Seen::Before)));
        }
        *end = match process::reap(self.pidfd()) {
            Ok(Reaped::Running) => None,
            Ok(Reaped::Ended(status)) => Some(End::Status(status)),
            Ok(Reaped::Lost) => {
                // No child of ours under this pidfd, yet perhaps not at its end: SIGCHLD may be
                // ignored, which only says that nobody will ever know the status.
                process::wait(self.pidfd(), Some(Instant::now()))
                    .unwrap_or(true)
                    .then_some(End::Lost)
            }
            Err(error) => return Err(ProcessError::os("ask for the end of a process", error)),
        };
        Ok(end.map(|end| (end, Seen::First)))
    }
}

/// All children that were not yet seen to have ended, and the counter for names.
struct Table {
    running: Mutex<Vec<Arc<Running>>>,
    started: AtomicU32,
}

/// A fork of this process has no children yet, whatever the copied memory says.
static TABLE: PerProcess<Table> =
    PerProcess::new(|| Table { running: Mutex::new(Vec::new()), started: AtomicU32::new(0) });

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What we keep in mutexes is whole at every step, so a panic elsewhere spoils nothing.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The number of the next process that this process starts, from 1.
pub(super) fn next_number() -> u32 {
    TABLE.get().started.fetch_add(1, Ordering::Relaxed) + 1
}

/// Adds a process, and reaps those that have ended meanwhile: a program that starts processes and drops
/// their handles leaves at most the zombies since the last start.
pub(super) fn add(running: Running) -> Arc<Running> {
    let running = Arc::new(running);
    let mut table = lock(&TABLE.get().running);
    sweep(&mut table);
    table.push(Arc::clone(&running));
    running
}

/// All children that run now. Reaps the others.
pub(crate) fn active() -> Vec<Arc<Running>> {
    let mut table = lock(&TABLE.get().running);
    sweep(&mut table);
    table.clone()
}

/// Takes out those that have ended, with one system call when none has.
fn sweep(table: &mut Vec<Arc<Running>>) {
    let pidfds: Vec<_> = table.iter().map(|running| running.pidfd()).collect();
    let Ok(ended) = process::ended(&pidfds) else { return };
    if ended.contains(&true) {
        let mut ended = ended.into_iter();
        table
            .retain(|running| !ended.next().unwrap_or(false) || matches!(running.reap(), Ok(None)));
    }
}

/// What a program does at the end of its `main`: ends the daemons and waits for everybody else.
///
/// Daemons get SIGTERM, and SIGKILL if they are still there after a grace that starts when the last
/// other process has ended. Programs that are not daemons are left alone.
pub(super) fn finish() {
    let mut asked = Vec::new();
    loop {
        let active = active();
        for daemon in active.iter().filter(|running| running.daemon) {
            if !asked.contains(&daemon.pidfd().as_raw_fd()) {
                asked.push(daemon.pidfd().as_raw_fd());
                let _ = daemon.send_signal(signal::TERMINATE);
            }
        }
        let waited_for = |running: &&Arc<Running>| !running.daemon && running.kind == Kind::Task;
        match active.iter().find(waited_for) {
            // An error here means that nobody can wait for it: no reason to try again.
            Some(running) => {
                if running.wait(None).is_err() {
                    lock(&TABLE.get().running).retain(|other| !Arc::ptr_eq(other, running));
                }
            }
            None => break,
        }
    }
    let deadline = Instant::now() + GRACE;
    for daemon in active().iter().filter(|running| running.daemon) {
        if let Ok(None) = daemon.wait(Some(deadline)) {
            let _ = daemon.send_signal(signal::KILL);
            let _ = daemon.wait(None);
        }
    }
}
