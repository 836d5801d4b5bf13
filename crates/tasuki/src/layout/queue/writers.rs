//! A consumer that will never put itself can ask whether anybody else ever will: what the end of a pipe tells its reader.
//!
//! A process that closed its writing end says so in its row of the roster. While another process lives that did not, there
//! may be more. When the roster names none, the system is asked who else has the queue open: a child that is starting, or
//! one that was forked and has not used the queue yet, has no row and may put. That takes milliseconds, so it is asked by
//! those only who have waited long, and more and more seldom; and since somebody may ask, producers take a row.

use super::SharedQueue;
use crate::error::Error;
use crate::segment::roster::NO_WRITER;
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::wait;
use crate::sys::holders;

/// The system is asked every so many half seconds at least, by one that waits without end.
const SELDOM: u32 = 16;

/// Since when a process has been waiting for messages in vain, in half seconds; see [`wait::look_number`].
#[derive(Debug, Default)]
pub(super) struct Drought {
    /// When it began; 0 while messages come.
    since: AtomicU32,
    /// When to look again.
    next: AtomicU32,
}

impl SharedQueue {
    /// Notes that this process will not put.
    pub(crate) fn close_writer(&self) -> Result<(), Error> {
        let me = self.segment.my_row()?;
        if let Some(row) = self.segment.roster().row(me.row()) {
            row.roles.fetch_or(NO_WRITER, Ordering::SeqCst);
        }
        self.head().put.watch();
        Ok(())
    }

    /// Of a producer that somebody may ask for: it takes a row, so that nobody has to look for it elsewhere.
    #[cold]
    pub(super) fn note_writer(&self) {
        // Without a row it is found by the slow way.
        let _ = self.segment.my_row();
    }

    /// Whether there may be a process that puts. It costs little as long as the roster names one, else milliseconds.
    #[cold]
    pub(crate) fn may_have_writer(&self) -> bool {
        match self.segment.roster().pids_if_all(NO_WRITER) {
            Some(closed) => holders::another_process_has_but(self.segment.file_id(), |pid| {
                closed.contains(&pid)
            }),
            None => true,
        }
    }

    /// For a consumer that waits, whenever it wakes: whether it was found that no process puts any more. It has waited for
    /// a while then, over several calls perhaps, since [`ends_drought`](SharedQueue::ends_drought) was called.
    #[cold]
    pub(crate) fn is_abandoned(&self) -> bool {
        let now = wait::look_number();
        // Threads that wait at the same time may each look; no harm is done.
        let since = match self.drought.since.load(Ordering::Relaxed) {
            0 => {
                self.drought.next.store(now.wrapping_add(1), Ordering::Relaxed);
                self.drought.since.store(now, Ordering::Relaxed);
                return false;
            }
            since => since,
        };
        if (now.wrapping_sub(self.drought.next.load(Ordering::Relaxed)) as i32) < 0 {
            return false;
        }
        let Some(closed) = self.segment.roster().pids_if_all(NO_WRITER) else {
            self.drought.next.store(now.wrapping_add(1), Ordering::Relaxed);
            return false;
        };
        // Who has waited twice as long as at the last time asks again.
        let pause = now.wrapping_sub(since).clamp(1, SELDOM);
        self.drought.next.store(now.wrapping_add(pause), Ordering::Relaxed);
        let file = self.segment.file_id();
        !holders::another_process_has_but(file, |pid| closed.contains(&pid))
    }

    /// A message came.
    pub(crate) fn ends_drought(&self) {
        self.drought.since.store(0, Ordering::Relaxed);
    }
}
