//! The engine without types, for the front of another language: bytes, words and handles.
//!
//! Rust programs use [`Queue`](crate::Queue), [`Lock`](crate::Lock) and [`Value`](crate::Value). What is here has the same
//! guarantees and leaves encoding, policy and names to the caller.
#![allow(unsafe_code)] // hands out the address of a value's bytes, and copies a large message out

use std::os::fd::{BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

use crate::error::Error;
use crate::handle;
pub use crate::layout::lock::Acquired;
use crate::layout::lock::{LockView, LockWords, NotAcquired};
use crate::layout::queue::{self, Extras, NotGot, NotPut, Outbound, SharedQueue};
use crate::plain::Plain;
use crate::protocol::codec::StructuredCodec;
use crate::protocol::transfer::{Outgoing, TransferError};
use crate::segment::arena::{SLOT, Slot, SlotAddress, SlotKind};
use crate::sync::Spin;
pub use crate::sync::{GaveUp, Wait};

/// What a queue is to be; see [`RawQueue::create`].
#[derive(Clone, Debug, Default)]
pub struct QueueOptions {
    /// Most messages at a time; `None` is no limit.
    pub capacity: Option<u64>,
    /// Most bytes of messages at a time; `None` is no limit.
    pub byte_limit: Option<u64>,
    /// How structured data is written into this queue.
    pub structured: StructuredCodec,
    /// A name for people who look into /proc.
    pub label: String,
}

/// Why a call ended without what it was for.
#[derive(Debug)]
pub enum Failure {
    /// The time was over, or the caller's check called the wait off. Nothing was done.
    GaveUp(GaveUp),
    /// It cannot be done.
    Failed(Error),
}

impl From<NotPut> for Failure {
    fn from(why: NotPut) -> Failure {
        match why {
            NotPut::GaveUp(why) => Failure::GaveUp(why),
            NotPut::Failed(error) => Failure::Failed(error),
        }
    }
}

impl From<NotGot> for Failure {
    fn from(why: NotGot) -> Failure {
        match why {
            NotGot::GaveUp(why) => Failure::GaveUp(why),
            NotGot::Failed(error) => Failure::Failed(error),
        }
    }
}

impl From<NotAcquired> for Failure {
    fn from(why: NotAcquired) -> Failure {
        match why {
            NotAcquired::GaveUp(why) => Failure::GaveUp(why),
            NotAcquired::Failed(error) => Failure::Failed(error),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Failed(error)
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
        let QueueOptions { capacity, byte_limit, structured, label } = options;
        if capacity == Some(0) {
            return Err(Error::Invalid(
                "a queue of capacity 0 could never hold a message; ask for at least 1".into(),
            ));
        }
        let structured = structured.codec().tag();
        let options = queue::Options { capacity, byte_limit, structured, label };
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
    ) -> Result<(), Failure> {
        if codec == queue::NO_CODEC {
            return Err(Error::Invalid(format!(
                "{codec} is no codec: it marks a queue's own frames"
            ))
            .into());
        }
        Ok(self.shared.put(&Outbound { codec, parts, fds }, wait)?)
    }

    /// Takes the oldest message. A small one's bytes are in `buffer` then, which is emptied first; a large one's are
    /// in the returned [`LargeMessage`].
    #[inline]
    pub fn get(&self, buffer: &mut Vec<u8>, wait: &mut Wait<'_>) -> Result<Taken, Failure> {
        let mut extras = Extras::default();
        let codec = self.get_with(buffer, &mut extras, wait)?;
        let large = extras.block.map(|block| LargeMessage { block });
        Ok(Taken { codec, large, fds: extras.fds })
    }

    /// As `get`; what few messages have goes into `extras`, which comes empty.
    pub(crate) fn get_with(
        &self,
        buffer: &mut Vec<u8>,
        extras: &mut Extras,
        wait: &mut Wait<'_>,
    ) -> Result<u16, Failure> {
        Ok(self.shared.get(buffer, extras, wait)?)
    }

    /// How many messages wait at this moment; whoever acts on it may find it changed.
    pub fn len(&self) -> u64 {
        self.shared.len()
    }

    /// Whether no message waits at this moment.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
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

    /// The queue's descriptors: its segment and the socket that carries handles.
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        self.shared.descriptors()
    }

    /// The record that names this queue in a message; its descriptors go into `table`.
    pub fn record(&self, table: &mut Outgoing) -> Result<Vec<u8>, TransferError> {
        handle::write_queue(&self.shared, table)
    }
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

/// The bytes of a large message, still in shared memory and nobody else's; given back when dropped.
#[derive(Debug)]
pub struct LargeMessage {
    block: Box<queue::Block>,
}

impl LargeMessage {
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

    /// The bytes, copied.
    pub fn to_vec(&self) -> Vec<u8> {
        self.block.to_vec()
    }
}

/// A lock that any process may hold: recursive or not, with recovery when its owner died.
#[derive(Debug)]
pub struct RawLock {
    slot: Slot,
    spin: Spin,
    recursive: bool,
}

const LOCK_KIND: SlotKind = SlotKind(1);
const RLOCK_KIND: SlotKind = SlotKind(2);

impl RawLock {
    /// Makes a free lock.
    pub fn create(recursive: bool) -> Result<RawLock, Error> {
        let kind = if recursive { RLOCK_KIND } else { LOCK_KIND };
        Ok(RawLock {
            slot: Slot::allocate(kind, size_of::<LockWords>())?,
            spin: Spin::new(),
            recursive,
        })
    }

    pub(crate) fn open(
        arena: OwnedFd,
        address: SlotAddress,
        recursive: bool,
    ) -> Result<RawLock, Error> {
        let kind = if recursive { RLOCK_KIND } else { LOCK_KIND };
        let slot = Slot::open(arena, kind, address, size_of::<LockWords>())?;
        Ok(RawLock { slot, spin: Spin::new(), recursive })
    }

    /// Whether a thread that holds the lock may take it again.
    pub fn is_recursive(&self) -> bool {
        self.recursive
    }

    #[inline]
    fn view(&self) -> LockView<'_> {
        LockView { words: self.slot.place(0), segment: self.slot.segment(), spin: &self.spin }
    }

    /// Takes the lock.
    #[inline]
    pub fn acquire(&self, wait: &mut Wait<'_>) -> Result<Acquired, Failure> {
        let view = self.view();
        Ok(if self.recursive { view.acquire_recursive(wait)? } else { view.acquire(wait)? })
    }

    /// Frees the lock, or undoes one of several takes; false when it was not held (recursive: by this thread).
    #[inline]
    #[must_use]
    pub fn release(&self) -> bool {
        let view = self.view();
        if self.recursive { view.release_recursive().is_ok() } else { view.release().is_ok() }
    }

    /// Whether anybody holds it.
    pub fn is_locked(&self) -> bool {
        self.view().is_locked()
    }

    /// Whether this process holds it; for a recursive lock, whether this thread does.
    pub fn is_mine(&self) -> Result<bool, Error> {
        let view = self.view();
        if self.recursive { view.is_mine() } else { view.is_owned_by_this_process() }
    }

    /// How often the calling thread holds a recursive lock; 1 or 0 for this process and any other lock.
    pub fn depth(&self) -> Result<u32, Error> {
        Ok(match (self.is_mine()?, self.recursive) {
            (false, _) => 0,
            (true, false) => 1,
            (true, true) => self.view().depth(),
        })
    }

    /// How often any thread of this process holds it.
    pub fn depth_in_process(&self) -> Result<u32, Error> {
        self.view().depth_in_process(self.recursive)
    }

    /// Whether an owner died and nobody cleared that.
    pub fn is_poisoned(&self) -> bool {
        self.view().is_poisoned()
    }

    /// Marks the lock as if its owner had died.
    pub fn poison(&self) {
        self.view().poison();
    }

    /// Declares that what the lock guards is whole again.
    pub fn clear_poison(&self) {
        self.view().clear_poison();
    }

    /// The record that names this lock in a message; the descriptor that keeps it alive goes into `table`.
    pub fn record(&self, table: &mut Outgoing) -> Result<Vec<u8>, TransferError> {
        handle::write_lock(&self.slot, self.recursive, table)
    }

    /// The same lock as a value without bytes.
    pub(crate) fn into_value(self) -> RawValue {
        RawValue { slot: self.slot, spin: self.spin, element: element::OPAQUE, len: 0 }
    }

    /// What distinguishes this lock from all others of this process.
    pub fn key(&self) -> (u64, u32) {
        (self.slot.segment().file_id().1, self.slot.address().slot)
    }
}

impl Clone for RawLock {
    fn clone(&self) -> RawLock {
        RawLock { slot: self.slot.clone(), spin: Spin::new(), recursive: self.recursive }
    }
}

/// Some bytes of shared memory with a lock beside them.
#[derive(Debug)]
pub struct RawValue {
    slot: Slot,
    spin: Spin,
    element: u16,
    len: usize,
}

/// Values have kinds from here on: this plus what the element is.
const VALUE_KIND: u16 = 0x100;

impl RawValue {
    /// Makes `len` zero bytes. `element` says what they are, so that another program does not open an integer as a
    /// float; see [`element`].
    pub fn create(element: u16, len: usize) -> Result<RawValue, Error> {
        let kind = value_kind(element)?;
        let slot = Slot::allocate(kind, whole(len)?)?;
        Ok(RawValue { slot, spin: Spin::new(), element, len })
    }

    pub(crate) fn open(
        arena: OwnedFd,
        address: SlotAddress,
        element: u16,
        len: usize,
    ) -> Result<RawValue, Error> {
        let slot = Slot::open(arena, value_kind(element)?, address, whole(len)?)?;
        Ok(RawValue { slot, spin: Spin::new(), element, len })
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What the bytes are.
    pub fn element(&self) -> u16 {
        self.element
    }

    /// The address of the bytes, aligned to 64, valid as long as this value lives. Other processes may change them at
    /// any moment.
    pub fn address(&self) -> NonNull<u8> {
        // SAFETY: the object is `whole(len)` bytes long, checked when it was opened: the words and then the bytes.
        unsafe { self.slot.bytes().add(SLOT) }
    }

    #[inline]
    fn view(&self) -> LockView<'_> {
        LockView { words: self.slot.place(0), segment: self.slot.segment(), spin: &self.spin }
    }

    /// Takes the value's lock, recursively.
    #[inline]
    pub fn acquire(&self, wait: &mut Wait<'_>) -> Result<Acquired, Failure> {
        Ok(self.view().acquire_recursive(wait)?)
    }

    /// Frees the value's lock; false when this thread does not hold it.
    #[inline]
    #[must_use]
    pub fn release(&self) -> bool {
        self.view().release_recursive().is_ok()
    }

    /// Takes the value's lock if it is free, never was poisoned and this process is known to it; else try `acquire_once`.
    #[inline]
    pub(crate) fn acquire_free(&self) -> bool {
        self.view().acquire_free()
    }

    /// Takes the value's lock for this process; taking it twice in one thread waits for ever.
    #[inline]
    pub(crate) fn acquire_once(&self, wait: &mut Wait<'_>) -> Result<Acquired, Failure> {
        Ok(self.view().acquire(wait)?)
    }

    /// Whether this process holds the value's lock.
    #[inline]
    pub(crate) fn is_mine_once(&self) -> bool {
        self.view().is_owned_by_this_process().unwrap_or(false)
    }

    /// Undoes `acquire_once` if nobody waits and nothing is poisoned; else try `release_once`.
    #[inline]
    pub(crate) fn release_own(&self) -> bool {
        self.view().release_own()
    }

    /// Undoes `acquire_once`.
    pub(crate) fn release_once(&self) -> bool {
        self.view().release().is_ok()
    }

    /// A copy of the bytes; up to 8 of them in one piece.
    #[inline]
    pub(crate) fn read<T: Plain>(&self) -> T {
        assert!(size_of::<T>() == self.len, "a value of this type");
        let mut value = T::new_zeroed();
        match value.as_mut_bytes() {
            [] => {}
            [byte] => *byte = self.atomic::<AtomicU8>().load(Ordering::Relaxed),
            bytes => match bytes.len() {
                2 => bytes.copy_from_slice(
                    &self.atomic::<AtomicU16>().load(Ordering::Relaxed).to_ne_bytes(),
                ),
                4 => bytes.copy_from_slice(
                    &self.atomic::<AtomicU32>().load(Ordering::Relaxed).to_ne_bytes(),
                ),
                8 => bytes.copy_from_slice(
                    &self.atomic::<AtomicU64>().load(Ordering::Relaxed).to_ne_bytes(),
                ),
                // SAFETY: the source is `len` bytes of the mapping, the target a private value of the same size, for
                // which any bytes are valid.
                len => unsafe {
                    bytes.as_mut_ptr().copy_from_nonoverlapping(self.address().as_ptr(), len);
                },
            },
        }
        value
    }

    /// Replaces the bytes; up to 8 of them in one piece.
    #[inline]
    pub(crate) fn write<T: Plain>(&self, value: T) {
        assert!(size_of::<T>() == self.len, "a value of this type");
        let bytes = value.as_bytes();
        let exactly = "as many bytes as the length says";
        match bytes.len() {
            0 => {}
            1 => self.atomic::<AtomicU8>().store(bytes[0], Ordering::Relaxed),
            2 => self
                .atomic::<AtomicU16>()
                .store(u16::from_ne_bytes(bytes.try_into().expect(exactly)), Ordering::Relaxed),
            4 => self
                .atomic::<AtomicU32>()
                .store(u32::from_ne_bytes(bytes.try_into().expect(exactly)), Ordering::Relaxed),
            8 => self
                .atomic::<AtomicU64>()
                .store(u64::from_ne_bytes(bytes.try_into().expect(exactly)), Ordering::Relaxed),
            // SAFETY: the target is `len` bytes of the mapping, and the source is private.
            len => unsafe {
                self.address().as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), len);
            },
        }
    }

    fn atomic<A: Atomic>(&self) -> &A {
        assert!(size_of::<A>() <= self.len, "inside the value");
        // SAFETY: the address is aligned to a cache line and the bytes lie in the mapping, which `self` keeps; every
        // bit pattern is a valid atomic integer.
        unsafe { self.address().cast::<A>().as_ref() }
    }

    /// Whether an owner of the lock died and nobody cleared that.
    pub fn is_poisoned(&self) -> bool {
        self.view().is_poisoned()
    }

    /// Marks the value's lock as if its owner had died.
    pub fn poison(&self) {
        self.view().poison();
    }

    /// Declares that the value is whole again.
    pub fn clear_poison(&self) {
        self.view().clear_poison();
    }

    /// Whether this thread holds the value's lock, and how often.
    pub fn depth(&self) -> Result<u32, Error> {
        let view = self.view();
        Ok(if view.is_mine()? { view.depth() } else { 0 })
    }

    /// How often any thread of this process holds the value's lock.
    pub fn depth_in_process(&self) -> Result<u32, Error> {
        self.view().depth_in_process(true)
    }

    /// Whether anybody holds the value's lock.
    pub fn is_locked(&self) -> bool {
        self.view().is_locked()
    }

    /// The record that names this value in a message; the descriptor that keeps it alive goes into `table`.
    pub fn record(&self, table: &mut Outgoing) -> Result<Vec<u8>, TransferError> {
        // A lock around nothing stays what it was made as.
        if self.slot.kind() == LOCK_KIND || self.slot.kind() == RLOCK_KIND {
            return handle::write_lock(&self.slot, self.slot.kind() == RLOCK_KIND, table);
        }
        handle::write_value(&self.slot, self.element, self.len, table)
    }

    /// What distinguishes this value from all others of this process.
    pub fn key(&self) -> (u64, u32) {
        (self.slot.segment().file_id().1, self.slot.address().slot)
    }
}

impl Clone for RawValue {
    fn clone(&self) -> RawValue {
        RawValue { slot: self.slot.clone(), spin: Spin::new(), ..*self }
    }
}

/// Atomic integers, to read and write small values in one piece.
trait Atomic {}
impl Atomic for AtomicU8 {}
impl Atomic for AtomicU16 {}
impl Atomic for AtomicU32 {}
impl Atomic for AtomicU64 {}

/// The lock's words have a slot of their own, so that the bytes are aligned and nobody spins on their cache line.
fn whole(len: usize) -> Result<usize, Error> {
    len.max(1)
        .checked_add(SLOT)
        .ok_or_else(|| Error::Limit("a value of that size does not fit in memory".into()))
}

fn value_kind(element: u16) -> Result<SlotKind, Error> {
    VALUE_KIND
        .checked_add(element)
        .map(SlotKind)
        .ok_or_else(|| Error::Invalid(format!("an unknown kind of value: {element}")))
}

/// What a value's bytes are, the same number in both languages.
pub mod element {
    /// Bytes that only the program itself understands, such as a struct.
    pub const OPAQUE: u16 = 0;
    const SIGNED: u16 = 0x10;
    const UNSIGNED: u16 = 0x20;
    const FLOAT: u16 = 0x30;

    /// A signed integer of `size` bytes.
    pub const fn signed(size: usize) -> u16 {
        SIGNED + size as u16
    }

    /// An unsigned integer of `size` bytes.
    pub const fn unsigned(size: usize) -> u16 {
        UNSIGNED + size as u16
    }

    /// A float of `size` bytes.
    pub const fn float(size: usize) -> u16 {
        FLOAT + size as u16
    }
}

/// Any handle that came in a message.
#[derive(Debug)]
pub enum RawHandle {
    /// A queue.
    Queue(RawQueue),
    /// A lock, recursive or not.
    Lock(RawLock),
    /// A value with its lock.
    Value(RawValue),
}

impl RawHandle {
    /// Opens what a record names; `descriptor` gives the message's descriptor with an index.
    pub fn open(
        record: &[u8],
        descriptor: &mut dyn FnMut(u32) -> Result<OwnedFd, TransferError>,
    ) -> Result<RawHandle, Error> {
        handle::open(record, descriptor)
    }

    /// The indices of the descriptors that [`open`](RawHandle::open) will ask for.
    pub fn indices(record: &[u8]) -> Result<Vec<u32>, Error> {
        handle::indices(record)
    }
}

impl RawHandle {
    /// What it is, for messages to people.
    pub fn name(&self) -> &'static str {
        match self {
            RawHandle::Queue(_) => "a queue",
            RawHandle::Lock(lock) if lock.is_recursive() => "a recursive lock",
            RawHandle::Lock(_) => "a lock",
            RawHandle::Value(_) => "a value",
        }
    }
}

/// A duplicate of a descriptor of another process: for a ticket, which names one that its sender still has. Descriptors
/// of files can also be reopened through `/proc/PID/fd`, which asks for fewer rights; sockets cannot.
pub fn take_descriptor(pid: u32, number: i32) -> std::io::Result<OwnedFd> {
    crate::sys::descriptors::take_from_process(pid, number)
}
