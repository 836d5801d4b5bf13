//! What a process gives back when it closed a queue, and what it can still ask then.
//!
//! ```text
//! both ends closed                  the duplicates that are polled are closed
//!   and nothing is unfinished       the queue is let go: descriptors, memory, and its row in the roster, with the last call
//!   a joinable one otherwise        stays for `task_done` and `join`, which let it go when nothing is unfinished any more
//! ```
//! Others are not concerned: what was put is in shared memory.

use tasuki::raw::{QueueRemains, RawQueue};

use super::Queue;
use pyo3::PyResult;

impl Queue {
    /// Says whether this process has closed both ends; then lets the queue go if it may.
    pub(super) fn let_go_if_closed(&self) -> bool {
        if !(self.ends.reader_is_closed() && self.ends.writer_is_closed()) {
            return false;
        }
        self.watched.close();
        let Some(raw) = self.raw.enter() else {
            // Closed before, in this process or a parent. Or never made: then it cannot be any more.
            self.raw.close(|_| ());
            return true;
        };
        if raw.is_joinable() && !raw.is_settled() {
            // Others learn all the same that nothing comes from here.
            let _ = raw.close_writer();
            return true;
        }
        // A queue that is full at so many bytes stands for a pipe, of which nothing remains.
        if !raw.limits_bytes() && self.remains.get().is_none() {
            // Without address space for a page, nothing can be asked any more.
            if let Ok(remains) = raw.remains() {
                let _ = self.remains.set(remains);
            }
        }
        self.raw.close(|_| ());
        true
    }

    /// What can be asked of an open queue, and of a closed one.
    pub(super) fn look<R>(
        &self,
        open: impl FnOnce(&RawQueue) -> R,
        closed: impl FnOnce(&QueueRemains) -> R,
    ) -> PyResult<R> {
        if let Some(raw) = self.raw.enter() {
            return Ok(open(&raw));
        }
        self.remains.get().map(closed).ok_or_else(|| self.not_there())
    }
}
