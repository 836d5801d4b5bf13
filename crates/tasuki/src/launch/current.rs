//! Who this process is: what its start told it, or that nobody started it. Read by `context` and by what starts a
//! child.

use std::sync::OnceLock;

use super::inherited;

/// Written once, before a task starts; never in a program that was started by hand.
static CURRENT: OnceLock<CurrentProcess> = OnceLock::new();

/// What a process knows about itself; from [`current_process`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CurrentProcess {
    name: String,
    /// Its number among its parent's children, behind the parent's own: `2:1`.
    lineage: String,
    parent: Option<u32>,
    daemon: bool,
}

impl CurrentProcess {
    pub(super) fn child(name: &str, lineage: &str, parent: u32, daemon: bool) -> CurrentProcess {
        CurrentProcess { name: name.into(), lineage: lineage.into(), parent: Some(parent), daemon }
    }

    /// The name given at its start; `MainProcess` for the one that tasuki did not start.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        std::process::id()
    }

    /// The process id of the process that started this one through tasuki; `None` when none did.
    /// It stays the same when the parent has ended.
    pub fn parent_pid(&self) -> Option<u32> {
        self.parent
    }

    /// Whether this process ends with its parent.
    pub fn is_daemon(&self) -> bool {
        self.daemon
    }

    pub(super) fn lineage(&self) -> &str {
        &self.lineage
    }
}

pub(super) fn become_process(process: CurrentProcess) {
    // A process runs one task in its life.
    let _ = CURRENT.set(process);
}

/// The process that runs this code.
///
/// ```
/// let me = tasuki::current_process();
/// assert_eq!(me.name(), "MainProcess");
/// assert_eq!(me.pid(), std::process::id());
/// assert_eq!(me.parent_pid(), None);
/// ```
pub fn current_process() -> CurrentProcess {
    CURRENT.get().cloned().unwrap_or_else(|| CurrentProcess {
        name: "MainProcess".to_owned(),
        lineage: String::new(),
        parent: inherited::parent(),
        daemon: false,
    })
}
