//! For callers that wait for several things at once: a look, a sleep prepared, and a descriptor for selectors.
//!
//! Nothing here waits for anybody's turn.

use std::os::fd::{AsFd, BorrowedFd};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::PipeEnd;
use super::readiness::ReadinessFd as _;
use super::receive::Looked;
use super::ring::{Direction, FIRST};
use super::turn::{Resynced, Turn};
use crate::error::Error;
use crate::layout::failure::TransportFailure;
use crate::sync::{GaveUp, Wait, kill_point};
use crate::sys::epoll::Combined;

/// What the end of a wait for several things depends on; see [`PipeEnd::arm`].
#[derive(Debug)]
pub enum Armed<'a> {
    /// A receive would not block.
    Ready,
    /// Poll the first descriptor for reading and the other one for nothing but its end (`POLLHUP`), half a second at
    /// most, then ask again.
    Sleep(BorrowedFd<'a>, Option<BorrowedFd<'a>>),
    /// Somebody is sending at this moment, and the readiness cannot be cleared. Ask again in a millisecond or so.
    Soon,
}

/// The descriptor for selectors, once somebody asked for it: of the socket's end and the readiness. Children that are
/// forked later share it, and what it says is as true for them.
#[derive(Debug, Default)]
pub(super) struct Selector(AtomicPtr<Combined>);

impl Selector {
    fn get(&self) -> Option<&Combined> {
        // SAFETY: null, or from `Box::into_raw` in `set`, and freed only where `self` ends.
        // SYNC: Acquire, with the exchange in `set`.
        unsafe { self.0.load(Ordering::Acquire).as_ref() }
    }

    /// Keeps it, unless another thread was faster, and gives the one that is kept.
    fn set(&self, combined: Combined) -> &Combined {
        let new = Box::into_raw(Box::new(combined));
        // SYNC: Release, with the load in `get`.
        let kept = match self.0.compare_exchange(
            ptr::null_mut(),
            new,
            Ordering::AcqRel,
            Ordering::Acquire,
        ) {
            Ok(_) => new,
            Err(faster) => {
                // SAFETY: made above and known to nobody.
                drop(unsafe { Box::from_raw(new) });
                faster
            }
        };
        // SAFETY: as in `get`.
        unsafe { &*kept }
    }
}

impl Drop for Selector {
    fn drop(&mut self) {
        let combined = *self.0.get_mut();
        if !combined.is_null() {
            // SAFETY: from `Box::into_raw`, and nobody else has `self`.
            drop(unsafe { Box::from_raw(combined) });
        }
    }
}

impl PipeEnd {
    /// Waits until a receive would not block, since there is a message or the end; false: not within the time.
    pub fn poll(&self, wait: &mut Wait<'_>) -> Result<bool, TransportFailure> {
        let direction = self.incoming()?;
        loop {
            let found = match direction.has_frame() {
                true => Ok(()),
                false => self.wait_for_frame(direction, wait),
            };
            match found.and_then(|()| self.has_message(direction, wait)) {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(TransportFailure::Disconnected(_)) => return Ok(true),
                Err(TransportFailure::GaveUp(GaveUp::TimedOut)) => return Ok(false),
                Err(why) => return Err(why),
            }
        }
    }

    /// Whether what is at the head is for a receiver, now that there is a frame.
    fn has_message(
        &self,
        direction: Direction<'_>,
        wait: &mut Wait<'_>,
    ) -> Result<bool, TransportFailure> {
        match direction.frame_at(direction.head()) {
            Ok(Some(frame)) if frame.is(FIRST) => return Ok(true),
            _ => {}
        }
        // A later frame: somebody receives the message now, or it has no begin and is passed over.
        let turn = Turn::to_receive(direction, &self.turns, wait)?;
        Ok(self.look_with_turn(direction, &turn)? == Looked::Message)
    }

    /// Prepares a sleep on several things at once: after this a message makes a descriptor readable. It may be readable
    /// for nothing, so ask again whenever it is. Costs senders nothing but the message after it. Waits for nobody.
    pub fn arm(&self) -> Result<Armed<'_>, TransportFailure> {
        let direction = self.incoming()?;
        // What is there already needs no descriptors, nor does the end.
        if self.descriptors.made().is_none() && self.poll(&mut Wait::now())? {
            return Ok(Armed::Ready);
        }
        let made = self.made()?;
        direction.words.seldom.waiters.prepare_asleep();
        kill_point!(PipeAsleep);
        if self.poll(&mut Wait::now())? {
            return Ok(Armed::Ready);
        }
        if self.seems_set.load(Ordering::Relaxed) || direction.words.seldom.readiness.may_be_set() {
            let resynced = self.resync_incoming(direction)?;
            if direction.has_frame() {
                return Ok(Armed::Ready);
            }
            if resynced == Resynced::BySender {
                return Ok(Armed::Soon);
            }
        }
        Ok(Armed::Sleep(direction.eventfd_of(made).as_fd(), Some(made.socket())))
    }

    /// A descriptor for selectors and event loops that is readable exactly if a receive would not block. The same one
    /// at each call. From the first call on a message costs a system call at each end when it comes to an empty pipe or
    /// leaves one; [`arm`](PipeEnd::arm) does not do that. Waits for nobody.
    pub fn pollable(&self) -> Result<BorrowedFd<'_>, TransportFailure> {
        let Ok(direction) = self.incoming() else { return Ok(self.socket()?) };
        if let Some(combined) = self.selector.get() {
            return Ok(combined.as_fd());
        }
        let made = self.made()?;
        let combined = Combined::of(made.socket(), direction.eventfd_of(made).as_fd())
            .map_err(|e| Error::os("make a descriptor for selectors", e))?;
        direction.words.seldom.waiters.set_polled();
        kill_point!(PipePolled);
        // Nobody knows whether a sender has looked for POLLED and not committed yet: what is unsure is set.
        direction.set_readable();
        kill_point!(PipePolledSet);
        direction.resync(&self.turns)?;
        Ok(self.selector.set(combined).as_fd())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::pipe::Mode;

    #[test]
    fn a_message_and_the_end_are_found_without_descriptors() {
        let (receiver, sender) = PipeEnd::pipe(Mode::Simplex).unwrap();
        sender.send(1, &[b"message"], &[], &mut Wait::forever()).unwrap();
        assert!(matches!(receiver.arm(), Ok(Armed::Ready)));
        let mut buffer = Vec::new();
        receiver.recv(&mut buffer, usize::MAX, &mut Wait::forever()).unwrap();
        drop(sender);
        assert!(matches!(receiver.arm(), Ok(Armed::Ready)));
        let end = receiver.recv(&mut buffer, usize::MAX, &mut Wait::forever());
        assert!(matches!(end, Err(TransportFailure::Disconnected(_))), "{end:?}");
        assert!(receiver.descriptors.made().is_none());
    }
}
