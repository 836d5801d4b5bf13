//! The synchronisation primitives as Python sees them, with what the standard library asks of a `_semlock`.

mod barrier;
mod doors;
mod event;
mod lock;
mod policy;
mod quick;

pub use barrier::Barrier;
pub use event::Event;
pub use lock::{Lock, Lockable, RLock};
pub use policy::Policy;

use pyo3::prelude::*;

/// Gives the classes those of their methods that pyo3 does not make.
pub fn add_methods(py: Python<'_>) -> PyResult<()> {
    quick::add_methods::<Lock>(py)?;
    quick::add_methods::<RLock>(py)
}
