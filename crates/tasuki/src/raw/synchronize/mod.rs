//! The synchronisation primitives without types and policy.

mod lock;

pub use lock::RawLock;
pub(super) use lock::{LOCK_KIND, RLOCK_KIND};
