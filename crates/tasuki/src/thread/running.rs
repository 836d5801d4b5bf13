//! The threads that this process started through tasuki: one [`Running`] each, and the table of all of them, from which
//! `enumerate` and `active_children` are answered and for which the end of `main` waits. Knows nothing of results.

use std::cell::RefCell;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use crate::ending::{Exit, ProcessError};
use crate::sys::identity;
use crate::sys::per_process::PerProcess;

/// A thread that this process started, until and after its end.
#[derive(Debug)]
pub(super) struct Running {
    pub name: String,
    pub daemon: bool,
    /// The thread that started it.
    pub parent: u32,
    /// The process whose thread it is: in a fork it is not there.
    process: u32,
    /// Known when the thread has come up.
    id: OnceLock<u32>,
    /// Held for a moment only.
    end: Mutex<Option<Exit>>,
    ended: Condvar,
    /// Taken by the first who sees the end.
    handle: Mutex<Option<JoinHandle<()>>>,
}

impl Running {
    /// Starts a thread that runs `work`, which never panics and says how it ended.
    pub fn start(
        name: Option<String>,
        daemon: bool,
        work: impl FnOnce() -> Exit + Send + 'static,
    ) -> io::Result<Arc<Running>> {
        let table = TABLE.get();
        let number = table.started.fetch_add(1, Ordering::Relaxed) + 1;
        let running = Arc::new(Running {
            name: name.unwrap_or_else(|| format!("Thread-{number}")),
            daemon,
            parent: identity::thread_id(),
            process: std::process::id(),
            id: OnceLock::new(),
            end: Mutex::new(None),
            ended: Condvar::new(),
            handle: Mutex::new(None),
        });
        let ourselves = Arc::clone(&running);
        // The lock is held until the handle is in its place, so that whoever sees the end finds it there.
        let mut handle = lock(&running.handle);
        *handle = Some(std::thread::Builder::new().name(running.name.replace('\0', "")).spawn(
            move || {
                let _ = ourselves.id.set(identity::thread_id());
                CURRENT.set(Some(Arc::clone(&ourselves)));
                let end = work();
                *lock(&ourselves.end) = Some(end);
                ourselves.ended.notify_all();
            },
        )?);
        drop(handle);
        let mut all = lock(&table.running);
        all.retain(|running| running.is_alive());
        all.push(Arc::clone(&running));
        Ok(running)
    }

    /// The kernel's number for it; waits for the thread to come up.
    pub fn id(&self) -> u32 {
        *self.id.wait()
    }

    pub fn is_alive(&self) -> bool {
        self.process == std::process::id() && lock(&self.end).is_none()
    }

    /// How it ended, as the status of a process that ended so.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        if self.process != std::process::id() {
            return None;
        }
        lock(&self.end).map(|end| ExitStatus::from_raw((end as i32) << 8))
    }

    /// Waits for the end, to the last destructor of its thread-local values; `None` when the deadline passes first.
    pub fn wait(&self, deadline: Option<Instant>) -> Result<Option<ExitStatus>, ProcessError> {
        if self.process != std::process::id() {
            let pid = self.id.get().copied().unwrap_or(0);
            return Err(ProcessError::NotOurChild { pid, name: self.name.clone() });
        }
        let mut end = lock(&self.end);
        while end.is_none() {
            end = match deadline {
                None => self.ended.wait(end).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Ok(None);
                    }
                    self.ended.wait_timeout(end, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        drop(end);
        // Two that wait at once both come back after the thread: the second waits for the first here.
        let mut handle = lock(&self.handle);
        if let Some(handle) = handle.take() {
            // It cannot have panicked.
            let _ = handle.join();
        }
        drop(handle);
        Ok(self.exit_status())
    }
}

struct Table {
    /// In the order of their start.
    running: Mutex<Vec<Arc<Running>>>,
    started: AtomicU32,
}

static TABLE: PerProcess<Table> =
    PerProcess::new(|| Table { running: Mutex::new(Vec::new()), started: AtomicU32::new(0) });

thread_local! {
    static CURRENT: RefCell<Option<Arc<Running>>> = const { RefCell::new(None) };
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What we keep in mutexes is whole at every step, so a panic elsewhere spoils nothing.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All threads that tasuki started and that run now.
pub(super) fn active() -> Vec<Arc<Running>> {
    let mut all = lock(&TABLE.get().running);
    all.retain(|running| running.is_alive());
    all.clone()
}

/// The thread that runs this code, when tasuki started it; not in the destructors of its thread-local values.
pub(super) fn current() -> Option<Arc<Running>> {
    CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
}

/// What a program does at the end of its `main`: waits for all threads that are no daemons.
pub(crate) fn finish() {
    loop {
        let waited_for = |running: &&Arc<Running>| !running.daemon;
        let Some(running) = lock(&TABLE.get().running).iter().find(waited_for).cloned() else {
            return;
        };
        // An error would mean that it is a thread of another process.
        let _ = running.wait(None);
        lock(&TABLE.get().running).retain(|other| !Arc::ptr_eq(other, &running));
    }
}
