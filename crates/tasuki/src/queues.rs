//! Queues between processes: typed, ordered, and whole whoever is killed.

mod batch;
mod error;
mod joinable;
mod view;

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::encoded;
use crate::error::Error;
use crate::protocol::codec::{self, Message, StructuredCodec};
pub use crate::raw::Shutdown;
use crate::raw::{self, QueueOptions, RawHandle, RawQueue, Wait};
pub use batch::{Messages, PutManyError};
pub use error::{GetError, PutError};
pub use joinable::{JoinError, JoinableQueue, LostTasks, TaskDoneError};
pub use view::View;

/// A queue of `T` that any number of processes and threads put into and get from.
///
/// A clone is another handle to the same queue. Handles are serde values: pass them as arguments of a
/// [`Process`](crate::Process), return them, or send them through a queue. The queue lives until the last handle in
/// the last process is gone; nothing is left behind then, however the processes ended.
///
/// - `put` is done when it returns: the message is delivered even if the producer is killed the next instant.
/// - Messages of one producer arrive in the order in which it put them.
/// - A message is taken at most once. It is lost only if the consumer that took it dies before using it.
/// - A killed producer or consumer blocks nobody and leaves no half message.
///
/// Not for use between threads of one process alone: crossbeam's channels move values without encoding them.
pub struct Queue<T> {
    raw: RawQueue,
    message: PhantomData<fn(T) -> T>,
}

impl<T> Queue<T> {
    /// A queue that grows with what is put, up to the machine's memory, and gives memory back after a burst.
    pub fn unbounded() -> Result<Queue<T>, Error> {
        Queue::<T>::builder().create()
    }

    /// A queue that holds at most `capacity` messages; a `put` into a full one waits.
    pub fn bounded(capacity: usize) -> Result<Queue<T>, Error> {
        Queue::<T>::builder().capacity(capacity).create()
    }

    /// A queue with other settings.
    pub fn builder() -> QueueBuilder<T> {
        QueueBuilder { options: QueueOptions::default(), message: PhantomData }
    }

    pub(crate) fn raw(&self) -> &RawQueue {
        &self.raw
    }

    /// How many messages wait at this moment. Another process may change that before the caller looks at it.
    pub fn len(&self) -> usize {
        usize::try_from(self.raw.len()).unwrap_or(usize::MAX)
    }

    /// Whether no message waits at this moment.
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// Whether a `put` would have to wait at this moment, even of a small message.
    pub fn is_full(&self) -> bool {
        self.raw.is_full()
    }

    /// Ends the use of the queue, for everybody who has it: from now on `put` fails, and `get` once it finds nothing.
    /// Those who wait in either are woken. Messages that wait can still be taken, or are thrown away at once.
    ///
    /// ```
    /// use tasuki::Queue;
    /// use tasuki::queues::Shutdown;
    ///
    /// let jobs = Queue::<String>::unbounded()?;
    /// jobs.put("the last one".into())?;
    /// jobs.shutdown(Shutdown::Drain)?;
    /// assert!(jobs.put("too late".into()).unwrap_err().is_shut_down());
    /// assert_eq!(jobs.get()?, "the last one");
    /// assert!(jobs.get().unwrap_err().is_shut_down());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the queue's memory was overwritten.
    pub fn shutdown(&self, how: Shutdown) -> Result<(), Error> {
        self.raw.shutdown(how)
    }

    /// Whether somebody has called [`shutdown`](Queue::shutdown).
    pub fn is_shut_down(&self) -> bool {
        self.raw.is_shut_down()
    }

    /// How many messages the queue holds at most; `None` when there is no such limit.
    pub fn capacity(&self) -> Option<usize> {
        self.raw.capacity().map(|n| usize::try_from(n).unwrap_or(usize::MAX))
    }
}

impl<T: Message> Queue<T> {
    /// Puts a message, waiting while the queue is full.
    ///
    /// # Errors
    /// When the value cannot be encoded, is too large, or memory is short. The error gives the value back.
    #[inline]
    pub fn put(&self, value: T) -> Result<(), PutError<T>> {
        self.put_within(value, Wait::forever)
    }

    /// Puts a message if there is room now.
    ///
    /// # Errors
    /// As `put`, and [`is_full`](PutError::is_full).
    #[inline]
    pub fn try_put(&self, value: T) -> Result<(), PutError<T>> {
        self.put_within(value, Wait::now)
    }

    /// Puts a message, waiting for room at most for `timeout`.
    ///
    /// # Errors
    /// As `put`, and [`is_full`](PutError::is_full).
    #[inline]
    pub fn put_timeout(&self, value: T, timeout: Duration) -> Result<(), PutError<T>> {
        self.put_within(value, || Wait::timeout(timeout))
    }

    /// Takes the oldest message, waiting for one.
    ///
    /// # Errors
    /// When the message is not a `T`: it is taken all the same, so that it does not block the queue.
    #[inline]
    pub fn get(&self) -> Result<T, GetError> {
        self.get_within(Wait::forever)
    }

    /// Takes the oldest message if there is one now.
    ///
    /// # Errors
    /// As `get`, and [`is_empty`](GetError::is_empty).
    #[inline]
    pub fn try_get(&self) -> Result<T, GetError> {
        self.get_within(Wait::now)
    }

    /// Takes the oldest message, waiting for one at most for `timeout`.
    ///
    /// # Errors
    /// As `get`, and [`is_empty`](GetError::is_empty).
    #[inline]
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, GetError> {
        self.get_within(|| Wait::timeout(timeout))
    }

    #[inline]
    fn put_within(
        &self,
        value: T,
        wait: impl FnOnce() -> Wait<'static>,
    ) -> Result<(), PutError<T>> {
        if encoded::write_word(&value, |word| self.raw.put_word(word)) {
            return Ok(());
        }
        self.put_encoded(value, wait())
    }

    #[inline(never)]
    fn put_encoded(&self, value: T, mut wait: Wait<'_>) -> Result<(), PutError<T>> {
        let put = encoded::write(&value, self.raw.structured(), |codec, bytes, fds| {
            if codec::is_short::<T>() {
                return Ok(self.raw.put_slowly(codec, &[bytes], fds, &mut wait)?);
            }
            Ok(self.raw.put(codec, &[bytes], fds, &mut wait)?)
        });
        put.map_err(|reason| PutError { value, reason })
    }

    #[inline]
    fn get_within(&self, wait: impl FnOnce() -> Wait<'static>) -> Result<T, GetError> {
        match encoded::read_word(|| self.raw.get_word()) {
            Some(value) => Ok(value?),
            None => self.get_encoded(wait()),
        }
    }

    #[inline(never)]
    fn get_encoded(&self, mut wait: Wait<'_>) -> Result<T, GetError> {
        encoded::read(|scratch, attachments| {
            if codec::is_short::<T>() {
                return Ok(self.raw.get_slowly(scratch, attachments, &mut wait)?);
            }
            Ok(self.raw.get_with(scratch, attachments, &mut wait)?)
        })
    }
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Queue<T> {
        Queue { raw: self.raw.clone(), message: PhantomData }
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .finish_non_exhaustive()
    }
}

/// Two handles are equal when they are to the same queue.
impl<T> PartialEq for Queue<T> {
    fn eq(&self, other: &Queue<T>) -> bool {
        self.raw.id() == other.raw.id()
    }
}

impl<T> Eq for Queue<T> {}

impl<T> Serialize for Queue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        raw::serde::serialize(serializer, |table| self.raw.record(table))
    }
}

impl<'de, T> Deserialize<'de> for Queue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Queue<T>, D::Error> {
        raw::serde::deserialize(deserializer, |handle| match handle {
            RawHandle::Queue(raw) => Ok(Queue { raw, message: PhantomData }),
            other => Err(other.instead_of("a queue")),
        })
    }
}

/// Settings of a queue to be made; see [`Queue::builder`].
#[must_use]
pub struct QueueBuilder<T> {
    options: QueueOptions,
    message: PhantomData<fn(T) -> T>,
}

impl<T> QueueBuilder<T> {
    /// Most messages at a time.
    pub fn capacity(mut self, messages: usize) -> Self {
        self.options.capacity = Some(messages as u64);
        self
    }

    /// Most bytes of encoded messages at a time.
    pub fn byte_limit(mut self, bytes: usize) -> Self {
        self.options.byte_limit = Some(bytes as u64);
        self
    }

    /// A name for people who look into /proc/PID/maps, where the queue is `memfd:tasuki:queue:LABEL`.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.options.label = label.into();
        self
    }

    /// How structured values are written: MessagePack unless set, which Python reads, too.
    pub fn codec(mut self, codec: StructuredCodec) -> Self {
        self.options.structured = codec;
        self
    }

    /// Makes the queue.
    ///
    /// # Errors
    /// When the system refuses memory or descriptors, or a capacity is 0.
    pub fn create(self) -> Result<Queue<T>, Error> {
        Ok(Queue { raw: RawQueue::create(self.options)?, message: PhantomData })
    }
}
