//! The end of a queue's use, said by anybody who has it: nothing comes in, what is in may come out. Steps S1, S2 of
//! `README.md`.

use super::SharedQueue;
use super::side::{SETS_READINESS, SHUT};
use crate::error::Error;
use crate::layout::failure::TransportFailure;
use crate::sync::atomic::Ordering;
use crate::sync::{Wait, kill_point};

/// What becomes of the messages that wait when a queue is shut down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// They can still be taken.
    Drain,
    /// They are thrown away.
    Immediate,
}

impl SharedQueue {
    /// Ends the use of the queue, for all that have it: from now on a put fails, and so does a get when it finds
    /// nothing. Waiters are woken. Can be repeated, and be made an immediate one.
    ///
    /// When the caller is killed in the midst of an immediate one, the messages may still be there to get.
    pub fn shutdown(&self, how: Shutdown) -> Result<(), Error> {
        Ok(self.shutdown_within(how, &mut Wait::forever())?)
    }

    /// As `shutdown`; see [`pollable_within`](SharedQueue::pollable_within). If it gives up it may be done by half, and
    /// is to be repeated.
    pub fn shutdown_within(
        &self,
        how: Shutdown,
        wait: &mut Wait<'_>,
    ) -> Result<(), TransportFailure> {
        let head = self.head();
        let held = self.lock_put(wait)?;
        head.nonempty.0.notify_all();
        head.put.flag(&held, SHUT);
        if head.put.flags() & SETS_READINESS != 0 {
            self.resync_readable(&held);
        }
        drop(held);
        kill_point!(ShutDownHalf);

        let held = self.lock_get(wait)?;
        head.nonfull.0.notify_all();
        head.get.flag(&held, SHUT);
        if head.get.flags() & SETS_READINESS != 0 {
            self.resync_writable(&held);
        }
        if how == Shutdown::Immediate {
            // Nobody commits behind it any more.
            let tail = head.put.position();
            let before = head.get.ticket.load(Ordering::Relaxed);
            if self.joinable {
                self.prepare_thrown(&held, before, tail.ticket.wrapping_sub(before));
            }
            head.get.commit(&held, tail);
            kill_point!(ShutDownThrown);
            head.get.seen.store(tail.ticket, Ordering::Relaxed);
            if self.joinable {
                self.count_thrown(&held);
            }
            self.free_what_was_taken(&held);
        }
        drop(held);
        if how == Shutdown::Immediate {
            self.trim_all();
        }
        Ok(())
    }

    /// Whether [`shutdown`](SharedQueue::shutdown) was called.
    pub fn is_shut_down(&self) -> bool {
        self.head().put.flags() & SHUT != 0
    }
}
