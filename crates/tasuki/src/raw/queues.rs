//! A queue of frames: a codec's tag, bytes and descriptors.
#![allow(unsafe_code)] // copies a large message to an address that the caller vouches for

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use crate::error::Error;
use crate::handle;
use crate::layout::failure::TransportFailure;
use crate::layout::queue::{self, Extras, Outbound, SharedQueue};
pub use crate::layout::queue::{
    JoinFailure, LostTasks, Outbound as OutboundMessage, Remains as QueueRemains, Shutdown,
    TaskDoneFailure,
};
use crate::protocol::codec::StructuredCodec;
use crate::protocol::transfer::{Outgoing, TransferError};
use crate::sync::Wait;

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
    pub(super) fn checked(self, what: &str) -> Result<queue::Options, Error> {
        let QueueOptions { capacity, byte_limit, soft_limit, structured, joinable, label } = self;
        if capacity == Some(0) {
            return Err(Error::Invalid(format!(
                "a {what} of capacity 0 could never hold a message; ask for at least 1"
            )));
        }
        let structured = structured.codec().tag();
        Ok(queue::Options { capacity, byte_limit, soft_limit, structured, joinable, label })
    }
}

/// A queue of frames: a codec tag, bytes and descriptors.
#[derive(Clone, Debug)]
pub struct RawQueue {
    shared: Arc<SharedQueue>,
}

impl RawQueue {
    /// Makes an empty queue.
    pub fn create(options: QueueOptions) -> Result<RawQueue, Error> {
        let options = options.checked("queue")?;
        Ok(RawQueue { shared: Arc::new(SharedQueue::create(&options)?) })
    }

    pub(crate) fn from_shared(shared: Arc<SharedQueue>) -> RawQueue {
        RawQueue { shared }
    }

    /// Puts a message of `codec` that consists of `parts`, one after the other, together with `fds`.
    ///
    /// When this returns `Ok`, whoever learns of it and then gets will see the message, even if this process is killed
    /// at once. On any failure the message is wholly outside.
    #[inline]
    pub fn put(
        &self,
        codec: u16,
        parts: &[&[u8]],
        fds: &[OwnedFd],
        wait: &mut Wait<'_>,
    ) -> Result<(), TransportFailure> {
        if codec == queue::NO_CODEC {
            return Err(no_codec(codec));
        }
        self.shared.put(&Outbound { codec, parts, fds }, wait)
    }

    /// As `put`, for a caller who has another way to hand over what `fds` are for: false, and nothing put, when the
    /// descriptors of too many other messages wait already. The kernel takes those of some 280 messages.
    pub fn put_if_descriptors_fit(
        &self,
        codec: u16,
        parts: &[&[u8]],
        fds: &[OwnedFd],
        wait: &mut Wait<'_>,
    ) -> Result<bool, TransportFailure> {
        if codec == queue::NO_CODEC {
            return Err(no_codec(codec));
        }
        self.shared.put_if_descriptors_fit(&Outbound { codec, parts, fds }, wait)
    }

    /// Takes the oldest message. A small one's bytes are in `buffer` then, which is emptied first; a large one's are
    /// in the returned [`LargeMessage`].
    #[inline]
    pub fn get(
        &self,
        buffer: &mut Vec<u8>,
        wait: &mut Wait<'_>,
    ) -> Result<Taken, TransportFailure> {
        let mut extras = Extras::default();
        let codec = self.get_with(buffer, &mut extras, wait)?;
        let large = extras.block.map(LargeMessage::of);
        Ok(Taken { codec, large, fds: extras.fds })
    }

    /// Puts many messages in order, waiting for room for each, and says how many were put.
    ///
    /// As many as there is room for, and not more than some 256 KiB of small ones, are put in one step: they appear at
    /// once, and if this process is killed, all of them or none. Other producers' messages may come between two such parts.
    pub fn put_many(
        &self,
        messages: &[OutboundMessage<'_>],
        wait: &mut Wait<'_>,
    ) -> (usize, Result<(), TransportFailure>) {
        // Nothing is put when one of them could never be.
        if let Some(message) = messages.iter().find(|message| message.codec == queue::NO_CODEC) {
            return (0, Err(no_codec(message.codec)));
        }
        self.shared.put_many(messages, wait)
    }

    /// As `put_many`, for small messages without descriptors whose bytes lie one after the other.
    pub(crate) fn put_small(
        &self,
        bytes: &[u8],
        entries: &[queue::Entry],
        wait: &mut Wait<'_>,
    ) -> (usize, Result<(), TransportFailure>) {
        self.shared.put_small(bytes, entries, wait)
    }

    /// Takes up to `max` of the oldest messages in one step, waiting for the first one. `batch` is emptied first.
    ///
    /// It may take fewer than wait: a batch ends with a message that has descriptors, and with some 256 KiB of small
    /// messages. Should this process be killed before it used them, all of them are lost with it.
    pub fn get_many(
        &self,
        max: usize,
        batch: &mut Batch,
        wait: &mut Wait<'_>,
    ) -> Result<(), TransportFailure> {
        self.shared.get_many(max, &mut batch.0, wait)
    }

    /// As `get`; what few messages have goes into `extras`, which comes empty.
    pub(crate) fn get_with(
        &self,
        buffer: &mut Vec<u8>,
        extras: &mut Extras,
        wait: &mut Wait<'_>,
    ) -> Result<u16, TransportFailure> {
        self.shared.get(buffer, extras, wait)
    }

    /// Whether messages are tasks that are reported done.
    pub fn is_joinable(&self) -> bool {
        self.shared.is_joinable()
    }

    /// Reports that `count` messages that were taken from this joinable queue, by whomever, are worked off. `wait` is for
    /// the queue's own lock, which nobody who runs holds for long.
    ///
    /// A task belongs to the process that took it: should that be killed before it reports the task done, the task is lost,
    /// and [`join`](RawQueue::join) says so. Reporting a task done in another process than the one that took it is
    /// allowed; the loss of such tasks may go unnoticed.
    pub fn task_done(&self, count: u64, wait: &mut Wait<'_>) -> Result<(), TaskDoneFailure> {
        self.shared.task_done(count, wait)
    }

    /// Waits until every message that was ever put has been reported done.
    pub fn join(&self, wait: &mut Wait<'_>) -> Result<(), JoinFailure> {
        self.shared.join(wait)
    }

    /// Whether a [`join`](RawQueue::join) would neither wait nor tell of a loss.
    pub fn is_settled(&self) -> bool {
        self.shared.is_settled()
    }

    /// How many messages were put and not yet reported done.
    pub fn unfinished(&self) -> u64 {
        self.shared.unfinished()
    }

    /// How many messages wait at this moment; whoever acts on it may find it changed.
    pub fn len(&self) -> u64 {
        self.shared.len()
    }

    /// Whether a message would have to wait for room at this moment, even a small one.
    pub fn is_full(&self) -> bool {
        self.shared.is_full()
    }

    /// Whether no message waits at this moment.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it can ever be full.
    #[cfg(feature = "tokio")]
    pub(crate) fn is_limited(&self) -> bool {
        self.shared.is_limited()
    }

    /// Whether bytes are limited: then there may be room, but not for a certain message.
    pub fn limits_bytes(&self) -> bool {
        self.shared.limits_bytes()
    }

    /// Most messages at a time; `None` is no limit.
    pub fn capacity(&self) -> Option<u64> {
        self.shared.capacity()
    }

    /// How structured data is written into this queue.
    pub fn structured(&self) -> StructuredCodec {
        StructuredCodec::from_tag(self.shared.structured()).unwrap_or_default()
    }

    /// The queue's own number, equal for all handles to it in all processes.
    pub fn id(&self) -> [u8; 16] {
        self.shared.id().0
    }

    /// A descriptor that is readable whenever a message waits, and for good after a shutdown: for poll, select and epoll,
    /// with levels or edges. It belongs to the queue and is the same in all processes; only poll it, never read from it.
    ///
    /// From the first call on, puts into the empty queue and gets of the last message make a system call each. Who
    /// finds it readable may find that another one was faster; a `get` that says "empty" made sure that the descriptor
    /// is not readable for nothing.
    pub fn pollable(&self) -> Result<BorrowedFd<'_>, Error> {
        Ok(self.pollable_within(&mut Wait::forever())?)
    }

    /// As `pollable`, for those who do not want to wait until one who was stopped inside the queue goes on.
    pub fn pollable_within(&self, wait: &mut Wait<'_>) -> Result<BorrowedFd<'_>, TransportFailure> {
        self.shared.pollable(wait)
    }

    /// A descriptor that is writable whenever there is room, and for good after a shutdown; see
    /// [`pollable`](RawQueue::pollable). With a byte limit it is not writable from when a message was refused until something is
    /// taken. It says nothing by being readable.
    pub fn pollable_for_put(&self) -> Result<BorrowedFd<'_>, Error> {
        Ok(self.pollable_for_put_within(&mut Wait::forever())?)
    }

    /// As `pollable_for_put`; see [`pollable_within`](RawQueue::pollable_within).
    pub fn pollable_for_put_within(
        &self,
        wait: &mut Wait<'_>,
    ) -> Result<BorrowedFd<'_>, TransportFailure> {
        self.shared.pollable_for_put(wait)
    }

    /// Ends the use of the queue, for all who have it: from now on a put fails, and so does a get when it finds nothing.
    /// Who waits is woken. Can be repeated, and be made an immediate one.
    ///
    /// When the caller is killed in the midst of an immediate one, the messages may still be there to get.
    pub fn shutdown(&self, how: Shutdown) -> Result<(), Error> {
        Ok(self.shutdown_within(how, &mut Wait::forever())?)
    }

    /// As `shutdown`; see [`pollable_within`](RawQueue::pollable_within). If it gives up it may be done by half, and is to be repeated.
    pub fn shutdown_within(
        &self,
        how: Shutdown,
        wait: &mut Wait<'_>,
    ) -> Result<(), TransportFailure> {
        self.shared.shutdown(how, wait)
    }

    /// After a get with [`Wait::attempt`] found nothing: whether there was nothing. Otherwise somebody may be inside, perhaps stopped,
    /// and a get with [`Wait::now`] says more.
    pub fn is_surely_empty(&self) -> bool {
        self.shared.is_surely_empty()
    }

    /// The same after a put.
    pub fn is_surely_full(&self) -> bool {
        self.shared.is_surely_full()
    }

    /// Notes that this process will not put. It counts for all its handles of this queue; putting all the same is allowed
    /// as long as nobody asks [`may_have_writer`](RawQueue::may_have_writer).
    pub fn close_writer(&self) -> Result<(), Error> {
        self.shared.close_writer()
    }

    /// Whether there may be a process that puts: one that lives, has this queue, and did not call
    /// [`close_writer`](RawQueue::close_writer). Descriptors on their way in a socket are not seen. Costs milliseconds when there
    /// seems to be none.
    pub fn may_have_writer(&self) -> bool {
        self.shared.may_have_writer()
    }

    /// For a consumer that called [`close_writer`](RawQueue::close_writer) and waits, whenever it wakes: whether nobody is left
    /// who puts. It costs next to nothing: only who has waited for some half seconds in vain, in one call or in several, really looks,
    /// as [`may_have_writer`](RawQueue::may_have_writer) does. [`ends_drought`](RawQueue::ends_drought) says that a message came.
    pub fn is_abandoned(&self) -> bool {
        self.shared.is_abandoned()
    }

    /// See [`is_abandoned`](RawQueue::is_abandoned).
    pub fn ends_drought(&self) {
        self.shared.ends_drought();
    }

    /// Whether [`shutdown`](RawQueue::shutdown) was called.
    pub fn is_shut_down(&self) -> bool {
        self.shared.is_shut_down()
    }

    /// What of the queue can still be seen when every handle to it is dropped: a mapped page, and no descriptor.
    pub fn remains(&self) -> Result<QueueRemains, Error> {
        self.shared.remains()
    }

    /// The queue's descriptors: its segment, the socket that carries handles, and what can be polled.
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.shared.descriptors().into_list()
    }

    /// The record that names this queue in a message; its descriptors go into `table`.
    pub fn record(&self, table: &mut Outgoing) -> Result<Vec<u8>, TransferError> {
        handle::write_queue(&self.shared, table)
    }
}

/// The failure of who wants to put a message with a queue's own mark.
#[cold]
pub(super) fn no_codec(codec: u16) -> TransportFailure {
    Error::Invalid(format!("{codec} is no codec: it marks a queue's own frames")).into()
}

/// A message that was taken from a queue.
#[derive(Debug)]
pub struct Taken {
    /// What the bytes mean.
    pub codec: u16,
    /// The bytes, when they are too many for the caller's buffer.
    pub large: Option<LargeMessage>,
    /// The descriptors that came along.
    pub fds: Vec<OwnedFd>,
}

/// Messages that were taken together: memory that the next [`get_many`](RawQueue::get_many) uses again.
#[derive(Debug, Default)]
pub struct Batch(queue::Batch);

/// One message of a [`Batch`].
#[derive(Debug)]
pub struct BatchMessage<'a> {
    /// What the bytes mean.
    pub codec: u16,
    /// The bytes; none if the message is a large one.
    pub bytes: &'a [u8],
    /// The bytes of a large message.
    pub large: Option<LargeMessage>,
    /// The descriptors that came along.
    pub fds: Vec<OwnedFd>,
}

impl Batch {
    /// An empty one.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// All of it, for an iterator that owns it.
    pub(crate) fn into_parts(self) -> (Vec<u8>, Vec<queue::Entry>, Vec<(usize, Extras)>) {
        (self.0.bytes, self.0.entries, self.0.extras)
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.0.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.entries.is_empty()
    }

    /// Takes the messages out, oldest first. Those that are not asked for are dropped with the iterator.
    pub fn drain(&mut self) -> impl Iterator<Item = BatchMessage<'_>> {
        let queue::Batch { bytes, entries, extras, .. } = &mut self.0;
        let (all, mut extras) = (&bytes[..], extras.drain(..).peekable());
        let mut start = 0;
        entries.drain(..).enumerate().map(move |(index, entry)| {
            let extras = extras.next_if(|(of, _)| *of == index).map(|(_, extras)| extras);
            let extras = extras.unwrap_or_default();
            let bytes = &all[start..entry.end];
            start = entry.end;
            let large = extras.block.map(LargeMessage::of);
            BatchMessage { codec: entry.codec, bytes, large, fds: extras.fds }
        })
    }
}

/// The bytes of a large message, still in shared memory and nobody else's; given back when dropped.
#[derive(Debug)]
pub struct LargeMessage {
    block: Box<queue::Block>,
}

impl LargeMessage {
    pub(super) fn of(block: Box<queue::Block>) -> LargeMessage {
        LargeMessage { block }
    }

    /// How many bytes there are.
    #[allow(clippy::len_without_is_empty)] // a large message is never empty
    pub fn len(&self) -> usize {
        self.block.len()
    }

    /// Copies all bytes to `target`.
    ///
    /// # Safety
    /// `target` points to `len()` bytes that may be written and are no part of shared memory.
    pub unsafe fn copy_to(&self, target: *mut u8) {
        // SAFETY: as this function demands.
        unsafe { self.block.copy_to(target) };
    }

    /// The address of the first byte, aligned to 4096, for as long as this lives and this process did not fork: a child of
    /// a fork sees the same memory and has no hold on it. Nobody who keeps to the protocol writes there meanwhile; a
    /// broken process could.
    pub fn as_ptr(&self) -> *mut u8 {
        self.block.as_ptr()
    }

    /// Whether this process holds the memory: false in a child that was forked while this existed, where the bytes may
    /// become those of another message.
    pub fn is_held(&self) -> bool {
        self.block.is_held()
    }

    /// The bytes, copied.
    pub fn to_vec(&self) -> Vec<u8> {
        self.block.to_vec()
    }

    /// The message as memory of this process alone, without a copy: what is written there nobody else sees, and a child that
    /// is forked has its own. It costs a mapping, and before a fork a copy. Where the kernel refuses the mapping, the message
    /// is copied at once; it is lost only if there is no memory for that either.
    pub fn into_private(self) -> Result<PrivateMessage, Error> {
        Ok(PrivateMessage { block: queue::PrivateBlock::of(self.block)? })
    }
}

/// The bytes of a large message as private memory; see [`LargeMessage::into_private`].
#[derive(Debug)]
pub struct PrivateMessage {
    block: queue::PrivateBlock,
}

impl PrivateMessage {
    /// How many bytes there are.
    #[allow(clippy::len_without_is_empty)] // a large message is never empty
    pub fn len(&self) -> usize {
        self.block.len()
    }

    /// The address of the first byte, aligned to 4096. The bytes are there as long as this lives, and nobody but this process's
    /// own threads writes there.
    pub fn as_ptr(&self) -> *mut u8 {
        self.block.as_ptr()
    }
}
