//! What this process says of itself to those who may survive it.

use pyo3::prelude::*;

/// The name under which survivors hear of this process.
#[pyfunction]
pub fn set_process_name(name: &str) {
    tasuki::raw::set_process_name(name);
}

/// Says that this process ends by itself: what it still holds, it left.
#[pyfunction]
pub fn note_leaving() {
    tasuki::raw::note_leaving();
}
