//! Why a message was not sent, or none received.

use std::fmt;

use crate::error::Error;
use crate::protocol::error::{DecodeError, EncodeError};
use crate::raw::{Death, TransportFailure};

/// A message that was not sent; it is given back.
pub struct SendError<T> {
    value: T,
    reason: SendReason,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum SendReason {
    #[error("the channel is full")]
    Full,
    #[error("no receiver of this channel is left{0}")]
    Disconnected(Receivers),
    #[error(transparent)]
    Encode(#[from] EncodeError),
    #[error(transparent)]
    Failed(Error),
}

/// Who received and was killed, as the end of a sentence.
#[derive(Debug)]
pub(crate) struct Receivers(Option<Box<Death>>);

impl fmt::Display for Receivers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(death) => write!(f, ": {death}"),
            None => Ok(()),
        }
    }
}

impl From<TransportFailure> for SendReason {
    fn from(failure: TransportFailure) -> SendReason {
        match failure {
            TransportFailure::GaveUp(_) => SendReason::Full,
            TransportFailure::Disconnected(death) => SendReason::Disconnected(Receivers(death)),
            other => SendReason::Failed(other.into()),
        }
    }
}

impl<T> SendError<T> {
    pub(crate) fn new(value: T, reason: SendReason) -> SendError<T> {
        SendError { value, reason }
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn failed(value: T, error: Error) -> SendError<T> {
        SendError { value, reason: SendReason::Failed(error) }
    }

    /// The message, untouched.
    pub fn into_inner(self) -> T {
        self.value
    }

    /// Whether there was no room, at once or within the timeout.
    pub fn is_full(&self) -> bool {
        matches!(self.reason, SendReason::Full)
    }

    /// Whether no receiver is left, in any process: nothing can be sent any more.
    pub fn is_disconnected(&self) -> bool {
        matches!(self.reason, SendReason::Disconnected(_))
    }
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SendError").field(&self.reason).finish()
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl<T> std::error::Error for SendError<T> {}

/// Why `recv` has no message.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct RecvError(RecvReason);

#[derive(Debug, thiserror::Error)]
enum RecvReason {
    #[error("the channel is empty")]
    Empty,
    #[error("the channel is empty and no sender of it is left")]
    Disconnected,
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Failed(Error),
}

impl RecvError {
    /// Whether there was no message, at once or within the timeout, though there may be one later.
    pub fn is_empty(&self) -> bool {
        matches!(self.0, RecvReason::Empty)
    }

    /// Whether no message is left and no sender, in any process: there will never be one.
    pub fn is_disconnected(&self) -> bool {
        matches!(self.0, RecvReason::Disconnected)
    }

    /// Why the message that was taken is not one of the expected type.
    pub fn decode_error(&self) -> Option<&DecodeError> {
        match &self.0 {
            RecvReason::Decode(error) => Some(error),
            _ => None,
        }
    }
}

impl From<TransportFailure> for RecvError {
    fn from(failure: TransportFailure) -> RecvError {
        RecvError(match failure {
            TransportFailure::GaveUp(_) => RecvReason::Empty,
            TransportFailure::Disconnected(_) => RecvReason::Disconnected,
            other => RecvReason::Failed(other.into()),
        })
    }
}

impl From<DecodeError> for RecvError {
    fn from(error: DecodeError) -> RecvError {
        RecvError(RecvReason::Decode(error))
    }
}
