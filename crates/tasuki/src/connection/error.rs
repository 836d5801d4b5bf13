//! Why a message was not sent, or none received.

use std::fmt;
use std::io;

use crate::error::Error;
use crate::protocol::error::{DecodeError, EncodeError};
use crate::raw::TransportFailure;
use crate::raw::connection::{ConnectFailure, StreamError};

/// A message that was not sent; it is given back.
pub struct SendError<T> {
    value: T,
    reason: SendReason,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum SendReason {
    #[error("the connection has no room for the message")]
    Full,
    #[error("nobody is at the other end of this connection any more")]
    Disconnected,
    #[error(transparent)]
    Encode(#[from] EncodeError),
    #[error(transparent)]
    Failed(Error),
}

impl From<TransportFailure> for SendReason {
    fn from(failure: TransportFailure) -> SendReason {
        match failure {
            TransportFailure::GaveUp(_) => SendReason::Full,
            TransportFailure::Disconnected(_) => SendReason::Disconnected,
            other => SendReason::Failed(other.into()),
        }
    }
}

impl<T> SendError<T> {
    pub(super) fn new(value: T, reason: SendReason) -> SendError<T> {
        SendError { value, reason }
    }

    /// The message, untouched.
    pub fn into_inner(self) -> T {
        self.value
    }

    /// Whether there was no room, at once or within the timeout.
    pub fn is_full(&self) -> bool {
        matches!(self.reason, SendReason::Full)
    }

    /// Whether nobody has the other end, in any process: nothing can be sent any more.
    pub fn is_disconnected(&self) -> bool {
        matches!(self.reason, SendReason::Disconnected)
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
pub(super) enum RecvReason {
    #[error("no message is there")]
    Empty,
    #[error("no message is there, and nobody at the other end of this connection any more")]
    Disconnected,
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Failed(Error),
}

impl From<TransportFailure> for RecvReason {
    fn from(failure: TransportFailure) -> RecvReason {
        match failure {
            TransportFailure::GaveUp(_) => RecvReason::Empty,
            TransportFailure::Disconnected(_) => RecvReason::Disconnected,
            other => RecvReason::Failed(other.into()),
        }
    }
}

impl RecvError {
    pub(super) fn new(reason: RecvReason) -> RecvError {
        RecvError(reason)
    }

    /// Whether there was no message, at once or within the timeout, though there may be one later.
    pub fn is_empty(&self) -> bool {
        matches!(self.0, RecvReason::Empty)
    }

    /// Whether no message is left and nobody has the other end, in any process: there will never be one.
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

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ConnectError(#[from] ConnectFailure);

impl ConnectError {
    /// Whether the two ends have different keys, or one of them has none.
    pub fn is_authentication(&self) -> bool {
        self.0.is_authentication()
    }

    /// Whether the time was over: that of the call, or that of the handshake.
    pub fn is_timeout(&self) -> bool {
        use ConnectFailure::{Stream, TooSlow};
        matches!(self.0, TooSlow(_) | Stream(StreamError::GaveUp(_)))
    }

    /// Whether the peer was there and went away before it proved its key.
    pub fn is_disconnected(&self) -> bool {
        matches!(&self.0, ConnectFailure::Stream(error) if error.is_disconnected())
    }

    /// The system's own error, if it refused: that nobody listens there, for example.
    pub fn os_error(&self) -> Option<&io::Error> {
        match &self.0 {
            ConnectFailure::Stream(StreamError::Os { source, .. }) => Some(source),
            _ => None,
        }
    }
}

impl From<TransportFailure> for RecvError {
    fn from(failure: TransportFailure) -> RecvError {
        RecvError(failure.into())
    }
}
