//! The end of a channel into which messages go.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::SendError;
use super::error::SendReason;
use crate::protocol::codec::Message;
use crate::raw::{RawHandle, RawSender, Wait};
use crate::{encoded, raw};

/// The end of a channel into which messages go, from [`channel`](crate::channel()) and [`bounded`](crate::bounded).
///
/// A clone is another handle to the same end. Handles are serde values: pass them as arguments of a
/// [`Process`](crate::Process), or send them through a channel or queue. A sender that is on its way in a message is
/// one that exists.
///
/// - `send` is done when it returns: the message is received even if its sender is killed the next instant.
/// - Messages of one sender arrive in the order in which it sent them, and each is received at most once.
/// - When the last sender is gone, by drop or by kill, in whatever process, receivers get what is left and then the
///   error [`is_disconnected`](super::RecvError::is_disconnected). So a process that hands its sender on and keeps a
///   clone keeps the receivers waiting.
/// - When the last receiver is gone, `send` fails and gives the value back: at once if it was dropped; within a tenth
///   of a second, or half a second in a `send` that waits for room, if it was killed.
pub struct Sender<T> {
    raw: RawSender,
    message: PhantomData<fn(T)>,
}

impl<T> Sender<T> {
    pub(super) fn from_raw(raw: RawSender) -> Sender<T> {
        Sender { raw, message: PhantomData }
    }

    pub(crate) fn raw(&self) -> &RawSender {
        &self.raw
    }

    /// Whether no receiver is left, in any process or message: then there will never be one again. Asks the kernel.
    pub fn is_disconnected(&self) -> bool {
        self.raw.is_disconnected()
    }

    /// Whether a message would find no room at this moment.
    pub fn is_full(&self) -> bool {
        self.raw.is_full()
    }

    /// Whether both are handles to the same channel.
    pub fn same_channel(&self, other: &Sender<T>) -> bool {
        self.raw.id() == other.raw.id()
    }
}

impl<T: Message> Sender<T> {
    /// Sends a message, waiting while the channel is full.
    ///
    /// # Errors
    /// When no receiver is left, the value cannot be encoded or is too large, or memory is short. The error gives the
    /// value back.
    #[inline]
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.send_within(value, Wait::forever)
    }

    /// Sends a message if there is room now.
    ///
    /// # Errors
    /// As `send`, and [`is_full`](SendError::is_full).
    #[inline]
    pub fn try_send(&self, value: T) -> Result<(), SendError<T>> {
        self.send_within(value, Wait::now)
    }

    /// Sends a message, waiting for room at most for `timeout`.
    ///
    /// # Errors
    /// As `send`, and [`is_full`](SendError::is_full).
    #[inline]
    pub fn send_timeout(&self, value: T, timeout: Duration) -> Result<(), SendError<T>> {
        self.send_within(value, || Wait::timeout(timeout))
    }

    #[inline]
    fn send_within(
        &self,
        value: T,
        wait: impl FnOnce() -> Wait<'static>,
    ) -> Result<(), SendError<T>> {
        if encoded::write_word(&value, |word| self.raw.send_word(word)) {
            return Ok(());
        }
        self.send_encoded(value, wait())
    }

    #[inline(never)]
    fn send_encoded(&self, value: T, mut wait: Wait<'_>) -> Result<(), SendError<T>> {
        let sent = encoded::write(&value, self.raw.structured(), |codec, bytes, fds| {
            Ok::<_, SendReason>(self.raw.send(codec, &[bytes], fds, &mut wait)?)
        });
        sent.map_err(|reason| SendError::new(value, reason))
    }
}

/// What both ends are besides.
macro_rules! both_ends {
    ($end:ident, $variant:ident, $expected:literal) => {
        impl<T> $end<T> {
            /// How many messages wait at this moment. Another process may change that before the caller looks at it.
            pub fn len(&self) -> usize {
                usize::try_from(self.raw.len()).unwrap_or(usize::MAX)
            }

            /// Whether no message waits at this moment.
            pub fn is_empty(&self) -> bool {
                self.raw.is_empty()
            }

            /// How many messages the channel holds at most; `None` when there is no such limit.
            pub fn capacity(&self) -> Option<usize> {
                self.raw.capacity().map(|n| usize::try_from(n).unwrap_or(usize::MAX))
            }
        }

        impl<T> Clone for $end<T> {
            fn clone(&self) -> $end<T> {
                $end::from_raw(self.raw.clone())
            }
        }

        impl<T> fmt::Debug for $end<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($end))
                    .field("len", &self.len())
                    .field("capacity", &self.capacity())
                    .finish_non_exhaustive()
            }
        }

        impl<T> Serialize for $end<T> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                raw::serde::serialize(serializer, |table| self.raw.record(table))
            }
        }

        impl<'de, T> Deserialize<'de> for $end<T> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$end<T>, D::Error> {
                raw::serde::deserialize(deserializer, |handle| match handle {
                    RawHandle::$variant(raw) => Ok($end::from_raw(raw)),
                    other => Err(other.instead_of($expected)),
                })
            }
        }
    };
}
pub(super) use both_ends;

both_ends!(Sender, Sender, "a channel's sender");
