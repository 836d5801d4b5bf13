//! Sending a message: all of it, or nothing more ever.

use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::{RawStream, StreamError};
use crate::protocol::frame::header;
use crate::sync::{GaveUp, Wait};
use crate::sys::sockets::{self, Ready};

/// What is known of the messages that were sent.
#[derive(Default)]
pub(super) struct Writing {
    /// Why nothing can be sent any more.
    over: Option<Over>,
}

#[derive(Clone, Copy)]
enum Over {
    Unfinished(GaveUp),
    Stalled(Duration),
}

impl RawStream {
    /// Sends one message that consists of `parts`, one after the other, and returns when the kernel has all of it.
    ///
    /// A wait that ends before the first byte was sent leaves nothing behind. One that ends later leaves a torn
    /// message: this end can send no more then, and says so.
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
}
