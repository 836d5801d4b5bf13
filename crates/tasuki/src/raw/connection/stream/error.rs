//! Why a message does not come through a stream.

use std::io;
use std::time::Duration;

use crate::error::Error;
use crate::protocol::frame::FrameError;
use crate::raw::TransportFailure;
use crate::raw::connection::turn::NoTurn;
use crate::sync::GaveUp;

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
    /// The calling thread is in the middle of a message in the same direction, and what interrupted it asks for the
    /// next one.
    #[error(
        "this thread is in the middle of a message on this connection, and what interrupted that would wait for it"
    )]
    Reentrant,
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
    pub(in crate::raw::connection) fn os(
        doing: &'static str,
    ) -> impl FnOnce(io::Error) -> StreamError {
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
            NoTurn::Reentrant => StreamError::Reentrant,
        }
    }
}

impl From<StreamError> for TransportFailure {
    fn from(error: StreamError) -> TransportFailure {
        match error {
            gone if gone.is_disconnected() => TransportFailure::Disconnected(None),
            StreamError::GaveUp(why) => TransportFailure::GaveUp(why),
            StreamError::Os { doing, source } => Error::Os { doing, source }.into(),
            StreamError::Reentrant => Error::Reentrant(error.to_string()).into(),
            other => Error::Connection(other.to_string()).into(),
        }
    }
}
