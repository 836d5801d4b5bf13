//! The end of a channel out of which messages come.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::RecvError;
use super::sender::both_ends;
use crate::protocol::codec::Message;
use crate::raw::{RawHandle, RawReceiver, Wait};
use crate::{encoded, raw};

/// The end of a channel out of which messages come, from [`channel`](crate::channel()) and [`bounded`](crate::bounded).
///
/// A clone is another handle to the same end: each message goes to one of those who receive. Handles travel as those of
/// [`Sender`](super::Sender) do.
///
/// A message is received at most once; it is lost only if the receiver that took it dies before using it. Messages come
/// first: that no sender is left is said when there are none any more, at once if the last one was dropped, and within
/// half a second if it was killed.
pub struct Receiver<T> {
    raw: RawReceiver,
    message: PhantomData<fn() -> T>,
}

impl<T> Receiver<T> {
    pub(super) fn from_raw(raw: RawReceiver) -> Receiver<T> {
        Receiver { raw, message: PhantomData }
    }

    pub(crate) fn raw(&self) -> &RawReceiver {
        &self.raw
    }

    /// Whether no sender is left, in any process or message: then there will never be one again. What they sent before
    /// may still wait. Asks the kernel.
    pub fn is_disconnected(&self) -> bool {
        self.raw.is_disconnected()
    }

    /// Whether both are handles to the same channel.
    pub fn same_channel(&self, other: &Receiver<T>) -> bool {
        self.raw.id() == other.raw.id()
    }
}

impl<T: Message> Receiver<T> {
    /// Takes the oldest message, waiting for one.
    ///
    /// # Errors
    /// When no message waits and no sender is left; or when the message is not a `T`: it is taken all the same, so that
    /// it does not block the channel.
    #[inline]
    pub fn recv(&self) -> Result<T, RecvError> {
        self.recv_within(Wait::forever)
    }

    /// Takes the oldest message if there is one now.
    ///
    /// # Errors
    /// As `recv`, and [`is_empty`](RecvError::is_empty). That the last sender was killed is noticed within a tenth of a
    /// second.
    #[inline]
    pub fn try_recv(&self) -> Result<T, RecvError> {
        self.recv_within(Wait::now)
    }

    /// Takes the oldest message, waiting for one at most for `timeout`.
    ///
    /// # Errors
    /// As `recv`, and [`is_empty`](RecvError::is_empty).
    #[inline]
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvError> {
        self.recv_within(|| Wait::timeout(timeout))
    }

    #[inline]
    fn recv_within(&self, wait: impl FnOnce() -> Wait<'static>) -> Result<T, RecvError> {
        match encoded::read_word(|| self.raw.recv_word()) {
            Some(value) => Ok(value?),
            None => self.recv_encoded(wait()),
        }
    }

    #[inline(never)]
    fn recv_encoded(&self, mut wait: Wait<'_>) -> Result<T, RecvError> {
        encoded::read(|scratch, attachments| {
            Ok(self.raw.recv_with(scratch, attachments, &mut wait)?)
        })
    }
}

both_ends!(Receiver, Receiver, "a channel's receiver");
