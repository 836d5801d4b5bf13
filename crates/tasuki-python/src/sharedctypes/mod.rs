//! Shared ctypes objects: their memory, and wrappers that read and write it under a lock in one call.

mod atomics;
mod block;
mod guarded;
mod items;
mod number;
mod quick;

pub use block::Block;
pub use guarded::Guarded;
pub use items::Items;
pub use number::Number;
pub use quick::add_methods;
