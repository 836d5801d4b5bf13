//! The synchronisation primitives without types and policy.

mod event;
mod lock;

pub use event::RawEvent;
pub use lock::RawLock;
pub(super) use lock::{LOCK_KIND, RLOCK_KIND};
