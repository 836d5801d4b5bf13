//! How a value is written into a message and read from it, by the tags of [`tag`](super::tag).
//!
//! Plain values (bytes, strings, numbers, booleans, nothing) have a tag of their own, so that they
//! cost no more than a copy and mean the same in both languages. Everything else is structured data
//! and goes through serde.
//!
//! A plain value is also accepted where a structured type begins with one: an integer for an
//! `Option<u64>`, a newtype or an untagged enum. A reader goes by the tag alone; no reader trusts
//! the bytes, which may come from a broken process: wrong bytes are an error, never a panic, a
//! stack overflow or a huge allocation.
//!
//! MessagePack has one empty value, so that `Some(())` and `Some(None)` come back as `None`. A
//! `Vec<u8>` *inside* a structured type is a list of integers; `#[serde(with = "serde_bytes")]`
//! makes it bytes.
//!
//! `short` and `plain` are the plain values, `structured` is everything else; `untagged` is for carriers that have no
//! place for a tag.

mod mismatch;
mod plain;
mod short;
mod structured;
pub mod untagged;

use std::any::{Any, TypeId};
use std::fmt::Display;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_bytes::ByteBuf;

use super::error::{DecodeError, EncodeError, EncodeReason};
use super::scalar::not_utf8;
pub use super::tag::{Codec, StructuredCodec};
pub(crate) use plain::borrow;
use plain::decode_plain;
pub(crate) use short::{Short, decode_short, encode_short, is_short};
use structured::{decode_structured, encode_structured};

/// What can be a message: any type that serde can write and read back whole.
///
/// Implemented for every such type; there is nothing to do but to derive `Serialize` and
/// `Deserialize`.
pub trait Message: Serialize + DeserializeOwned + 'static {}

impl<T: Serialize + DeserializeOwned + 'static> Message for T {}

/// Whether a `T` can have handles inside, so that it must be written in
/// [`collect`](super::transfer::collect) and read in [`provide`](super::transfer::provide). False
/// for plain values.
#[inline]
pub fn may_carry_handles<T: Message>() -> bool {
    macro_rules! is_one_of {
        ($($plain:ty)*) => { $(TypeId::of::<T>() == TypeId::of::<$plain>())||* };
    }
    !is_short::<T>() && !is_one_of! { Vec<u8> Box<[u8]> ByteBuf String }
}

/// Appends the bytes of `value` to `out` and returns their tag.
///
/// `structured` is the codec of the queue. `out` is not cleared; when it has room, plain values do
/// not allocate. Bytes and strings are copied into it: [`encode_borrowed`] saves that.
///
/// # Errors
///
/// When the value's own `Serialize` fails (a handle outside a carrier), when it is nested too
/// deeply, or does not fit the codec. `out` is then as it was.
#[inline]
pub fn encode<T: Message>(
    value: &T,
    structured: StructuredCodec,
    out: &mut Vec<u8>,
) -> Result<Codec, EncodeError> {
    if let Some((codec, bytes)) = borrow(value) {
        out.extend_from_slice(bytes);
        return Ok(codec);
    }
    if let Some(short) = encode_short(value) {
        out.extend_from_slice(&short.bytes[..short.len]);
        return Ok(short.codec);
    }
    if structured != StructuredCodec::Postcard {
        let any = value as &dyn Any;
        let wide = |value: &dyn Display| EncodeReason::IntegerTooWide { value: value.to_string() };
        if let Some(value) = any.downcast_ref::<u128>() {
            return Err(wide(value).into());
        } else if let Some(value) = any.downcast_ref::<i128>() {
            return Err(wide(value).into());
        }
    }
    encode_structured(value, structured, out)
}

/// The bytes of `value` and their tag, without a copy for bytes and strings; other values are
/// written into `scratch`, which is cleared first and may be used again for the next message.
///
/// # Errors
///
/// Those of [`encode`].
#[inline]
pub fn encode_borrowed<'a, T: Message>(
    value: &'a T,
    structured: StructuredCodec,
    scratch: &'a mut Vec<u8>,
) -> Result<(Codec, &'a [u8]), EncodeError> {
    if let Some(borrowed) = borrow(value) {
        return Ok(borrowed);
    }
    scratch.clear();
    let codec = encode(value, structured, scratch)?;
    Ok((codec, scratch))
}

/// Whether a message with this tag is bytes and nothing else.
pub(crate) fn is_bytes(tag: u16) -> bool {
    tag == Codec::Bytes.tag() || tag == Codec::Raw.tag()
}

/// Reads a message whose bytes the caller keeps.
///
/// `tag` and `bytes` may be anything: what another process wrote is not trusted.
///
/// # Errors
///
/// When the message holds something else than a `T`, is a pickle, or is damaged.
#[inline]
pub fn decode<T: Message>(tag: u16, bytes: &[u8]) -> Result<T, DecodeError> {
    let short = <[u8; 8]>::try_from(bytes).ok();
    match short.and_then(|bytes| decode_short(tag, bytes, 8)) {
        Some(value) => Ok(value),
        None => decode_any(tag, bytes),
    }
}

fn decode_any<T: Message>(tag: u16, bytes: &[u8]) -> Result<T, DecodeError> {
    let mut slot: Option<T> = None;
    decode_plain(&mut slot, tag, bytes)?;
    match slot {
        Some(value) => Ok(value),
        None => decode_structured(tag, bytes),
    }
}

/// Reads a message whose bytes are given away: bytes and strings become the value without a copy.
///
/// # Errors
///
/// Those of [`decode`].
#[inline]
pub fn decode_owned<T: Message>(tag: u16, bytes: Vec<u8>) -> Result<T, DecodeError> {
    let mut slot: Option<T> = None;
    let any = &mut slot as &mut dyn Any;
    if tag == Codec::Bytes.tag() || tag == Codec::Raw.tag() {
        if let Some(slot) = any.downcast_mut::<Option<Vec<u8>>>() {
            *slot = Some(bytes);
        } else if let Some(slot) = any.downcast_mut::<Option<Box<[u8]>>>() {
            *slot = Some(bytes.into());
        } else if let Some(slot) = any.downcast_mut::<Option<ByteBuf>>() {
            *slot = Some(bytes.into());
        } else {
            return decode(tag, &bytes);
        }
    } else if tag == Codec::Str.tag() {
        let Some(slot) = any.downcast_mut::<Option<String>>() else { return decode(tag, &bytes) };
        *slot = Some(String::from_utf8(bytes).map_err(|error| not_utf8(error.utf8_error()))?);
    } else {
        return decode(tag, &bytes);
    }
    Ok(slot.expect("every branch filled the slot or returned"))
}

#[cfg(test)]
mod tests;
