//! Queues and channels of frames, as the fronts make them and hand them on.

use crate::error::Error;
use crate::handle;
pub use crate::layout::message::Outbound as OutboundMessage;
use crate::layout::queue::{self, Options};
pub use crate::layout::queue::{
    AttachedQueue, Batch, BatchMessage, Block as LargeMessage, JoinFailure, LostTasks,
    PrivateBlock as PrivateMessage, Receiver as RawReceiver, Remains as QueueRemains,
    Sender as RawSender, SharedQueue as RawQueue, Shutdown, Taken, TaskDoneFailure,
};
use crate::protocol::codec::StructuredCodec;
use crate::protocol::transfer::{Outgoing, TransferError};

/// What a queue is to be; see [`RawQueue::create`].
#[derive(Clone, Debug, Default)]
pub struct QueueOptions {
    /// Most messages at a time; `None` is no limit.
    pub capacity: Option<u64>,
    /// Most bytes of messages at a time; `None` is no limit.
    pub byte_limit: Option<u64>,
    /// Whether the message that reaches `byte_limit` may go beyond it, as a large one goes into a pipe; else one that is larger
    /// than the limit is refused.
    pub soft_limit: bool,
    /// How structured data is written into this queue.
    pub structured: StructuredCodec,
    /// Whether messages are tasks that are reported done: see [`RawQueue::task_done`] and [`RawQueue::join`].
    pub joinable: bool,
    /// A name for people who look into /proc.
    pub label: String,
}

impl QueueOptions {
    /// In the engine's words, if such a queue or channel can be.
    fn checked(self, what: &str) -> Result<Options, Error> {
        let QueueOptions { capacity, byte_limit, soft_limit, structured, joinable, label } = self;
        if capacity == Some(0) {
            return Err(Error::Invalid(format!(
                "a {what} of capacity 0 could never hold a message; ask for at least 1"
            )));
        }
        let structured = structured.codec().tag();
        Ok(Options { capacity, byte_limit, soft_limit, structured, joinable, label })
    }
}

/// Makes a channel of frames; see [`QueueOptions`].
pub fn channel(options: QueueOptions) -> Result<(RawSender, RawReceiver), Error> {
    queue::channel(&options.checked("channel")?)
}

impl AttachedQueue {
    /// How structured data is written into this queue, or channel.
    pub fn structured(&self) -> StructuredCodec {
        StructuredCodec::from_tag(self.structured_tag()).unwrap_or_default()
    }
}

impl RawQueue {
    /// Makes an empty queue.
    pub fn create(options: QueueOptions) -> Result<RawQueue, Error> {
        RawQueue::create_of(&options.checked("queue")?)
    }

    /// The record that names this queue in a message; its descriptors go into `table`.
    pub fn record(&self, table: &mut Outgoing) -> Result<Vec<u8>, TransferError> {
        handle::write_queue(self, table)
    }
}

impl RawSender {
    /// The record that names this end in a message; its descriptors go into `table`.
    pub fn record(&self, table: &mut Outgoing) -> Result<Vec<u8>, TransferError> {
        handle::write_sender(self, table)
    }
}

impl RawReceiver {
    /// The record that names this end in a message; its descriptors go into `table`.
    pub fn record(&self, table: &mut Outgoing) -> Result<Vec<u8>, TransferError> {
        handle::write_receiver(self, table)
    }
}
