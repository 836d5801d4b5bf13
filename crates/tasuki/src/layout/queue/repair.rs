//! What is done when an owner died inside a section: each repair can be repeated if its own process is killed.

use std::os::fd::AsFd;

use super::SharedQueue;
use crate::error::Error;
use crate::sync::Held;
use crate::sync::atomic::Ordering;
use crate::sys::sidecar;

impl SharedQueue {
    /// After a producer died: what it wrote beyond the tail is void already; its chunk and its block come free.
    #[cold]
    pub(super) fn repair_put(&self, held: &Held<'_>) -> Result<(), Error> {
        let tail = self.head().put.ticket.load(Ordering::SeqCst);
        self.rebuild_ring(held)?;
        self.free_queued_blocks(|ticket| (ticket.wrapping_sub(tail) as i64) >= 0);
        self.head()
            .put
            .seen
            .store(self.head().get.ticket.load(Ordering::SeqCst), Ordering::Relaxed);
        self.head().nonempty.0.ring_all();
        Ok(())
    }

    /// After a consumer died: the message it had taken is gone with it; its block and descriptors come free.
    #[cold]
    pub(super) fn repair_get(&self, _held: &Held<'_>) {
        let head = self.head().get.ticket.load(Ordering::SeqCst);
        self.free_queued_blocks(|ticket| (ticket.wrapping_sub(head) as i64) < 0);
        while let Ok(Some((label, _))) = sidecar::peek(self.sidecar.as_fd()) {
            if (label.ticket.wrapping_sub(head) as i64) >= 0 {
                break;
            }
            sidecar::drop_first(self.sidecar.as_fd());
        }
        self.head().get.seen.store(head, Ordering::Relaxed);
        self.head().nonfull.0.ring_all();
    }
}
