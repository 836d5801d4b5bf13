//! Plain data that several processes share: one value, an array, and operations on their numbers that nothing comes
//! between.

mod array;
mod atomics;
mod value;

pub use array::{Array, ArrayGuard};
pub use atomics::{AtomicInteger, AtomicNumber};
pub use value::Value;
