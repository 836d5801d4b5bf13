//! The queue: frames of any size from many producers to many consumers, whole or not at all, whatever process is
//! killed.
//!
//! `README.md` beside this file holds the layout, the steps and why no message is torn or lost. [`geometry`] says
//! where things lie, [`ring`] finds places for frames, [`blocks`] holds large ones, [`put`] and [`get`] are the two
//! sides, [`fast`] is their short way, [`readiness`] is for those that poll, [`joining`] counts tasks, [`repair`] is
//! what is done after a death.
#![allow(unsafe_code)] // declares which types may lie in shared memory

mod batch;
mod blocks;
mod channel;
mod ends;
mod entries;
mod fast;
mod frame;
mod geometry;
mod get;
mod held;
mod joining;
mod joining_failure;
mod large;
mod parts;
mod peers;
mod private;
mod put;
mod put_many;
mod readiness;
mod remains;
mod repair;
mod ring;
mod room;
mod shutdown;
mod side;
mod tally;

use std::iter;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

pub(crate) use batch::Entry;
pub use batch::{Batch, BatchMessage};
pub(crate) use channel::channel;
pub use channel::{Receiver, Sender};
pub(crate) use fast::Word;
pub(crate) use get::Attachments;
pub use get::Taken;
pub use joining_failure::{JoinFailure, LostTasks, TaskDoneFailure};
pub use large::Block;
pub(crate) use parts::Parts;
pub use private::PrivateBlock;
pub use remains::Remains;
pub use shutdown::Shutdown;

use side::{Position, Side};

use crate::error::Error;
use crate::segment::part::Part;
use crate::segment::placed::Placed;
use crate::segment::roster::rows_for;
use crate::segment::{Kind, Segment, Shape, Shared, pieces};
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::sync::{EventCount, Spin};
use crate::sys::memory::{self, PAGE};
use crate::sys::{descriptor_socket, eventfd};

/// Frames up to this size are copied under the lock; larger ones go into a block outside it.
pub(crate) const INLINE: usize = 4096;

/// A queue's segment can become at least this long, unless files may not.
const SHORTEST: usize = 1 << 30;

/// What a queue is to be.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Most messages at a time; None is no limit.
    pub(crate) capacity: Option<u64>,
    /// Most bytes at a time; None is no limit.
    pub(crate) byte_limit: Option<u64>,
    /// Whether one message may go beyond the byte limit.
    pub(crate) soft_limit: bool,
    /// How structured data is written when the writer has the choice; kept for the fronts, unused here.
    pub(crate) structured: u16,
    /// Whether tasks are counted, for `task_done` and `join`.
    pub(crate) joinable: bool,
    /// For people who read /proc.
    pub(crate) label: String,
}

/// An event count on a cache line of its own.
#[repr(C, align(64))]
struct Waiters(EventCount);

/// What is written once, before the queue is shared, or seldom.
#[repr(C, align(64))]
struct Settings {
    capacity: AtomicU64,
    byte_limit: AtomicU64,
    soft_limit: AtomicU32,
    structured: AtomicU32,
    joinable: AtomicU32,
    /// Counts tries to send descriptors, under the put lock; see `descriptor_socket::Label`.
    attempt: AtomicU32,
    /// Of a channel: how many of its ends were dropped; a hint to ask its socket.
    closed_ends: AtomicU32,
    /// Token and pid of the process that was the last to get for the first time; 0 when none ever did.
    reader: AtomicU64,
}

/// The beginning of a queue's payload.
#[repr(C)]
struct Head {
    put: Side,
    get: Side,
    nonempty: Waiters,
    nonfull: Waiters,
    settings: Settings,
    ring: ring::Control,
    blocks: blocks::Control,
    joining: joining::Words,
}

// SAFETY: all fields are made of atomics.
unsafe impl Shared for Head {}

const _: () = assert!(size_of::<Side>() == 64 && size_of::<Head>() <= PAGE);

impl Head {
    /// How many messages are waiting, at this moment.
    fn len(&self, capacity: u64) -> u64 {
        // The head first: the tail read later is not before it, so the difference is never negative.
        let head = self.get.ticket.load(Ordering::SeqCst);
        let tail = self.put.ticket.load(Ordering::SeqCst);
        tail.wrapping_sub(head).min(capacity)
    }

    /// Whether a message would have to wait for room at this moment, even a small one.
    fn is_full(&self, capacity: u64, byte_limit: u64) -> bool {
        if capacity == u64::MAX && byte_limit == u64::MAX {
            return false;
        }
        let head = self.get.position();
        let tail = self.put.position();
        tail.ticket.wrapping_sub(head.ticket) >= capacity
            || tail.bytes.wrapping_sub(head.bytes) >= byte_limit
    }
}

/// A queue of frames: a codec tag, bytes and descriptors. A clone is the same queue.
#[derive(Clone, Debug)]
pub struct SharedQueue(Arc<AttachedQueue>);

/// A queue as this process sees it: what a process that has it, or an end of a channel, can ask.
#[derive(Debug)]
pub struct AttachedQueue {
    segment: Arc<Segment>,
    head: Placed<Head>,
    descriptor_socket: OwnedFd,
    /// The eventfd whose readiness producers set.
    messages: OwnedFd,
    /// The eventfd whose readiness consumers set, if the queue can ever be full.
    room: Option<OwnedFd>,
    geometry: geometry::Geometry,
    /// The chunks of the core.
    near_chunks: Part,
    capacity: u64,
    byte_limit: u64,
    soft_limit: bool,
    structured: u16,
    joinable: bool,
    put_spin: Spin,
    get_spin: Spin,
    /// Low half: when somebody last looked for readers; high half: how often in a row there were none.
    reader_checks: AtomicU64,
    /// Of a consumer that waits.
    drought: peers::Drought,
    /// Of a channel's end; the last field, see there.
    end: Option<ends::End>,
}

impl Deref for SharedQueue {
    type Target = AttachedQueue;

    #[inline]
    fn deref(&self) -> &AttachedQueue {
        &self.0
    }
}

impl SharedQueue {
    /// Makes an empty queue.
    pub(crate) fn create_of(options: &Options) -> Result<SharedQueue, Error> {
        let descriptor_socket = descriptor_socket::create()
            .map_err(|e| Error::os("make the socket that carries a queue's handles", e))?;
        SharedQueue::create_with(options, descriptor_socket)
    }

    /// Makes an empty queue whose descriptors go through this socket.
    fn create_with(options: &Options, descriptor_socket: OwnedFd) -> Result<SharedQueue, Error> {
        let memory = usize::try_from(memory::physical()).unwrap_or(usize::MAX / 4);
        let largest = memory.next_power_of_two().clamp(SHORTEST, pieces::LONGEST);
        let longest_file = memory::longest_file();
        let longest = usize::try_from(longest_file).unwrap_or(usize::MAX) / PAGE * PAGE;
        let shape = Shape { rows: rows_for(longest_file), capacity: largest.min(longest) };
        let segment = Segment::create(Kind::Queue, &options.label, shape)?;
        geometry::Geometry::new(&segment)?; // before anything is written where it would not fit
        let create = || eventfd::create().map_err(|e| Error::os("make a queue's eventfd", e));
        let limited = options.capacity.is_some() || options.byte_limit.is_some();
        let (messages, room) = (create()?, limited.then(create).transpose()?);
        segment.commit(segment.payload(), PAGE)?;
        let head: &Head = segment.place(segment.payload());
        let unlimited = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
        head.settings.capacity.store(unlimited(options.capacity), Ordering::Relaxed);
        head.settings.byte_limit.store(unlimited(options.byte_limit), Ordering::Relaxed);
        head.settings.structured.store(u32::from(options.structured), Ordering::Relaxed);
        head.settings.soft_limit.store(u32::from(options.soft_limit), Ordering::Relaxed);
        head.settings.joinable.store(u32::from(options.joinable), Ordering::Relaxed);
        let queue = SharedQueue::open(segment, descriptor_socket, messages, room)?;
        queue.make_first_chunk()?;
        Ok(queue)
    }

    /// Attaches the queue behind the descriptors.
    pub(crate) fn attach(parts: Parts<OwnedFd>) -> Result<SharedQueue, Error> {
        if !descriptor_socket::is_descriptor_socket(parts.descriptor_socket.as_fd()) {
            return Err(Error::Invalid("a queue's second descriptor is not its socket".into()));
        }
        SharedQueue::attach_with(parts)
    }

    /// As `attach`, for a queue whose socket was checked.
    fn attach_with(parts: Parts<OwnedFd>) -> Result<SharedQueue, Error> {
        let Parts { segment, descriptor_socket, messages, room } = parts;
        if !iter::once(&messages).chain(&room).all(|fd| eventfd::is_eventfd(fd.as_fd())) {
            return Err(Error::Invalid("a queue's third descriptor is not its eventfd".into()));
        }
        let segment = Segment::attach(segment, Kind::Queue)?;
        let queue = SharedQueue::open(segment, descriptor_socket, messages, room)?;
        if queue.is_limited() != queue.room.is_some() {
            return Err(Error::Invalid("a queue's descriptors are not all there".into()));
        }
        Ok(queue)
    }

    fn open(
        segment: Arc<Segment>,
        descriptor_socket: OwnedFd,
        messages: OwnedFd,
        room: Option<OwnedFd>,
    ) -> Result<SharedQueue, Error> {
        let geometry = geometry::Geometry::new(&segment)?;
        let head = Placed::<Head>::new(&segment, segment.payload());
        let near = geometry.near_chunks();
        let near_chunks = Part::new(segment.clone(), near.start, near.len());
        let near_chunks = near_chunks.ok_or_else(|| corrupt("its shape"))?;
        Ok(SharedQueue(Arc::new(AttachedQueue {
            capacity: head.settings.capacity.load(Ordering::Relaxed).max(1),
            byte_limit: head.settings.byte_limit.load(Ordering::Relaxed),
            structured: head.settings.structured.load(Ordering::Relaxed) as u16,
            soft_limit: head.settings.soft_limit.load(Ordering::Relaxed) != 0,
            joinable: head.settings.joinable.load(Ordering::Relaxed) != 0,
            geometry,
            near_chunks,
            head,
            segment,
            descriptor_socket,
            messages,
            room,
            put_spin: Spin::new(),
            get_spin: Spin::new(),
            reader_checks: AtomicU64::new(0),
            drought: peers::Drought::default(),
            end: None,
        })))
    }
}

impl AttachedQueue {
    /// How many messages wait at this moment; a caller that acts on it may find it changed.
    pub fn len(&self) -> u64 {
        self.head().len(self.capacity)
    }

    /// Whether no message waits at this moment.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a message would have to wait for room at this moment, even a small one.
    pub fn is_full(&self) -> bool {
        self.head().is_full(self.capacity, self.byte_limit)
    }

    /// Whether bytes are limited: then there may be room, but not for a certain message.
    pub fn limits_bytes(&self) -> bool {
        self.byte_limit != u64::MAX
    }

    /// Whether it can ever be full.
    pub(crate) fn is_limited(&self) -> bool {
        self.capacity != u64::MAX || self.limits_bytes()
    }

    /// Most messages at a time; `None` is no limit.
    pub fn capacity(&self) -> Option<u64> {
        (self.capacity != u64::MAX).then_some(self.capacity)
    }

    /// What `Options::structured` was.
    pub(crate) fn structured_tag(&self) -> u16 {
        self.structured
    }

    /// The queue's own number, equal for all handles to it in all processes.
    pub fn id(&self) -> [u8; 16] {
        self.segment.id().0
    }

    /// The queue's descriptors: its segment, the socket that carries handles, and what can be polled.
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.parts().into_list()
    }

    /// The descriptors that make up a handle.
    pub(crate) fn parts(&self) -> Parts<BorrowedFd<'_>> {
        Parts {
            segment: self.segment.fd_to_send(),
            descriptor_socket: self.descriptor_socket.as_fd(),
            messages: self.messages.as_fd(),
            room: self.room.as_ref().map(AsFd::as_fd),
        }
    }

    #[inline]
    fn head(&self) -> &Head {
        &self.head
    }
}

/// The error for memory that does not hold what the protocol puts there.
#[cold]
fn corrupt(what: &str) -> Error {
    Error::Invalid(format!("the queue's memory was overwritten: {what}"))
}
