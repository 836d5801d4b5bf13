//! What lies in shared memory and the protocols on it: queues and what users synchronise with, offsets and atomics
//! only. `README.md` beside this file has a section for each.

pub(crate) mod barrier;
pub(crate) mod condition;
pub(crate) mod event;
pub(crate) mod failure;
pub(crate) mod lock;
pub(crate) mod message;
pub(crate) mod pipe;
pub(crate) mod queue;
pub(crate) mod rwlock;
pub(crate) mod semaphore;
pub(crate) mod shareable_list;
