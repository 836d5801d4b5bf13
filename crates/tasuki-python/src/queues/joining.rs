//! Tasks of a joinable queue: reported done, waited for, and lost with who was killed.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use tasuki::raw::{Failure, GaveUp, NotCounted, NotJoined, Wait};

use super::Queue;
use crate::errors;
use crate::waiting::Patience;

pub fn task_done(slf: &Bound<'_, Queue>) -> PyResult<()> {
    let raw = slf.get().raw()?;
    let py = slf.py();
    let counted = match raw.task_done(1, &mut Wait::attempt()) {
        // Somebody is inside for the moment that it takes.
        Err(NotCounted::Failure(Failure::GaveUp(GaveUp::TimedOut))) => {
            Patience::Forever.wait(py, |mut wait| raw.task_done(1, &mut wait))?
        }
        other => other,
    };
    counted.map_err(|why| match why {
        NotCounted::TooMany => PyValueError::new_err("task_done() called too many times"),
        NotCounted::Failure(failure) => errors::engine(failure.into()),
    })
}

/// Waits until all tasks are done, and tells whether they are.
pub fn join(slf: &Bound<'_, Queue>, patience: Patience) -> PyResult<bool> {
    let queue = slf.get();
    let raw = queue.raw()?;
    let py = slf.py();
    loop {
        match patience.wait(py, |mut wait| raw.join(&mut wait))? {
            Ok(()) => return Ok(true),
            Err(NotJoined::Failure(Failure::GaveUp(GaveUp::TimedOut))) => return Ok(false),
            Err(NotJoined::Lost(lost)) => {
                let tasks = if lost.count() == 1 { "task" } else { "tasks" };
                let what = format!("{} unfinished {tasks}", lost.count());
                queue.policy.get().told(py, lost.death(), &what)?;
            }
            Err(NotJoined::Failure(failure)) => return Err(errors::engine(failure.into())),
        }
    }
}
