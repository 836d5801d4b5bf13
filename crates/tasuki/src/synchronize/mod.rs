//! What processes and threads synchronise with: one file for each primitive.

mod lock;

pub use crate::raw::Death;
pub use lock::{Lock, LockError, LockGuard, Poisoned};
pub(crate) use lock::{deserialize_value, serialize_value};
