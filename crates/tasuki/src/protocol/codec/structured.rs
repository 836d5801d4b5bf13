//! Values that go through serde: MessagePack and postcard, and plain messages for any other type.

use std::any::type_name;

use serde::Serialize;
use serde::de::Deserialize;

use super::mismatch::{malformed, wrong_type};
use super::{Message, decode};
use crate::protocol::error::{DecodeError, DecodeReason, EncodeError, EncodeReason};
use crate::protocol::limited::{Format, Limited, Nested};
use crate::protocol::messagepack;
use crate::protocol::scalar::{Scalar, ScalarDeserializer};
use crate::protocol::tag::{Codec, StructuredCodec};

/// Appends a value as serde writes it.
pub(super) fn encode_structured<T: Message>(
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

/// Reads a message as serde does, a plain one too.
pub(super) fn decode_structured<T: Message>(tag: u16, bytes: &[u8]) -> Result<T, DecodeError> {
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
