//! How handles travel: the descriptors that a message carries, collected while it is written and
//! handed out while it is read.
//!
//! A handle (a queue, a lock, a value) is a descriptor plus a few numbers. A descriptor cannot be
//! written as bytes, so a carrier (a queue's put, the start of a process) opens a table for the
//! thread with [`collect`], serialises the message in it, and sends the table's descriptors beside
//! the bytes; the receiver opens a table of what came with [`provide`] and deserialises in it. A
//! handle's `Serialize` puts its descriptor into the table with [`attach`] and writes the index it
//! got into a record ([`serialize_record`]); its `Deserialize` reads the record and gets the
//! descriptor back with [`take`].
//!
//! ```text
//! sender    collect { serialize .. attach(fd) -> 0 .. record [kind, 0, uuid, slot] } -> bytes, fds
//! carrier   bytes in a frame, descriptors by SCM_RIGHTS
//! receiver  provide(Incoming) { deserialize .. record .. take(0) -> fd }              -> value
//! ```
//!
//! Tables are scoped and nest: each one lives exactly as long as its closure, also when the closure
//! panics or the serialisation fails half way, so that a descriptor can never slip into the next
//! message. Descriptors that nobody takes are closed. A table belongs to one thread; it never
//! travels to another one.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use serde::ser::{Error as _, Serializer};

use crate::sys::descriptors::FileIdentity;

/// The MessagePack extension type of a handle's record, in both languages.
pub const RECORD_EXT_TYPE: i8 = 0x54;

/// The name by which `rmp-serde` recognises an extension. Other formats see a newtype around `(i8,
/// bytes)`.
const EXT_STRUCT: &str = "_ExtStruct";

/// The sentence that a user reads who serialises a handle with anything but tasuki.
const NO_CARRIER: &str = "a tasuki handle can only travel in a message tasuki carries: \
     as an argument or result of a Process, or through a Queue";

thread_local! {
    /// The open [`collect`] calls of this thread, innermost last.
    static COLLECTING: RefCell<Vec<Outgoing>> = const { RefCell::new(Vec::new()) };
    /// The open [`provide`] calls of this thread, innermost last; `None` for a message without
    /// descriptors, as most are. `Rc` so that a descriptor can be duplicated while the stack is not
    /// borrowed.
    static PROVIDING: RefCell<Vec<Option<Rc<Incoming>>>> = const { RefCell::new(Vec::new()) };
}

/// The descriptors that must be sent together with a message, in the order of their indices.
///
/// It owns duplicates: what was attached may be closed before the message is sent.
#[derive(Debug, Default)]
pub struct Outgoing {
    descriptors: Vec<OwnedFd>,
    /// For each descriptor the number it was attached under and what that number meant then.
    sources: Vec<(RawFd, Option<FileIdentity>)>,
    /// Descriptors that were made for this message alone, by what they were made of.
    made: Vec<((u64, u64), u32)>,
}

impl Outgoing {
    /// How many descriptors the message needs.
    pub fn len(&self) -> usize {
        self.descriptors.len()
    }

    /// Whether the bytes alone are the whole message.
    pub fn is_empty(&self) -> bool {
        self.descriptors.is_empty()
    }

    /// The descriptors, to be sent in exactly this order.
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.descriptors.iter().map(AsFd::as_fd).collect()
    }

    /// The descriptors themselves, in the same order.
    pub fn into_descriptors(self) -> Vec<OwnedFd> {
        self.descriptors
    }

    /// Adds a duplicate of `fd`, or finds the one that is there already, and returns its index.
    ///
    /// # Errors
    ///
    /// When the system refuses to duplicate, usually because the process has too many open files.
    pub fn attach(&mut self, fd: BorrowedFd<'_>) -> Result<u32, TransferError> {
        let source = (fd.as_raw_fd(), FileIdentity::of(fd).map_err(TransferError::refused)?);
        let known = self.sources.iter().position(|s| s.1.is_some() && *s == source);
        let index = known.unwrap_or(self.descriptors.len());
        if known.is_none() {
            self.descriptors.push(duplicate(fd)?);
            self.sources.push(source);
        }
        Ok(u32::try_from(index).expect("a process has fewer than 2^32 descriptors"))
    }

    /// Adds a descriptor that belongs to this message alone: `make` makes it for the first object of
    /// `source`, a file by device and inode, and `extend` enlarges it for each further one.
    pub(crate) fn attach_made(
        &mut self,
        source: (u64, u64),
        make: impl FnOnce() -> io::Result<OwnedFd>,
        extend: impl FnOnce(BorrowedFd<'_>) -> io::Result<()>,
    ) -> Result<u32, TransferError> {
        if let Some((_, index)) = self.made.iter().find(|(made_of, _)| *made_of == source) {
            extend(self.descriptors[*index as usize].as_fd()).map_err(TransferError::refused)?;
            return Ok(*index);
        }
        self.descriptors.push(make().map_err(TransferError::refused)?);
        self.sources.push((-1, None));
        let index = u32::try_from(self.descriptors.len() - 1).expect("few descriptors");
        self.made.push((source, index));
        Ok(index)
    }
}

/// The descriptors that came with a message, in the order in which they were sent.
#[derive(Debug, Default)]
pub struct Incoming {
    descriptors: Vec<OwnedFd>,
}

impl Incoming {
    /// What a carrier received, in the order of [`Outgoing::descriptors`].
    pub fn new(descriptors: Vec<OwnedFd>) -> Incoming {
        Incoming { descriptors }
    }

    /// How many descriptors came.
    pub fn len(&self) -> usize {
        self.descriptors.len()
    }

    /// Whether the message came without descriptors.
    pub fn is_empty(&self) -> bool {
        self.descriptors.is_empty()
    }
}

impl From<Vec<OwnedFd>> for Incoming {
    fn from(descriptors: Vec<OwnedFd>) -> Incoming {
        Incoming { descriptors }
    }
}

/// A message that never left the process: what was collected is provided to its own sender.
impl From<Outgoing> for Incoming {
    fn from(outgoing: Outgoing) -> Incoming {
        Incoming { descriptors: outgoing.descriptors }
    }
}

/// Runs `f` with a fresh table open on this thread; every [`attach`] inside goes into it.
///
/// Calls nest: the inner one has a table of its own. When `f` panics, its table is dropped with it.
pub fn collect<R>(f: impl FnOnce() -> R) -> (R, Outgoing) {
    // A thread whose thread-locals are already gone has no table: attach() then says so, and this
    // must not add a panic of its own.
    let opened = COLLECTING.try_with(|stack| stack.borrow_mut().push(Outgoing::default())).is_ok();
    let guard = Scope { close: close_collecting, open: opened };
    let result = f();
    (result, guard.close().unwrap_or_default())
}

/// Runs `f` with `incoming` open on this thread; every [`take`] inside is answered from it.
///
/// Calls nest: the inner one answers. What `f` did not take is closed when `f` returns or panics.
pub fn provide<R>(incoming: Incoming, f: impl FnOnce() -> R) -> R {
    let table = (!incoming.is_empty()).then(|| Rc::new(incoming));
    let opened = PROVIDING.try_with(|stack| stack.borrow_mut().push(table)).is_ok();
    let guard = Scope { close: close_providing, open: opened };
    let result = f();
    drop(guard.close());
    result
}

/// Runs `f` with no table open on this thread, whatever message is being written: for what goes into another one than
/// that.
pub fn without_table<R>(f: impl FnOnce() -> R) -> R {
    struct Hidden(Vec<Outgoing>);
    impl Drop for Hidden {
        fn drop(&mut self) {
            let hidden = std::mem::take(&mut self.0);
            // A thread that ends has no tables any more.
            let _ = COLLECTING.try_with(|stack| drop(stack.replace(hidden)));
        }
    }
    let _hidden = Hidden(COLLECTING.try_with(RefCell::take).unwrap_or_default());
    f()
}

/// Whether this thread is inside [`collect`]: whether a handle may be serialised now.
pub fn is_collecting() -> bool {
    COLLECTING.try_with(|stack| !stack.borrow().is_empty()).unwrap_or(false)
}

/// Whether this thread is inside [`provide`]: whether a handle may be deserialised now.
pub fn is_providing() -> bool {
    PROVIDING.try_with(|stack| !stack.borrow().is_empty()).unwrap_or(false)
}

/// Adds a duplicate of `fd` to the message that is being written on this thread and returns its
/// index.
///
/// The same descriptor attached again in the same message gets the same index, so that a thousand
/// handles into one segment cost one descriptor. Descriptors of the kernel's anonymous files
/// (eventfd, pidfd) cannot be compared and get an index each time.
///
/// # Errors
///
/// Outside [`collect`] the error [`is_no_carrier`](TransferError::is_no_carrier); or the system
/// refuses to duplicate, usually because the process has too many open files.
pub fn attach(fd: BorrowedFd<'_>) -> Result<u32, TransferError> {
    with_outgoing(|outgoing| outgoing.attach(fd))?
}

/// Runs `f` on the table of the message that is being written on this thread; `f` opens no other one.
///
/// # Errors
///
/// Outside [`collect`] the error [`is_no_carrier`](TransferError::is_no_carrier).
pub fn with_outgoing<R>(f: impl FnOnce(&mut Outgoing) -> R) -> Result<R, TransferError> {
    COLLECTING
        .try_with(|stack| stack.borrow_mut().last_mut().map(f))
        .unwrap_or_default()
        .ok_or(TransferError(Reason::NoCarrier))
}

/// Returns a duplicate of the descriptor with this index of the message that is being read on this
/// thread.
///
/// The same index may be taken any number of times. The duplicate is close-on-exec.
///
/// # Errors
///
/// Outside [`provide`] the error [`is_no_carrier`](TransferError::is_no_carrier); an index that did
/// not come with the message; or the system refuses to duplicate, usually because the process has
/// too many open files.
pub fn take(index: u32) -> Result<OwnedFd, TransferError> {
    let incoming = PROVIDING
        .try_with(|stack| stack.borrow().last().cloned())
        .unwrap_or(None)
        .ok_or(TransferError(Reason::NoCarrier))?;
    let descriptors = incoming.as_deref().map_or(&[][..], |incoming| &incoming.descriptors);
    match descriptors.get(index as usize) {
        Some(fd) => duplicate(fd.as_fd()),
        None => Err(TransferError(Reason::Missing { index, came: descriptors.len() })),
    }
}

/// Writes a handle's record: a MessagePack extension of type [`RECORD_EXT_TYPE`], or in other
/// formats the pair of that type and the bytes.
///
/// # Errors
///
/// Outside [`collect`], with a text that says where handles can travel; or what the serializer
/// itself refuses.
pub fn serialize_record<S: Serializer>(record: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    if !is_collecting() {
        return Err(S::Error::custom(NO_CARRIER));
    }
    // The tuple with exactly these two element types is what rmp-serde's extension serializer
    // understands.
    let pair = (RECORD_EXT_TYPE, serde_bytes::Bytes::new(record));
    serializer.serialize_newtype_struct(EXT_STRUCT, &pair)
}

/// Reads the bytes of a record written by [`serialize_record`]. The bytes are whatever the sender
/// wrote: their reader checks them.
///
/// # Errors
///
/// When what stands there is not a handle, or is an extension of another type.
pub fn deserialize_record<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    deserializer.deserialize_newtype_struct(EXT_STRUCT, RecordVisitor)
}

struct RecordVisitor;

impl<'de> Visitor<'de> for RecordVisitor {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a tasuki handle")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, pair: D) -> Result<Vec<u8>, D::Error> {
        checked(Deserialize::deserialize(pair)?)
    }

    // Formats and buffers that drop the newtype show the pair itself.
    fn visit_seq<A: SeqAccess<'de>>(self, pair: A) -> Result<Vec<u8>, A::Error> {
        checked(Deserialize::deserialize(de::value::SeqAccessDeserializer::new(pair))?)
    }
}

fn checked<E: de::Error>((kind, record): (i8, serde_bytes::ByteBuf)) -> Result<Vec<u8>, E> {
    if kind == RECORD_EXT_TYPE {
        Ok(record.into_vec())
    } else {
        Err(E::custom(format_args!(
            "a MessagePack extension of type {kind} is not a tasuki handle"
        )))
    }
}

/// Why a descriptor could not be attached to a message or taken from it.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct TransferError(Reason);

#[derive(Debug, thiserror::Error)]
enum Reason {
    #[error("{NO_CARRIER}")]
    NoCarrier,
    #[error("the message names descriptor {index}, but {came} came with it")]
    Missing { index: u32, came: usize },
    #[error("cannot duplicate a descriptor: {0}")]
    Refused(#[source] io::Error),
}

impl TransferError {
    /// No message that tasuki carries is being written or read on this thread.
    pub fn is_no_carrier(&self) -> bool {
        matches!(self.0, Reason::NoCarrier)
    }

    /// The message names a descriptor that did not come with it: its bytes are damaged or forged.
    pub fn is_missing(&self) -> bool {
        matches!(self.0, Reason::Missing { .. })
    }

    /// The system's own error, when it refused to duplicate the descriptor.
    pub fn os_error(&self) -> Option<&io::Error> {
        match &self.0 {
            Reason::Refused(error) => Some(error),
            _ => None,
        }
    }

    pub(crate) fn refused(error: io::Error) -> TransferError {
        TransferError(Reason::Refused(error))
    }
}

fn duplicate(fd: BorrowedFd<'_>) -> Result<OwnedFd, TransferError> {
    fd.try_clone_to_owned().map_err(TransferError::refused)
}

/// Closes a table exactly once: with its content when all went well, in a drop when the closure
/// panicked.
struct Scope<T> {
    close: fn() -> Option<T>,
    open: bool,
}

impl<T> Scope<T> {
    fn close(mut self) -> Option<T> {
        if std::mem::take(&mut self.open) { (self.close)() } else { None }
    }
}

impl<T> Drop for Scope<T> {
    fn drop(&mut self) {
        if self.open {
            drop((self.close)());
        }
    }
}

// The popped table is returned, not dropped in place, so that its descriptors are closed while
// nothing is borrowed.
fn close_collecting() -> Option<Outgoing> {
    COLLECTING.try_with(|stack| stack.borrow_mut().pop()).unwrap_or(None)
}

fn close_providing() -> Option<Option<Rc<Incoming>>> {
    PROVIDING.try_with(|stack| stack.borrow_mut().pop()).unwrap_or(None)
}

#[cfg(test)]
mod tests;
