//! One object in an arena: a reference of this process to a run of slots, for as long as it is there.
//!
//! Everything small that is shared is in one of these, and so is a pipe's ring. It chooses the arena among those that
//! this process has, or has one made; what happens inside an arena is `arena.rs`'s.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;

use super::arena::geometry::{LEASED, PAGE_SLOT, SLOTS, check_size, kind_of, table_of};
pub(crate) use super::arena::geometry::{SLOT, SlotAddress, SlotKind};
use super::arena::pages::Pages;
use super::arena::{self, LocalArena};
use super::local::{self, Local};
use super::part::Part;
use super::{Kind, Segment, Shared};
use crate::error::Error;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sys::lease;
use crate::sys::memory::{self, PAGE};

/// An object that needs more slots than this, of either size, gets an arena of its own.
const LONGEST_RUN: usize = 64;
/// The same for one that does not get all its memory at once.
const LONGEST_RUN_IN_PARTS: usize = 256;

/// One reference of this process to an object in an arena; dropping the last one of all processes frees the slots.
#[derive(Debug)]
pub(crate) struct Slot {
    part: Part,
    address: SlotAddress,
}

impl Slot {
    /// Takes zeroed room for an object of `len` bytes in an arena that this process has, or in a new one.
    pub(crate) fn allocate(kind: SlotKind, len: usize) -> Result<Slot, Error> {
        Slot::allocate_backed(kind, len, len)
    }

    /// As `allocate`, for an object of several pages whose first `backed` bytes alone get memory and are zeroed. The
    /// rest it gets with `back`, and there may be anything in it.
    pub(crate) fn allocate_backed(
        kind: SlotKind,
        len: usize,
        backed: usize,
    ) -> Result<Slot, Error> {
        let sizes = [SLOT, PAGE_SLOT];
        let longest = if backed < len { LONGEST_RUN_IN_PARTS } else { LONGEST_RUN };
        let Some(size) = sizes.into_iter().find(|size| len.div_ceil(*size) <= longest) else {
            let size = len.checked_next_multiple_of(SLOT).ok_or_else(arena::too_large)?;
            return Slot::allocate_in_new(size, kind, 1, len, len);
        };
        let run = len.div_ceil(size).max(1);
        let mut local = local::lock();
        for arena in &mut local.arenas {
            // What is made in one whose descriptor the program closed could go to no other process.
            if arena.slot_size() == size && arena.can_travel() {
                match arena.take(kind, run, len, backed) {
                    Ok(Some((part, address))) => return Ok(Slot { part, address }),
                    // Full; of memory or of processes; or of another pid namespace, before a fork. Another one may do.
                    Ok(None) | Err(Error::Limit(_) | Error::ForeignNamespace) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        // Unlocked: a segment that could not get its memory is dropped, which takes the lock.
        drop(local);
        Slot::allocate_in_new(size, kind, run, len, backed)
    }

    /// Takes room in an arena that is made for it, with slots of `size` bytes.
    fn allocate_in_new(
        size: usize,
        kind: SlotKind,
        run: usize,
        len: usize,
        backed: usize,
    ) -> Result<Slot, Error> {
        let arena = arena::new_arena(size)?;
        let mut local = local::lock();
        local.list(&arena);
        local.arenas.push(LocalArena::new(arena));
        let taken = local.arenas.last_mut().map(|arena| arena.take(kind, run, len, backed));
        let error = match taken.transpose() {
            Ok(Some(Some((part, address)))) => return Ok(Slot { part, address }),
            // Where files may not be long, a whole arena can be shorter than this one object.
            Ok(_) => Error::Limit(format!(
                "an object of {len} bytes does not fit into a file of {} bytes, the longest here (RLIMIT_FSIZE, `ulimit -f`)",
                memory::longest_file()
            )),
            Err(error) => error,
        };
        // Its memory would stay, with nothing in it.
        let unused = local.arenas.pop();
        drop(local);
        drop(unused); // unmaps the segment, which takes the lock
        Err(error)
    }

    /// Opens an object that a handle names. `arena` may be a lease, which ends here, after this process holds the slot.
    /// It waits for nobody: where it had to, for a handle that came without a lease, the error is `Busy`.
    pub(crate) fn open(
        arena: OwnedFd,
        kind: SlotKind,
        address: SlotAddress,
        len: usize,
    ) -> Result<Slot, Error> {
        // The descriptor that came keeps the slot alive until this process holds it; the segment gets one of its own,
        // or the lease would never end.
        let keeps = arena;
        let own = lease::without(keeps.as_fd()).map_err(|e| Error::os("reopen a descriptor", e))?;
        let segment = Segment::attach(own, Kind::Arena)?;
        let mut local = local::lock();
        let index = match local.arenas.iter().position(|arena| arena.is_in(&segment)) {
            Some(index) => index,
            None => {
                check_size(&segment)?;
                local.arenas.push(LocalArena::new(segment));
                local.arenas.len() - 1
            }
        };
        let part = local.arenas[index].open(kind, address, len, keeps.as_fd());
        let unused = if local.arenas[index].is_unused() && local.arenas.len() > 1 {
            Some(local.arenas.swap_remove(index)) // a bad handle must not keep its arena here
        } else {
            None
        };
        drop(local);
        drop((unused, keeps));
        Ok(Slot { part: part?, address })
    }

    pub(crate) fn address(&self) -> SlotAddress {
        self.address
    }

    #[inline]
    pub(crate) fn segment(&self) -> &Arc<Segment> {
        self.part.segment()
    }

    /// The shared value at `offset` of the object.
    #[inline]
    pub(crate) fn place<T: Shared>(&self, offset: usize) -> &T {
        self.part.place(offset)
    }

    /// As `place`, for `count` values side by side.
    #[inline]
    pub(crate) fn places<T: Shared>(&self, offset: usize, count: usize) -> &[T] {
        self.part.places(offset, count)
    }

    /// The object's bytes.
    #[inline]
    pub(crate) fn bytes(&self) -> NonNull<u8> {
        self.part.bytes()
    }

    /// Gives a range of the object its memory, so that writing there cannot fail later.
    pub(crate) fn back(&self, offset: usize, len: usize) -> Result<(), Error> {
        debug_assert!(offset.is_multiple_of(PAGE) && len.is_multiple_of(PAGE));
        let head = self.address.slot as usize;
        let (from, to) = (head + offset / PAGE, head + (offset + len) / PAGE);
        let pages = Pages::of(self.segment(), table_of(self.segment()));
        let base = self.part.bytes().addr().get() - self.segment().base().addr().get();
        if base != pages.offset(head) || to > SLOTS {
            return Err(Error::Invalid("an arena whose slot size was overwritten".into()));
        }
        // The first page has memory as long as the object is there.
        pages.back(from.max(head + 1), to)
    }

    /// A descriptor of the arena that keeps this object alive while it is on its way, even if this process dies.
    pub(crate) fn lease(&self) -> io::Result<OwnedFd> {
        self.note_lease();
        // Without /proc the object lives only as long as somebody holds it.
        let fd = self.segment().fd()?;
        lease::take(fd, u64::from(self.address.slot)).or_else(|_| fd.try_clone_to_owned())
    }

    /// Makes a lease on another object of the same arena keep this one alive, too.
    pub(crate) fn add_to_lease(&self, lease: BorrowedFd<'_>) -> io::Result<()> {
        self.note_lease();
        lease::extend(lease, u64::from(self.address.slot)).or(Ok(()))
    }

    /// Whether the slot still is in the life that this reference is of: false after a broken peer wrote over it.
    pub(crate) fn kind(&self) -> SlotKind {
        kind_of(self.entry().load(Ordering::Relaxed))
    }

    fn entry(&self) -> &AtomicU64 {
        &table_of(self.segment())[self.address.slot as usize]
    }

    /// From now on whoever would free the object asks whether there are leases.
    fn note_lease(&self) {
        // SYNC: with the load in `is_leased`: its caller has the arena's lock, under which this process, that holds the
        // object, gives up its hold after this.
        self.entry().fetch_or(LEASED, Ordering::SeqCst);
    }
}

impl Clone for Slot {
    fn clone(&self) -> Slot {
        let mut local = local::lock();
        let arena = local.arena_of(self.segment());
        arena.refer_again(self.address.slot as usize);
        Slot { part: self.part.clone(), address: self.address }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut local = local::lock();
        let index = local.index_of(self.segment());
        let arena = &mut local.arenas[index];
        arena.let_go(self.address.slot as usize);
        if !arena.is_unused() {
            return;
        }
        // The last arena of a shared size stays, for the next object of that size.
        let size = arena.slot_size();
        let is_last = |arenas: &[LocalArena]| {
            matches!(size, SLOT | PAGE_SLOT)
                && arenas.iter().filter(|other| other.slot_size() == size).count() == 1
        };
        if !is_last(&local.arenas) {
            let unused = local.arenas.swap_remove(index);
            drop(local);
            drop(unused); // may unmap the segment, which takes the lock again
        }
    }
}

impl Local {
    fn index_of(&self, segment: &Arc<Segment>) -> usize {
        self.arenas
            .iter()
            .position(|arena| arena.is_in(segment))
            .expect("a slot's arena is known while the slot is")
    }

    fn arena_of(&mut self, segment: &Arc<Segment>) -> &mut LocalArena {
        let index = self.index_of(segment);
        &mut self.arenas[index]
    }
}
