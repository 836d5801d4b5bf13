//! The two ends of a channel of frames: a queue that knows whether somebody is at the other end.
//!
//! `channel/README.md` holds the steps. The ends wait as a queue does; what is added is asked of the socket before each
//! sleep, never while a lock is held.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use super::queues::LargeMessage;
use super::{QueueOptions, Taken};
use crate::error::Error;
use crate::handle;
use crate::layout::failure::TransportFailure;
use crate::layout::queue::{self, Extras, Outbound, Parts, SharedQueue};
use crate::protocol::codec::StructuredCodec;
use crate::protocol::transfer::{Outgoing, TransferError};
use crate::sync::Wait;

/// Makes a channel of frames; see [`QueueOptions`].
pub fn channel(options: QueueOptions) -> Result<(RawSender, RawReceiver), Error> {
    let (sending, receiving) = SharedQueue::create_channel(&options.checked("channel")?)?;
    Ok((RawSender { queue: Arc::new(sending) }, RawReceiver { queue: Arc::new(receiving) }))
}

/// The end of a channel into which messages go. A clone is the same end; it is closed with its last clone here.
#[derive(Clone, Debug)]
pub struct RawSender {
    queue: Arc<SharedQueue>,
}

/// The end of a channel out of which messages come. A clone is the same end; it is closed with its last clone here,
/// and with the last [`LargeMessage`] that came out of it.
#[derive(Clone, Debug)]
pub struct RawReceiver {
    queue: Arc<SharedQueue>,
}

impl RawSender {
    pub(crate) fn open(parts: Parts<OwnedFd>) -> Result<RawSender, Error> {
        Ok(RawSender { queue: Arc::new(SharedQueue::attach_end(parts)?) })
    }

    /// Puts a message of `codec` that consists of `parts`, one after the other, together with `fds`.
    ///
    /// When this returns `Ok`, the next receiver sees the message, even if this process is killed at once. On any
    /// failure the message is wholly outside; [`TransportFailure::Disconnected`] says that nobody can receive it any more.
    #[inline]
    pub fn send(
        &self,
        codec: u16,
        parts: &[&[u8]],
        fds: &[OwnedFd],
        wait: &mut Wait<'_>,
    ) -> Result<(), TransportFailure> {
        if codec == queue::NO_CODEC {
            return Err(super::queues::no_codec(codec));
        }
        let message = Outbound { codec, parts, fds };
        loop {
            if self.queue.is_known_alone() {
                return Err(self.disconnected());
            }
            let mut stop = || self.queue.is_alone();
            match wait.unless(&mut stop, |wait| self.queue.put(&message, wait)) {
                Ok(()) => return Ok(()),
                Err(why) => self.not_sent(why)?,
            }
        }
    }

    /// Why nothing was sent; `Ok` when it is to be tried again.
    #[cold]
    fn not_sent(&self, why: TransportFailure) -> Result<(), TransportFailure> {
        let alone = match why {
            // It was full this time; who asks again and again need not ask the kernel each time.
            TransportFailure::GaveUp(_) => self.queue.is_known_alone(),
            TransportFailure::ShutDown
            | TransportFailure::Disconnected(_)
            | TransportFailure::Failed(_) => self.queue.is_alone(),
        };
        Err(if alone { self.disconnected() } else { why })
    }

    fn disconnected(&self) -> TransportFailure {
        TransportFailure::Disconnected(self.queue.killed_reader())
    }

    /// Whether no receiver is left, in any process or message: then none will ever be again.
    pub fn is_disconnected(&self) -> bool {
        self.queue.is_alone()
    }

    /// Whether a message would have to wait for room at this moment, even a small one.
    pub fn is_full(&self) -> bool {
        self.queue.is_full()
    }

    /// Whether it can ever be full.
    #[cfg(feature = "tokio")]
    pub(crate) fn is_limited(&self) -> bool {
        self.queue.is_limited()
    }

    /// Whether bytes are limited: then there may be room, but not for a certain message.
    pub(crate) fn limits_bytes(&self) -> bool {
        self.queue.limits_bytes()
    }

    /// A descriptor that is writable whenever there is room; as [`RawQueue::pollable_for_put`](super::RawQueue::pollable_for_put).
    /// That nobody receives any more shows at the [`socket`](RawSender::socket).
    pub fn pollable(&self) -> Result<BorrowedFd<'_>, Error> {
        Ok(self.queue.pollable_for_put(&mut Wait::forever())?)
    }

    /// The record that names this end in a message; its descriptors go into `table`.
    pub fn record(&self, table: &mut Outgoing) -> Result<Vec<u8>, TransferError> {
        handle::write_sender(&self.queue, table)
    }
}

impl RawReceiver {
    pub(crate) fn open(parts: Parts<OwnedFd>) -> Result<RawReceiver, Error> {
        Ok(RawReceiver { queue: Arc::new(SharedQueue::attach_end(parts)?) })
    }

    /// Takes the oldest message. A small one's bytes are in `buffer` then, which is emptied first; a large one's are
    /// in the returned [`LargeMessage`]. [`TransportFailure::Disconnected`] comes when no message waits and no sender is left.
    #[inline]
    pub fn recv(
        &self,
        buffer: &mut Vec<u8>,
        wait: &mut Wait<'_>,
    ) -> Result<Taken, TransportFailure> {
        let mut extras = Extras::default();
        let codec = self.recv_with(buffer, &mut extras, wait)?;
        let large = extras.block.map(LargeMessage::of);
        Ok(Taken { codec, large, fds: extras.fds })
    }

    /// As `recv`; what few messages have goes into `extras`, which comes empty.
    #[inline]
    pub(crate) fn recv_with(
        &self,
        buffer: &mut Vec<u8>,
        extras: &mut Extras,
        wait: &mut Wait<'_>,
    ) -> Result<u16, TransportFailure> {
        loop {
            let mut stopped = false;
            let mut stop = || {
                stopped = self.queue.should_not_sleep();
                stopped
            };
            match wait.unless(&mut stop, |wait| self.queue.get(buffer, extras, wait)) {
                Ok(codec) => return Ok(codec),
                // It was empty this time, as in `not_sent`; after `stop` the answer is known.
                Err(TransportFailure::GaveUp(_)) if self.queue.is_known_alone() => {
                    return self.recv_rest(buffer, extras, wait);
                }
                Err(TransportFailure::GaveUp(_)) if stopped => self.queue.sweep(),
                Err(why) => return Err(why),
            }
        }
    }

    /// As `recv_with`, once no sender is left: nothing is put any more, so that an empty channel stays empty.
    #[cold]
    fn recv_rest(
        &self,
        buffer: &mut Vec<u8>,
        extras: &mut Extras,
        wait: &mut Wait<'_>,
    ) -> Result<u16, TransportFailure> {
        let mut stop = || self.is_empty();
        match wait.unless(&mut stop, |wait| self.queue.get(buffer, extras, wait)) {
            Err(TransportFailure::GaveUp(_)) if self.is_empty() => {
                Err(TransportFailure::Disconnected(None))
            }
            other => other,
        }
    }

    /// Whether no sender is left, in any process or message. Messages that they put may still wait.
    pub fn is_disconnected(&self) -> bool {
        self.queue.is_alone()
    }

    /// A descriptor that is readable whenever a message waits; as [`RawQueue::pollable`](super::RawQueue::pollable). That
    /// nobody sends any more shows at the [`socket`](RawReceiver::socket).
    pub fn pollable(&self) -> Result<BorrowedFd<'_>, Error> {
        Ok(self.queue.pollable(&mut Wait::forever())?)
    }

    /// What `recv` does for senders, for those who wait otherwise: closes descriptors of messages that never came.
    /// Costs nothing but now and then.
    pub(crate) fn sweep(&self) {
        if self.is_empty() {
            self.queue.sweep();
        }
    }

    /// The record that names this end in a message; its descriptors go into `table`.
    pub fn record(&self, table: &mut Outgoing) -> Result<Vec<u8>, TransferError> {
        handle::write_receiver(&self.queue, table)
    }
}

/// What both ends can say.
macro_rules! both_ends {
    ($($end:ident)*) => { $(
        impl $end {
            /// How many messages wait at this moment.
            pub fn len(&self) -> u64 {
                self.queue.len()
            }

            /// Whether no message waits at this moment.
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// Most messages at a time; `None` is no limit.
            pub fn capacity(&self) -> Option<u64> {
                self.queue.capacity()
            }

            /// How structured data is written into this channel.
            pub fn structured(&self) -> StructuredCodec {
                StructuredCodec::from_tag(self.queue.structured()).unwrap_or_default()
            }

            /// This end's socket. It hangs up when nobody is at the other end: for poll without any event asked for, and
            /// with it all that wait in the kernel. Whatever else it says concerns nobody, and nothing is read from it.
            pub fn socket(&self) -> BorrowedFd<'_> {
                self.queue.descriptors().sidecar
            }

            /// As `is_disconnected`, without asking the kernel each time: who was killed is noticed within a tenth of a
            /// second.
            #[inline]
            pub fn is_known_disconnected(&self) -> bool {
                self.queue.is_known_alone()
            }

            /// The channel's own number, equal for all its ends in all processes.
            pub fn id(&self) -> [u8; 16] {
                self.queue.id().0
            }
        }
    )* };
}

both_ends!(RawSender RawReceiver);
