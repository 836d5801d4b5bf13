//! The two ends of a channel of frames: a queue that knows whether somebody is at the other end.
//!
//! `channel/README.md` holds the steps. The ends wait as a queue does; what is added is asked of the socket before each
//! sleep, never while a lock is held.

use std::ops::Deref;
use std::os::fd::{BorrowedFd, OwnedFd};

use super::{AttachedQueue, Attachments, Options, Parts, SharedQueue, Taken, Word};
use crate::error::Error;
use crate::layout::failure::TransportFailure;
use crate::sync::Wait;

/// The end of a channel into which messages go. A clone is the same end; it is closed with its last clone here.
#[derive(Clone, Debug)]
pub struct Sender {
    queue: SharedQueue,
}

/// The end of a channel out of which messages come. A clone is the same end; it is closed with its last clone here,
/// and with the last [`Block`](super::Block) that came out of it.
#[derive(Clone, Debug)]
pub struct Receiver {
    queue: SharedQueue,
}

/// Makes a channel.
pub(crate) fn channel(options: &Options) -> Result<(Sender, Receiver), Error> {
    let (sending, receiving) = SharedQueue::create_channel(options)?;
    Ok((Sender { queue: sending }, Receiver { queue: receiving }))
}

impl Deref for Sender {
    type Target = AttachedQueue;

    fn deref(&self) -> &AttachedQueue {
        &self.queue
    }
}

impl Deref for Receiver {
    type Target = AttachedQueue;

    fn deref(&self) -> &AttachedQueue {
        &self.queue
    }
}

impl Sender {
    pub(crate) fn open(parts: Parts<OwnedFd>) -> Result<Sender, Error> {
        Ok(Sender { queue: SharedQueue::attach_end(parts)? })
    }

    /// Puts a message of `codec` that consists of `parts`, one after the other, together with `fds`.
    ///
    /// When this returns `Ok`, the next receiver sees the message, even if this process is killed at once. On any
    /// failure the message is wholly outside; [`TransportFailure::Disconnected`] says that nobody can receive it any
    /// more.
    #[inline]
    pub fn send(
        &self,
        codec: u16,
        parts: &[&[u8]],
        fds: &[OwnedFd],
        wait: &mut Wait<'_>,
    ) -> Result<(), TransportFailure> {
        // What does not wait need not be told when to end the wait.
        if let ([bytes], []) = (parts, fds) {
            if !self.queue.is_known_disconnected() && self.queue.put_bytes(codec, bytes) {
                return Ok(());
            }
        }
        self.send_slowly(codec, parts, fds, wait)
    }

    /// The quick part of `send`: false says nothing but that the rest has to be done.
    #[inline]
    pub(crate) fn send_word(&self, word: Word) -> bool {
        !self.queue.is_known_disconnected() && self.queue.put_word(word)
    }

    /// As `send`, for a caller that knows that something is in the way of the short one.
    pub(crate) fn send_slowly(
        &self,
        codec: u16,
        parts: &[&[u8]],
        fds: &[OwnedFd],
        wait: &mut Wait<'_>,
    ) -> Result<(), TransportFailure> {
        loop {
            if self.queue.is_known_disconnected() {
                return Err(self.disconnected());
            }
            let mut stop = || self.queue.is_disconnected();
            match wait.unless(&mut stop, |wait| self.queue.put_slowly(codec, parts, fds, wait)) {
                Ok(()) => return Ok(()),
                Err(why) => self.not_sent(why)?,
            }
        }
    }

    /// Why nothing was sent; `Ok` when it is to be tried again.
    #[cold]
    fn not_sent(&self, why: TransportFailure) -> Result<(), TransportFailure> {
        let alone = match why {
            // It was full this time; a caller that asks again and again need not ask the kernel each time.
            TransportFailure::GaveUp(_) => self.queue.is_known_disconnected(),
            TransportFailure::ShutDown
            | TransportFailure::Disconnected(_)
            | TransportFailure::Failed(_) => self.queue.is_disconnected(),
        };
        Err(if alone { self.disconnected() } else { why })
    }

    fn disconnected(&self) -> TransportFailure {
        TransportFailure::Disconnected(self.queue.killed_reader())
    }

    /// A descriptor that is writable whenever there is room; as [`pollable_for_put`](SharedQueue::pollable_for_put).
    /// That nobody receives any more shows at the [`socket`](AttachedQueue::socket).
    pub fn pollable(&self) -> Result<BorrowedFd<'_>, Error> {
        self.queue.pollable_for_put()
    }
}

impl Receiver {
    pub(crate) fn open(parts: Parts<OwnedFd>) -> Result<Receiver, Error> {
        Ok(Receiver { queue: SharedQueue::attach_end(parts)? })
    }

    /// Takes the oldest message. A small one's bytes are in `buffer` then, which is emptied first; a large one's are
    /// in the returned [`Block`](super::Block). [`TransportFailure::Disconnected`] comes when no message waits and no
    /// sender is left.
    #[inline]
    pub fn recv(
        &self,
        buffer: &mut Vec<u8>,
        wait: &mut Wait<'_>,
    ) -> Result<Taken, TransportFailure> {
        let mut attachments = Attachments::default();
        let codec = self.recv_with(buffer, &mut attachments, wait)?;
        Ok(Taken { codec, large: attachments.block, fds: attachments.fds })
    }

    /// As `recv`; what few messages have goes into `attachments`, which comes empty.
    #[inline]
    pub(crate) fn recv_with(
        &self,
        buffer: &mut Vec<u8>,
        attachments: &mut Attachments,
        wait: &mut Wait<'_>,
    ) -> Result<u16, TransportFailure> {
        match self.queue.get_bytes(buffer) {
            Some(codec) => Ok(codec),
            None => self.recv_slowly(buffer, attachments, wait),
        }
    }

    /// The quick part of `recv`: None says nothing but that the rest has to be done.
    #[inline]
    pub(crate) fn recv_word(&self) -> Option<Word> {
        self.queue.get_word()
    }

    /// As `recv_with`, for a caller that knows that something is in the way of the short one.
    pub(crate) fn recv_slowly(
        &self,
        buffer: &mut Vec<u8>,
        attachments: &mut Attachments,
        wait: &mut Wait<'_>,
    ) -> Result<u16, TransportFailure> {
        loop {
            let mut stopped = false;
            let mut stop = || {
                stopped = self.queue.should_not_sleep();
                stopped
            };
            match wait.unless(&mut stop, |wait| self.queue.get_slowly(buffer, attachments, wait)) {
                Ok(codec) => return Ok(codec),
                // It was empty this time, as in `not_sent`; after `stop` the answer is known.
                Err(TransportFailure::GaveUp(_)) if self.queue.is_known_disconnected() => {
                    return self.recv_rest(buffer, attachments, wait);
                }
                Err(TransportFailure::GaveUp(_)) if stopped => self.queue.sweep(),
                Err(why) => return Err(why),
            }
        }
    }

    /// As `recv_with`, once no sender is left: nothing is put any more, so that an empty channel stays empty.
    #[cold]
    fn recv_rest(
        &self,
        buffer: &mut Vec<u8>,
        attachments: &mut Attachments,
        wait: &mut Wait<'_>,
    ) -> Result<u16, TransportFailure> {
        let mut stop = || self.is_empty();
        match wait.unless(&mut stop, |wait| self.queue.get_slowly(buffer, attachments, wait)) {
            Err(TransportFailure::GaveUp(_)) if self.is_empty() => {
                Err(TransportFailure::Disconnected(None))
            }
            other => other,
        }
    }

    /// A descriptor that is readable whenever a message waits; as a queue's [`pollable`](SharedQueue::pollable). That
    /// nobody sends any more shows at the [`socket`](AttachedQueue::socket).
    pub fn pollable(&self) -> Result<BorrowedFd<'_>, Error> {
        self.queue.pollable()
    }

    /// What `recv` does for senders, for callers that wait otherwise: closes descriptors of messages that never came.
    /// Costs nothing but now and then.
    pub(crate) fn sweep(&self) {
        if self.is_empty() {
            self.queue.sweep();
        }
    }
}
