//! The synchronisation primitives without types and policy.

mod barrier;
mod condition;
mod event;
mod lock;
mod rwlock;
mod semaphore;

pub use barrier::{ActionTurn, Arrival, RawArrived, RawBarrier};
pub use condition::{RawCondition, Waiter};
pub use event::RawEvent;
pub use lock::RawLock;
pub(super) use lock::{LOCK_KIND, RLOCK_KIND};
pub use rwlock::RawRwLock;
pub use semaphore::{PermitOwner, RawSemaphore};
