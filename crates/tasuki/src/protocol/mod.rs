//! Messages as bytes: what is written into a frame, and how handles and their descriptors ride
//! along.
//!
//! Everything above uses this layer to turn a value into bytes and back; nothing here waits, maps
//! memory or knows a queue. The only system calls are the ones that duplicate and close
//! descriptors.
//!
//! - [`tag`]: what the bytes of a message are, the same numbers in both languages.
//! - [`codec`]: a value becomes a tag and bytes, and comes back.
//! - [`element`]: what a shared value's bytes are, as its handle says.
//! - [`transfer`]: the descriptors that a message carries.
//! - [`frame`]: where a message begins and ends on a stream.
//! - [`handshake`]: who may talk over a stream.
//! - `scalar`: the frames that hold one plain value, readable by serde too.
//! - `limited`: what keeps recursion and lengths within bounds, whatever the bytes say.
//! - `messagepack`: a MessagePack looked at without a type, to say what is wrong with it.
//! - [`error`]: why a value could not be written, or a message not be read.

pub mod codec;
pub mod element;
pub mod error;
pub mod frame;
pub mod handshake;
mod limited;
mod messagepack;
mod scalar;
pub mod tag;
pub mod transfer;

pub use codec::Message;
pub use error::{DecodeError, EncodeError};
pub use tag::{Codec, StructuredCodec};
