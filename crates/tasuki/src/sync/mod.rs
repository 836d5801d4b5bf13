//! Atomics, the word one can sleep on, and the lock that survives its owner: a leaf that any layer may use.
//!
//! Under `--cfg loom` the atomics and the futex are loom's, so that the protocols built here can be explored
//! exhaustively (`tests/loom_*.rs`). `README.md` beside this file holds the state tables and the proofs.

pub(crate) mod atomic;
pub(crate) mod counted_event_count;
pub(crate) mod event_count;
pub(crate) mod futex;
pub(crate) mod kill_point;
pub(crate) mod private;
pub(crate) mod robust_lock;
pub(crate) mod spin;
pub(crate) mod wait;

pub(crate) use counted_event_count::CountedEventCount;
pub(crate) use event_count::EventCount;
pub(crate) use kill_point::kill_point;
pub(crate) use robust_lock::{Awaited, Held, RobustLock};
pub(crate) use spin::Spin;
pub use wait::{GaveUp, Wait};
