//! Readiness: descriptors that can be polled, set while there are messages, or room. `README.md` has the protocol.
//!
//! Producers set *messages* before they commit, consumers clear it when they leave nothing or find nothing; with
//! *room* it is the other way round. Untouched until somebody asks for the descriptor.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::SharedQueue;
use super::held::{GetHeld, PutHeld};
use super::side::{CLEARS_READINESS, Readiness, SETS_READINESS, SHUT};
use crate::error::Error;
use crate::layout::failure::TransportFailure;
use crate::sync::atomic::Ordering;
use crate::sync::{Wait, kill_point};
use crate::sys::eventfd;

/// Set is readable.
struct Messages<'a>(&'a OwnedFd);

impl Readiness for Messages<'_> {
    fn set(&self) {
        eventfd::make_readable(self.0);
    }
    fn clear(&self) {
        eventfd::make_writable(self.0);
    }
}

/// Set is writable. A queue without limits has none, and is always set.
struct Room<'a>(Option<&'a OwnedFd>);

impl Readiness for Room<'_> {
    fn set(&self) {
        if let Some(room) = self.0 {
            eventfd::make_writable(room);
        }
    }
    fn clear(&self) {
        if let Some(room) = self.0 {
            eventfd::make_unwritable(room);
        }
    }
}

impl SharedQueue {
    /// A descriptor that is readable whenever a message waits, and for good after a shutdown: for poll, select and
    /// epoll, with levels or edges. It belongs to the queue and is the same in all processes; only poll it, never read
    /// from it.
    ///
    /// From the first call on, puts into the empty queue and gets of the last message make a system call each. A
    /// process that finds it readable may find that another one was faster; a `get` that says "empty" made sure that
    /// the descriptor is not readable for nothing.
    pub fn pollable(&self) -> Result<BorrowedFd<'_>, Error> {
        Ok(self.pollable_within(&mut Wait::forever())?)
    }

    /// As `pollable`, for callers that do not want to wait until one that was stopped inside the queue goes on.
    pub fn pollable_within(&self, wait: &mut Wait<'_>) -> Result<BorrowedFd<'_>, TransportFailure> {
        let head = self.head();
        if head.put.flags() & SETS_READINESS == 0 {
            let held = self.lock_get(wait)?;
            head.get.flag(&held, CLEARS_READINESS);
            drop(held);
            kill_point!(ReadinessHalfAsked);
            let held = self.lock_put(wait)?;
            self.resync_readable(&held);
            // Last: a producer that sees this flag relies on the resync.
            head.put.flag(&held, SETS_READINESS);
            drop(held);
            self.clear_readable_left(); // this holder did not know yet that it is polled
        }
        Ok(self.messages.as_fd())
    }

    /// A descriptor that is writable whenever there is room, and for good after a shutdown; see
    /// [`pollable`](SharedQueue::pollable). With a byte limit it is not writable from when a message was refused until
    /// something is taken. It says nothing by being readable.
    pub fn pollable_for_put(&self) -> Result<BorrowedFd<'_>, Error> {
        Ok(self.pollable_for_put_within(&mut Wait::forever())?)
    }

    /// As `pollable_for_put`; see [`pollable_within`](SharedQueue::pollable_within).
    pub fn pollable_for_put_within(
        &self,
        wait: &mut Wait<'_>,
    ) -> Result<BorrowedFd<'_>, TransportFailure> {
        let Some(room) = &self.room else {
            // Readable or not, it is always writable.
            return Ok(self.messages.as_fd());
        };
        let head = self.head();
        if head.get.flags() & SETS_READINESS == 0 {
            let held = self.lock_put(wait)?;
            head.put.flag(&held, CLEARS_READINESS);
            drop(held);
            kill_point!(ReadinessHalfAsked);
            let held = self.lock_get(wait)?;
            self.resync_writable(&held);
            head.get.flag(&held, SETS_READINESS);
            drop(held);
            self.clear_writable_left();
        }
        Ok(room.as_fd())
    }

    /// After a get with [`Wait::attempt`] found nothing: whether there was nothing. Otherwise somebody may be inside,
    /// perhaps stopped, and a get with [`Wait::now`] says more.
    pub fn is_surely_empty(&self) -> bool {
        let head = self.head();
        let is_clear = head.get.flags() & CLEARS_READINESS == 0 || !head.put.may_be_set();
        is_clear && !head.get.lock.is_held() && !self.has_message() && !self.is_shut_down()
    }

    /// The same after a put.
    pub fn is_surely_full(&self) -> bool {
        let head = self.head();
        let is_clear = head.put.flags() & CLEARS_READINESS == 0 || !head.get.may_be_set();
        is_clear && !head.put.lock.is_held() && self.is_full() && !self.is_shut_down()
    }

    /// Before the commit of a message.
    #[cold]
    pub(super) fn set_readable(&self, held_put: &PutHeld<'_>) {
        self.head().put.set_readiness(held_put, &Messages(&self.messages));
    }

    /// Before the commit of a get.
    #[cold]
    pub(super) fn set_writable(&self, held_get: &GetHeld<'_>) {
        self.head().get.set_readiness(held_get, &Room(self.room.as_ref()));
    }

    pub(super) fn resync_readable(&self, held_put: &PutHeld<'_>) {
        let put = &self.head().put;
        let ready = self.has_message() || put.flags() & SHUT != 0;
        put.resync_readiness(held_put, ready, &Messages(&self.messages));
    }

    pub(super) fn resync_writable(&self, held_get: &GetHeld<'_>) {
        let get = &self.head().get;
        let ready = !self.is_full() || get.flags() & SHUT != 0;
        get.resync_readiness(held_get, ready, &Room(self.room.as_ref()));
    }

    /// After a get, without a lock. The message is taken, so this must neither fail nor wait: while a producer is in
    /// its section it is left to that one.
    #[cold]
    pub(super) fn clear_readable_if_empty(&self) {
        if !self.has_message() && self.clear_readable_seen_empty(&mut Wait::attempt()).is_err() {
            self.head().put.leave_clearing();
            kill_point!(ReadinessClearLeft);
            self.clear_readable_left();
        }
    }

    /// After an unlock of the put side: what others left to its holder.
    pub(super) fn clear_readable_left(&self) {
        let put = &self.head().put;
        while put.is_clearing_left() {
            let Some(held) = put.lock.try_lock() else { return }; // then it is left to that one
            let held = self.put_held_to_clear(held);
            if held.must_repair() {
                let _ = self.repair_put(&held); // an error is for those that put
            }
            if put.take_clearing(&held) && !self.has_message() && put.flags() & SHUT == 0 {
                put.clear_readiness(&held, &Messages(&self.messages));
            }
        }
    }

    /// After the queue was seen empty, and before anybody is told.
    #[cold]
    pub(super) fn clear_readable_seen_empty(
        &self,
        wait: &mut Wait<'_>,
    ) -> Result<(), TransportFailure> {
        let put = &self.head().put;
        if put.may_be_set() {
            let held = self.visit_put(wait)?;
            if !self.has_message() && put.flags() & SHUT == 0 {
                put.clear_readiness(&held, &Messages(&self.messages));
            }
        }
        Ok(())
    }

    /// After a put, without a lock; as `clear_readable_if_empty`.
    #[cold]
    pub(super) fn clear_writable_if_full(&self) {
        // The ticket first: if something is taken after this look, the ticket says so under the lock. The other way
        // round that get would count as seen, and nobody sets the readiness for it any more.
        let seen = self.head().get.ticket.load(Ordering::SeqCst);
        kill_point!(ReadinessRoomSeen);
        if self.is_full() && self.clear_writable_seen(seen, &mut Wait::attempt()).is_err() {
            self.head().get.leave_clearing();
            kill_point!(ReadinessClearLeft);
            self.clear_writable_left();
        }
    }

    /// After an unlock of the get side: what others left to its holder.
    pub(super) fn clear_writable_left(&self) {
        let get = &self.head().get;
        while get.is_clearing_left() {
            let Some(held) = get.lock.try_lock() else { return };
            let held = self.get_held_to_clear(held);
            if held.must_repair() {
                self.repair_get(&held);
            }
            // Under the lock nothing is taken, so that what is full stays so.
            if get.take_clearing(&held) && self.is_full() && get.flags() & SHUT == 0 {
                get.clear_readiness(&held, &Room(self.room.as_ref()));
            }
        }
    }

    /// After the queue was seen full, or a message was refused, when so many had been taken or later; says whether more
    /// have been taken by now.
    #[cold]
    pub(super) fn clear_writable_seen(
        &self,
        seen: u64,
        wait: &mut Wait<'_>,
    ) -> Result<bool, TransportFailure> {
        let get = &self.head().get;
        if get.may_be_set() {
            let held = self.visit_get(wait)?;
            let taken = get.ticket.load(Ordering::SeqCst) != seen;
            if taken || get.flags() & SHUT != 0 {
                return Ok(true);
            }
            get.clear_readiness(&held, &Room(self.room.as_ref()));
        }
        Ok(false)
    }
}
