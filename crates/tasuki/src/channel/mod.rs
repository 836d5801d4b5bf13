//! Channels between processes: a queue whose ends know whether somebody is at the other one.
//!
//! `README.md` beside this file holds the steps and why no end is missed. [`Sender`] and [`Receiver`] have a file each,
//! [`error`] says what can go wrong.

pub mod error;
mod iter;
mod receiver;
mod sender;

use std::marker::PhantomData;

pub use error::{RecvError, SendError};
pub use iter::{IntoIter, Iter, TryIter};
pub use receiver::Receiver;
pub use sender::Sender;

use crate::error::Error;
use crate::protocol::codec::StructuredCodec;
use crate::raw::{self, QueueOptions};

/// A channel that grows with what is sent, up to the machine's memory, and gives memory back after a burst.
///
/// ```
/// let (sender, receiver) = tasuki::channel()?;
/// std::thread::scope(|scope| {
///     scope.spawn(move || (1..=3_u64).for_each(|n| sender.send(n).unwrap()));
///     // The loop ends when the last sender is gone.
///     assert_eq!(receiver.iter().sum::<u64>(), 6);
/// });
/// # Ok::<(), tasuki::Error>(())
/// ```
///
/// # Errors
/// When the system refuses memory or descriptors.
pub fn channel<T>() -> Result<(Sender<T>, Receiver<T>), Error> {
    builder().create()
}

/// A channel that holds at most `capacity` messages; a `send` into a full one waits.
///
/// A capacity of 0, where crossbeam's sender waits until a receiver takes the message out of its hands, is refused: the
/// receiver could be killed with its hand stretched out. Let it answer, through a channel for answers.
///
/// # Errors
/// When the system refuses memory or descriptors, or `capacity` is 0.
#[doc(alias = "sync_channel")]
pub fn bounded<T>(capacity: usize) -> Result<(Sender<T>, Receiver<T>), Error> {
    builder().capacity(capacity).create()
}

/// A channel with other settings.
pub fn builder<T>() -> ChannelBuilder<T> {
    ChannelBuilder { options: QueueOptions::default(), message: PhantomData }
}

/// Settings of a channel to be made; see [`builder`].
#[derive(Debug)]
#[must_use]
pub struct ChannelBuilder<T> {
    options: QueueOptions,
    message: PhantomData<fn(T) -> T>,
}

impl<T> ChannelBuilder<T> {
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

    /// A name for people who look into /proc/PID/maps, where the channel is `memfd:tasuki:queue:LABEL`.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.options.label = label.into();
        self
    }

    /// How structured values are written: MessagePack unless set.
    pub fn codec(mut self, codec: StructuredCodec) -> Self {
        self.options.structured = codec;
        self
    }

    /// Makes the channel.
    ///
    /// # Errors
    /// When the system refuses memory or descriptors, or a capacity is 0.
    pub fn create(self) -> Result<(Sender<T>, Receiver<T>), Error> {
        let (sender, receiver) = raw::channel(self.options)?;
        Ok((Sender::from_raw(sender), Receiver::from_raw(receiver)))
    }
}
