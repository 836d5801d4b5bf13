//! Processes that talk: queues, locks and shared values between processes, on unnamed shared memory.

#![deny(unsafe_code)]

// The macros write `::tasuki`, also into the tests of this crate.
extern crate self as tasuki;

pub mod command;
pub mod context;
pub mod error;
#[doc(hidden)]
pub mod launch;
mod layout;
pub mod process;
pub mod protocol;
mod segment;
mod sync;
mod sys;

pub use command::{Command, inherited};
pub use context::{active_children, current_process};
pub use error::Error;
pub use process::{Process, ProcessError};
pub use tasuki_macros::{main, task};
