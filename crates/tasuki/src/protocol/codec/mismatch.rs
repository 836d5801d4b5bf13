//! Why a message is not what its reader expects, in words.

use std::any::type_name;

use crate::protocol::error::{DecodeError, DecodeReason, Detail};
use crate::protocol::messagepack;
use crate::protocol::scalar::Scalar;
use crate::protocol::tag::Codec;

/// "This message is .., but a T was expected". A frame that is not even what its tag says is called
/// damaged.
#[cold]
pub(super) fn wrong_type<T>(tag: u16, bytes: &[u8], detail: Option<String>) -> DecodeError {
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

/// The bytes are not what their tag says.
#[cold]
pub(super) fn malformed(detail: &str) -> DecodeError {
    DecodeReason::Malformed { detail: detail.to_owned() }.into()
}
