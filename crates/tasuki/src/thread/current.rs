//! Which threads there are: `current_thread`, `enumerate`, `active_count`, `active_children`. Reads what `running`
//! keeps; changes nothing.

use std::sync::Arc;

use super::process::ChildThread;
use super::running::{self, Running};
use crate::sys::identity;

/// A thread of this process, as others see it; from [`current_thread`] and [`enumerate`].
#[derive(Debug, Clone)]
pub struct Thread {
    name: String,
    pid: u32,
    /// Unless it is the main thread, or tasuki did not start it.
    running: Option<Arc<Running>>,
}

impl Thread {
    fn started(running: Arc<Running>) -> Thread {
        Thread { name: running.name.clone(), pid: running.id(), running: Some(running) }
    }

    fn main() -> Thread {
        Thread { name: "MainThread".to_owned(), pid: std::process::id(), running: None }
    }

    /// The name given at its start; `MainThread` for the one in which `main` runs.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number by which the kernel knows the thread; the main thread's is that of the process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The number of the thread that started this one through tasuki; `None` when none did.
    pub fn parent_pid(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.parent)
    }

    /// Whether nobody waits for it at the end of the program.
    pub fn is_daemon(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.daemon)
    }
}

/// Two are equal when they are the same thread.
impl PartialEq for Thread {
    fn eq(&self, other: &Thread) -> bool {
        self.pid == other.pid
    }
}

impl Eq for Thread {}

/// The thread that runs this code. One that tasuki did not start has the name that it was given.
///
/// ```
/// use tasuki::thread::{Process, current_thread};
///
/// let named = Process::builder(|| current_thread().name().to_owned(), ()).name("egg").spawn()?;
/// assert_eq!(named.join()?, "egg");
/// # Ok::<(), tasuki::ProcessError>(())
/// ```
pub fn current_thread() -> Thread {
    let pid = identity::thread_id();
    match running::current() {
        Some(running) => Thread::started(running),
        None if pid == std::process::id() => Thread::main(),
        None => {
            let thread = std::thread::current();
            let name = thread.name().map_or_else(|| format!("Thread {pid}"), str::to_owned);
            Thread { name, pid, running: None }
        }
    }
}

/// The main thread and all that were started through tasuki and run now, in the order of their start.
pub fn enumerate() -> Vec<Thread> {
    let started = running::active().into_iter().map(Thread::started);
    [Thread::main()].into_iter().chain(started).collect()
}

/// How many threads [`enumerate`] finds.
pub fn active_count() -> usize {
    1 + running::active().len()
}

/// The threads that this thread has started and that still run, in the order of their start, also those whose
/// `Process` was dropped.
pub fn active_children() -> Vec<ChildThread> {
    let pid = identity::thread_id();
    let ours = |running: &Arc<Running>| running.parent == pid;
    running::active().into_iter().filter(ours).map(ChildThread::new).collect()
}
