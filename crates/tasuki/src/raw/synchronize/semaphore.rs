//! A semaphore: permits, some of which are owned by processes.

use crate::error::Error;
use crate::layout::lock::Acquired;
use crate::layout::semaphore::{
    FEWEST_OWNERS, MOST, MOST_OWNERS, Permit, SemaphoreView, SemaphoreWords, owners,
};
use crate::protocol::transfer::TransferError;
use crate::raw::AcquireFailure;
use crate::raw::record::{RecordReader, RecordWriter, Transferable};
use crate::segment::slot::{Slot, SlotKind};
use crate::sync::atomic::AtomicU64;
use crate::sync::{GaveUp, Spin, Wait};

/// A number of permits that processes acquire and release.
#[derive(Debug)]
pub struct RawSemaphore {
    slot: Slot,
    spin: Spin,
    max: u32,
    owners: u16,
}

const SEMAPHORE_KIND: SlotKind = SlotKind(5);

/// The owner of an owned permit: this process, until it forks; the child is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PermitOwner(pub(super) crate::segment::Token);

fn len(owners: usize) -> usize {
    size_of::<SemaphoreWords>() + owners * size_of::<AtomicU64>()
}

impl RawSemaphore {
    /// The most permits that any semaphore can have.
    pub const MOST: u32 = MOST;

    /// Makes a semaphore with so many permits, which never has more than `max`.
    pub fn create(initial: u32, max: u32) -> Result<RawSemaphore, Error> {
        if initial > max || max > MOST {
            return Err(Error::Limit(format!("a semaphore has at most {} permits", max.min(MOST))));
        }
        let owners = owners(initial);
        let slot = Slot::allocate(SEMAPHORE_KIND, len(owners))?;
        slot.place::<SemaphoreWords>(0).begin(initial);
        Ok(RawSemaphore { slot, spin: Spin::new(), max, owners: owners as u16 })
    }

    #[inline]
    fn view(&self) -> SemaphoreView<'_> {
        SemaphoreView {
            words: self.slot.place(0),
            ledger: self.slot.places(size_of::<SemaphoreWords>(), usize::from(self.owners)),
            segment: self.slot.segment(),
            spin: &self.spin,
            max: self.max,
        }
    }

    /// Takes a permit that is nobody's from then on.
    #[inline]
    pub fn acquire(&self, wait: &mut Wait<'_>) -> Result<Acquired, AcquireFailure> {
        self.view().acquire(Permit::Bare, wait)
    }

    /// Takes a permit that comes back when this process dies.
    #[inline]
    pub fn acquire_owned(
        &self,
        wait: &mut Wait<'_>,
    ) -> Result<(Acquired, PermitOwner), AcquireFailure> {
        let me = self.slot.segment().my_row()?;
        Ok((self.view().acquire(Permit::Owned(me), wait)?, PermitOwner(me)))
    }

    /// The quick part of `acquire_owned`, where nobody has to be told anything: None says nothing but that the rest
    /// has to be done.
    pub(crate) fn acquire_owned_fast(&self) -> Option<PermitOwner> {
        let me = self.slot.segment().known_row()?;
        self.view().take_fast(Permit::Owned(me)).then_some(PermitOwner(me))
    }

    /// The quick part of `acquire`: None says nothing but that the rest has to be done.
    #[inline]
    pub fn try_acquire(&self) -> Option<Acquired> {
        self.view().take_if_available(Permit::Bare, &mut Wait::now()).ok().flatten()
    }

    /// The quick part of `acquire_owned`: None says nothing but that the rest has to be done.
    #[inline]
    pub fn try_acquire_owned(&self) -> Option<Acquired> {
        let me = self.slot.segment().known_row()?;
        self.view().take_if_available(Permit::Owned(me), &mut Wait::attempt()).ok().flatten()
    }

    /// Takes a permit if one is free and there is nothing to tell; false says nothing but that `acquire` has to look.
    #[inline]
    #[must_use]
    pub fn acquire_fast(&self, owned: bool) -> bool {
        if !owned {
            return self.view().take_fast(Permit::Bare);
        }
        let me = self.slot.segment().known_row();
        me.is_some_and(|me| self.view().take_fast(Permit::Owned(me)))
    }

    /// Adds permits that nobody owned; false, and nothing is added, when there would be too many.
    #[inline]
    #[must_use]
    pub fn release(&self, count: u32) -> bool {
        self.view().release(count).is_ok()
    }

    /// Gives back a permit that this process owns, or adds one if it owns none; false when there would be too many.
    #[inline]
    #[must_use]
    pub fn release_owned(&self) -> bool {
        let done = self.release_owned_within(&mut Wait::forever());
        debug_assert!(done.is_ok(), "a wait without deadline and check does not give up");
        done.unwrap_or(false)
    }

    /// As `release_owned`. A wait that is given up, since somebody was stopped in the middle of a step, changes
    /// nothing.
    pub fn release_owned_within(&self, wait: &mut Wait<'_>) -> Result<bool, GaveUp> {
        match self.slot.segment().known_row() {
            Some(me) => Ok(self.view().release_owned(me, wait)?.is_ok()),
            None => Ok(self.release(1)),
        }
    }

    /// The quick part of `release_owned`: false says nothing but that nothing was done.
    #[inline]
    #[must_use]
    pub fn release_owned_fast(&self) -> bool {
        let me = self.slot.segment().known_row();
        me.is_some_and(|me| matches!(self.view().release_owned_fast_if_room(me), Some(Ok(()))))
    }

    /// Gives a permit back if this process is its owner, and not a forked child.
    pub(crate) fn give_back(&self, owner: PermitOwner) {
        if self.is_owner(owner) && self.view().release_owned_fast(owner.0).is_none() {
            self.give_back_slowly();
        }
    }

    #[cold]
    fn give_back_slowly(&self) {
        // False when others released what this process owned: then there is nothing to give back.
        let _ = self.release_owned();
    }

    /// Whether this process is the one that acquired: a forked child is not its parent.
    #[inline]
    pub fn is_owner(&self, owner: PermitOwner) -> bool {
        self.slot.segment().known_row() == Some(owner.0)
    }

    /// How many permits are available.
    pub fn value(&self) -> u32 {
        self.view().value()
    }

    /// The most permits that there may be.
    pub fn max(&self) -> u32 {
        self.max
    }

    /// Whether the number of permits is bounded by what it was at the beginning.
    pub fn is_bounded(&self) -> bool {
        self.max < MOST
    }

    /// What distinguishes this semaphore from all others of this process.
    pub fn key(&self) -> (u64, u32) {
        (self.slot.segment().file_id().1, self.slot.address().slot)
    }
}

impl Clone for RawSemaphore {
    fn clone(&self) -> RawSemaphore {
        RawSemaphore { slot: self.slot.clone(), spin: Spin::new(), ..*self }
    }
}

impl Transferable for RawSemaphore {
    const KINDS: &'static [u8] = &[7];
    const SLOTS: &'static [(SlotKind, SlotKind)] = &[(SEMAPHORE_KIND, SEMAPHORE_KIND)];

    fn kind(&self) -> u8 {
        7
    }

    fn write_record(&self, record: &mut RecordWriter<'_>) -> Result<(), TransferError> {
        record.slot(&self.slot)?;
        record.u32(self.max);
        record.u16(self.owners);
        Ok(())
    }

    fn read_record(record: &mut RecordReader<'_>) -> Result<RawSemaphore, Error> {
        let ((arena, address), max, owners) = (record.slot()?, record.u32()?, record.u16()?);
        if max > MOST || !(FEWEST_OWNERS..=MOST_OWNERS).contains(&usize::from(owners)) {
            return Err(Error::Invalid("a semaphore's handle with impossible numbers".into()));
        }
        let slot = Slot::open(arena, SEMAPHORE_KIND, address, len(usize::from(owners)))?;
        Ok(RawSemaphore { slot, spin: Spin::new(), max, owners })
    }

    fn name(&self) -> &'static str {
        "a semaphore"
    }
}
