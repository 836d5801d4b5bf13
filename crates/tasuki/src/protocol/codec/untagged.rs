//! Messages on a carrier that has no place for a tag, as the standard library's wire: both ends know what they say.
//!
//! Bytes are themselves, everything else is MessagePack. Called for connections over sockets.

use std::any::TypeId;

use serde_bytes::ByteBuf;

use super::Message;
use super::plain::borrow;
use super::structured::encode_structured;
use crate::protocol::error::{EncodeError, EncodeReason};
use crate::protocol::tag::{Codec, StructuredCodec};
use crate::protocol::transfer;

/// The bytes of `value`; written into `scratch`, which is cleared first, unless they are there already.
///
/// # Errors
///
/// Those of [`encode`](super::encode), and for a value with a handle inside: there are bytes only.
pub fn encode<'a, T: Message>(
    value: &'a T,
    scratch: &'a mut Vec<u8>,
) -> Result<&'a [u8], EncodeError> {
    if let Some((Codec::Bytes, bytes)) = borrow(value) {
        return Ok(bytes);
    }
    scratch.clear();
    let (encoded, handles) =
        transfer::collect(|| encode_structured(value, StructuredCodec::MessagePack, scratch));
    encoded?;
    if !handles.is_empty() {
        let type_name = std::any::type_name::<T>();
        return Err(EncodeReason::NoHandles { type_name }.into());
    }
    Ok(scratch)
}

/// What a message is that is to be read as a `T`.
pub fn codec_of<T: Message>(bytes: &[u8]) -> Codec {
    let type_id = TypeId::of::<T>();
    let is_bytes = [TypeId::of::<Vec<u8>>(), TypeId::of::<Box<[u8]>>(), TypeId::of::<ByteBuf>()]
        .contains(&type_id);
    match bytes {
        _ if is_bytes => Codec::Bytes,
        // As MessagePack that were an empty map, which is one byte.
        [0x80, 2..=5, ..] => Codec::Pickle,
        _ => Codec::MessagePack,
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use serde::{Deserialize, Serialize};

    use super::super::decode;
    use super::*;

    fn comes_back<T: Message + PartialEq + Debug>(value: T, bytes: &[u8]) {
        let mut scratch = vec![1, 2, 3];
        let written = encode(&value, &mut scratch).unwrap().to_vec();
        assert_eq!(written, bytes);
        assert_eq!(decode::<T>(codec_of::<T>(&written).tag(), &written).unwrap(), value);
    }

    #[test]
    fn bytes_are_themselves_and_the_rest_is_messagepack() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Line {
            from: String,
            number: Option<u64>,
        }
        comes_back(b"\x80\x04raw".to_vec(), b"\x80\x04raw");
        comes_back(Vec::<u8>::new(), b"");
        comes_back(ByteBuf::from(b"x"), b"x");
        comes_back("text".to_owned(), b"\xa4text");
        comes_back((), b"\xc0");
        comes_back(true, b"\xc3");
        comes_back(300u64, b"\xcd\x01\x2c");
        comes_back(-1i8, b"\xff");
        comes_back(1.5f64, b"\xcb\x3f\xf8\0\0\0\0\0\0");
        comes_back(vec![(1u8, None::<bool>)], b"\x91\x92\x01\xc0");
        comes_back(
            Line { from: "me".into(), number: Some(1) },
            b"\x82\xa4from\xa2me\xa6number\x01",
        );
        comes_back(std::collections::BTreeMap::<u8, u8>::new(), b"\x80");
    }

    #[test]
    fn a_pickle_is_known_as_one() {
        for protocol in 2..=5 {
            let pickle = [0x80, protocol, b'N', b'.'];
            let error = decode::<Option<u64>>(codec_of::<Option<u64>>(&pickle).tag(), &pickle);
            assert!(error.unwrap_err().is_pickle());
        }
    }

    #[test]
    fn garbage_is_an_error() {
        for bytes in [&b""[..], b"\xc1", b"\xa4tex", b"\x80\x80", b"\x01\x01"] {
            assert!(decode::<u64>(codec_of::<u64>(bytes).tag(), bytes).is_err(), "{bytes:?}");
        }
    }
}
