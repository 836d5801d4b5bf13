//! Why a message was not put into a queue, or none came out of it.

use std::fmt;

use crate::error::Error;
use crate::protocol::error::{DecodeError, EncodeError};
use crate::raw::{Death, TransportFailure};

/// A message that was not put; it is given back.
pub struct PutError<T> {
    pub(super) value: T,
    pub(super) reason: PutReason,
}

/// Why nothing was put.
#[derive(Debug, thiserror::Error)]
pub(super) enum PutReason {
    #[error("the queue is full")]
    Full,
    #[error("the queue was shut down")]
    ShutDown,
    #[error("the queue is full and nobody gets from it any more{0}")]
    Disconnected(Readers),
    #[error(transparent)]
    Encode(#[from] EncodeError),
    #[error(transparent)]
    Failed(Error),
}

/// Who got from the queue and was killed, as the end of a sentence.
#[derive(Debug)]
pub(super) struct Readers(Option<Box<Death>>);

impl fmt::Display for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(death) => write!(f, ": {death}"),
            None => Ok(()),
        }
    }
}

impl From<TransportFailure> for PutReason {
    fn from(failure: TransportFailure) -> PutReason {
        match failure {
            TransportFailure::GaveUp(_) => PutReason::Full,
            TransportFailure::ShutDown => PutReason::ShutDown,
            TransportFailure::Disconnected(death) => PutReason::Disconnected(Readers(death)),
            TransportFailure::Failed(error) => PutReason::Failed(*error),
        }
    }
}

impl<T> PutError<T> {
    #[cfg(feature = "tokio")]
    pub(crate) fn failed(value: T, error: Error) -> PutError<T> {
        PutError { value, reason: PutReason::Failed(error) }
    }

    /// The message, untouched.
    pub fn into_inner(self) -> T {
        self.value
    }

    /// Whether there was no room, at once or within the timeout.
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

impl<T> fmt::Debug for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PutError").field(&self.reason).finish()
    }
}

impl<T> fmt::Display for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl<T> std::error::Error for PutError<T> {}

/// Why `get` has no message.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct GetError(GetReason);

#[derive(Debug, thiserror::Error)]
enum GetReason {
    #[error("the queue is empty")]
    Empty,
    #[error("the queue was shut down")]
    ShutDown,
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Failed(Error),
}

impl GetError {
    /// Whether there was no message, at once or within the timeout.
    pub fn is_empty(&self) -> bool {
        matches!(self.0, GetReason::Empty)
    }

    /// Whether the queue was shut down, and no message is left to get.
    pub fn is_shut_down(&self) -> bool {
        matches!(self.0, GetReason::ShutDown)
    }

    /// Why the message that was taken is not one of the expected type.
    pub fn decode_error(&self) -> Option<&DecodeError> {
        match &self.0 {
            GetReason::Decode(error) => Some(error),
            _ => None,
        }
    }
}

impl From<TransportFailure> for GetError {
    fn from(failure: TransportFailure) -> GetError {
        GetError(match failure {
            TransportFailure::GaveUp(_) => GetReason::Empty,
            TransportFailure::ShutDown => GetReason::ShutDown,
            failure @ TransportFailure::Disconnected(_) => GetReason::Failed(failure.into()),
            TransportFailure::Failed(error) => GetReason::Failed(*error),
        })
    }
}

impl From<DecodeError> for GetError {
    fn from(error: DecodeError) -> GetError {
        GetError(GetReason::Decode(error))
    }
}
