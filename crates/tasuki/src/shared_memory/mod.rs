//! Shared memory with a name, which any program of the user can open: Python's `SharedMemory` and C's `shm_open` are
//! the same.
//!
//! ```
//! use std::sync::atomic::{AtomicU64, Ordering};
//! use tasuki::SharedMemory;
//!
//! let counters = SharedMemory::new(4096)?;
//! // Here or in any other process, which got the name:
//! let same = SharedMemory::open(counters.name())?;
//! same.atomic::<AtomicU64>(64)?.fetch_add(5, Ordering::Relaxed);
//! assert_eq!(counters.atomic::<AtomicU64>(64)?.load(Ordering::Relaxed), 5);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # When not to use it
//!
//! A name can stay behind: the memory of a process that was killed has its name until a program that uses tasuki next
//! makes memory with a name, somebody [`unlink`]s it or the machine is started again. [`Value`](crate::Value) and
//! [`Queue`](crate::Queue) have no names and leave nothing. Use this to meet a program to which you cannot hand
//! anything but a name.
#![allow(unsafe_code)] // hands out references into the memory: atomic ones, and slices under a contract

mod list;

use std::fmt;
use std::sync::atomic::{
    AtomicBool, AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicU8, AtomicU16, AtomicU32,
    AtomicU64, Ordering,
};

pub use list::ShareableList;

use crate::error::Error;
use crate::raw::shared_memory::RawSharedMemory;
pub use crate::raw::shared_memory::{Item, ListError};
use crate::sys::{fork, random};

/// Some bytes with a name, mapped into this process.
///
/// The process that creates it owns the name and takes it away when the value is dropped, unless
/// [`keep`](SharedMemory::keep) was called. Opening never takes a name away. The memory itself lives as long as anybody
/// has it mapped, with or without a name.
///
/// All of the memory is reserved when it is created, so that a store into it cannot fail; it begins as zeros. Only the
/// same user can open it (mode 0600).
///
/// Other processes may change the bytes at any moment. [`read`](SharedMemory::read) and [`write`](SharedMemory::write)
/// copy, [`atomic`](SharedMemory::atomic) gives single integers to work on; for more than that, have a
/// [`Lock`](crate::Lock).
pub struct SharedMemory {
    raw: RawSharedMemory,
    /// The fork epoch of the process that takes the name away, 0 for nobody's.
    owner: u64,
    kept: AtomicBool,
}

/// Bytes that do not lie inside the memory, or not where such a value can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{len} bytes at {offset}, aligned to {align}, do not lie in shared memory of {size} bytes")]
pub struct OutOfBounds {
    /// Where they were to begin.
    pub offset: usize,
    /// How many they were.
    pub len: usize,
    /// Of what their place had to be a multiple.
    pub align: usize,
    /// How many bytes the memory has.
    pub size: usize,
}

impl SharedMemory {
    /// Makes `len` zero bytes with a name that nothing else has.
    ///
    /// # Errors
    /// When /dev/shm has no room for it, or cannot be written to.
    pub fn new(len: usize) -> Result<SharedMemory, Error> {
        with_new_name(|name| SharedMemory::create(name, len))
    }

    /// Makes `len` zero bytes with a name of your choice, with or without a slash in front.
    ///
    /// # Errors
    /// As [`new`](SharedMemory::new), and when the name is taken (of kind `AlreadyExists`) or cannot be one.
    pub fn create(name: &str, len: usize) -> Result<SharedMemory, Error> {
        SharedMemory::create_filled(name, len, &[])
    }

    fn create_filled(name: &str, len: usize, contents: &[u8]) -> Result<SharedMemory, Error> {
        sweep_once();
        let keeper = [std::process::id()];
        let raw = RawSharedMemory::create(name, len, MODE, &keeper, contents, &mut || Ok(()))?;
        Ok(SharedMemory { raw, owner: fork::epoch(), kept: AtomicBool::new(false) })
    }

    /// Opens the memory that has this name, in the size that it has now.
    ///
    /// # Errors
    /// When nothing has the name (of kind `NotFound`), or it is another user's, or empty.
    ///
    /// ```
    /// use tasuki::{Error, SharedMemory};
    /// match SharedMemory::open("no such memory") {
    ///     Err(Error::SharedMemory { source, .. }) => assert_eq!(source.kind(), std::io::ErrorKind::NotFound),
    ///     other => panic!("{other:?}"),
    /// }
    /// ```
    pub fn open(name: &str) -> Result<SharedMemory, Error> {
        Ok(SharedMemory {
            raw: RawSharedMemory::open(name)?,
            owner: 0,
            kept: AtomicBool::new(false),
        })
    }

    /// The name to open it by, without a slash.
    pub fn name(&self) -> &str {
        self.raw.name()
    }

    /// How many bytes there are.
    #[allow(clippy::len_without_is_empty)] // it never is
    pub fn len(&self) -> usize {
        self.raw.len()
    }

    /// Lets the name stay when this value is dropped, for others to open and to unlink.
    pub fn keep(&self) {
        self.kept.store(true, Ordering::Relaxed);
        if self.owner != 0 && self.raw.has_its_name() {
            RawSharedMemory::keep(self.name());
        }
    }

    /// Takes the name away now. A process that has the memory keeps it, this value too.
    ///
    /// # Errors
    /// When the name is gone already (of kind `NotFound`).
    pub fn unlink(&self) -> Result<(), Error> {
        self.kept.store(true, Ordering::Relaxed);
        unlink(self.name())
    }

    /// Copies the bytes at `offset` into `into`.
    ///
    /// Exactly 8 bytes at a multiple of 8 are copied in one piece; everything else may come half old and half new while
    /// another process writes.
    ///
    /// # Errors
    /// When they do not all lie in the memory; then nothing is copied.
    pub fn read(&self, offset: usize, into: &mut [u8]) -> Result<(), OutOfBounds> {
        let inside = self.raw.mapping().read(offset, into);
        if inside { Ok(()) } else { Err(self.out_of_bounds(offset, into.len(), 1)) }
    }

    /// Copies `bytes` to `offset`.
    ///
    /// # Errors
    /// When they do not all fit into the memory; then nothing is written.
    pub fn write(&self, offset: usize, bytes: &[u8]) -> Result<(), OutOfBounds> {
        let inside = self.raw.mapping().write(offset, bytes);
        if inside { Ok(()) } else { Err(self.out_of_bounds(offset, bytes.len(), 1)) }
    }

    /// The atomic integer at `offset`, which must be a multiple of its size.
    ///
    /// # Errors
    /// When it is not, or the integer does not lie in the memory.
    pub fn atomic<A: AtomicInteger>(&self, offset: usize) -> Result<&A, OutOfBounds> {
        let len = size_of::<A>();
        match self.raw.mapping().place(offset, len) {
            Some(place) if place.cast::<A>().is_aligned() => {
                // SAFETY: inside the mapping, which `self` keeps, and aligned; every bit pattern is an atomic integer.
                Ok(unsafe { place.cast::<A>().as_ref() })
            }
            _ => Err(self.out_of_bounds(offset, len, align_of::<A>())),
        }
    }

    /// The address of the first byte, a multiple of the page size, valid as long as this value lives.
    ///
    /// Reading and writing through it needs what [`as_slice`](SharedMemory::as_slice) says, or `volatile` and atomic
    /// accesses.
    pub fn as_ptr(&self) -> *mut u8 {
        self.raw.address().as_ptr()
    }

    /// The bytes themselves, without copying.
    ///
    /// # Safety
    /// As long as the slice lives, nobody may write to the memory: no thread of this process and no other process, by
    /// whatever way it has the memory. Nothing checks that; it is for memory that was filled before it was shared, or
    /// whose users all hold a lock meanwhile. Nor may anybody make the file shorter, as for every mapped file.
    pub unsafe fn as_slice(&self) -> &[u8] {
        // SAFETY: the mapping is that long and lives as long as `self`; the caller says that nobody writes.
        unsafe { std::slice::from_raw_parts(self.as_ptr(), self.len()) }
    }

    /// The bytes themselves, to change without copying.
    ///
    /// # Safety
    /// As long as the slice lives, nobody else may read or write the memory; see [`as_slice`](SharedMemory::as_slice).
    pub unsafe fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as above; the caller says that nobody else looks.
        unsafe { std::slice::from_raw_parts_mut(self.as_ptr(), self.len()) }
    }

    fn out_of_bounds(&self, offset: usize, len: usize, align: usize) -> OutOfBounds {
        OutOfBounds { offset, len, align, size: self.len() }
    }
}

/// Takes a name away, of memory that a killed process left for instance. A process that has the memory keeps it.
///
/// # Errors
/// When nothing has this name (of kind `NotFound`).
pub fn unlink(name: &str) -> Result<(), Error> {
    RawSharedMemory::unlink(name)
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // A forked child's copy owns nothing; and somebody may have given the name to other memory since.
        let owns = self.owner == fork::epoch() && !self.kept.load(Ordering::Relaxed);
        if owns && self.raw.has_its_name() {
            let _ = RawSharedMemory::unlink(self.name());
        }
    }
}

impl fmt::Debug for SharedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedMemory")
            .field("name", &self.name())
            .field("len", &self.len())
            .finish()
    }
}

const MODE: u32 = 0o600;

/// Unlinks what killed programs left, before the first memory of this process is made.
fn sweep_once() {
    static SWEPT: AtomicBool = AtomicBool::new(false);
    if !SWEPT.swap(true, Ordering::Relaxed) {
        crate::raw::shared_memory::sweep();
    }
}

/// Calls `create` with new names, of the form that Python uses, until one is free.
fn with_new_name<R>(mut create: impl FnMut(&str) -> Result<R, Error>) -> Result<R, Error> {
    loop {
        let number = random::bytes().map_err(|error| Error::os("choose a name", error))?;
        match create(&format!("psm_{:08x}", u32::from_ne_bytes(number))) {
            Err(Error::SharedMemory { source, .. })
                if source.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => return made,
        }
    }
}

/// The atomic integers of the standard library, which can lie in shared memory.
pub trait AtomicInteger: sealed::Sealed {}

mod sealed {
    pub trait Sealed {}
}

macro_rules! atomic_integers {
    ($($atomic:ty)*) => { $(
        impl sealed::Sealed for $atomic {}
        impl AtomicInteger for $atomic {}
    )* };
}
atomic_integers!(AtomicI8 AtomicI16 AtomicI32 AtomicI64 AtomicU8 AtomicU16 AtomicU32 AtomicU64);
