//! The tags of messages: what the bytes of each are, and which of them a queue's structured data has.
//!
//! | tag | [`Codec`] | bytes | written by Rust for | read in Rust as |
//! |---|---|---|---|---|
//! | 1 | `Bytes` | themselves | `Vec<u8>`, `Box<[u8]>`, `serde_bytes::ByteBuf` | these |
//! | 2 | `Str` | UTF-8 | `String` | `String`, `char`, an enum's variant by name |
//! | 3 | `Unit` | none | `()` | `()`, any `Option` |
//! | 4 | `Bool` | 0 or 1 | `bool` | `bool` |
//! | 5 | `I64` | 8, little end first | integers up to `i64::MAX` | integers it fits, exact floats |
//! | 6 | `U64` | 8, little end first | integers above `i64::MAX` | the same |
//! | 7 | `F64` | 8, little end first | `f64`, `f32` | `f64`, `f32` (rounded) |
//! | 8 | `MessagePack` | structs as maps with names | all other types | what serde reads from it |
//! | 9 | `Postcard` | | all other types in a queue of that codec | the same type |
//! | 10 | `Pickle` | | never | never: an error that says what to do |
//! | 11 | `PickleBuffers` | a table, a pickle and its buffers, see below | never | never, as `Pickle` |
//! | 12 | `Raw` | themselves | what a connection's `send_bytes` sends | as `Bytes` |
//!
//! A pickle whose large buffers (of arrays, say) lie beside it, so that a reader can use them where they are:
//!
//! ```text
//! u32 number of buffers | u32 0 | u64 length of the pickle | for each buffer: u64 offset, u64 length
//! the pickle | zeros up to a multiple of 64 | each buffer, with zeros up to a multiple of 64 between them
//! ```
//! Offsets count from the message's first byte; all numbers have their little end first.

/// What the bytes of a frame are; the numbers are the same in both languages and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
#[non_exhaustive]
pub enum Codec {
    /// Raw bytes.
    Bytes = 1,
    /// A UTF-8 string.
    Str = 2,
    /// Nothing: `()`, Python's `None`.
    Unit = 3,
    /// A boolean, one byte.
    Bool = 4,
    /// An integer that fits into an `i64`.
    I64 = 5,
    /// An integer above `i64::MAX` that fits into a `u64`.
    U64 = 6,
    /// A float.
    F64 = 7,
    /// MessagePack: structured data that both languages read.
    MessagePack = 8,
    /// postcard: structured data from Rust to Rust.
    Postcard = 9,
    /// A pickle: structured data from Python to Python.
    Pickle = 10,
    /// A pickle of protocol 5 and, beside it, its large buffers.
    PickleBuffers = 11,
    /// Bytes whose meaning is a matter between sender and receiver: what a connection's
    /// `send_bytes` sends. Python's `recv` unpickles them, as the standard library's does.
    Raw = 12,
}

impl Codec {
    /// The codec with this tag, if there is one.
    pub const fn from_tag(tag: u16) -> Option<Codec> {
        Some(match tag {
            1 => Codec::Bytes,
            2 => Codec::Str,
            3 => Codec::Unit,
            4 => Codec::Bool,
            5 => Codec::I64,
            6 => Codec::U64,
            7 => Codec::F64,
            8 => Codec::MessagePack,
            9 => Codec::Postcard,
            10 => Codec::Pickle,
            11 => Codec::PickleBuffers,
            12 => Codec::Raw,
            _ => return None,
        })
    }

    /// The tag in a frame's header.
    pub const fn tag(self) -> u16 {
        self as u16
    }
}

/// How a queue's structured data is written; every reader reads all of them.
///
/// A queue keeps it in its header, so that all its writers agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum StructuredCodec {
    /// MessagePack, which Rust and Python read.
    #[default]
    MessagePack,
    /// postcard: smaller and quicker, but only Rust reads it, only as the type that was written,
    /// and only types which don't need a self-describing format: not `#[serde(untagged)]`,
    /// `#[serde(tag)]`, `#[serde(flatten)]` or `skip_serializing_if`.
    Postcard,
    /// What Python writes is pickled. Rust does not write pickles: it writes MessagePack into such
    /// a queue.
    Pickle,
}

impl StructuredCodec {
    /// The tag of the frames that hold structured data of this codec, also the queue header's
    /// number for it.
    pub const fn codec(self) -> Codec {
        match self {
            StructuredCodec::MessagePack => Codec::MessagePack,
            StructuredCodec::Postcard => Codec::Postcard,
            StructuredCodec::Pickle => Codec::Pickle,
        }
    }

    /// The structured codec with this number, if there is one.
    pub const fn from_tag(tag: u16) -> Option<StructuredCodec> {
        match Codec::from_tag(tag) {
            Some(Codec::MessagePack) => Some(StructuredCodec::MessagePack),
            Some(Codec::Postcard) => Some(StructuredCodec::Postcard),
            Some(Codec::Pickle) => Some(StructuredCodec::Pickle),
            _ => None,
        }
    }
}
