//! A barrier: so many parties wait until all of them have come.

use crate::error::Error;
use crate::layout::barrier::{Arrived, BarrierView, BarrierWords, NotPassed, Place};
use crate::protocol::transfer::TransferError;
use crate::raw::AcquireFailure;
use crate::raw::record::{RecordReader, RecordWriter, Transferable};
use crate::segment::slot::{SLOT, Slot, SlotKind};
use crate::sync::{Spin, Wait};

/// A barrier between processes and threads, which breaks when a party that is needed dies.
#[derive(Debug)]
pub struct RawBarrier {
    slot: Slot,
    spin: Spin,
    parties: u32,
}

const BARRIER_KIND: SlotKind = SlotKind(11);

/// More parties than this are not supported: a process that uses a segment needs a row of its roster.
const MOST: u32 = 4000;
/// Where the seats begin: after the words, on a line of their own.
const SEATS: usize = 2 * SLOT;

const _: () = assert!(size_of::<BarrierWords>() <= SEATS);

fn len(parties: u32) -> Result<usize, Error> {
    match parties {
        0 => Err(Error::Invalid("a barrier needs at least one party".into())),
        1..=MOST => Ok(SEATS + 2 * 8 * parties as usize),
        _ => Err(Error::Limit(format!("a barrier has at most {MOST} parties, not {parties}"))),
    }
}

impl RawBarrier {
    /// Makes a barrier for so many parties.
    pub fn create(parties: u32) -> Result<RawBarrier, Error> {
        let slot = Slot::allocate(BARRIER_KIND, len(parties)?)?;
        Ok(RawBarrier { slot, spin: Spin::new(), parties })
    }

    fn view(&self) -> BarrierView<'_> {
        BarrierView {
            words: self.slot.place(0),
            seats: self.slot.places(SEATS, 2 * self.parties as usize),
            segment: self.slot.segment(),
            spin: &self.spin,
        }
    }

    /// Comes to the barrier. `has_action` says that the caller runs an action, should it be the last one to come.
    pub fn arrive(
        &self,
        has_action: bool,
        wait: &mut Wait<'_>,
    ) -> Result<RawArrived<'_>, NotPassed> {
        Ok(match self.view().arrive(has_action, wait)? {
            Arrived::Passed(index) => RawArrived::Passed(index),
            Arrived::RunAction(place) => {
                RawArrived::RunAction(ActionTurn { barrier: self, place, ended: false })
            }
            Arrived::Waits(place) => {
                RawArrived::Waits(Arrival { barrier: self, place, ended: false })
            }
        })
    }

    /// Breaks the barrier: all who wait and all who come get an error, until `reset`.
    pub fn abort(&self) -> Result<(), Error> {
        Ok(self.abort_within(&mut Wait::forever())?)
    }

    /// As `abort`. A wait that is given up, since somebody was stopped in the middle of a step, changes nothing.
    pub fn abort_within(&self, wait: &mut Wait<'_>) -> Result<(), AcquireFailure> {
        self.view().abort(wait)
    }

    /// Makes the barrier whole and empty; those who wait at this moment get an error.
    pub fn reset(&self) -> Result<(), Error> {
        Ok(self.reset_within(&mut Wait::forever())?)
    }

    /// As `reset`. A wait that is given up, since somebody was stopped in the middle of a step, changes nothing.
    pub fn reset_within(&self, wait: &mut Wait<'_>) -> Result<(), AcquireFailure> {
        self.view().reset(wait)
    }

    /// How many parties it takes.
    pub fn parties(&self) -> u32 {
        self.parties
    }

    /// How many wait at this moment.
    pub fn waiting(&self) -> u32 {
        self.view().waiting()
    }

    /// Whether it is broken.
    pub fn is_broken(&self) -> bool {
        self.view().is_broken()
    }
}

impl Clone for RawBarrier {
    fn clone(&self) -> RawBarrier {
        RawBarrier { slot: self.slot.clone(), spin: Spin::new(), parties: self.parties }
    }
}

impl Transferable for RawBarrier {
    const KINDS: &'static [u8] = &[11];
    const SLOTS: &'static [(SlotKind, SlotKind)] = &[(BARRIER_KIND, BARRIER_KIND)];

    fn kind(&self) -> u8 {
        11
    }

    fn write_record(&self, record: &mut RecordWriter<'_>) -> Result<(), TransferError> {
        record.slot(&self.slot)?;
        record.u32(self.parties);
        Ok(())
    }

    fn read_record(record: &mut RecordReader<'_>) -> Result<RawBarrier, Error> {
        let ((arena, address), parties) = (record.slot()?, record.u32()?);
        let slot = Slot::open(arena, BARRIER_KIND, address, len(parties)?)?;
        Ok(RawBarrier { slot, spin: Spin::new(), parties })
    }

    fn name(&self) -> &'static str {
        "a barrier"
    }
}

/// What comes after arriving.
#[derive(Debug)]
#[must_use]
pub enum RawArrived<'a> {
    /// All have come: the caller goes on, with its index.
    Passed(u32),
    /// All have come, and wait until the caller has run the action.
    RunAction(ActionTurn<'a>),
    /// The others are to come.
    Waits(Arrival<'a>),
}

/// The duty to run the action; dropped without `done`, it failed, and the barrier is broken.
#[derive(Debug)]
#[must_use]
pub struct ActionTurn<'a> {
    barrier: &'a RawBarrier,
    place: Place,
    ended: bool,
}

impl ActionTurn<'_> {
    /// The action went well: everybody goes on. Gives the caller's index.
    pub fn done(mut self) -> Result<u32, NotPassed> {
        self.ended = true;
        self.barrier.view().action_ended(self.place, true)
    }
}

impl Drop for ActionTurn<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.barrier.view().action_ended(self.place, false);
        }
    }
}

/// A place at the barrier; dropped without waiting, it is free again.
#[derive(Debug)]
#[must_use]
pub struct Arrival<'a> {
    barrier: &'a RawBarrier,
    place: Place,
    ended: bool,
}

impl Arrival<'_> {
    /// Waits for the others. Gives the caller's index, which no other party of the round has.
    pub fn wait(mut self, wait: &mut Wait<'_>) -> Result<u32, NotPassed> {
        let passed = self.barrier.view().await_others(self.place, wait);
        self.ended = true; // not after a panic of the caller's check
        passed
    }
}

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.barrier.view().leave(self.place);
        }
    }
}
