//! Messages as bytes: what is written into a frame, and how handles and their descriptors ride
//! along.
//!
//! Everything above uses this layer to turn a value into bytes and back; nothing here waits, maps
//! memory or knows a queue. The only system calls are the ones that duplicate and close
//! descriptors.

pub mod transfer;
