//! What a process still sees of a queue that it closed: how many messages there are, on one page, without a descriptor.
//!
//! The standard library's closed queue still says its size, and a closed joinable one can be joined. Nothing is changed
//! here: a process without the descriptors could not repair what a killed process left, and so takes no lock.
#![allow(unsafe_code)] // turns the address of a page into a reference

use std::time::Duration;

use super::side::SHUT;
use super::{Head, JoinFailure, SharedQueue};
use crate::error::Error;
use crate::sync::{GaveUp, Wait};
use crate::sys::holders;
use crate::sys::memory::{Mapping, PAGE};

/// Without a lock to go through, a wake-up can be missed: so long it costs then.
const NAP: Duration = Duration::from_millis(50);
/// After so many naps the system is asked whether anybody is left: every few seconds.
const NAPS_BEFORE_ASKING: u32 = 60;

/// See the file's head.
#[derive(Debug)]
pub struct Remains {
    /// The page on which the queue's head lies.
    page: Mapping,
    file: (u64, u64),
    capacity: u64,
    byte_limit: u64,
}

impl SharedQueue {
    /// What of the queue can still be seen when every handle to it is dropped: a mapped page, and no descriptor.
    pub fn remains(&self) -> Result<Remains, Error> {
        let page = self
            .segment
            .fd()
            .and_then(|fd| Mapping::of(fd, self.segment.payload(), PAGE))
            .map_err(|e| Error::os("map what remains of a queue", e))?;
        Ok(Remains {
            page,
            file: self.segment.file_id(),
            capacity: self.capacity,
            byte_limit: self.byte_limit,
        })
    }
}

impl Remains {
    fn head(&self) -> &Head {
        // SAFETY: the mapping begins where a queue's head does, is as long as a page, which a head fits into, and lives
        // as long as `self`; the file is no shorter, since it had a queue. What is there is `Shared`.
        unsafe { self.page.base().cast::<Head>().as_ref() }
    }

    /// How many messages wait at this moment.
    pub fn len(&self) -> u64 {
        self.head().len(self.capacity)
    }

    /// Whether no message waits at this moment.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is no room at this moment.
    pub fn is_full(&self) -> bool {
        self.head().is_full(self.capacity, self.byte_limit)
    }

    /// Most messages at a time; `None` is no limit.
    pub fn capacity(&self) -> Option<u64> {
        (self.capacity != u64::MAX).then_some(self.capacity)
    }

    /// How many messages were put and not reported done.
    pub fn unfinished(&self) -> u64 {
        self.head().unfinished()
    }

    /// Whether the queue was shut down.
    pub fn is_shut_down(&self) -> bool {
        self.head().put.flags() & SHUT != 0
    }

    /// Waits until everything that was put has been reported done: what others put after this process had closed the
    /// queue with nothing unfinished. It is an error when nobody is left who could report it.
    pub fn join(&self, wait: &mut Wait<'_>) -> Result<(), JoinFailure> {
        let event = &self.head().joining.alldone;
        let mut naps = 0;
        while self.unfinished() > 0 {
            if wait.is_brief() {
                return Err(GaveUp::TimedOut.into());
            }
            let prepared = event.prepare();
            if self.unfinished() > 0 {
                event.wait_for(prepared, wait, NAP)?;
            }
            naps += 1;
            if naps % NAPS_BEFORE_ASKING == 0
                && !holders::another_process_has(self.file)
                && self.unfinished() > 0
            {
                return Err(Error::Invalid(format!(
                    "{} tasks are unfinished and nobody has the queue any more",
                    self.unfinished()
                ))
                .into());
            }
        }
        Ok(())
    }
}
