//! What is done when an owner died inside a section: each repair can be repeated if its own process is killed.

use std::os::fd::AsFd;

use super::SharedQueue;
use super::held::{GetHeld, PutHeld};
use super::side::{SETS_READINESS, UNREPAIRED};
use crate::error::Error;
use crate::sync::atomic::Ordering;
use crate::sync::{GaveUp, Wait};
use crate::sys::descriptor_socket;

impl SharedQueue {
    /// After a producer died: what it wrote beyond the tail is void already; its chunk and its block come free. An
    /// error says that the queue's memory is nonsense. What this process cannot reach it leaves to others, and notes
    /// that.
    #[cold]
    pub(super) fn repair_put(&self, held: &PutHeld<'_>) -> Result<(), Error> {
        let (put, get) = (&self.head().put, &self.head().get);
        // First those that wait: that needs nothing which could be refused.
        put.seen.store(get.ticket.load(Ordering::SeqCst), Ordering::Relaxed);
        self.head().nonempty.0.notify_all();
        if put.flags() & SETS_READINESS != 0 {
            self.resync_readable(held);
        }
        let tail = put.ticket.load(Ordering::SeqCst);
        if !self.free_queued_blocks(|ticket| (ticket.wrapping_sub(tail) as i64) >= 0).is_complete {
            // Messages with their tickets will come. When those were taken, the blocks are below the head, as others
            // are.
            get.owe_repair();
        }
        match self.repair_ring(held) {
            Err(nonsense @ Error::Invalid(_)) => Err(nonsense),
            // The next producer needs the ring, tries again, and says so.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Makes the ring of chunks whole, or notes that it is not.
    #[cold]
    pub(super) fn repair_ring(&self, held: &PutHeld<'_>) -> Result<(), Error> {
        let put = &self.head().put;
        put.take_repair_on(held);
        self.rebuild_ring(held).inspect_err(|_| put.owe_repair())
    }

    /// Does what nobody could that came after a death, if this process can and nobody is in its way. For callers
    /// without a lock.
    pub(super) fn finish_repairs(&self) {
        let (put, get) = (&self.head().put, &self.head().get);
        if put.flags() & UNREPAIRED != 0 {
            if let Some(held) = self.try_lock_put() {
                let _ = if held.must_repair() {
                    self.repair_put(&held)
                } else {
                    self.repair_ring(&held)
                };
            }
        }
        if get.flags() & UNREPAIRED != 0 {
            if let Some(held) = self.try_lock_get() {
                if held.must_repair() {
                    self.repair_get(&held);
                } else {
                    self.free_what_was_taken(&held);
                }
            }
        }
    }

    /// After a consumer died: the message it had taken is gone with it; its block and descriptors come free.
    #[cold]
    pub(super) fn repair_get(&self, held: &GetHeld<'_>) {
        if self.joinable {
            self.repair_joining(held);
        }
        self.head().nonfull.0.notify_all();
        if self.head().get.flags() & SETS_READINESS != 0 {
            self.resync_writable(held);
        }
        let head = self.free_what_was_taken(held);
        self.head().get.seen.store(head, Ordering::Relaxed);
    }

    /// Frees blocks and descriptors of messages below the head, and says how many those are.
    pub(super) fn free_what_was_taken(&self, held: &GetHeld<'_>) -> u64 {
        let get = &self.head().get;
        let head = get.ticket.load(Ordering::SeqCst);
        let was_owed = get.take_repair_on(held);
        let sweep = self.free_queued_blocks(|ticket| (ticket.wrapping_sub(head) as i64) < 0);
        // One that waits may be of a producer that died, with the ticket of a message that is still to be taken.
        if !sweep.is_complete || was_owed && sweep.others_wait {
            get.owe_repair();
        }
        while let Ok(Some((label, _))) = descriptor_socket::peek(self.descriptor_socket.as_fd()) {
            if (label.ticket.wrapping_sub(head) as i64) >= 0 {
                break;
            }
            descriptor_socket::drop_first(self.descriptor_socket.as_fd());
        }
        head
    }

    /// Drops the datagrams in front that belong to no message in the queue, and says how many messages were taken.
    ///
    /// Producers that died after sending descriptors may have filled the socket while the queue is empty: then no
    /// consumer comes by to drop them, so a producer that finds it full does. It holds no lock.
    #[cold]
    pub(super) fn drop_void_descriptors(&self, wait: &mut Wait<'_>) -> Result<u64, GaveUp> {
        let _held = self.lock_get(wait)?;
        let head = self.head().get.ticket.load(Ordering::SeqCst);
        while let Ok(Some((label, _))) = descriptor_socket::peek(self.descriptor_socket.as_fd()) {
            let taken = (label.ticket.wrapping_sub(head) as i64) < 0;
            // In this order: a later attempt has begun, so this one's producer has left the lock, and if it has not
            // committed by now, it never will.
            let put = &self.head().put;
            let left = self.head().settings.attempt.load(Ordering::SeqCst) != label.attempt;
            let uncommitted =
                (label.ticket.wrapping_sub(put.ticket.load(Ordering::SeqCst)) as i64) >= 0;
            if !(taken || left && uncommitted) {
                break;
            }
            descriptor_socket::drop_first(self.descriptor_socket.as_fd());
        }
        Ok(head)
    }
}
