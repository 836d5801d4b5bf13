//! Processes that talk: queues, locks and shared values between processes, on unnamed shared memory.

#![deny(unsafe_code)]

pub mod error;
#[doc(hidden)]
pub mod launch;
mod layout;
pub mod protocol;
mod segment;
mod sync;
mod sys;

pub use error::Error;
