//! `recv_async` and `send_async` of channels.

use super::{Watched, until};
use crate::channel::{Receiver, RecvError, SendError, Sender};
use crate::protocol::codec::Message;
use crate::raw::TransportFailure;

/// On tokio, with the feature `tokio`.
impl<T: Message> Receiver<T> {
    /// Takes the oldest message, waiting for one without blocking the thread.
    ///
    /// Cancel safe: a future that is dropped has taken nothing.
    ///
    /// # Errors
    /// As [`recv`](Receiver::recv), where the end is told at once, also after a kill; and outside of a tokio runtime,
    /// when there is something to wait for.
    ///
    /// # Panics
    /// In a runtime that was built without `enable_io`, as all that tokio has for descriptors.
    pub async fn recv_async(&self) -> Result<T, RecvError> {
        let raw = self.raw();
        let attempt = || match self.try_recv() {
            Err(error) if error.is_empty() => {
                raw.sweep();
                // The socket is asked here and not only now and then: that may be what woke us.
                raw.is_disconnected().then(|| self.try_recv()).filter(|last| !is_empty(last))
            }
            done => Some(done),
        };
        let watch = || Watched::new()?.readable(raw.pollable()?)?.readable(raw.socket());
        until(attempt, watch)
            .await
            .map_err(|error| RecvError::from(TransportFailure::from(error)))?
    }
}

fn is_empty<T>(got: &Result<T, RecvError>) -> bool {
    got.as_ref().is_err_and(RecvError::is_empty)
}

/// On tokio, with the feature `tokio`.
impl<T: Message> Sender<T> {
    /// Sends a message, waiting for room without blocking the thread.
    ///
    /// Cancel safe: a future that is dropped has sent nothing. The value is dropped with it.
    ///
    /// # Errors
    /// As [`send`](Sender::send); and outside of a tokio runtime, when there is something to wait for.
    ///
    /// # Panics
    /// As [`recv_async`](Receiver::recv_async).
    pub async fn send_async(&self, value: T) -> Result<(), SendError<T>> {
        let raw = self.raw();
        let mut waiting = Some(value);
        let attempt = || {
            let value = waiting.take()?;
            let full = match self.try_send(value) {
                Err(error) if error.is_full() => error,
                done => return Some(done),
            };
            if raw.is_disconnected() {
                return Some(self.try_send(full.into_inner()));
            }
            waiting = Some(full.into_inner());
            None
        };
        let watch =
            || Watched::new()?.room(raw.is_limited(), || raw.pollable())?.readable(raw.socket());
        match until(attempt, watch).await {
            Ok(done) => done,
            Err(error) => Err(SendError::failed(waiting.expect("it was not sent"), error)),
        }
    }
}
