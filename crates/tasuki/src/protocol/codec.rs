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

pub mod untagged;

use std::any::{Any, TypeId, type_name};
use std::fmt::Display;

use serde::Serialize;
use serde::de::{Deserialize, DeserializeOwned};
use serde_bytes::ByteBuf;

use super::error::{DecodeError, DecodeReason, Detail, EncodeError, EncodeReason};
use super::limited::{Format, Limited, Nested};
use super::messagepack;
use super::scalar::{Scalar, ScalarDeserializer, not_utf8, read_bool, read_eight, read_str};
pub use super::tag::{Codec, StructuredCodec};

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

/// A message of at most eight bytes, which fits into registers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Short {
    pub(crate) codec: Codec,
    /// Its bytes, and zeros.
    pub(crate) bytes: [u8; 8],
    pub(crate) len: usize,
}

impl Short {
    fn eight(codec: Codec, bytes: [u8; 8]) -> Short {
        Short { codec, bytes, len: 8 }
    }

    fn integer<I: Copy>(value: I) -> Option<Short>
    where
        i64: TryFrom<I>,
        u64: TryFrom<I>,
    {
        if let Ok(value) = i64::try_from(value) {
            return Some(Short::eight(Codec::I64, value.to_le_bytes()));
        }
        let value = u64::try_from(value).ok()?;
        Some(Short::eight(Codec::U64, value.to_le_bytes()))
    }
}

/// The value in a message that [`encode_short`] wrote for the same type, or for another in whose range it is; None
/// says nothing but that [`decode`] has to look.
#[inline(always)]
pub(crate) fn decode_short<T: Message>(tag: u16, bytes: [u8; 8], len: usize) -> Option<T> {
    let mut slot: Option<T> = None;
    let any = &mut slot as &mut dyn Any;
    macro_rules! integer {
        ($($integer:ty)*) => {$(
            if let Some(slot) = any.downcast_mut::<Option<$integer>>() {
                if tag == Codec::I64.tag() && len == 8 {
                    *slot = <$integer>::try_from(i64::from_le_bytes(bytes)).ok();
                }
            }
        )*};
    }
    integer! { u64 i64 usize isize u32 i32 u16 i16 u8 i8 u128 i128 }
    if let Some(slot) = any.downcast_mut::<Option<f64>>() {
        if tag == Codec::F64.tag() && len == 8 {
            *slot = Some(f64::from_le_bytes(bytes));
        }
    }
    slot
}

/// Whether [`encode_short`] knows the type.
#[inline]
pub(crate) fn is_short<T: Message>() -> bool {
    macro_rules! is_one_of {
        ($($short:ty)*) => { $(TypeId::of::<T>() == TypeId::of::<$short>())||* };
    }
    is_one_of! { () bool f32 f64 i8 i16 i32 i64 i128 isize u8 u16 u32 u64 u128 usize }
}

/// The message of a number, a boolean or nothing, unless it is an integer of more than 64 bits. Which types those are
/// is decided when this is compiled.
#[inline]
pub(crate) fn encode_short<T: Message>(value: &T) -> Option<Short> {
    let any = value as &dyn Any;
    macro_rules! integer {
        ($($integer:ty)*) => {$(
            if let Some(value) = any.downcast_ref::<$integer>() {
                return Short::integer(*value);
            }
        )*};
    }
    integer! { u64 i64 usize isize u32 i32 u16 i16 u8 i8 u128 i128 }
    if let Some(value) = any.downcast_ref::<bool>() {
        let byte = u8::from(*value);
        Some(Short { codec: Codec::Bool, bytes: [byte, 0, 0, 0, 0, 0, 0, 0], len: 1 })
    } else if let Some(value) = any.downcast_ref::<f64>() {
        Some(Short::eight(Codec::F64, value.to_le_bytes()))
    } else if let Some(value) = any.downcast_ref::<f32>() {
        Some(Short::eight(Codec::F64, f64::from(*value).to_le_bytes()))
    } else if any.is::<()>() {
        Some(Short { codec: Codec::Unit, bytes: [0; 8], len: 0 })
    } else {
        None
    }
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

fn encode_structured<T: Message>(
    value: &T,
    structured: StructuredCodec,
    out: &mut Vec<u8>,
) -> Result<Codec, EncodeError> {
    let start = out.len();
    let value = Nested::root(value);
    let (codec, written) = match structured {
        StructuredCodec::MessagePack | StructuredCodec::Pickle => {
            let mut serializer = rmp_serde::Serializer::new(&mut *out).with_struct_map();
            (Codec::MessagePack, value.serialize(&mut serializer).map_err(|e| e.to_string()))
        }
        StructuredCodec::Postcard => {
            let written = postcard::serialize_with_flavor(&value, Append(out));
            (Codec::Postcard, written.map_err(|error| postcard_refused(&value, error)))
        }
    };
    let length = out.len() - start;
    let refused = match written {
        Err(detail) => EncodeReason::Refused { type_name: type_name::<T>(), detail },
        // MessagePack's own lengths have 32 bits, and rmp-serde cuts longer ones.
        Ok(()) if codec == Codec::MessagePack && u32::try_from(length).is_err() => {
            EncodeReason::TooLong { type_name: type_name::<T>(), length }
        }
        Ok(()) => return Ok(codec),
    };
    out.truncate(start);
    Err(refused.into())
}

/// postcard's way of writing, straight into the caller's buffer.
struct Append<'a>(&'a mut Vec<u8>);

impl postcard::ser_flavors::Flavor for Append<'_> {
    type Output = ();

    #[inline]
    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(data);
        Ok(())
    }

    #[inline]
    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.0.push(data);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
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

/// Fills the slot when `T` is a plain type and the frame a plain one. Leaves it empty when serde
/// must read the frame.
#[inline]
fn decode_plain<T: Message>(
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

fn decode_structured<T: Message>(tag: u16, bytes: &[u8]) -> Result<T, DecodeError> {
    let codec = Codec::from_tag(tag).ok_or(DecodeReason::UnknownCodec { codec: tag })?;
    match codec {
        Codec::MessagePack => decode_messagepack(bytes),
        Codec::Postcard => decode_postcard(bytes),
        Codec::Pickle | Codec::PickleBuffers => {
            Err(DecodeReason::Pickle { expected: type_name::<T>() }.into())
        }
        Codec::Raw => decode(Codec::Bytes.tag(), bytes),
        Codec::Bytes
        | Codec::Str
        | Codec::Unit
        | Codec::Bool
        | Codec::I64
        | Codec::U64
        | Codec::F64 => {
            let scalar = Scalar::read(codec, bytes)?.expect("one of the plain codecs");
            let limited = Limited::new(Format::Other, bytes.len());
            T::deserialize(limited.around(ScalarDeserializer(scalar)))
                .map_err(|error| wrong_type::<T>(tag, bytes, Some(error.to_string())))
        }
    }
}

fn decode_messagepack<T: Message>(bytes: &[u8]) -> Result<T, DecodeError> {
    let limited = Limited::new(Format::MessagePack, bytes.len());
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes);
    let value = T::deserialize(limited.around(&mut deserializer)).map_err(|failure| {
        match messagepack::check(bytes) {
            Ok(()) => wrong_type::<T>(Codec::MessagePack.tag(), bytes, Some(failure.to_string())),
            Err(damage) => malformed(damage),
        }
    })?;
    // The deserializer does not tell where it stands. One more value can be begun only if there
    // are more bytes.
    match bool::deserialize(&mut deserializer) {
        Err(rmp_serde::decode::Error::InvalidMarkerRead(_)) => Ok(value),
        _ => Err(malformed(messagepack::GOES_ON)),
    }
}

fn decode_postcard<T: Message>(bytes: &[u8]) -> Result<T, DecodeError> {
    let limited = Limited::new(Format::Other, bytes.len());
    let mut deserializer = postcard::Deserializer::from_bytes(bytes);
    let value = T::deserialize(limited.around(&mut deserializer)).map_err(|failure| {
        let mut detail = failure.to_string();
        if detail == postcard::Error::WontImplement.to_string() {
            detail = NEEDS_SELF_DESCRIBING.to_owned();
        }
        wrong_type::<T>(Codec::Postcard.tag(), bytes, Some(detail))
    })?;
    match deserializer.finalize() {
        Ok([]) => Ok(value),
        _ => Err(malformed("a postcard that goes on after its value")),
    }
}

/// What postcard's "won't implement" means for the user's type.
const NEEDS_SELF_DESCRIBING: &str = "its serde attributes (untagged, tag or flatten) need a codec \
     that describes itself: use MessagePack";

/// Why postcard refused a value. It forgets what a `Serialize` said; rmp-serde asked again does
/// not.
#[cold]
fn postcard_refused(value: &impl Serialize, error: postcard::Error) -> String {
    match error {
        postcard::Error::WontImplement | postcard::Error::SerializeSeqLengthUnknown => {
            NEEDS_SELF_DESCRIBING.to_owned()
        }
        postcard::Error::SerdeSerCustom => {
            let again = value.serialize(&mut rmp_serde::Serializer::new(std::io::sink()));
            again.map_or_else(|explained| explained.to_string(), |()| error.to_string())
        }
        error => error.to_string(),
    }
}

#[cold]
fn malformed(detail: &str) -> DecodeError {
    DecodeReason::Malformed { detail: detail.to_owned() }.into()
}

/// "This message is .., but a T was expected". A frame that is not even what its tag says is called
/// damaged.
#[cold]
fn wrong_type<T>(tag: u16, bytes: &[u8], detail: Option<String>) -> DecodeError {
    let came = match Codec::from_tag(tag).map(|codec| (codec, Scalar::read(codec, bytes))) {
        Some((_, Err(damaged))) => return damaged,
        Some((_, Ok(Some(scalar)))) => scalar.to_string(),
        Some((Codec::MessagePack, _)) => {
            format!("MessagePack with {}", messagepack::describe(bytes))
        }
        _ => "postcard data".to_owned(),
    };
    DecodeReason::WrongType { came, expected: type_name::<T>(), detail: Detail(detail) }.into()
}

#[cfg(test)]
mod tests;
