//! `recv_async` of connections.

use super::{Watched, until};
use crate::connection::{Connection, RecvError};
use crate::protocol::codec::Message;
use crate::raw::TransportFailure;

/// On tokio, with the feature `tokio`.
impl<S, R: Message> Connection<S, R> {
    /// Receives the next message, waiting for one without blocking the thread.
    ///
    /// Cancel safe: a future that is dropped has received nothing; of a large message of which a part came, the next
    /// call receives the rest. There is no such form of `send`: a pipe has no descriptor that shows room.
    ///
    /// # Errors
    /// As [`recv`](Connection::recv); and outside of a tokio runtime, when there is something to wait for.
    ///
    /// # Panics
    /// In a runtime that was built without `enable_io`, as all that tokio has for descriptors.
    pub async fn recv_async(&self) -> Result<R, RecvError> {
        let attempt = || match self.try_recv() {
            Err(error) if error.is_empty() => None,
            done => Some(done),
        };
        let watch = || Watched::new()?.readable(self.transport().pollable()?);
        until(attempt, watch)
            .await
            .map_err(|error| RecvError::from(TransportFailure::from(error)))?
    }
}
