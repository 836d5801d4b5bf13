//! Deserialisation within bounds: depth by [`MAX_DEPTH`], elements by the size of the message.
//!
//! It also carries errors past the format. A `Deserialize` that refuses a value says why in its own
//! words; `postcard` forgets them. So every error of the layers above is a [`Failure`] here; on its
//! way through the format it waits in [`Limited`] and is picked up on the other side.
//!
//! ```text
//! the user's visitor          Failure
//! Counting<Visitor>           sink() puts it aside
//! the format                  an error of its own
//! Counting<Deserializer>      rise() picks it up
//! the user's Deserialize      Failure
//! ```

use std::cell::Cell;
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};

use super::{FREE_ELEMENTS, MAX_DEPTH};
use crate::protocol::error::TooDeep;

/// Why a value was not read, in the words of whoever refused it.
#[derive(Debug)]
pub(in crate::protocol) struct Failure(Box<str>);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

impl serde::de::Error for Failure {
    #[cold]
    fn custom<T: fmt::Display>(text: T) -> Failure {
        Failure(text.to_string().into())
    }
}

/// What is read, where that matters.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::protocol) enum Format {
    /// `rmp-serde` reads a negative number as a huge `u128`: its integers are asked for as what
    /// they are.
    MessagePack,
    /// Any other.
    Other,
}

/// The bounds of one message.
pub(in crate::protocol) struct Limited {
    format: Format,
    /// How many elements the rest of the message may have.
    elements: Cell<usize>,
    /// The error that is on its way through the format.
    failure: Cell<Option<Failure>>,
}

impl Limited {
    /// The bounds of a message of `length` bytes.
    pub(in crate::protocol) fn new(format: Format, length: usize) -> Limited {
        let elements = Cell::new(length.saturating_add(FREE_ELEMENTS));
        Limited { format, elements, failure: Cell::new(None) }
    }

    /// Puts the bounds around the format's deserializer.
    pub(in crate::protocol) fn around<'b, 'de, D>(
        &'b self,
        inner: D,
    ) -> impl Deserializer<'de, Error = Failure> + 'b
    where
        D: Deserializer<'de> + 'b,
    {
        Counting { inner, at: Place { left: MAX_DEPTH, message: self } }
    }
}

/// A place in a message: how many levels may follow below it.
#[derive(Clone, Copy)]
struct Place<'b> {
    left: u16,
    message: &'b Limited,
}

impl Place<'_> {
    #[inline]
    fn below<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.left.checked_sub(1) {
            Some(left) => Ok(Place { left, ..self }),
            None => Err(self.sink(Failure::custom(TooDeep))),
        }
    }

    #[inline]
    fn count_element(self) -> Result<(), Failure> {
        match self.message.elements.get().checked_sub(1) {
            Some(rest) => {
                self.message.elements.set(rest);
                Ok(())
            }
            None => Err(Failure::custom("it claims more elements than its bytes can hold")),
        }
    }

    fn cap(self, hint: Option<usize>) -> Option<usize> {
        hint.map(|hint| hint.min(self.message.elements.get()))
    }

    /// Hands an error down to the format, which knows only errors of its own.
    #[cold]
    fn sink<E: serde::de::Error>(self, failure: Failure) -> E {
        let error = E::custom(&failure);
        self.message.failure.set(Some(failure));
        error
    }

    /// Takes an error up from the format: what was put aside, or else the format's own.
    #[cold]
    fn rise<E: fmt::Display>(self, error: E) -> Failure {
        self.message.failure.take().unwrap_or_else(|| Failure::custom(error))
    }
}

/// Something of serde's (deserializer, visitor, access or seed) at its place.
struct Counting<'b, T> {
    inner: T,
    at: Place<'b>,
}

macro_rules! pass_on {
    ($($method:ident($($name:ident: $type:ty),*))*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(
            self,
            $($name: $type,)*
            visitor: V,
        ) -> Result<V::Value, Failure> {
            let visitor = Counting { inner: visitor, at: self.at };
            self.inner.$method($($name,)* visitor).map_err(|error| self.at.rise(error))
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Counting<'_, D> {
    type Error = Failure;

    pass_on! {
        deserialize_any() deserialize_bool() deserialize_char()
        deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64() deserialize_i128()
        deserialize_u8() deserialize_u16() deserialize_u32() deserialize_u64()
        deserialize_f32() deserialize_f64()
        deserialize_str() deserialize_string() deserialize_bytes() deserialize_byte_buf()
        deserialize_option() deserialize_unit() deserialize_seq() deserialize_map()
        deserialize_identifier() deserialize_ignored_any()
        deserialize_unit_struct(name: &'static str)
        deserialize_newtype_struct(name: &'static str)
        deserialize_tuple(len: usize)
        deserialize_tuple_struct(name: &'static str, len: usize)
        deserialize_struct(name: &'static str, fields: &'static [&'static str])
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
    }

    fn deserialize_u128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let visitor = Counting { inner: visitor, at: self.at };
        match self.at.message.format {
            Format::MessagePack => self.inner.deserialize_any(WideVisitor(visitor)),
            Format::Other => self.inner.deserialize_u128(visitor),
        }
        .map_err(|error| self.at.rise(error))
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// Reads a `u128` as `rmp-serde` writes it: 16 bytes, big end first. An integer is taken too if it
/// is not negative, which the visitor inside checks.
struct WideVisitor<V>(V);

impl<'de, V: Visitor<'de>> Visitor<'de> for WideVisitor<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<V::Value, E> {
        self.0.visit_u64(value)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<V::Value, E> {
        self.0.visit_i64(value)
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<V::Value, E> {
        match bytes.try_into() {
            Ok(bytes) => self.0.visit_u128(u128::from_be_bytes(bytes)),
            Err(_) => Err(E::invalid_length(bytes.len(), &"16 bytes")),
        }
    }
}

macro_rules! visit_plain {
    ($($method:ident($($value:ident: $type:ty)?))*) => {$(
        #[inline]
        fn $method<E: serde::de::Error>(self, $($value: $type)?) -> Result<V::Value, E> {
            self.inner.$method($($value)?).map_err(|failure| self.at.sink(failure))
        }
    )*};
}

macro_rules! visit_below {
    ($($method:ident<$trait:ident>)*) => {$(
        #[inline]
        fn $method<D: $trait<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
            let below = Counting { inner, at: self.at.below()? };
            self.inner.$method(below).map_err(|failure| self.at.sink(failure))
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Counting<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    visit_plain! {
        visit_none() visit_unit()
        visit_bool(value: bool) visit_char(value: char)
        visit_i8(value: i8) visit_i16(value: i16) visit_i32(value: i32) visit_i64(value: i64)
        visit_u8(value: u8) visit_u16(value: u16) visit_u32(value: u32) visit_u64(value: u64)
        visit_i128(value: i128) visit_u128(value: u128) visit_f32(value: f32) visit_f64(value: f64)
        visit_str(value: &str) visit_borrowed_str(value: &'de str) visit_string(value: String)
        visit_bytes(value: &[u8]) visit_borrowed_bytes(value: &'de [u8])
        visit_byte_buf(value: Vec<u8>)
    }

    visit_below! {
        visit_some<Deserializer> visit_newtype_struct<Deserializer>
        visit_seq<SeqAccess> visit_map<MapAccess>
    }

    // A variant without content is no level of its own: its access counts.
    #[inline]
    fn visit_enum<A: EnumAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        let here = Counting { inner, at: self.at };
        self.inner.visit_enum(here).map_err(|failure| self.at.sink(failure))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Counting<'_, S> {
    type Value = S::Value;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        let here = Counting { inner, at: self.at };
        self.inner.deserialize(here).map_err(|failure| self.at.sink(failure))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Counting<'_, A> {
    type Error = Failure;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Failure> {
        let seed = Counting { inner: seed, at: self.at };
        let found = self.inner.next_element_seed(seed).map_err(|error| self.at.rise(error))?;
        if found.is_some() {
            self.at.count_element()?;
        }
        Ok(found)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.at.cap(self.inner.size_hint())
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Counting<'_, A> {
    type Error = Failure;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Failure> {
        let seed = Counting { inner: seed, at: self.at };
        let found = self.inner.next_key_seed(seed).map_err(|error| self.at.rise(error))?;
        if found.is_some() {
            self.at.count_element()?;
        }
        Ok(found)
    }

    #[inline]
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Failure> {
        let seed = Counting { inner: seed, at: self.at };
        self.inner.next_value_seed(seed).map_err(|error| self.at.rise(error))
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.at.cap(self.inner.size_hint())
    }
}

impl<'b, 'de, A: EnumAccess<'de>> EnumAccess<'de> for Counting<'b, A> {
    type Error = Failure;
    type Variant = Counting<'b, A::Variant>;

    #[inline]
    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self::Variant), Failure> {
        let seed = Counting { inner: seed, at: self.at };
        match self.inner.variant_seed(seed) {
            Ok((name, inner)) => Ok((name, Counting { inner, at: self.at })),
            Err(error) => Err(self.at.rise(error)),
        }
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Counting<'_, A> {
    type Error = Failure;

    #[inline]
    fn unit_variant(self) -> Result<(), Failure> {
        self.inner.unit_variant().map_err(|error| self.at.rise(error))
    }

    #[inline]
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Failure> {
        let seed = Counting { inner: seed, at: self.at.below()? };
        self.inner.newtype_variant_seed(seed).map_err(|error| self.at.rise(error))
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Failure> {
        let visitor = Counting { inner: visitor, at: self.at.below()? };
        self.inner.tuple_variant(len, visitor).map_err(|error| self.at.rise(error))
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        let visitor = Counting { inner: visitor, at: self.at.below()? };
        self.inner.struct_variant(fields, visitor).map_err(|error| self.at.rise(error))
    }
}
