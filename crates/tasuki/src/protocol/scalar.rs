//! The frames that hold one plain value: their bytes, and a view of them for serde.
//!
//! A message `5` is the same eight bytes whoever sends it, and it must reach a `Queue<Option<u64>>`
//! as well as a `Queue<u64>`. [`codec`](super::codec) reads the plain types itself; any other type
//! reads the value through serde.

use std::fmt;

use serde::de::value::{BorrowedStrDeserializer, SeqDeserializer};
use serde::de::{Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::error::{DecodeError, DecodeReason};
use super::tag::Codec;

/// One plain value, borrowed from its frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scalar<'a> {
    Bytes(&'a [u8]),
    Str(&'a str),
    Unit,
    Bool(bool),
    I64(i64),
    U64(u64),
    F64(f64),
}

impl<'a> Scalar<'a> {
    /// Reads the frame, or returns `None` for a codec that holds no plain value.
    pub(super) fn read(codec: Codec, bytes: &'a [u8]) -> Result<Option<Scalar<'a>>, DecodeError> {
        Ok(Some(match codec {
            Codec::Bytes => Scalar::Bytes(bytes),
            Codec::Str => Scalar::Str(read_str(bytes)?),
            Codec::Unit => match bytes {
                [] => Scalar::Unit,
                _ => return Err(wrong_length("None", 0, bytes)),
            },
            Codec::Bool => Scalar::Bool(read_bool(bytes)?),
            Codec::I64 => Scalar::I64(i64::from_le_bytes(read_eight("an integer", bytes)?)),
            Codec::U64 => Scalar::U64(u64::from_le_bytes(read_eight("an integer", bytes)?)),
            Codec::F64 => Scalar::F64(f64::from_le_bytes(read_eight("a float", bytes)?)),
            Codec::MessagePack
            | Codec::Postcard
            | Codec::Pickle
            | Codec::PickleBuffers
            | Codec::Raw => {
                return Ok(None);
            }
        }))
    }
}

pub(super) fn read_str(bytes: &[u8]) -> Result<&str, DecodeError> {
    std::str::from_utf8(bytes).map_err(not_utf8)
}

#[cold]
pub(super) fn not_utf8(error: std::str::Utf8Error) -> DecodeError {
    DecodeReason::Malformed { detail: format!("a string that is not UTF-8 ({error})") }.into()
}

#[inline]
pub(super) fn read_bool(bytes: &[u8]) -> Result<bool, DecodeError> {
    match bytes {
        [0] => Ok(false),
        [1] => Ok(true),
        [other] => Err(damaged_bool(*other)),
        _ => Err(wrong_length("a boolean", 1, bytes)),
    }
}

#[inline]
pub(super) fn read_eight(what: &'static str, bytes: &[u8]) -> Result<[u8; 8], DecodeError> {
    bytes.try_into().map_err(|_| wrong_length(what, 8, bytes))
}

#[cold]
fn damaged_bool(byte: u8) -> DecodeError {
    DecodeReason::Malformed { detail: format!("a boolean that is {byte}, neither 0 nor 1") }.into()
}

#[cold]
fn wrong_length(what: &'static str, expected: usize, bytes: &[u8]) -> DecodeError {
    let came = bytes.len();
    DecodeReason::Malformed { detail: format!("{what} of {came} bytes instead of {expected}") }
        .into()
}

/// "the integer 5": what came, in the words of an error.
impl fmt::Display for Scalar<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Scalar::Bytes(bytes) => write!(f, "{} raw bytes", bytes.len()),
            Scalar::Str(text) => {
                const SHOWN: usize = 40;
                match text.char_indices().nth(SHOWN) {
                    Some((end, _)) => write!(f, "the string {:?} and more", &text[..end]),
                    None => write!(f, "the string {text:?}"),
                }
            }
            Scalar::Unit => f.write_str("None"),
            Scalar::Bool(value) => write!(f, "the boolean {value}"),
            Scalar::I64(value) => write!(f, "the integer {value}"),
            Scalar::U64(value) => write!(f, "the integer {value}"),
            Scalar::F64(value) => write!(f, "the float {value:?}"),
        }
    }
}

/// Lets any type of serde's be read from a plain value, as from a MessagePack that holds nothing
/// else.
pub(super) struct ScalarDeserializer<'a>(pub(super) Scalar<'a>);

/// serde's own error type for values in memory; its text is all that is used.
pub(super) type ScalarError = serde::de::value::Error;

impl<'de> Deserializer<'de> for ScalarDeserializer<'de> {
    type Error = ScalarError;

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ScalarError> {
        match self.0 {
            Scalar::Bytes(bytes) => visitor.visit_borrowed_bytes(bytes),
            Scalar::Str(text) => visitor.visit_borrowed_str(text),
            Scalar::Unit => visitor.visit_unit(),
            Scalar::Bool(value) => visitor.visit_bool(value),
            Scalar::I64(value) => visitor.visit_i64(value),
            Scalar::U64(value) => visitor.visit_u64(value),
            Scalar::F64(value) => visitor.visit_f64(value),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ScalarError> {
        match self.0 {
            Scalar::Unit => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ScalarError> {
        visitor.visit_newtype_struct(self)
    }

    // Raw bytes are a sequence to who asks for a sequence (Vec<Id> where Id is a newtype of u8), as
    // in MessagePack.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ScalarError> {
        match self.0 {
            Scalar::Bytes(bytes) => {
                let mut elements = SeqDeserializer::new(bytes.iter().copied());
                let value = visitor.visit_seq(&mut elements)?;
                elements.end()?;
                Ok(value)
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, ScalarError> {
        self.deserialize_seq(visitor)
    }

    // A string is the name of a variant without content. An integer is not its number: that would
    // tie the two languages to the order in which the variants are written down.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ScalarError> {
        match self.0 {
            Scalar::Str(text) => {
                BorrowedStrDeserializer::new(text).deserialize_enum(name, variants, visitor)
            }
            _ => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct tuple_struct map struct identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, ScalarError> for Scalar<'de> {
    type Deserializer = ScalarDeserializer<'de>;

    fn into_deserializer(self) -> ScalarDeserializer<'de> {
        ScalarDeserializer(self)
    }
}
