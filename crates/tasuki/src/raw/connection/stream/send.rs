//! Sending a message: all of it, or nothing more ever.

use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::{RawStream, StreamError};
use crate::protocol::frame::header;
use crate::raw::connection::turn::Taken;
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
        let mut writing = self.take_writing(wait)?;
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let header = header(length as u64);
        let mut slices = Vec::with_capacity(parts.len() + 1);
        slices.push(IoSlice::new(header.as_bytes()));
        slices.extend(parts.iter().filter(|part| !part.is_empty()).map(|part| IoSlice::new(part)));
        let mut rest = &mut slices[..];
        let (mut since, mut is_last) = (None, false);
        while !rest.is_empty() {
            match sockets::send(self.fd.as_fd(), self.kind, rest) {
                Ok(sent) => {
                    IoSlice::advance_slices(&mut rest, sent);
                    if !rest.is_empty() {
                        since.get_or_insert_with(Instant::now);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if since.is_none() {
                        // Others may send meanwhile, what interrupts this thread too: nothing has gone out yet.
                        drop(writing);
                        let slept = self.sleep(Ready::ToSend, None, wait);
                        writing = self.take_writing(wait)?;
                        let is_over = matches!(slept, Err(StreamError::GaveUp(GaveUp::TimedOut)));
                        if !is_over || is_last || wait.is_now() {
                            slept?;
                        }
                        is_last = is_over;
                        continue;
                    }
                    let over = match self.sleep(Ready::ToSend, since, wait) {
                        Ok(_) => continue,
                        // There may be room since, while the wait was interrupted.
                        Err(StreamError::Stalled(_) | StreamError::GaveUp(GaveUp::TimedOut))
                            if !is_last =>
                        {
                            is_last = true;
                            continue;
                        }
                        Err(StreamError::GaveUp(why)) => Over::Unfinished(why),
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

    /// The turn to send, unless nothing can be sent any more.
    fn take_writing(&self, wait: &mut Wait<'_>) -> Result<Taken<'_, Writing>, StreamError> {
        let writing = self.writing.take(wait)?;
        match writing.over {
            Some(Over::Unfinished(why)) => Err(StreamError::Unfinished(why)),
            Some(Over::Stalled(limit)) => Err(StreamError::Stalled(limit)),
            None => Ok(writing),
        }
    }
}
