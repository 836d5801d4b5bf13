//! The synchronisation primitives as Python sees them, with what the standard library asks of a `_semlock`.

mod barrier;
mod event;
mod lock;
mod policy;

pub use barrier::Barrier;
pub use event::Event;
pub use lock::{Lock, Lockable, RLock};
pub use policy::Policy;
