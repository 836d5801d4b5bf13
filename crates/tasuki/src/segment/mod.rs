//! Shared memory segments: created, attached, grown, handed over, and gone when nobody has them any more.
//!
//! A segment is a sealed memfd; the kernel counts who has it, so nothing has to be swept after a kill. Each process
//! maps its core once, and what is beyond in [`pieces`], when it gets there. Every segment begins with a checked
//! [`header`] and a [`roster`] of the processes that use it. An [`arena`] is a segment with many small objects, each a
//! [`part`] of it to which a [`slot`] refers. Offsets only: nothing in a segment is a pointer.
#![allow(unsafe_code)] // turns offsets into references, after checking bounds and alignment

mod arena;
pub(crate) mod death;
pub(crate) mod header;
pub(crate) mod local;
pub(crate) mod part;
pub(crate) mod pieces;
pub(crate) mod placed;
pub(crate) mod roster;
pub(crate) mod slot;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize}; // of what this process knows; partners are named where it matters

use crate::error::Error;
use crate::sync::atomic::{AtomicU16, AtomicU32, AtomicU64};
use crate::sys::kept_fd::KeptFd;
use crate::sys::memory::{self, Mapping, PAGE};

use header::Header;
pub(crate) use header::{Kind, SegmentId};
use pieces::Pieces;
pub(crate) use roster::{Roster, Token};

/// Types that may be placed in a segment: any bit pattern is valid, all mutation is atomic, nothing points.
///
/// # Safety
/// Another process, perhaps a broken one, may write any bytes into a value of this type at any moment. So every field
/// must be an atomic integer, `RobustLock`, `EventCount` or an array or struct of such; no `bool`, no enum, no
/// reference, no plain integer.
pub(crate) unsafe trait Shared {}

// SAFETY: atomic integers are what the trait asks for.
unsafe impl Shared for AtomicU16 {}
// SAFETY: as above.
unsafe impl Shared for AtomicU32 {}
// SAFETY: as above.
unsafe impl Shared for AtomicU64 {}
// SAFETY: a transparent atomic word.
unsafe impl Shared for crate::sync::RobustLock {}
// SAFETY: a transparent atomic word.
unsafe impl Shared for crate::sync::EventCount {}
// SAFETY: an array of what may be shared may be shared.
unsafe impl<T: Shared, const N: usize> Shared for [T; N] {}

const CREATING: &str = "create a shared memory segment";

/// One segment as this process sees it. There is one value per segment and process: attaching twice gives the same.
#[derive(Debug)]
pub(crate) struct Segment {
    /// The beginning; the whole of a segment that does not grow. Always inside the file.
    core: Mapping,
    /// What is beyond.
    pieces: Pieces,
    /// The file is at least this long. It only gets longer.
    known_len: AtomicUsize,
    capacity: usize,
    rows: usize,
    fd: KeptFd,
    id: SegmentId,
    kind: Kind,
    row: roster::MyRow,
    /// This process was forked into another pid namespace than that of the segment.
    foreign: AtomicBool,
}

/// What a segment is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// How many processes can use it at a time; as `rows_for` says.
    pub(crate) rows: usize,
    /// How long it can become.
    pub(crate) capacity: usize,
}

/// Where the part of a segment begins that belongs to its kind, if it has so many rows.
pub(crate) const fn payload(rows: usize) -> usize {
    PAGE + rows * roster::ROW
}

impl Segment {
    /// Makes a segment, all holes but its first pages. `label` is for people who read /proc.
    pub(crate) fn create(kind: Kind, label: &str, shape: Shape) -> Result<Arc<Segment>, Error> {
        let segment = Segment::create_unlisted(kind, label, shape)?;
        local::lock().list(&segment);
        Ok(segment)
    }

    /// As `create`, for a caller that has this process's list of segments locked and enters it there.
    fn create_unlisted(kind: Kind, label: &str, shape: Shape) -> Result<Arc<Segment>, Error> {
        let Shape { rows, capacity } = shape;
        let capacity = capacity.next_multiple_of(PAGE).max(payload(rows));
        let name = format!("tasuki:{}:{label}", kind.name());
        let core_len = kind.core_len(capacity);
        let fd = memory::create(&name, core_len).map_err(|e| no_memory(CREATING, core_len, e))?;
        let core = Mapping::new(&fd, core_len).map_err(|e| no_memory(CREATING, core_len, e))?;
        memory::commit(fd.as_fd(), 0, 2 * PAGE).map_err(|e| no_memory(CREATING, core_len, e))?;
        let id = SegmentId::random()?;
        let file_id = memory::file_id(fd.as_fd()).map_err(|e| Error::os(CREATING, e))?;
        let segment = Segment {
            core,
            pieces: Pieces::new(capacity),
            known_len: AtomicUsize::new(core_len),
            capacity,
            rows,
            fd: KeptFd::new(fd, file_id),
            id,
            kind,
            row: roster::MyRow::new(),
            foreign: AtomicBool::new(false),
        };
        segment.header().write(kind, id, Shape { rows, capacity });
        Ok(Arc::new(segment))
    }

    /// Attaches the segment behind `fd`, after checking that it is one and of the kind that is expected.
    pub(crate) fn attach(fd: OwnedFd, kind: Kind) -> Result<Arc<Segment>, Error> {
        const DOING: &str = "attach a shared memory segment";
        let file_id = memory::file_id(fd.as_fd()).map_err(|e| Error::os(DOING, e))?;
        if let Some(known) = local::find(file_id) {
            return known.expect_kind(kind);
        }
        if !memory::is_sealed(fd.as_fd()).map_err(|e| Error::os(DOING, e))? {
            return Err(Error::Invalid("the descriptor is not a sealed memfd".into()));
        }
        let len = memory::len(fd.as_fd()).map_err(|e| Error::os(DOING, e))?;
        if len < 2 * PAGE {
            return Err(Error::Invalid(format!("a segment of {len} bytes is too small")));
        }
        let core_len = kind.core_len(len);
        let core = Mapping::new(&fd, core_len).map_err(|e| no_memory(DOING, core_len, e))?;
        let mut segment = Segment {
            core,
            pieces: Pieces::new(0),
            known_len: AtomicUsize::new(len),
            capacity: core_len,
            rows: 0,
            fd: KeptFd::new(fd, file_id),
            id: SegmentId::default(),
            kind,
            row: roster::MyRow::new(),
            foreign: AtomicBool::new(false),
        };
        let (id, shape) = segment.header().check(kind, core_len)?;
        (segment.id, segment.rows, segment.capacity) = (id, shape.rows, shape.capacity);
        segment.pieces = Pieces::new(shape.capacity);
        // Another thread may have attached it meanwhile; the first one stays.
        local::remember_unless_known(Arc::new(segment)).expect_kind(kind)
    }

    fn expect_kind(self: Arc<Self>, kind: Kind) -> Result<Arc<Segment>, Error> {
        if self.kind == kind {
            return Ok(self);
        }
        Err(Error::Invalid(format!(
            "a {} was expected and a {} came",
            kind.name(),
            self.kind.name()
        )))
    }

    pub(crate) fn id(&self) -> SegmentId {
        self.id
    }

    /// Device and inode: equal for all descriptors of one segment.
    pub(crate) fn file_id(&self) -> (u64, u64) {
        self.fd.id()
    }

    /// How long it can become: no offset is beyond.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many processes can use it at a time.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Where the part begins that belongs to its kind.
    pub(crate) fn payload(&self) -> usize {
        payload(self.rows)
    }

    /// Its descriptor, unless the program closed it: a daemon that closes all has files of its own under the same
    /// numbers.
    pub(crate) fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        self.fd.get()
    }

    /// Its descriptor, for a receiver, which looks at what came.
    pub(crate) fn fd_to_send(&self) -> BorrowedFd<'_> {
        self.fd.unchecked()
    }

    fn header(&self) -> &Header {
        self.place(0)
    }

    /// The processes that use this segment.
    #[inline]
    pub(crate) fn roster(&self) -> Roster<'_> {
        Roster::new(self)
    }

    /// This process's row in the roster, taken at first use and taken anew in a forked child.
    #[inline]
    pub(crate) fn my_row(&self) -> Result<Token, Error> {
        match self.row.cached() {
            Some(token) => Ok(token),
            None => self.row.claim(self),
        }
    }

    /// Refuses a process that inherited the segment and is in another pid namespace: there nobody could tell whether it
    /// lives. For those who change something without having a row.
    #[inline]
    pub(crate) fn check_namespace(&self) -> Result<(), Error> {
        if self.is_foreign() { Err(Error::ForeignNamespace) } else { Ok(()) }
    }

    /// Whether `check_namespace` refuses this process.
    #[inline]
    pub(crate) fn is_foreign(&self) -> bool {
        self.foreign.load(Relaxed)
    }

    /// This process's row, if it has taken one.
    #[inline]
    pub(crate) fn known_row(&self) -> Option<Token> {
        self.row.cached()
    }

    /// The words of this process's row, if `note_reader` was called in it. Makes no call.
    #[inline]
    pub(crate) fn my_row_as_reader(&self) -> Option<&roster::Row> {
        // SAFETY: a row of this segment's roster, in its core, which is mapped as long as `self` lives; rows are
        // `Shared`.
        self.row.reader().map(|row| unsafe { row.as_ref() })
    }

    /// From now on `my_row_as_reader` gives the row, until this process forks: in it stands that the process is a
    /// reader.
    #[cold]
    pub(crate) fn note_reader(&self) {
        self.row.set_reader(self);
    }

    /// This process's pid, without asking the kernel, once it has a row.
    #[inline]
    pub(crate) fn known_pid(&self) -> u32 {
        self.row.pid()
    }

    /// The shared value at an offset that the code computed from constants and checked sizes.
    ///
    /// # Panics
    /// When the offset is not aligned or not inside: a mistake in the code, since offsets read from shared memory go
    /// through [`get`](Segment::get).
    #[inline]
    pub(crate) fn place<T: Shared>(&self, offset: usize) -> &T {
        self.get(offset).expect("a place inside the segment")
    }

    /// The shared value at an offset that may come from anywhere; None when it is not aligned or not inside.
    #[inline]
    pub(crate) fn get<T: Shared>(&self, offset: usize) -> Option<&T> {
        if !offset.is_multiple_of(align_of::<T>()) {
            return None;
        }
        let at = self.bytes(offset, size_of::<T>())?;
        // SAFETY: the range lies inside a mapping, which lives as long as `self`, and inside the file; the bases of
        // mappings are page-aligned, so the address is aligned; `Shared` types accept any bytes and are only changed
        // atomically.
        Some(unsafe { at.cast::<T>().as_ref() })
    }

    /// Where the segment begins in this process.
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.core.base()
    }

    /// The address of `len` bytes at `offset`, if they are inside. What is there may change at any moment.
    #[inline]
    pub(crate) fn bytes(&self, offset: usize, len: usize) -> Option<NonNull<u8>> {
        match self.mapped(offset, len) {
            Some(at) => Some(at),
            None => self.reach(offset, len).ok(),
        }
    }

    /// As `bytes`, if they were mapped before.
    #[inline]
    pub(crate) fn mapped(&self, offset: usize, len: usize) -> Option<NonNull<u8>> {
        let end = offset.checked_add(len)?;
        if end <= self.core.len() {
            // SAFETY: inside the mapping, checked above.
            return Some(unsafe { self.core.base().add(offset) });
        }
        if end <= self.known_len.load(Relaxed) { self.pieces.find(offset, end) } else { None }
    }

    /// As `bytes`, and says why not. Beyond the core a range is inside if it lies in one piece, and in the file as long
    /// as that is by now; the first one here maps the piece.
    #[cold]
    pub(crate) fn reach(&self, offset: usize, len: usize) -> Result<NonNull<u8>, Error> {
        const DOING: &str = "map shared memory";
        let outside = || Error::Invalid("shared memory ends before something that is in it".into());
        let end = offset.checked_add(len).ok_or_else(outside)?;
        if end <= self.core.len() || len == 0 {
            // SAFETY: inside the mapping, checked above; of no bytes any address is one.
            return Ok(unsafe { self.core.base().add(offset.min(self.core.len())) });
        }
        if end > self.known_len.load(Relaxed) {
            let now = self.fd().and_then(memory::len).map_err(|e| Error::os(DOING, e))?;
            self.known_len.fetch_max(now, Relaxed);
            if end > now {
                return Err(outside());
            }
        }
        let fd = self.fd().map_err(|e| Error::os(DOING, e))?;
        if !self.pieces.map(fd, offset, end).map_err(|e| no_memory(DOING, len, e))? {
            return Err(outside());
        }
        self.pieces.find(offset, end).ok_or_else(outside)
    }

    /// Copies bytes into the segment; false when the range is not inside.
    #[inline]
    #[must_use]
    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) -> bool {
        let Some(to) = self.bytes(offset, bytes.len()) else { return false };
        // SAFETY: the target was checked to lie in the mapping, and a private slice does not overlap it. Another
        // process may race; then the bytes are garbage, never an invalid value, since nothing typed is there.
        unsafe { to.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        true
    }

    /// Appends `len` bytes of the segment to `out`; false when the range is not inside.
    #[inline]
    #[must_use]
    pub(crate) fn read(&self, offset: usize, len: usize, out: &mut Vec<u8>) -> bool {
        let Some(from) = self.bytes(offset, len) else { return false };
        out.reserve(len);
        // SAFETY: the source was checked to lie in the mapping, the target has room for `len` more bytes and is
        // private; after the copy those bytes are initialised.
        unsafe {
            let end = out.as_mut_ptr().add(out.len());
            end.copy_from_nonoverlapping(from.as_ptr(), len);
            out.set_len(out.len() + len);
        }
        true
    }

    /// Gives a range its memory now, so that writing there cannot fail later; the file grows as far as that takes.
    pub(crate) fn commit(&self, offset: usize, len: usize) -> Result<(), Error> {
        self.fd()
            .and_then(|fd| memory::commit(fd, offset, len))
            .map_err(|e| no_memory("get shared memory", offset + len, e))
    }

    /// Gives a range's memory back; it reads as zeros from now on, in every process.
    pub(crate) fn give_back(&self, offset: usize, len: usize) {
        // A refusal costs memory and harms nothing.
        let _ = self.fd().and_then(|fd| memory::give_back(fd, offset, len));
    }
}

/// The error for memory that was refused; `len` is how long the file would have been.
fn no_memory(doing: &'static str, len: usize, error: std::io::Error) -> Error {
    if error.kind() == std::io::ErrorKind::FileTooLarge {
        return Error::Limit(format!(
            "cannot {doing}: it lies in a file in memory, which would be {len} bytes long, and files are limited to {} \
             bytes here (RLIMIT_FSIZE, `ulimit -f`)",
            memory::longest_file()
        ));
    }
    Error::os(doing, error)
}

impl Drop for Segment {
    fn drop(&mut self) {
        self.row.leave(self);
        local::forget(self.fd.id());
    }
}
