//! Queues and channels of frames, as the fronts make them and hand them on.

use std::os::fd::OwnedFd;

use super::record::{RecordReader, RecordWriter, Transferable, malformed};
use crate::error::Error;
pub use crate::layout::message::Outbound as OutboundMessage;
use crate::layout::queue::{self, Options, Parts};
pub use crate::layout::queue::{
    AttachedQueue, Batch, BatchMessage, Block as LargeMessage, JoinFailure, LostTasks,
    PrivateBlock as PrivateMessage, Receiver as RawReceiver, Remains as QueueRemains,
    Sender as RawSender, SharedQueue as RawQueue, Shutdown, Taken, TaskDoneFailure,
};
use crate::protocol::codec::StructuredCodec;
use crate::protocol::transfer::TransferError;
use crate::segment::slot::SlotKind;

/// What a queue is to be; see [`RawQueue::create`].
#[derive(Clone, Debug, Default)]
pub struct QueueOptions {
    /// Most messages at a time; `None` is no limit.
    pub capacity: Option<u64>,
    /// Most bytes of messages at a time; `None` is no limit.
    pub byte_limit: Option<u64>,
    /// Whether the message that reaches `byte_limit` may go beyond it, as a large one goes into a pipe; else one that
    /// is larger than the limit is refused.
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
}

/// The descriptors are all: the segment, the descriptor socket, the eventfd for messages, and the one for room if there
/// is a limit. Of a channel's end, its socket is the descriptor socket.
fn write_parts(queue: &AttachedQueue, record: &mut RecordWriter<'_>) -> Result<(), TransferError> {
    queue.descriptors().into_iter().try_for_each(|fd| record.descriptor(fd))
}

fn read_parts(record: &mut RecordReader<'_>) -> Result<Parts<OwnedFd>, Error> {
    Parts::from_list(record.descriptors()).ok_or_else(malformed)
}

macro_rules! transferable {
    ($raw:ident, $kind:literal, $name:literal, $open:path) => {
        impl Transferable for $raw {
            const KINDS: &'static [u8] = &[$kind];
            const SLOTS: &'static [(SlotKind, SlotKind)] = &[];

            fn kind(&self) -> u8 {
                $kind
            }

            fn write_record(&self, record: &mut RecordWriter<'_>) -> Result<(), TransferError> {
                write_parts(self, record)
            }

            fn read_record(record: &mut RecordReader<'_>) -> Result<$raw, Error> {
                $open(read_parts(record)?)
            }

            fn name(&self) -> &'static str {
                $name
            }
        }
    };
}

transferable!(RawQueue, 1, "a queue", RawQueue::attach);
transferable!(RawSender, 12, "a channel's sender", RawSender::open);
transferable!(RawReceiver, 13, "a channel's receiver", RawReceiver::open);
