//! Handles on their way between processes, as a test has them in its hand.

use std::os::fd::OwnedFd;

use tasuki::protocol::transfer::{self, Incoming, Outgoing, TransferError};
use tasuki::raw::RawHandle;

use super::{Dice, descriptor_count};

/// A handle as it travels: its record and copies of its descriptors, which keep the object.
#[derive(Debug)]
pub struct Sent {
    pub record: Vec<u8>,
    pub fds: Vec<OwnedFd>,
}

pub fn sent(write: impl FnOnce(&mut Outgoing) -> Result<Vec<u8>, TransferError>) -> Sent {
    let mut table = Outgoing::default();
    let record = write(&mut table).unwrap();
    Sent { record, fds: table.into_descriptors() }
}

impl Sent {
    /// Opens it once; it can be opened again.
    pub fn open(&self) -> Result<RawHandle, tasuki::Error> {
        RawHandle::open(&self.record, &mut |index| self.descriptor(index))
    }

    /// As `open`, with the error at once.
    pub fn open_now(&self) -> Result<RawHandle, tasuki::Error> {
        RawHandle::open_now(&self.record, &mut |index| self.descriptor(index))
    }

    fn descriptor(&self, index: u32) -> Result<OwnedFd, TransferError> {
        let incoming = self.fds.get(index as usize).map(|fd| fd.try_clone().unwrap());
        // An index that did not come with the message, in the words of the real table.
        transfer::provide(Incoming::new(incoming.into_iter().collect()), || transfer::take(0))
    }

    /// What the error says.
    pub fn refusal(&self) -> String {
        match self.open() {
            Err(error) => error.to_string(),
            Ok(handle) => panic!("{} was opened", handle.name()),
        }
    }
}

/// Opens each of these with up to `changes` bytes of its record changed, many times: nothing is left open, and the
/// whole ones still open afterwards.
pub fn try_damaged(what: &str, whole: &[Sent], times: u32, changes: u64) {
    let mut dice = Dice::roll(what);
    whole.iter().for_each(|sent| drop(sent.open().unwrap()));
    let before = descriptor_count();
    for _ in 0..times {
        let sent = &whole[dice.below(whole.len() as u64) as usize];
        let mut record = sent.record.clone();
        for _ in 0..=dice.below(changes) {
            let at = dice.below(record.len() as u64) as usize;
            record[at] = dice.next() as u8;
        }
        let fds = sent.fds.iter().map(|fd| fd.try_clone().unwrap()).collect();
        drop(Sent { record, fds }.open());
    }
    assert_eq!(descriptor_count(), before);
    whole.iter().for_each(|sent| drop(sent.open().unwrap()));
}
