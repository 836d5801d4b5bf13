//! Processes that talk: queues, locks and shared values between processes, on unnamed shared memory.

#![deny(unsafe_code)]

// The macros write `::tasuki`, also into the tests of this crate.
extern crate self as tasuki;

#[cfg(feature = "tokio")]
mod asynchronous;
pub mod channel;
pub mod command;
pub mod connection;
pub mod context;
mod encoded;
mod ending;
pub mod error;
#[doc(hidden)]
pub mod launch;
mod layout;
mod plain;
pub mod process;
pub mod protocol;
pub mod queues;
pub mod raw;
mod segment;
pub mod select;
pub mod shared_memory;
pub mod sharedctypes;
mod sync;
pub mod synchronize;
mod sys;
pub mod thread;
pub mod timer;

pub use channel::{Receiver, Sender, bounded, channel};
pub use command::{Command, inherited};
pub use connection::{Client, Connection, Listener, pipe};
pub use context::{active_children, current_process};
pub use error::Error;
pub use plain::Plain;
pub use protocol::codec::{Message, StructuredCodec};
pub use queues::{JoinableQueue, Queue};
pub use select::{Select, select};
pub use shared_memory::{ShareableList, SharedMemory};
pub use sharedctypes::{Array, ArrayGuard, Value};
pub use synchronize::{
    Barrier, Condition, Event, Lock, LockGuard, RLock, RLockGuard, RwLock, Semaphore,
    SemaphoreGuard,
};

/// Places in the engine where a test can make the process die or stop.
#[cfg(feature = "kill-points")]
pub mod kill_points {
    pub use crate::sync::kill_point::{KillPoint, arm, arm_stop};
}
pub use process::{Process, ProcessError};
pub use tasuki_macros::{main, task};
pub use timer::Timer;
