//! Why a value could not become a message, or a message not a value: texts that say what came, what
//! was expected and what to do.

use std::fmt;

use super::limited::MAX_DEPTH;

/// Why a value could not be written as a message. Nothing was sent.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct EncodeError(Box<EncodeReason>);

#[derive(Debug, thiserror::Error)]
pub(super) enum EncodeReason {
    #[error(
        "the integer {value} does not fit into 64 bits, which is what a message can hold: \
         send it as text, or create the queue with the codec Postcard"
    )]
    IntegerTooWide { value: String },
    #[error(
        "{type_name} takes {length} bytes as MessagePack, which cannot hold more than 4 GiB: \
         send it in parts, or as raw bytes"
    )]
    TooLong { type_name: &'static str, length: usize },
    #[error(
        "{type_name} has a handle inside, and a connection over a socket carries bytes only: \
         send it through a pipe, a queue or a channel, or hand it to a process"
    )]
    NoHandles { type_name: &'static str },
    #[error("cannot write {type_name} as a message: {detail}")]
    Refused { type_name: &'static str, detail: String },
}

impl EncodeError {
    /// The value itself cannot be held by a message (too wide, too long), however it is written.
    pub fn is_too_large(&self) -> bool {
        matches!(*self.0, EncodeReason::IntegerTooWide { .. } | EncodeReason::TooLong { .. })
    }
}

impl From<EncodeReason> for EncodeError {
    #[cold]
    fn from(reason: EncodeReason) -> EncodeError {
        EncodeError(Box::new(reason))
    }
}

/// Why a message could not be read as the type that was asked for. The message is used up.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct DecodeError(Box<DecodeReason>);

#[derive(Debug, thiserror::Error)]
pub(super) enum DecodeReason {
    #[error("this message is {came}, but {expected} was expected{detail}")]
    WrongType { came: String, expected: &'static str, detail: Detail },
    #[error("the integer {value} in this message does not fit into {expected}")]
    OutOfRange { value: i128, expected: &'static str },
    #[error(
        "the integer {value} in this message has no exact {expected} value: send it as a float"
    )]
    Inexact { value: i128, expected: &'static str },
    #[error(
        "this message is a Python pickle, which only Python can read, but {expected} was expected: \
         put bytes, str, numbers or None, or create the queue in Python with codec=\"msgpack\""
    )]
    Pickle { expected: &'static str },
    #[error("this message is damaged: {detail}")]
    Malformed { detail: String },
    #[error(
        "this message has the codec {codec}, which this version of tasuki does not know: \
         it was written by a newer one, or it is damaged"
    )]
    UnknownCodec { codec: u16 },
}

impl DecodeError {
    /// The message holds another type than the one that was asked for, or a number out of its
    /// range.
    pub fn is_wrong_type(&self) -> bool {
        use DecodeReason::{Inexact, OutOfRange, WrongType};
        matches!(*self.0, WrongType { .. } | OutOfRange { .. } | Inexact { .. })
    }

    /// The message is a Python pickle.
    pub fn is_pickle(&self) -> bool {
        matches!(*self.0, DecodeReason::Pickle { .. })
    }

    /// The bytes are not what their tag says, or the tag is unknown.
    pub fn is_malformed(&self) -> bool {
        matches!(*self.0, DecodeReason::Malformed { .. } | DecodeReason::UnknownCodec { .. })
    }
}

impl From<DecodeReason> for DecodeError {
    #[cold]
    fn from(reason: DecodeReason) -> DecodeError {
        DecodeError(Box::new(reason))
    }
}

/// What serde had to say about it, when it says more than "another type".
#[derive(Debug)]
pub(super) struct Detail(pub(super) Option<String>);

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(detail) => write!(f, ": {detail}"),
            None => Ok(()),
        }
    }
}

/// The text of a value or message that is nested too deeply, for both directions.
pub(super) struct TooDeep;

impl fmt::Display for TooDeep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it is nested deeper than {MAX_DEPTH} levels")
    }
}
