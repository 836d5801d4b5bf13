//! Which ends of a queue this process has closed: its own view, which changes nothing for others.
//!
//! A queue between processes has a reader and a writer in each of them, as the standard library's has. A closed end is
//! closed for the process that closed it: a forked child's is open again.

use std::sync::atomic::{AtomicU32, Ordering};

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;

/// What the reader's word says when objects were taken ahead; no process has this number.
const AHEAD: u32 = u32::MAX;

/// The ends, as the numbers of the processes that closed them; 0 is nobody.
#[derive(Default)]
pub struct Ends {
    /// Or `AHEAD`: objects that this process took, for whoever gets next.
    reader: AtomicU32,
    writer: AtomicU32,
    /// By `Queue.close()`, which closes both.
    queue: AtomicU32,
}

impl Ends {
    /// Whether there is something to ask about before a get; nearly never.
    #[inline]
    pub fn reader_is_special(&self) -> bool {
        self.reader.load(Ordering::Relaxed) != 0
    }

    /// Whether there is something to ask about before a put.
    #[inline]
    pub fn writer_is_special(&self) -> bool {
        self.writer.load(Ordering::Relaxed) != 0
    }

    pub fn reader_is_closed(&self) -> bool {
        is_by_me(&self.reader)
    }

    pub fn writer_is_closed(&self) -> bool {
        is_by_me(&self.writer)
    }

    pub fn queue_is_closed(&self) -> bool {
        is_by_me(&self.queue)
    }

    pub fn close_reader(&self) {
        self.reader.store(std::process::id(), Ordering::Relaxed);
    }

    pub fn close_writer(&self) {
        self.writer.store(std::process::id(), Ordering::Relaxed);
    }

    pub fn close_queue(&self) {
        self.close_reader();
        self.close_writer();
        self.queue.store(std::process::id(), Ordering::Relaxed);
    }

    /// Whether objects were taken ahead, unless the reader was closed since.
    pub fn has_ahead(&self) -> bool {
        self.reader.load(Ordering::Relaxed) == AHEAD
    }

    pub fn set_ahead(&self, ahead: bool) {
        let (from, to) = if ahead { (0, AHEAD) } else { (AHEAD, 0) };
        // A closed reader stays closed.
        let _ = self.reader.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The error for using a closed end.
    #[cold]
    pub fn error(&self, queue: &Bound<'_, PyAny>) -> PyErr {
        if !self.queue_is_closed() {
            return PyOSError::new_err("handle is closed");
        }
        match queue.repr() {
            Ok(text) => PyValueError::new_err(format!("Queue {text} is closed")),
            Err(error) => error,
        }
    }
}

fn is_by_me(end: &AtomicU32) -> bool {
    let by = end.load(Ordering::Relaxed);
    by != 0 && by == std::process::id()
}
