//! What processes and threads synchronise with: one file for each primitive.

mod barrier;
mod condition;
mod event;
mod lock;
mod rlock;
mod rwlock;
mod semaphore;

pub use crate::raw::Death;
pub use barrier::{Barrier, BarrierError, BarrierWaitResult, Broken};
pub use condition::{Condition, ConditionGuard, WaitTimeoutResult};
pub use event::Event;
pub use lock::{Lock, LockError, LockGuard, Poisoned};
pub(crate) use lock::{deserialize_value, guarded, serialize_value};
pub use rlock::{RLock, RLockGuard};
pub use rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use semaphore::{AcquireError, Semaphore, SemaphoreGuard, TooManyReleases};
