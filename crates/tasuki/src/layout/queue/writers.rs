//! A consumer that will never put itself can ask whether anybody else ever will: what the end of a pipe tells its reader.
//!
//! A process that closed its writing end says so in its row of the roster. While another process lives that did not, there
//! may be more. When the roster names none, the system is asked who else has the queue open: a child that is starting, or
//! one that was forked and has not used the queue yet, has no row and may put.

use super::SharedQueue;
use crate::error::Error;
use crate::segment::roster::NO_WRITER;
use crate::sync::atomic::Ordering;
use crate::sys::holders;

impl SharedQueue {
    /// Notes that this process will not put.
    pub(crate) fn close_writer(&self) -> Result<(), Error> {
        let me = self.segment.my_row()?;
        if let Some(row) = self.segment.roster().row(me.row()) {
            row.roles.fetch_or(NO_WRITER, Ordering::SeqCst);
        }
        Ok(())
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
}
