//! One end of a connection that speaks the standard library's wire over a descriptor of any kind.
//!
//! Nothing is read ahead of the message that is asked for, so that the descriptor can be polled, forked and handed over
//! between messages, as that of a standard connection. The state of a message in progress is in this object; what
//! `protocol::frame` makes of the bytes is in its README.

use std::fmt;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use super::turn::{NoTurn, Turn};
use crate::error::Error;
use crate::protocol::frame::{FrameError, FrameReader, Room, header};
use crate::protocol::transfer::TransferError;
use crate::raw::TransportFailure;
use crate::raw::kinds::Transferable;
use crate::raw::record::{RecordReader, RecordWriter};
use crate::segment::slot::SlotKind;
use crate::sync::{GaveUp, Spin, Wait};
use crate::sys::sockets::{self, Address, Kind, Ready};

/// What a connection lets its peer do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamLimits {
    /// Most bytes of a message that is received; `None` is no limit.
    pub max_message: Option<u64>,
    /// Most time from the first byte of a message to its last, in either direction; `None` is no limit.
    pub message_timeout: Option<Duration>,
}

/// Why a message was not sent or not received.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The time was over, or the caller called it off. Nothing is lost: of a message that was being received, the next
    /// call gets the rest.
    #[error("gave up waiting")]
    GaveUp(GaveUp),
    /// The peer closed its end, and every message it sent was received.
    #[error("the peer closed the connection")]
    Closed,
    /// The peer closed its end, or died, in the middle of a message.
    #[error("the peer closed the connection in the middle of a message")]
    Torn,
    /// A message was not finished within its time. The stream is over in that direction.
    #[error("a message was not finished within {0:?}")]
    Stalled(Duration),
    /// This end gave up in the middle of a message that it sent. It can send no more; the peer sees the end there.
    #[error("this end gave up in the middle of a message, so that no other one can be sent")]
    Unfinished(GaveUp),
    /// What came is no message, or a longer one than is accepted.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Another thread used this end when this process was forked: where its stream is cannot be known here.
    #[error("another thread was using this connection when this process was forked")]
    LostByFork,
    /// The system refused.
    #[error("cannot {doing}: {source}")]
    Os {
        /// What was being done, as in "send a message".
        doing: &'static str,
        /// The system's own word for it.
        source: io::Error,
    },
}

impl StreamError {
    pub(super) fn os(doing: &'static str) -> impl FnOnce(io::Error) -> StreamError {
        move |source| StreamError::Os { doing, source }
    }

    /// Whether the peer is gone: it closed its end, in the middle of a message or not, or was killed.
    pub fn is_disconnected(&self) -> bool {
        use io::ErrorKind::{BrokenPipe, ConnectionReset};
        match self {
            StreamError::Closed | StreamError::Torn => true,
            StreamError::Os { source, .. } => {
                matches!(source.kind(), BrokenPipe | ConnectionReset)
            }
            _ => false,
        }
    }
}

impl From<NoTurn> for StreamError {
    fn from(why: NoTurn) -> StreamError {
        match why {
            NoTurn::GaveUp(why) => StreamError::GaveUp(why),
            NoTurn::LostByFork => StreamError::LostByFork,
        }
    }
}

impl From<StreamError> for TransportFailure {
    fn from(error: StreamError) -> TransportFailure {
        match error {
            gone if gone.is_disconnected() => TransportFailure::Disconnected(None),
            StreamError::GaveUp(why) => TransportFailure::GaveUp(why),
            StreamError::Os { doing, source } => Error::Os { doing, source }.into(),
            other => Error::Connection(other.to_string()).into(),
        }
    }
}

/// One end of a stream of messages. Any number of threads may use it; messages are never mixed.
pub struct RawStream {
    fd: OwnedFd,
    kind: Kind,
    limits: StreamLimits,
    reading: Turn<Reading>,
    writing: Turn<Writing>,
    /// How many messages in a row had to be waited for, modulo `TRIES_AFTER`. Only a hint.
    late: AtomicU8,
    /// How long to spin for what comes before sleeping.
    answers: Spin,
}

/// After so many messages that were waited for, it is tried whether the next one is there already.
const TRIES_AFTER: u8 = 16;

/// How a call that receives goes about it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Looks first, and sleeps if there is nothing.
    Look,
    /// Sleeps first.
    Sleep,
    /// Looks, and leaves a message of more than so many bytes to a call that has time for it.
    Glance(u64),
}

#[derive(Default)]
struct Reading {
    reader: FrameReader,
    /// When the first byte of the message that is being received came.
    since: Option<Instant>,
    stalled: bool,
}

#[derive(Default)]
struct Writing {
    /// Why nothing can be sent any more.
    over: Option<Over>,
}

#[derive(Clone, Copy)]
enum Over {
    Unfinished(GaveUp),
    Stalled(Duration),
}

impl RawStream {
    /// The end that `fd` is: a connected socket of stream type, or an end of a pipe.
    pub fn new(fd: OwnedFd, limits: StreamLimits) -> RawStream {
        let kind = sockets::kind(fd.as_fd());
        let (reading, writing) = (Turn::new(Reading::default()), Turn::new(Writing::default()));
        RawStream {
            fd,
            kind,
            limits,
            reading,
            writing,
            late: AtomicU8::new(0),
            answers: Spin::new(),
        }
    }

    /// The descriptor: readable when `recv` would find something, the end included, or at least a part of a message.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Gives the descriptor away. What was received of a message that is not whole yet is lost.
    pub fn into_descriptor(self) -> OwnedFd {
        self.fd
    }

    /// What the peer may do.
    pub fn limits(&self) -> StreamLimits {
        self.limits
    }

    /// Who is at the other end; `None` when it is no socket, or not connected any more.
    pub fn peer(&self) -> Option<Address> {
        sockets::peer(self.descriptor())
    }

    /// Sends one message that consists of `parts`, one after the other, and returns when the kernel has all of it.
    ///
    /// A wait that ends before the first byte was sent leaves nothing behind. One that ends later leaves a torn message:
    /// this end can send no more then, and says so.
    pub fn send(&self, parts: &[&[u8]], wait: &mut Wait<'_>) -> Result<(), StreamError> {
        let mut writing = self.writing.take(wait)?;
        match writing.over {
            Some(Over::Unfinished(why)) => return Err(StreamError::Unfinished(why)),
            Some(Over::Stalled(limit)) => return Err(StreamError::Stalled(limit)),
            None => {}
        }
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let header = header(length as u64);
        let mut slices = Vec::with_capacity(parts.len() + 1);
        slices.push(IoSlice::new(header.as_bytes()));
        slices.extend(parts.iter().filter(|part| !part.is_empty()).map(|part| IoSlice::new(part)));
        let mut rest = &mut slices[..];
        let mut since = None;
        while !rest.is_empty() {
            match sockets::send(self.fd.as_fd(), self.kind, rest) {
                Ok(sent) => {
                    IoSlice::advance_slices(&mut rest, sent);
                    if !rest.is_empty() {
                        since.get_or_insert_with(Instant::now);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let over = match self.sleep(Ready::ToSend, since, wait) {
                        Ok(_) => continue,
                        Err(StreamError::GaveUp(why)) if since.is_some() => Over::Unfinished(why),
                        Err(StreamError::Stalled(limit)) => Over::Stalled(limit),
                        Err(error) => return Err(error),
                    };
                    writing.over = Some(over);
                    sockets::end_sending(self.fd.as_fd());
                    return Err(match over {
                        Over::Unfinished(why) => StreamError::Unfinished(why),
                        Over::Stalled(limit) => StreamError::Stalled(limit),
                    });
                }
                Err(error) => return Err(StreamError::os("send a message")(error)),
            }
        }
        Ok(())
    }

    /// Receives one message, at most `most` bytes if that is less than the connection's own limit. The message is in
    /// `buffer` then, in place of what was there; the buffer's memory may be used for the next one.
    ///
    /// A longer message is not received: it stays where it is, and every call that does not accept it says so.
    pub fn recv(
        &self,
        buffer: &mut Vec<u8>,
        most: Option<u64>,
        wait: &mut Wait<'_>,
    ) -> Result<(), StreamError> {
        self.recv_in(Manner::Look, buffer, most, wait)
    }

    /// As [`recv`](RawStream::recv), for a caller who looked a moment ago, or knows that messages
    /// [come late](RawStream::comes_late): this asks the kernel to sleep before it asks for bytes.
    pub fn recv_later(
        &self,
        buffer: &mut Vec<u8>,
        most: Option<u64>,
        wait: &mut Wait<'_>,
    ) -> Result<(), StreamError> {
        self.recv_in(Manner::Sleep, buffer, most, wait)
    }

    /// As [`recv`](RawStream::recv) without waiting, for a caller who keeps others waiting meanwhile: a message of more
    /// than `little` bytes is left, begun, to one who has time for it.
    pub fn recv_little(
        &self,
        little: u64,
        buffer: &mut Vec<u8>,
        most: Option<u64>,
    ) -> Result<(), StreamError> {
        self.recv_in(Manner::Glance(little), buffer, most, &mut Wait::now())
    }

    /// Whether the last message had to be waited for, so that to look for the next one before sleeping is most likely
    /// in vain.
    pub fn comes_late(&self) -> bool {
        self.late.load(Ordering::Relaxed) != 0
    }

    fn recv_in(
        &self,
        manner: Manner,
        buffer: &mut Vec<u8>,
        most: Option<u64>,
        wait: &mut Wait<'_>,
    ) -> Result<(), StreamError> {
        let mut reading = self.reading.take(wait)?;
        self.complete(&mut reading, manner, most, wait)?;
        reading.reader.swap(buffer);
        Ok(())
    }

    /// Waits until a whole message is there, which is then in this object, or an error or the end is; false if the time is
    /// over before.
    pub fn poll_message(&self, wait: &mut Wait<'_>) -> Result<bool, StreamError> {
        let mut reading = match self.reading.take(wait).map_err(StreamError::from) {
            Err(StreamError::GaveUp(GaveUp::TimedOut)) => return Ok(false),
            other => other?,
        };
        match self.complete(&mut reading, Manner::Look, None, wait) {
            Err(StreamError::GaveUp(GaveUp::TimedOut)) => Ok(false),
            Err(StreamError::GaveUp(why)) => Err(StreamError::GaveUp(why)),
            Ok(()) | Err(_) => Ok(true),
        }
    }

    /// Whether nothing of the next message is in this object, so that another process may go on with the descriptor.
    pub fn is_between_messages(&self) -> bool {
        let reading = self.reading.take(&mut Wait::now());
        reading.is_ok_and(|reading| !reading.reader.is_inside() && !reading.reader.is_whole())
    }

    /// Receives until the message is whole.
    fn complete(
        &self,
        reading: &mut Reading,
        manner: Manner,
        most: Option<u64>,
        wait: &mut Wait<'_>,
    ) -> Result<(), StreamError> {
        let limit = most.into_iter().chain(self.limits.max_message).min().unwrap_or(u64::MAX);
        if let (true, Some(limit)) = (reading.stalled, self.limits.message_timeout) {
            return Err(StreamError::Stalled(limit));
        }
        reading.reader.check(limit)?;
        let mut look = manner != Manner::Sleep;
        let (mut waited, mut slept) = (false, false);
        while !reading.reader.is_whole() {
            if look {
                if let Manner::Glance(little) = manner {
                    if reading.reader.announced_length().is_some_and(|length| length > little) {
                        return Err(StreamError::GaveUp(GaveUp::TimedOut));
                    }
                }
                if self.receive(&mut reading.reader, limit)?.goes_on(&reading.reader)? {
                    continue;
                }
            }
            if !waited && !wait.is_now() {
                waited = true;
                if let Some(received) = self.receive_soon(&mut reading.reader, limit)? {
                    look = received.goes_on(&reading.reader)?;
                    continue;
                }
            }
            if reading.reader.is_inside() {
                reading.since.get_or_insert_with(Instant::now);
            }
            let result = self.sleep(Ready::ToReceive, reading.since, wait);
            reading.stalled = matches!(result, Err(StreamError::Stalled(_)));
            // Who sleeps first has looked already, unless it has no time for either.
            if let (false, Err(StreamError::GaveUp(GaveUp::TimedOut))) = (look, &result) {
                look = true;
                continue;
            }
            look = result?;
            slept = true;
        }
        reading.since = None;
        let late = if slept { (self.late.load(Ordering::Relaxed) + 1) % TRIES_AFTER } else { 0 };
        self.late.store(late, Ordering::Relaxed);
        Ok(())
    }

    /// Waits until there is something to receive, the end included; false if the time is over before. What is there may
    /// be a part of a message.
    pub fn poll(&self, wait: &mut Wait<'_>) -> Result<bool, StreamError> {
        loop {
            let (time, is_last) = match wait.slice() {
                Ok(slice) => (slice, false),
                Err(GaveUp::TimedOut) => (Duration::ZERO, true),
                Err(why) => return Err(StreamError::GaveUp(why)),
            };
            let ready = sockets::wait(self.fd.as_fd(), Ready::ToReceive, time)
                .map_err(StreamError::os("wait for a message"))?;
            if ready || is_last {
                return Ok(ready);
            }
        }
    }

    fn receive(&self, reader: &mut FrameReader, limit: u64) -> Result<Received, StreamError> {
        let (received, wanted) = match reader.room()? {
            None => return Ok(Received::Some),
            Some(Room::Header(place)) => {
                let wanted = place.len();
                (sockets::receive(self.fd.as_fd(), self.kind, place), wanted)
            }
            Some(Room::Body(body, most)) => {
                (sockets::receive_at_end(self.fd.as_fd(), self.kind, body, most), most)
            }
        };
        match received {
            Ok(0) => Ok(Received::End),
            Ok(count) => {
                reader.filled(count, limit)?;
                Ok(if count < wanted { Received::Part } else { Received::Some })
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Received::NothingNow),
            Err(error) => Err(StreamError::os("receive a message")(error)),
        }
    }

    /// Receives what comes within the time that going to sleep and being woken takes.
    fn receive_soon(
        &self,
        reader: &mut FrameReader,
        limit: u64,
    ) -> Result<Option<Received>, StreamError> {
        let mut came = None;
        self.answers.until_served(|| {
            came = Some(self.receive(reader, limit));
            !matches!(came, Some(Ok(Received::NothingNow)))
        });
        Ok(came.transpose()?.filter(|received| !matches!(received, Received::NothingNow)))
    }

    /// Sleeps for a slice, within the caller's time and that of a message which began at `since`; whether it is ready then.
    fn sleep(
        &self,
        ready: Ready,
        since: Option<Instant>,
        wait: &mut Wait<'_>,
    ) -> Result<bool, StreamError> {
        let mut slice = wait.slice().map_err(StreamError::GaveUp)?;
        if let (Some(since), Some(limit)) = (since, self.limits.message_timeout) {
            let left = limit.saturating_sub(since.elapsed());
            if left.is_zero() {
                return Err(StreamError::Stalled(limit));
            }
            slice = slice.min(left);
        }
        sockets::wait(self.fd.as_fd(), ready, slice).map_err(StreamError::os("wait for a peer"))
    }
}

enum Received {
    /// All that there was room for.
    Some,
    /// Less than that: nothing more is there now, most likely.
    Part,
    End,
    NothingNow,
}

impl Received {
    /// Whether there may be more now; an error at the end.
    fn goes_on(self, reader: &FrameReader) -> Result<bool, StreamError> {
        match self {
            Received::Some => Ok(true),
            Received::Part | Received::NothingNow => Ok(false),
            Received::End if reader.is_inside() => Err(StreamError::Torn),
            Received::End => Err(StreamError::Closed),
        }
    }
}

impl Transferable for RawStream {
    const KINDS: &'static [u8] = &[15];
    const SLOTS: &'static [(SlotKind, SlotKind)] = &[];

    fn kind(&self) -> u8 {
        15
    }

    /// Nothing of it may be in this process alone. A limit of all bits set is none.
    fn write_record(&self, record: &mut RecordWriter<'_>) -> Result<(), TransferError> {
        if !self.is_between_messages() {
            let why = "a part of a message that came on this connection is in this process already";
            return Err(TransferError::refused(io::Error::other(why)));
        }
        record.descriptor(self.descriptor())?;
        let StreamLimits { max_message, message_timeout } = self.limits();
        let time = message_timeout.and_then(|time| u64::try_from(time.as_nanos()).ok());
        record.u64(max_message.unwrap_or(u64::MAX));
        record.u64(time.unwrap_or(u64::MAX));
        Ok(())
    }

    fn read_record(record: &mut RecordReader<'_>) -> Result<RawStream, Error> {
        let socket = record.descriptor()?;
        let mut limit = || Ok::<_, Error>(Some(record.u64()?).filter(|&n| n != u64::MAX));
        let (max_message, time) = (limit()?, limit()?);
        let message_timeout = time.map(Duration::from_nanos);
        Ok(RawStream::new(socket, StreamLimits { max_message, message_timeout }))
    }

    fn name(&self) -> &'static str {
        "a connection over a socket"
    }
}

impl fmt::Debug for RawStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawStream").field("fd", &self.fd).finish_non_exhaustive()
    }
}
