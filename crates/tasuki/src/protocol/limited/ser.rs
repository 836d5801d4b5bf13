//! Serialisation that refuses to go deeper than [`MAX_DEPTH`].

use std::fmt;

use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::MAX_DEPTH;
use crate::protocol::error::TooDeep;

/// A value together with the number of levels that it may still have below itself.
pub(in crate::protocol) struct Nested<'a, T: ?Sized> {
    value: &'a T,
    left: u16,
}

impl<'a, T: ?Sized + Serialize> Nested<'a, T> {
    /// The whole value of a message.
    pub(in crate::protocol) fn root(value: &'a T) -> Nested<'a, T> {
        Nested { value, left: MAX_DEPTH }
    }
}

impl<T: ?Sized + Serialize> Serialize for Nested<'_, T> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(Counting { inner: serializer, left: self.left })
    }
}

/// A serializer, or the compound it is inside of, whose children may have `left` levels.
struct Counting<S> {
    inner: S,
    left: u16,
}

impl<S: Serializer> Counting<S> {
    #[inline]
    fn below<E: serde::ser::Error>(left: u16, levels: u16) -> Result<u16, E> {
        left.checked_sub(levels).ok_or_else(|| E::custom(TooDeep))
    }
}

macro_rules! pass_on {
    ($($method:ident($type:ty))*) => {$(
        #[inline]
        fn $method(self, value: $type) -> Result<S::Ok, S::Error> {
            self.inner.$method(value)
        }
    )*};
}

macro_rules! open {
    ($($method:ident($($name:ident: $type:ty),*) -> $compound:ident, $levels:literal;)*) => {$(
        #[inline]
        fn $method(self, $($name: $type),*) -> Result<Self::$compound, S::Error> {
            let left = Self::below(self.left, $levels)?;
            Ok(Counting { inner: self.inner.$method($($name),*)?, left })
        }
    )*};
}

impl<S: Serializer> Serializer for Counting<S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Counting<S::SerializeSeq>;
    type SerializeTuple = Counting<S::SerializeTuple>;
    type SerializeTupleStruct = Counting<S::SerializeTupleStruct>;
    type SerializeTupleVariant = Counting<S::SerializeTupleVariant>;
    type SerializeMap = Counting<S::SerializeMap>;
    type SerializeStruct = Counting<S::SerializeStruct>;
    type SerializeStructVariant = Counting<S::SerializeStructVariant>;

    pass_on! {
        serialize_bool(bool) serialize_char(char) serialize_str(&str) serialize_bytes(&[u8])
        serialize_i8(i8) serialize_i16(i16) serialize_i32(i32) serialize_i64(i64)
        serialize_u8(u8) serialize_u16(u16) serialize_u32(u32) serialize_u64(u64)
        serialize_i128(i128) serialize_u128(u128) serialize_f32(f32) serialize_f64(f64)
        serialize_unit_struct(&'static str)
    }

    open! {
        serialize_seq(len: Option<usize>) -> SerializeSeq, 1;
        serialize_tuple(len: usize) -> SerializeTuple, 1;
        serialize_tuple_struct(name: &'static str, len: usize) -> SerializeTupleStruct, 1;
        serialize_map(len: Option<usize>) -> SerializeMap, 1;
        serialize_struct(name: &'static str, len: usize) -> SerializeStruct, 1;
        serialize_tuple_variant(name: &'static str, index: u32, variant: &'static str, len: usize)
            -> SerializeTupleVariant, 2;
        serialize_struct_variant(name: &'static str, index: u32, variant: &'static str, len: usize)
            -> SerializeStructVariant, 2;
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }

    #[inline]
    fn collect_str<T: ?Sized + fmt::Display>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.collect_str(value)
    }

    #[inline]
    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.inner.serialize_none()
    }

    #[inline]
    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.inner.serialize_unit()
    }

    #[inline]
    fn serialize_unit_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<S::Ok, S::Error> {
        self.inner.serialize_unit_variant(name, index, variant)
    }

    #[inline]
    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Result<S::Ok, S::Error> {
        let left = Self::below(self.left, 1)?;
        self.inner.serialize_some(&Nested { value, left })
    }

    #[inline]
    fn serialize_newtype_struct<T: ?Sized + Serialize>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let left = Self::below(self.left, 1)?;
        self.inner.serialize_newtype_struct(name, &Nested { value, left })
    }

    #[inline]
    fn serialize_newtype_variant<T: ?Sized + Serialize>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let left = Self::below(self.left, 1)?;
        self.inner.serialize_newtype_variant(name, index, variant, &Nested { value, left })
    }
}

macro_rules! elements {
    ($($compound:ident::$method:ident($($key:ident)?))*) => {$(
        impl<C: $compound> $compound for Counting<C> {
            type Ok = C::Ok;
            type Error = C::Error;

            #[inline]
            fn $method<T: ?Sized + Serialize>(
                &mut self,
                $($key: &'static str,)?
                value: &T,
            ) -> Result<(), C::Error> {
                self.inner.$method($($key,)? &Nested { value, left: self.left })
            }

            #[inline]
            fn end(self) -> Result<C::Ok, C::Error> {
                self.inner.end()
            }

            elements!(skip $($key)?);
        }
    )*};
    (skip $key:ident) => {
        #[inline]
        fn skip_field(&mut self, $key: &'static str) -> Result<(), C::Error> {
            self.inner.skip_field($key)
        }
    };
    (skip) => {};
}

elements! {
    SerializeSeq::serialize_element()
    SerializeTuple::serialize_element()
    SerializeTupleStruct::serialize_field()
    SerializeTupleVariant::serialize_field()
    SerializeStruct::serialize_field(key)
    SerializeStructVariant::serialize_field(key)
}

impl<C: SerializeMap> SerializeMap for Counting<C> {
    type Ok = C::Ok;
    type Error = C::Error;

    #[inline]
    fn serialize_key<T: ?Sized + Serialize>(&mut self, key: &T) -> Result<(), C::Error> {
        self.inner.serialize_key(&Nested { value: key, left: self.left })
    }

    #[inline]
    fn serialize_value<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), C::Error> {
        self.inner.serialize_value(&Nested { value, left: self.left })
    }

    #[inline]
    fn end(self) -> Result<C::Ok, C::Error> {
        self.inner.end()
    }
}
