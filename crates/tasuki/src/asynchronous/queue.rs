//! `get_async` and `put_async` of queues.

use super::{Watched, until};
use crate::protocol::codec::Message;
use crate::queues::{GetError, PutError, Queue};
use crate::raw::TransportFailure;

/// On tokio, with the feature `tokio`.
impl<T: Message> Queue<T> {
    /// Takes the oldest message, waiting for one without blocking the thread.
    ///
    /// Cancel safe: a future that is dropped has taken nothing.
    ///
    /// # Errors
    /// As [`get`](Queue::get); and outside of a tokio runtime, when there is something to wait for.
    ///
    /// # Panics
    /// In a runtime that was built without `enable_io`, as all that tokio has for descriptors.
    pub async fn get_async(&self) -> Result<T, GetError> {
        let attempt = || match self.try_get() {
            Err(error) if error.is_empty() => None,
            done => Some(done),
        };
        let watch = || Watched::new()?.readable(self.raw().pollable()?);
        until(attempt, watch)
            .await
            .map_err(|error| GetError::from(TransportFailure::from(error)))?
    }

    /// Puts a message, waiting for room without blocking the thread.
    ///
    /// Cancel safe: a future that is dropped has put nothing. The value is dropped with it; who wants to keep it waits
    /// with a clone, or for room and then calls [`try_put`](Queue::try_put).
    ///
    /// Unlike [`put`](Queue::put), this does not find out that every process which got from the queue is gone. A
    /// channel tells that.
    ///
    /// # Errors
    /// As [`put`](Queue::put); and outside of a tokio runtime, when there is something to wait for.
    ///
    /// # Panics
    /// As [`get_async`](Queue::get_async).
    pub async fn put_async(&self, value: T) -> Result<(), PutError<T>> {
        let mut waiting = Some(value);
        let attempt = || match self.try_put(waiting.take()?) {
            Err(error) if error.is_full() => {
                waiting = Some(error.into_inner());
                None
            }
            done => Some(done),
        };
        let raw = self.raw();
        let watch = || Watched::new()?.room(raw.is_limited(), || raw.pollable_for_put());
        match until(attempt, watch).await {
            Ok(done) => done,
            Err(error) => Err(PutError::failed(waiting.expect("it was not put"), error)),
        }
    }
}
