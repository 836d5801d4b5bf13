//! For tests, in a module that is built with the feature `kill-points`: makes this process stop in the middle of a
//! step.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use tasuki::kill_points::{self as points, KillPoint};

/// The names of all places at which a process can be made to stop.
#[pyfunction]
pub fn kill_points() -> Vec<String> {
    KillPoint::ALL.iter().map(|point| format!("{point:?}")).collect()
}

/// From now on this process stops, by SIGSTOP, when it comes to that place for the `nth` time.
#[pyfunction]
pub fn arm_stop(name: &str, nth: u32) -> PyResult<()> {
    let point = KillPoint::ALL.iter().find(|point| format!("{point:?}") == name);
    let point = point.ok_or_else(|| PyValueError::new_err(format!("no kill point {name:?}")))?;
    points::arm_stop(*point, nth);
    Ok(())
}
