//! A condition: threads and processes wait until another one notifies them, and give up a lock meanwhile.

use super::RawLock;
use crate::error::Error;
use crate::layout::condition::{ConditionView, ConditionWords, NotWaited, Seat, Woken};
use crate::layout::lock::Acquired;
use crate::protocol::transfer::TransferError;
use crate::raw::AcquireFailure;
use crate::raw::record::{RecordReader, RecordWriter, Transferable};
use crate::segment::slot::{Slot, SlotKind};
use crate::sync::{GaveUp, Spin, Wait};

/// A condition between processes and threads; a killed waiter takes no notification with it.
#[derive(Debug)]
pub struct RawCondition {
    slot: Slot,
    spin: Spin,
}

pub(super) const CONDITION_KIND: SlotKind = SlotKind(10);
/// What a condition's record begins with, and that of its own lock.
pub(super) const CONDITION: u8 = 10;

impl RawCondition {
    /// Makes a condition that nobody waits for.
    pub fn create() -> Result<RawCondition, Error> {
        let slot = Slot::allocate(CONDITION_KIND, size_of::<ConditionWords>())?;
        Ok(RawCondition { slot, spin: Spin::new() })
    }

    /// The recursive lock that every condition brings along.
    pub fn own_lock(&self) -> RawLock {
        RawLock::of(self.slot.clone(), true)
    }

    fn view(&self) -> ConditionView<'_> {
        ConditionView { words: self.slot.place(0), segment: self.slot.segment(), spin: &self.spin }
    }

    /// Frees `lock`, waits to be notified, and takes the lock again as often as it was taken before: in every case, and
    /// however long that takes.
    pub fn wait(
        &self,
        lock: &RawLock,
        wait: &mut Wait<'_>,
    ) -> Result<(Woken, Acquired), NotWaited> {
        self.view().wait(lock.user_lock(), wait)
    }

    /// Begins to wait without a lock that the engine knows: the caller then frees its lock, sleeps, and takes it again.
    pub fn enter(&self, wait: &mut Wait<'_>) -> Result<Waiter<'_>, AcquireFailure> {
        let seat = self.view().sit_down(wait)?;
        Ok(Waiter { ticket: self.view().ticket_of(seat), forked: false, seat, condition: self })
    }

    /// Lets the `count` oldest of those who wait go on, or all if there are fewer.
    pub fn notify(&self, count: usize) {
        let done = self.notify_within(count, &mut Wait::forever());
        debug_assert!(done.is_ok(), "a wait without deadline and check does not give up");
    }

    /// As `notify`. A wait that is given up, since somebody was stopped in the middle of changing the list, notifies
    /// nobody.
    pub fn notify_within(&self, count: usize, wait: &mut Wait<'_>) -> Result<(), GaveUp> {
        self.view().notify(count, wait)
    }

    /// How many wait at this moment.
    pub fn waiting(&self) -> usize {
        self.view().waiting()
    }
}

impl Clone for RawCondition {
    fn clone(&self) -> RawCondition {
        RawCondition { slot: self.slot.clone(), spin: Spin::new() }
    }
}

impl Transferable for RawCondition {
    const KINDS: &'static [u8] = &[CONDITION];
    const SLOTS: &'static [(SlotKind, SlotKind)] = &[(CONDITION_KIND, CONDITION_KIND)];

    fn kind(&self) -> u8 {
        CONDITION
    }

    fn write_record(&self, record: &mut RecordWriter<'_>) -> Result<(), TransferError> {
        record.slot(&self.slot)
    }

    fn read_record(record: &mut RecordReader<'_>) -> Result<RawCondition, Error> {
        let (arena, address) = record.slot()?;
        let slot = Slot::open(arena, CONDITION_KIND, address, size_of::<ConditionWords>())?;
        Ok(RawCondition { slot, spin: Spin::new() })
    }

    fn name(&self) -> &'static str {
        "a condition"
    }
}

/// A place among those who wait; dropped when the lock was taken again.
#[derive(Debug)]
#[must_use]
pub struct Waiter<'a> {
    condition: &'a RawCondition,
    seat: Seat,
    ticket: u32,
    /// The seat is the parent's.
    forked: bool,
}

impl Waiter<'_> {
    /// Waits to be notified.
    pub fn sleep(&mut self, wait: &mut Wait<'_>) -> Woken {
        let woken = self.condition.view().sleep(&mut self.seat, None, wait);
        self.forked = wait.has_forked();
        woken
    }

    /// In a child that was forked in `sleep`, with the lock taken again: whether nobody has been notified since who
    /// came when the parent did. Then the child loses nothing if it begins to wait anew.
    pub fn has_missed_nothing(&self) -> bool {
        self.condition.view().still_waits(self.seat, self.ticket)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if !self.forked {
            self.condition.view().stand_up(self.seat);
        }
    }
}
