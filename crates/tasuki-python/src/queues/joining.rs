//! Tasks of a joinable queue: reported done, waited for, and lost with a process that was killed.

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use tasuki::raw::{GaveUp, JoinFailure, TaskDoneFailure, Wait};

use super::Queue;
use crate::errors;
use crate::waiting::Timeout;

pub fn task_done(slf: &Bound<'_, Queue>) -> PyResult<()> {
    let queue = slf.get();
    let py = slf.py();
    let too_many = || PyValueError::new_err("task_done() called too many times");
    let Some(raw) = queue.raw.enter() else {
        // It was let go when nothing was unfinished; what is now was put later, by others.
        return match queue.remains.get() {
            Some(remains) if remains.unfinished() == 0 => Err(too_many()),
            _ => Err(queue.not_there()),
        };
    };
    let counted = match raw.task_done(1, &mut Wait::attempt()) {
        // Somebody is inside for the moment that it takes.
        Err(TaskDoneFailure::GaveUp(GaveUp::TimedOut)) => {
            raw.while_waiting(|| Timeout::Forever.wait(py, |wait| raw.task_done(1, wait)))?
        }
        other => other,
    };
    queue.let_go_if_closed();
    counted.map_err(|why| match why {
        TaskDoneFailure::TooMany => too_many(),
        TaskDoneFailure::Failed(error) => errors::engine(*error),
        gave_up @ TaskDoneFailure::GaveUp(_) => PyRuntimeError::new_err(gave_up.to_string()),
    })
}

/// Waits until all tasks are done, and tells whether they are.
pub fn join(slf: &Bound<'_, Queue>, timeout: Timeout) -> PyResult<bool> {
    let queue = slf.get();
    let py = slf.py();
    loop {
        let joined = match queue.raw.enter() {
            Some(raw) => raw.while_waiting(|| timeout.wait(py, |wait| raw.join(wait)))?,
            None => match queue.remains.get() {
                Some(remains) => timeout.wait(py, |wait| remains.join(wait))?,
                None => return Err(queue.not_there()),
            },
        };
        match joined {
            Ok(()) => {
                queue.let_go_if_closed();
                return Ok(true);
            }
            Err(JoinFailure::GaveUp(_)) => return Ok(false),
            Err(JoinFailure::Lost(lost)) => {
                let tasks = if lost.count() == 1 { "task" } else { "tasks" };
                let what = format!("{} unfinished {tasks}", lost.count());
                queue.policy.get().told(py, lost.death(), &what)?;
            }
            Err(JoinFailure::Failed(error)) => return Err(errors::engine(*error)),
        }
    }
}
