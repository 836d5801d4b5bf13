//! Values that have a tag of their own, by the type that the reader asks for.

use std::any::{Any, type_name};

use serde_bytes::ByteBuf;

use super::Message;
use super::mismatch::wrong_type;
use crate::protocol::error::{DecodeError, DecodeReason};
use crate::protocol::scalar::{read_bool, read_eight, read_str};
use crate::protocol::tag::Codec;

/// The message that a value already is, byte by byte.
#[inline]
pub(crate) fn borrow<T: Message>(value: &T) -> Option<(Codec, &[u8])> {
    let any = value as &dyn Any;
    if let Some(bytes) = any.downcast_ref::<Vec<u8>>() {
        Some((Codec::Bytes, bytes))
    } else if let Some(bytes) = any.downcast_ref::<Box<[u8]>>() {
        Some((Codec::Bytes, bytes))
    } else if let Some(bytes) = any.downcast_ref::<ByteBuf>() {
        Some((Codec::Bytes, bytes))
    } else if let Some(text) = any.downcast_ref::<String>() {
        Some((Codec::Str, text.as_bytes()))
    } else {
        None
    }
}

/// Fills the slot when `T` is a plain type and the frame a plain one. Leaves it empty when serde
/// must read the frame.
#[inline]
pub(super) fn decode_plain<T: Message>(
    slot: &mut Option<T>,
    tag: u16,
    bytes: &[u8],
) -> Result<(), DecodeError> {
    let any = slot as &mut dyn Any;
    macro_rules! integer {
        ($($integer:ty)*) => {$(
            if let Some(slot) = any.downcast_mut::<Option<$integer>>() {
                *slot = read_integer(tag, bytes)?;
                return Ok(());
            }
        )*};
    }
    integer! { u64 i64 usize isize u32 i32 u16 i16 u8 i8 u128 i128 }
    if let Some(slot) = any.downcast_mut::<Option<f64>>() {
        *slot = read_float(tag, bytes)?;
    } else if let Some(slot) = any.downcast_mut::<Option<f32>>() {
        *slot = read_float(tag, bytes)?;
    } else if let Some(slot) = any.downcast_mut::<Option<Vec<u8>>>() {
        *slot = read_plain::<Vec<u8>, _>(Codec::Bytes, tag, bytes, |bytes| Ok(bytes.to_vec()))?;
    } else if let Some(slot) = any.downcast_mut::<Option<Box<[u8]>>>() {
        *slot = read_plain::<Box<[u8]>, _>(Codec::Bytes, tag, bytes, |bytes| Ok(bytes.into()))?;
    } else if let Some(slot) = any.downcast_mut::<Option<ByteBuf>>() {
        *slot =
            read_plain::<ByteBuf, _>(Codec::Bytes, tag, bytes, |bytes| Ok(ByteBuf::from(bytes)))?;
    } else if let Some(slot) = any.downcast_mut::<Option<String>>() {
        *slot = read_plain::<String, _>(Codec::Str, tag, bytes, |bytes| {
            Ok(read_str(bytes)?.to_owned())
        })?;
    } else if let Some(slot) = any.downcast_mut::<Option<bool>>() {
        *slot = read_plain::<bool, _>(Codec::Bool, tag, bytes, read_bool)?;
    }
    Ok(())
}

/// Reads a plain type from its own frame; `None` for the frames that serde must read.
#[inline]
fn read_plain<T, F>(own: Codec, tag: u16, bytes: &[u8], read: F) -> Result<Option<T>, DecodeError>
where
    F: FnOnce(&[u8]) -> Result<T, DecodeError>,
{
    if tag == own.tag() {
        read(bytes).map(Some)
    } else if is_plain(tag) {
        Err(wrong_type::<T>(tag, bytes, None))
    } else {
        Ok(None)
    }
}

#[inline]
fn read_integer<I>(tag: u16, bytes: &[u8]) -> Result<Option<I>, DecodeError>
where
    I: TryFrom<i64> + TryFrom<u64>,
{
    let out_of_range = |value: i128| DecodeReason::OutOfRange { value, expected: type_name::<I>() };
    if tag == Codec::I64.tag() {
        let value = i64::from_le_bytes(read_eight("an integer", bytes)?);
        I::try_from(value).map(Some).map_err(|_| out_of_range(value.into()).into())
    } else if tag == Codec::U64.tag() {
        let value = u64::from_le_bytes(read_eight("an integer", bytes)?);
        I::try_from(value).map(Some).map_err(|_| out_of_range(value.into()).into())
    } else if is_plain(tag) {
        Err(wrong_type::<I>(tag, bytes, None))
    } else {
        Ok(None)
    }
}

/// A float type, and the way to it from the numbers of a frame.
trait Float: Sized {
    fn round(value: f64) -> Self;
    /// `None` when the integer has no exact float.
    fn exact(value: i128) -> Option<Self>;
}

macro_rules! float {
    ($($float:ty)*) => {$(
        impl Float for $float {
            fn round(value: f64) -> $float {
                value as $float
            }

            fn exact(value: i128) -> Option<$float> {
                let float = value as $float;
                (float as i128 == value).then_some(float)
            }
        }
    )*};
}
float! { f32 f64 }

#[inline]
fn read_float<F: Float>(tag: u16, bytes: &[u8]) -> Result<Option<F>, DecodeError> {
    let exact = |value: i128| match F::exact(value) {
        Some(float) => Ok(Some(float)),
        None => Err(DecodeReason::Inexact { value, expected: type_name::<F>() }.into()),
    };
    if tag == Codec::F64.tag() {
        Ok(Some(F::round(f64::from_le_bytes(read_eight("a float", bytes)?))))
    } else if tag == Codec::I64.tag() {
        exact(i64::from_le_bytes(read_eight("an integer", bytes)?).into())
    } else if tag == Codec::U64.tag() {
        exact(u64::from_le_bytes(read_eight("an integer", bytes)?).into())
    } else if is_plain(tag) {
        Err(wrong_type::<F>(tag, bytes, None))
    } else {
        Ok(None)
    }
}

/// Whether a frame with this tag holds one plain value.
#[inline]
fn is_plain(tag: u16) -> bool {
    (Codec::Bytes.tag()..=Codec::F64.tag()).contains(&tag)
}
