//! Many messages in one call: the queue's lock, notification and commit are paid once for all of them.

use std::fmt;
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::time::Duration;
use std::{iter, vec};

use super::Queue;
use super::error::{GetError, PutReason};
use crate::encoded;
use crate::layout::queue::{Attachments, Entry, INLINE};
use crate::protocol::codec::{self, Message};
use crate::protocol::error::EncodeError;
use crate::protocol::transfer;
use crate::raw::{Batch, OutboundMessage, RawQueue, TransportFailure, Wait};

/// How many bytes are encoded before they are put.
const ENCODED_AHEAD: usize = 256 << 10;
/// Bytes and strings up to this length are copied to the others; longer ones are put as they lie in their value.
const COPIED: usize = 1 << 10;

impl<T: Message> Queue<T> {
    /// Puts all messages in order, waiting for room where there is none.
    ///
    /// It costs less than as many calls of `put`: messages that have room are put together, up to some 256 KiB at a
    /// time. Those appear at once, and if this process is killed meanwhile, all of them are there or none. Another
    /// producer's messages may come in between two such parts.
    ///
    /// # Errors
    /// As [`put`](Queue::put). The error gives back the messages that were not put; those before them were.
    pub fn put_many(&self, messages: impl IntoIterator<Item = T>) -> Result<(), PutManyError<T>> {
        self.put_many_within(messages, &mut Wait::forever())
    }

    /// As `put_many`, with what has room now.
    ///
    /// # Errors
    /// As `put_many`, and [`is_full`](PutManyError::is_full).
    pub fn try_put_many(
        &self,
        messages: impl IntoIterator<Item = T>,
    ) -> Result<(), PutManyError<T>> {
        self.put_many_within(messages, &mut Wait::now())
    }

    /// As `put_many`, waiting for room at most for `timeout` all in all.
    ///
    /// # Errors
    /// As `put_many`, and [`is_full`](PutManyError::is_full).
    pub fn put_many_timeout(
        &self,
        messages: impl IntoIterator<Item = T>,
        timeout: Duration,
    ) -> Result<(), PutManyError<T>> {
        self.put_many_within(messages, &mut Wait::timeout(timeout))
    }

    /// Takes up to `max` of the oldest messages in one step, waiting for the first one.
    ///
    /// It may take fewer than wait: not many more than 256 KiB of small ones at a time, and a message with handles is
    /// the last one.
    ///
    /// # Errors
    /// As [`get`](Queue::get), but messages that are not a `T` are told apart one by one, by the iterator.
    pub fn get_many(&self, max: usize) -> Result<Messages<T>, GetError> {
        self.get_many_within(max, &mut Wait::forever())
    }

    /// As `get_many`, with what is there now.
    ///
    /// # Errors
    /// As `get_many`, and [`is_empty`](GetError::is_empty).
    pub fn try_get_many(&self, max: usize) -> Result<Messages<T>, GetError> {
        self.get_many_within(max, &mut Wait::now())
    }

    /// As `get_many`, waiting for the first message at most for `timeout`.
    ///
    /// # Errors
    /// As `get_many`, and [`is_empty`](GetError::is_empty).
    pub fn get_many_timeout(&self, max: usize, timeout: Duration) -> Result<Messages<T>, GetError> {
        self.get_many_within(max, &mut Wait::timeout(timeout))
    }

    fn put_many_within(
        &self,
        messages: impl IntoIterator<Item = T>,
        wait: &mut Wait<'_>,
    ) -> Result<(), PutManyError<T>> {
        let mut messages = messages.into_iter();
        let mut part = Part::default();
        loop {
            part.clear();
            let mut refused = None;
            while part.bytes.len() + part.borrowed < ENCODED_AHEAD && refused.is_none() {
                let Some(value) = messages.next() else { break };
                refused = part.add(value, self.raw.structured()).err();
            }
            if part.values.is_empty() {
                return Ok(());
            }
            let (put, result) = part.put(&self.raw, wait);
            let reason = match (result, refused) {
                (Err(failure), _) => failure.into(),
                (Ok(()), Some(error)) => PutReason::Encode(error),
                (Ok(()), None) => continue,
            };
            let rest = part.values.drain(put..).chain(messages).collect();
            return Err(PutManyError { rest, reason });
        }
    }

    fn get_many_within(&self, max: usize, wait: &mut Wait<'_>) -> Result<Messages<T>, GetError> {
        let mut batch = Batch::new();
        self.raw.get_many(max, &mut batch, wait)?;
        Ok(Messages::new(batch))
    }
}

/// Messages that are encoded and not put yet.
struct Part<T> {
    values: Vec<T>,
    bytes: Vec<u8>,
    /// For each value that could be encoded; without bytes if they are those that the value consists of.
    entries: Vec<Entry>,
    /// Descriptors of the few that have some, each with the number of its value.
    fds: Vec<(usize, Vec<OwnedFd>)>,
    /// How many bytes lie in the values themselves.
    borrowed: usize,
    /// The longest that was encoded.
    longest: usize,
}

impl<T> Default for Part<T> {
    fn default() -> Part<T> {
        Part {
            values: Vec::new(),
            bytes: Vec::new(),
            entries: Vec::new(),
            fds: Vec::new(),
            borrowed: 0,
            longest: 0,
        }
    }
}

impl<T: Message> Part<T> {
    fn clear(&mut self) {
        self.values.clear();
        self.bytes.clear();
        self.entries.clear();
        self.fds.clear();
        (self.borrowed, self.longest) = (0, 0);
    }

    /// Encodes one more. When that fails, the value is the last one and has no entry.
    #[inline]
    fn add(&mut self, value: T, structured: codec::StructuredCodec) -> Result<(), EncodeError> {
        self.values.push(value);
        let value = &self.values[self.values.len() - 1];
        let start = self.bytes.len();
        let codec = if let Some((codec, bytes)) = codec::borrow(value) {
            if bytes.len() <= COPIED {
                self.bytes.extend_from_slice(bytes);
            } else {
                self.borrowed += bytes.len();
                self.longest = usize::MAX; // not here: put as it lies in the value
            }
            codec
        } else if codec::may_carry_handles::<T>() {
            let encode = || codec::encode(value, structured, &mut self.bytes);
            let (encoded, handles) = transfer::collect(encode);
            if !handles.is_empty() {
                self.fds.push((self.values.len() - 1, handles.into_descriptors()));
            }
            encoded?
        } else {
            codec::encode(value, structured, &mut self.bytes)?
        };
        self.longest = self.longest.max(self.bytes.len() - start);
        self.entries.push(Entry { codec: codec.tag(), end: self.bytes.len() });
        Ok(())
    }

    /// Puts them, and says how many were put.
    fn put(&self, raw: &RawQueue, wait: &mut Wait<'_>) -> (usize, Result<(), TransportFailure>) {
        if self.longest <= INLINE && self.fds.is_empty() {
            return raw.put_small(&self.bytes, &self.entries, wait);
        }
        let slices = self.slices();
        raw.put_many(&self.outbound(&slices), wait)
    }

    fn slices(&self) -> Vec<[&[u8]; 1]> {
        let mut slices = Vec::with_capacity(self.entries.len());
        let mut start = 0;
        for (entry, value) in self.entries.iter().zip(&self.values) {
            let encoded = &self.bytes[start..entry.end];
            slices.push([match codec::borrow(value) {
                Some((_, bytes)) if encoded.is_empty() => bytes,
                _ => encoded,
            }]);
            start = entry.end;
        }
        slices
    }

    fn outbound<'a>(&'a self, slices: &'a [[&'a [u8]; 1]]) -> Vec<OutboundMessage<'a>> {
        let mut fds = self.fds.iter().peekable();
        let of = |(index, (entry, parts)): (usize, (&Entry, &'a [&'a [u8]; 1]))| OutboundMessage {
            codec: entry.codec,
            parts,
            fds: fds.next_if(|(of, _)| *of == index).map_or(&[], |(_, fds)| fds),
        };
        self.entries.iter().zip(slices).enumerate().map(of).collect()
    }
}

/// Messages that [`get_many`](Queue::get_many) took, oldest first. Those that are not asked for are lost when this is
/// dropped.
///
/// A message that is not a `T` is an error in its place, and does not hide the others.
#[must_use = "the messages are taken: what is not used is lost"]
pub struct Messages<T> {
    bytes: Vec<u8>,
    start: usize,
    entries: iter::Enumerate<vec::IntoIter<Entry>>,
    attachments: iter::Peekable<vec::IntoIter<(usize, Attachments)>>,
    message: PhantomData<fn() -> T>,
}

impl<T> Messages<T> {
    fn new(batch: Batch) -> Messages<T> {
        let (bytes, entries, attachments) = batch.into_parts();
        Messages {
            bytes,
            start: 0,
            entries: entries.into_iter().enumerate(),
            attachments: attachments.into_iter().peekable(),
            message: PhantomData,
        }
    }
}

impl<T: Message> Iterator for Messages<T> {
    type Item = Result<T, GetError>;

    fn next(&mut self) -> Option<Result<T, GetError>> {
        let (index, entry) = self.entries.next()?;
        let attachments =
            self.attachments.next_if(|(of, _)| *of == index).map(|(_, attachments)| attachments);
        let start = std::mem::replace(&mut self.start, entry.end);
        let bytes = &self.bytes[start..entry.end];
        Some(
            encoded::decode(entry.codec, bytes, attachments.unwrap_or_default())
                .map_err(GetError::from),
        )
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.entries.size_hint()
    }
}

impl<T: Message> ExactSizeIterator for Messages<T> {}

impl<T> fmt::Debug for Messages<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages").field("left", &self.entries.len()).finish_non_exhaustive()
    }
}

/// Messages that were not put; they are given back. Those before them were put.
pub struct PutManyError<T> {
    rest: Vec<T>,
    reason: PutReason,
}

impl<T> PutManyError<T> {
    /// The messages that were not put, untouched and in order.
    pub fn into_inner(self) -> Vec<T> {
        self.rest
    }

    /// Whether there was no room for the first of them, at once or within the timeout.
    pub fn is_full(&self) -> bool {
        matches!(self.reason, PutReason::Full)
    }

    /// Whether the queue was shut down.
    pub fn is_shut_down(&self) -> bool {
        matches!(self.reason, PutReason::ShutDown)
    }

    /// Whether the queue is full and every process that got from it is gone.
    pub fn is_disconnected(&self) -> bool {
        matches!(self.reason, PutReason::Disconnected(_))
    }
}

impl<T> fmt::Debug for PutManyError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PutManyError")
            .field("not_put", &self.rest.len())
            .field("reason", &self.reason)
            .finish()
    }
}

impl<T> fmt::Display for PutManyError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of the messages were not put: {}", self.rest.len(), self.reason)
    }
}

impl<T> std::error::Error for PutManyError<T> {}
