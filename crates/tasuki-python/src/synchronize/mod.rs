//! The synchronisation primitives as Python sees them, with what the standard library asks of a `_semlock`.

mod barrier;
mod bound_methods;
mod condition;
mod event;
mod holding;
mod lock;
mod lockable;
mod policy;
mod quick;
mod rlock;
mod rwlock;
mod semaphore;
mod takeable;

pub use barrier::Barrier;
pub use condition::Condition;
pub use event::Event;
pub use lock::Lock;
pub use lockable::Lockable;
pub use policy::{Policy, PolicyCell};
pub use rlock::RLock;
pub use rwlock::{RwLock, Section};
pub use semaphore::Semaphore;

use pyo3::ffi;
use pyo3::prelude::*;

/// Gives the classes those of their methods that pyo3 does not make.
pub fn add_methods(py: Python<'_>) -> PyResult<()> {
    quick::add_methods::<Lock>(py)?;
    quick::add_methods::<RLock>(py)?;
    quick::add_methods::<Semaphore>(py)?;
    event::add_methods(py)
}

/// A number for the calling thread, which is attached; unique in this process while the thread lives.
#[inline]
fn this_thread() -> usize {
    // SAFETY: the thread is attached.
    unsafe { ffi::PyThreadState_Get() }.addr()
}
