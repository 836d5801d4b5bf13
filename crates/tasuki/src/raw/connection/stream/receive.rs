//! Receiving a message: looking, sleeping, and keeping a part of one for the next call.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{RawStream, StreamError};
use crate::protocol::frame::{FrameReader, Room};
use crate::raw::connection::turn::Taken;
use crate::sync::{GaveUp, Wait};
use crate::sys::sockets::{self, Ready};

/// After so many messages that were waited for, it is tried whether the next one is there already.
const TRIES_AFTER: u8 = 16;

/// How long one look may take, on a busy machine.
const LOOK: Duration = Duration::from_millis(20);

/// How a call that receives goes about it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Looks first; if there is nothing, it waits.
    Look,
    /// Waits first.
    Sleep,
    /// Looks, and leaves a message of more than so many bytes to a call that has time for it.
    Glance(u64),
}

/// What is known of the message that is being received.
#[derive(Default)]
pub(super) struct Reading {
    reader: FrameReader,
    /// When the first byte of the message that is being received came.
    since: Option<Instant>,
    stalled: bool,
}

impl RawStream {
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

    /// As [`recv`](RawStream::recv), for a caller that looked a moment ago, or knows that messages
    /// [come late](RawStream::comes_late): this leaves out the look with which `recv` begins. It still spins before it
    /// sleeps, where that has helped.
    pub fn recv_later(
        &self,
        buffer: &mut Vec<u8>,
        most: Option<u64>,
        wait: &mut Wait<'_>,
    ) -> Result<(), StreamError> {
        self.recv_in(Manner::Sleep, buffer, most, wait)
    }

    /// As [`recv`](RawStream::recv) without waiting, for a caller that keeps others waiting meanwhile: a message of
    /// more than `little` bytes is left, begun, to one that has time for it.
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
        let reading = self.reading.take(wait)?;
        self.complete(reading, manner, most, wait)?.reader.swap(buffer);
        Ok(())
    }

    /// Waits until a whole message is there, which is then in this object, or an error or the end is; false if the time
    /// is over before.
    pub fn poll_message(&self, wait: &mut Wait<'_>) -> Result<bool, StreamError> {
        let reading = match self.reading.take(wait).map_err(StreamError::from) {
            Err(StreamError::GaveUp(GaveUp::TimedOut)) => return Ok(false),
            other => other?,
        };
        match self.complete(reading, Manner::Look, None, wait) {
            Err(StreamError::GaveUp(GaveUp::TimedOut)) => Ok(false),
            Err(StreamError::GaveUp(why)) => Err(StreamError::GaveUp(why)),
            Ok(_) | Err(_) => Ok(true),
        }
    }

    /// Whether nothing of the next message is in this object, so that another process may go on with the descriptor.
    /// Waits for a moment for a thread that just looks.
    pub fn is_between_messages(&self) -> bool {
        let reading = self.reading.take(&mut Wait::timeout(LOOK));
        reading.is_ok_and(|reading| !reading.reader.is_inside() && !reading.reader.is_whole())
    }

    /// Receives until the message is whole, and returns the turn with it.
    fn complete<'a>(
        &'a self,
        mut reading: Taken<'a, Reading>,
        manner: Manner,
        most: Option<u64>,
        wait: &mut Wait<'_>,
    ) -> Result<Taken<'a, Reading>, StreamError> {
        let limit = most.into_iter().chain(self.limits.max_message).min().unwrap_or(u64::MAX);
        self.check(&reading, limit)?;
        let mut look = manner != Manner::Sleep;
        let (mut waited, mut slept, mut is_last) = (false, false, false);
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
            let result = if reading.reader.is_inside() {
                reading.since.get_or_insert_with(Instant::now);
                self.sleep(Ready::ToReceive, reading.since, wait)
            } else {
                // Others may receive meanwhile, what interrupts this thread too: nothing has come yet.
                drop(reading);
                let result = self.sleep(Ready::ToReceive, None, wait);
                reading = self.reading.take(wait)?;
                self.check(&reading, limit)?;
                result
            };
            // What has come while the caller did something else, or its check did, counts: one more look, unless this
            // was one with no time to spare.
            let is_over = matches!(
                result,
                Err(StreamError::Stalled(_) | StreamError::GaveUp(GaveUp::TimedOut))
            );
            if is_over && !is_last && !(look && wait.is_now()) {
                (look, is_last) = (true, true);
                continue;
            }
            reading.stalled = matches!(result, Err(StreamError::Stalled(_)));
            look = result?;
            slept = true;
        }
        reading.since = None;
        let late = if slept { (self.late.load(Ordering::Relaxed) + 1) % TRIES_AFTER } else { 0 };
        self.late.store(late, Ordering::Relaxed);
        Ok(reading)
    }

    /// Whether the stream goes on, with a message of no more than `limit` bytes.
    fn check(&self, reading: &Reading, limit: u64) -> Result<(), StreamError> {
        if let (true, Some(limit)) = (reading.stalled, self.limits.message_timeout) {
            return Err(StreamError::Stalled(limit));
        }
        Ok(reading.reader.check(limit)?)
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
