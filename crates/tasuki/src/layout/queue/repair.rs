//! What is done when an owner died inside a section: each repair can be repeated if its own process is killed.

use std::os::fd::AsFd;

use super::SharedQueue;
use super::side::LIGHTS;
use crate::error::Error;
use crate::sync::atomic::Ordering;
use crate::sync::{GaveUp, Held, Wait};
use crate::sys::sidecar;

impl SharedQueue {
    /// After a producer died: what it wrote beyond the tail is void already; its chunk and its block come free.
    #[cold]
    pub(super) fn repair_put(&self, held: &Held<'_>) -> Result<(), Error> {
        let tail = self.head().put.ticket.load(Ordering::SeqCst);
        self.rebuild_ring(held)?;
        self.free_queued_blocks(|ticket| (ticket.wrapping_sub(tail) as i64) >= 0)?;
        self.head()
            .put
            .seen
            .store(self.head().get.ticket.load(Ordering::SeqCst), Ordering::Relaxed);
        self.head().nonempty.0.ring_all();
        if self.head().put.flags() & LIGHTS != 0 {
            self.settle_messages(held);
        }
        Ok(())
    }

    /// After a consumer died: the message it had taken is gone with it; its block and descriptors come free.
    #[cold]
    pub(super) fn repair_get(&self, held: &Held<'_>) {
        if self.joinable {
            self.repair_joining(held);
        }
        let head = self.free_what_was_taken(held);
        self.head().get.seen.store(head, Ordering::Relaxed);
        self.head().nonfull.0.ring_all();
        if self.head().get.flags() & LIGHTS != 0 {
            self.settle_room(held);
        }
    }

    /// Frees blocks and descriptors of messages below the head, and says how many those are.
    pub(super) fn free_what_was_taken(&self, _held: &Held<'_>) -> u64 {
        let head = self.head().get.ticket.load(Ordering::SeqCst);
        // Without address space for the table they stay until the next repair.
        let _ = self.free_queued_blocks(|ticket| (ticket.wrapping_sub(head) as i64) < 0);
        while let Ok(Some((label, _))) = sidecar::peek(self.sidecar.as_fd()) {
            if (label.ticket.wrapping_sub(head) as i64) >= 0 {
                break;
            }
            sidecar::drop_first(self.sidecar.as_fd());
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
        while let Ok(Some((label, _))) = sidecar::peek(self.sidecar.as_fd()) {
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
            sidecar::drop_first(self.sidecar.as_fd());
        }
        Ok(head)
    }
}
