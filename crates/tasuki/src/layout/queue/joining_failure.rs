//! What is told to a process that reports tasks done, or joins: why not, and which tasks nobody will do.

use std::fmt;

use crate::error::Error;
use crate::segment::death::Death;
use crate::sync::GaveUp;

/// Why tasks were not counted as done. None was counted.
#[derive(Debug, thiserror::Error)]
pub enum TaskDoneFailure {
    /// The time was over, or the caller's check called the wait off.
    #[error("the task was not reported done in time")]
    GaveUp(GaveUp),
    /// There are not so many unfinished tasks: something was reported twice.
    #[error("there are not so many unfinished tasks: task_done was called more often than put")]
    TooMany,
    /// It cannot be done.
    #[error(transparent)]
    Failed(Box<Error>),
}

impl From<GaveUp> for TaskDoneFailure {
    fn from(why: GaveUp) -> TaskDoneFailure {
        TaskDoneFailure::GaveUp(why)
    }
}

impl From<Error> for TaskDoneFailure {
    fn from(error: Error) -> TaskDoneFailure {
        TaskDoneFailure::Failed(Box::new(error))
    }
}

/// Tasks that nobody will do, since the process that took them was killed. They count as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostTasks {
    pub(super) death: Death,
    pub(super) count: u64,
}

impl LostTasks {
    /// Who was killed; the last one, when there were several.
    pub fn death(&self) -> &Death {
        &self.death
    }

    /// How many tasks are lost.
    #[allow(clippy::len_without_is_empty)] // never none
    pub fn count(&self) -> u64 {
        self.count
    }
}

/// "process 12 (Worker-1) died with 3 unfinished tasks"
impl fmt::Display for LostTasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tasks = if self.count == 1 { "task" } else { "tasks" };
        write!(f, "{} with {} unfinished {tasks}", self.death, self.count)
    }
}

/// Why a join ended before all tasks were done.
#[derive(Debug, thiserror::Error)]
pub enum JoinFailure {
    /// The time was over, or the caller's check called the wait off.
    #[error("not all tasks were done in time")]
    GaveUp(GaveUp),
    /// A process was killed with tasks in flight. They count as done now, each loss is told to one caller, and `join`
    /// can be called again to wait for the rest.
    #[error("{0}")]
    Lost(Box<LostTasks>),
    /// It cannot be waited for.
    #[error(transparent)]
    Failed(Box<Error>),
}

impl From<GaveUp> for JoinFailure {
    fn from(why: GaveUp) -> JoinFailure {
        JoinFailure::GaveUp(why)
    }
}

impl From<Error> for JoinFailure {
    fn from(error: Error) -> JoinFailure {
        JoinFailure::Failed(Box::new(error))
    }
}
