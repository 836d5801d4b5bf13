//! What lies in shared memory and the protocols on it: queues and the users' locks, offsets and atomics only.

pub(crate) mod lock;
pub(crate) mod queue;
