//! Numbers, booleans and nothing, as messages that fit into registers.

use std::any::{Any, TypeId};

use super::Message;
use crate::protocol::tag::Codec;

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
/// says nothing but that [`decode`](super::decode) has to look.
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
