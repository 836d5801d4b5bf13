//! Shared memory with a name, without a policy: who unlinks it, and when, is the caller's business.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

use crate::error::Error;
use crate::layout::shareable_list::{self, ListView};
pub use crate::layout::shareable_list::{Item, ListError};
use crate::sync::kill_point::kill_point;
use crate::sys::abandoned;
use crate::sys::memory::{self, Mapping};
use crate::sys::named_memory::{self, FileId};

/// The bytes behind a name, mapped into this process as long as this value lives, whatever becomes of the name.
#[derive(Debug)]
pub struct RawSharedMemory {
    mapping: Mapping,
    name: String,
    file: FileId,
}

impl RawSharedMemory {
    /// Makes `len` bytes that begin with `contents` and gives them a name, which must be free.
    ///
    /// `mode` is that of a file. `keepers` are the pids of those who see to it that the name goes, in the end: see
    /// [`sweep`]; with none it stays. `may_go_on` is asked now and then while much memory is reserved; its error calls
    /// that off.
    pub fn create(
        name: &str,
        len: usize,
        mode: u32,
        keepers: &[u32],
        contents: &[u8],
        may_go_on: &mut dyn FnMut() -> io::Result<()>,
    ) -> Result<RawSharedMemory, Error> {
        let name = check_name("create", name)?;
        let refused = |source| refused("create", name, source);
        if len == 0 || contents.len() > len {
            return Err(Error::Invalid(format!(
                "shared memory needs at least one byte, and {len} are not enough for {}",
                contents.len()
            )));
        }
        // Before memory is reserved for nothing.
        named_memory::check_is_free(name).map_err(refused)?;
        let mut fill = |fd: BorrowedFd<'_>| -> io::Result<()> {
            if !keepers.is_empty() {
                abandoned::mark(fd, keepers);
            }
            named_memory::reserve(fd, len as u64, may_go_on)?;
            named_memory::write_at_start(fd, contents)
        };
        if let Some(fd) = named_memory::create_unnamed(mode).map_err(refused)? {
            fill(fd.as_fd()).map_err(refused)?;
            kill_point!(SharedMemoryFilled);
            if named_memory::give_name(fd.as_fd(), name).map_err(refused)? {
                kill_point!(SharedMemoryNamed);
                return RawSharedMemory::map_or_unlink(fd, name, len).map_err(refused);
            }
        }
        let fd = named_memory::create_named(name, mode).map_err(refused)?;
        let filled = fill(fd.as_fd()).inspect_err(|_| drop(named_memory::unlink(name)));
        filled.map_err(refused)?;
        RawSharedMemory::map_or_unlink(fd, name, len).map_err(refused)
    }

    /// Maps what was just made and given its name.
    fn map_or_unlink(fd: OwnedFd, name: &str, len: usize) -> io::Result<RawSharedMemory> {
        let map = || {
            let file = memory::file_id(fd.as_fd())?;
            // Opened once more, so that /proc/PID/maps shows the name that it has now and not that it had none.
            let named = match named_memory::open(name) {
                Ok((named, _)) if memory::file_id(named.as_fd())? == file => Some(named),
                _ => None,
            };
            let mapping = Mapping::new(named.as_ref().unwrap_or(&fd), len)?;
            Ok(RawSharedMemory { mapping, name: name.to_owned(), file })
        };
        map().inspect_err(|_| drop(named_memory::unlink(name)))
    }

    /// Opens what has this name, in the size that it has now.
    pub fn open(name: &str) -> Result<RawSharedMemory, Error> {
        let name = check_name("open", name)?;
        let refused = |source| refused("open", name, source);
        let (fd, len) = named_memory::open(name).map_err(refused)?;
        if len == 0 {
            return Err(Error::Invalid(format!(
                "the shared memory {name:?} is empty: somebody has truncated it, or is still making it"
            )));
        }
        let len = usize::try_from(len).map_err(|_| refused(io::ErrorKind::OutOfMemory.into()))?;
        let mapping = Mapping::new(&fd, len).map_err(refused)?;
        let file = memory::file_id(fd.as_fd()).map_err(refused)?;
        Ok(RawSharedMemory { mapping, name: name.to_owned(), file })
    }

    /// Takes a name away. A process that has the memory keeps it.
    pub fn unlink(name: &str) -> Result<(), Error> {
        let name = check_name("unlink", name)?;
        named_memory::unlink(name).map_err(|source| refused("unlink", name, source))
    }

    /// Lets what has this name stay, whatever becomes of its keepers.
    pub fn keep(name: &str) {
        if let Ok(name) = check_name("keep", name) {
            abandoned::unmark(name);
        }
    }

    /// Whether anything has this name.
    pub fn exists(name: &str) -> bool {
        check_name("open", name).is_ok_and(|name| named_memory::id_of(name).is_ok())
    }

    /// Whether its name still is the name of this memory.
    pub fn has_its_name(&self) -> bool {
        named_memory::id_of(&self.name).is_ok_and(|file| file == self.file)
    }

    /// The name, without a slash.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.mapping.len()
    }

    /// Never: memory of no bytes cannot be made or opened.
    pub fn is_empty(&self) -> bool {
        self.mapping.len() == 0
    }

    /// The address of the bytes, valid as long as this value lives. Other processes may change them at any moment.
    pub fn address(&self) -> NonNull<u8> {
        self.mapping.base()
    }

    pub(crate) fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// How many items the list in this memory has.
    pub fn list_len(&self) -> Result<usize, ListError> {
        ListView(&self.mapping).len()
    }

    /// An item of the list in this memory.
    pub fn list_get(&self, index: usize) -> Result<Item, ListError> {
        ListView(&self.mapping).get(index)
    }

    /// Replaces an item of the list in this memory.
    pub fn list_set(&self, index: usize, item: &Item) -> Result<(), ListError> {
        ListView(&self.mapping).set(index, item)
    }

    /// How an item of the list in this memory is laid out, in the words of Python's `struct`.
    pub fn list_format(&self, index: usize) -> Result<String, ListError> {
        ListView(&self.mapping).format(index)
    }
}

/// Unlinks the memory of this user that has keepers, all of them dead, and that nobody on this machine has open;
/// returns the names. Its program was killed before it could.
pub fn sweep() -> Vec<String> {
    abandoned::sweep()
}

/// The bytes of a new list.
pub fn list_image(items: &[Item]) -> Result<Vec<u8>, ListError> {
    shareable_list::image(items)
}

fn check_name<'a>(doing: &'static str, name: &'a str) -> Result<&'a str, Error> {
    named_memory::check_name(name).map_err(|(source, hint)| Error::SharedMemory {
        doing,
        name: name.to_owned(),
        source,
        hint,
    })
}

fn refused(doing: &'static str, name: &str, source: io::Error) -> Error {
    let hint = match source.kind() {
        io::ErrorKind::StorageFull => {
            " (/dev/shm is too small or too full for it; a container is given more by --shm-size)"
        }
        io::ErrorKind::OutOfMemory => {
            " (the machine, or this process's cgroup, has less memory free)"
        }
        io::ErrorKind::ReadOnlyFilesystem => " (/dev/shm is mounted read-only)",
        io::ErrorKind::NotFound if !named_memory::has_folder() => {
            " (there is no /dev/shm; a tmpfs has to be mounted there)"
        }
        _ => "",
    };
    Error::SharedMemory { doing, name: name.to_owned(), source, hint }
}
