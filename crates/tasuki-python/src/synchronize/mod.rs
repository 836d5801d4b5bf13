//! The synchronisation primitives as Python sees them, with what the standard library asks of a `_semlock`.

mod barrier;
mod condition;
mod doors;
mod event;
mod holding;
mod lock;
mod policy;
mod quick;
mod semaphore;

pub use barrier::Barrier;
pub use condition::Condition;
pub use event::Event;
pub use lock::{Lock, Lockable, RLock};
pub use policy::Policy;
pub use semaphore::Semaphore;

use pyo3::prelude::*;

/// Gives the classes those of their methods that pyo3 does not make.
pub fn add_methods(py: Python<'_>) -> PyResult<()> {
    quick::add_methods::<Lock>(py)?;
    quick::add_methods::<RLock>(py)?;
    quick::add_methods::<Semaphore>(py)?;
    event::add_methods(py)
}
