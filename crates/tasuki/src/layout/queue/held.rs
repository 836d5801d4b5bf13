//! The right to be in the producers' section of a queue, or in the consumers'. A process that leaves one does what
//! others, which found it busy, left to it: step D0 of readiness in `README.md`.

use std::ops::Deref;

use super::SharedQueue;
use super::side::SETS_READINESS;
use crate::sync::Held;

/// See the file's head.
#[must_use]
pub(super) struct PutHeld<'a> {
    // In this order they are dropped: the lock is free when the holder looks what was left to it.
    held: Held<'a>,
    _leaving: LeavingPut<'a>,
}

/// See the file's head.
#[must_use]
pub(super) struct GetHeld<'a> {
    held: Held<'a>,
    _leaving: LeavingGet<'a>,
}

struct LeavingPut<'a> {
    queue: &'a SharedQueue,
    is_polled: bool,
}

struct LeavingGet<'a> {
    queue: &'a SharedQueue,
    is_polled: bool,
}

impl SharedQueue {
    /// `held` is the lock of the put side.
    #[inline(always)]
    pub(super) fn put_held<'a>(&'a self, held: Held<'a>) -> PutHeld<'a> {
        let is_polled = self.head().put.flags() & SETS_READINESS != 0;
        PutHeld { held, _leaving: LeavingPut { queue: self, is_polled } }
    }

    /// As `put_held`, for a caller that does what was left to the holder itself.
    pub(super) fn put_held_to_clear<'a>(&'a self, held: Held<'a>) -> PutHeld<'a> {
        PutHeld { held, _leaving: LeavingPut { queue: self, is_polled: false } }
    }

    /// `held` is the lock of the get side.
    #[inline(always)]
    pub(super) fn get_held<'a>(&'a self, held: Held<'a>) -> GetHeld<'a> {
        let is_polled = self.head().get.flags() & SETS_READINESS != 0;
        GetHeld { held, _leaving: LeavingGet { queue: self, is_polled } }
    }

    /// As `get_held`, for a caller that does what was left to the holder itself.
    pub(super) fn get_held_to_clear<'a>(&'a self, held: Held<'a>) -> GetHeld<'a> {
        GetHeld { held, _leaving: LeavingGet { queue: self, is_polled: false } }
    }
}

impl<'a> Deref for PutHeld<'a> {
    type Target = Held<'a>;
    #[inline(always)]
    fn deref(&self) -> &Held<'a> {
        &self.held
    }
}

impl<'a> Deref for GetHeld<'a> {
    type Target = Held<'a>;
    #[inline(always)]
    fn deref(&self) -> &Held<'a> {
        &self.held
    }
}

impl Drop for LeavingPut<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.is_polled {
            self.queue.clear_readable_left();
        }
    }
}

impl Drop for LeavingGet<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.is_polled {
            self.queue.clear_writable_left();
        }
    }
}
