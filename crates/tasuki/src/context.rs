//! Who this process is, and which processes it has started: [`current_process`] and
//! [`active_children`]. Reads what `launch` keeps; changes nothing.

use crate::launch::children;
pub use crate::launch::{CurrentProcess, current_process};
use crate::process::ChildProcess;

/// The processes that this process has started with [`Process`](crate::Process) and that still run,
/// in the order of their start, also those whose `Process` was dropped. Reaps those that have
/// ended.
pub fn active_children() -> Vec<ChildProcess> {
    let tasks = |child: &ChildProcess| child.is_task();
    children::active().into_iter().map(ChildProcess::new).filter(tasks).collect()
}
