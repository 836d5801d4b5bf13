//! A value as the bytes and descriptors of one message, in a buffer that the next message of this thread uses again.
//! Called by whatever has `put` and `get`, under their own names; it never waits and touches no shared memory.

use std::cell::Cell;
use std::os::fd::OwnedFd;

use crate::layout::queue::{Attachments, Word};
use crate::protocol::codec::{self, Message, Short, StructuredCodec};
use crate::protocol::error::{DecodeError, EncodeError};
use crate::protocol::transfer::{self, Incoming};

/// Puts the message of a number, or another that is as short; false says nothing but that `write` has to do it.
/// Nothing else is compiled where a `T` is never so short.
#[inline(always)]
pub(crate) fn write_word<T: Message>(value: &T, put: impl FnOnce(Word) -> bool) -> bool {
    match codec::encode_short(value) {
        Some(Short { codec, bytes, len }) => put(Word::new(codec.tag(), bytes, len)),
        None => false,
    }
}

/// Reads a message that is as short, where a `T` may be; None says nothing but that `read` has to do it.
#[inline(always)]
pub(crate) fn read_word<T: Message>(
    get: impl FnOnce() -> Option<Word>,
) -> Option<Result<T, DecodeError>> {
    if !codec::is_short::<T>() {
        return None;
    }
    let word = get()?;
    match codec::decode_short(word.codec(), word.bytes(), word.len()) {
        Some(value) => Some(Ok(value)),
        None => Some(decode_word(word)),
    }
}

#[cold]
fn decode_word<T: Message>(word: Word) -> Result<T, DecodeError> {
    codec::decode(word.codec(), &word.bytes()[..word.len()])
}

/// Encodes `value` and calls `put` with the codec's tag, the bytes, and the descriptors of handles inside the value.
#[inline]
pub(crate) fn write<T: Message, R, E: From<EncodeError>>(
    value: &T,
    structured: StructuredCodec,
    put: impl FnOnce(u16, &[u8], &[OwnedFd]) -> Result<R, E>,
) -> Result<R, E> {
    with_scratch(|scratch| {
        if !codec::may_carry_handles::<T>() {
            let (codec, bytes) = codec::encode_borrowed(value, structured, scratch)?;
            return put(codec.tag(), bytes, &[]);
        }
        scratch.clear();
        let (encoded, handles) = transfer::collect(|| codec::encode(value, structured, scratch));
        let fds = handles.into_descriptors();
        put(encoded?.tag(), scratch, &fds)
    })
}

/// As `write`, for a carrier without tags and descriptors.
pub(crate) fn write_untagged<T: Message, R, E: From<EncodeError>>(
    value: &T,
    put: impl FnOnce(&[u8]) -> Result<R, E>,
) -> Result<R, E> {
    with_scratch(|scratch| put(codec::untagged::encode(value, scratch)?))
}

/// As `read`, for a carrier without tags and descriptors.
pub(crate) fn read_untagged<T: Message, E: From<DecodeError>>(
    get: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<T, E> {
    with_scratch(|scratch| {
        get(scratch)?;
        let codec = codec::untagged::codec_of::<T>(scratch);
        Ok(codec::decode(codec.tag(), scratch)?)
    })
}

/// Calls `get`, which fills the buffer and the attachments and returns the codec's tag, and decodes what it got.
#[inline]
pub(crate) fn read<T: Message, E: From<DecodeError>>(
    get: impl FnOnce(&mut Vec<u8>, &mut Attachments) -> Result<u16, E>,
) -> Result<T, E> {
    with_scratch(|scratch| {
        let mut attachments = Attachments::default();
        let codec = get(scratch, &mut attachments)?;
        Ok(decode(codec, scratch, attachments)?)
    })
}

/// The value in a message that was taken: `bytes`, unless the attachments have them.
#[inline]
pub(crate) fn decode<T: Message>(
    codec: u16,
    bytes: &[u8],
    attachments: Attachments,
) -> Result<T, DecodeError> {
    let decode = || match attachments.block {
        None => codec::decode(codec, bytes),
        Some(block) => codec::decode_owned(codec, block.to_vec()),
    };
    if codec::may_carry_handles::<T>() {
        return transfer::provide(Incoming::new(attachments.fds), decode);
    }
    decode()
}

/// Lends this thread's buffer. A message whose own encoding uses a queue, or a thread that ends, gets a fresh one.
fn with_scratch<R>(work: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    thread_local! {
        static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    }
    const KEPT: usize = 64 << 10;
    let mut scratch = SCRATCH.try_with(Cell::take).unwrap_or_default();
    let result = work(&mut scratch);
    if scratch.capacity() <= KEPT {
        let _ = SCRATCH.try_with(|cell| cell.set(scratch));
    }
    result
}
