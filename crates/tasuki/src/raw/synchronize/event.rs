//! An event: set or not.

use crate::error::Error;
use crate::layout::event::EventView;
use crate::protocol::transfer::TransferError;
use crate::raw::record::{RecordReader, RecordWriter, Transferable};
use crate::segment::slot::{Slot, SlotKind};
use crate::sync::atomic::AtomicU32;
use crate::sync::{GaveUp, Spin, Wait};

/// Something that happened or did not, which processes wait for.
#[derive(Debug)]
pub struct RawEvent {
    slot: Slot,
    spin: Spin,
}

const EVENT_KIND: SlotKind = SlotKind(4);

impl RawEvent {
    /// Makes an event that is not set.
    pub fn create() -> Result<RawEvent, Error> {
        let slot = Slot::allocate(EVENT_KIND, size_of::<AtomicU32>())?;
        Ok(RawEvent { slot, spin: Spin::new() })
    }

    #[inline]
    fn view(&self) -> EventView<'_> {
        EventView { word: self.slot.place(0), spin: &self.spin }
    }

    /// Whether it is set.
    #[inline]
    pub fn is_set(&self) -> bool {
        self.view().is_set()
    }

    /// Sets it and releases all who wait.
    pub fn set(&self) {
        self.view().set();
    }

    /// Makes it unset; who was released by a `set` before stays so.
    pub fn clear(&self) {
        self.view().clear();
    }

    /// Returns when it is set, or was since the call began.
    pub fn wait(&self, wait: &mut Wait<'_>) -> Result<(), GaveUp> {
        self.view().wait(wait)
    }
}

impl Clone for RawEvent {
    fn clone(&self) -> RawEvent {
        RawEvent { slot: self.slot.clone(), spin: Spin::new() }
    }
}

impl Transferable for RawEvent {
    const KINDS: &'static [u8] = &[6];
    const SLOTS: &'static [(SlotKind, SlotKind)] = &[(EVENT_KIND, EVENT_KIND)];

    fn kind(&self) -> u8 {
        6
    }

    fn write_record(&self, record: &mut RecordWriter<'_>) -> Result<(), TransferError> {
        record.slot(&self.slot)
    }

    fn read_record(record: &mut RecordReader<'_>) -> Result<RawEvent, Error> {
        let (arena, address) = record.slot()?;
        let slot = Slot::open(arena, EVENT_KIND, address, size_of::<AtomicU32>())?;
        Ok(RawEvent { slot, spin: Spin::new() })
    }

    fn name(&self) -> &'static str {
        "an event"
    }
}
