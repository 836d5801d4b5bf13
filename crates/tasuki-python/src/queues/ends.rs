//! Which ends of a queue this process has closed: its own view, which changes nothing for others.
//!
//! A queue between processes has a reader and a writer in each of them, as the standard library's has. A closed end is
//! closed for the process that closed it: a forked child's is open again.

use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use tasuki::raw::generation;

/// What the reader's word says when objects were taken ahead; no process has this number.
const AHEAD: u64 = u64::MAX;

/// The ends, as the generations of the processes that closed them; 0 is nobody.
#[derive(Default)]
pub struct Ends {
    /// Or `AHEAD`: objects that this process took, for whoever gets next.
    reader: AtomicU64,
    writer: AtomicU64,
    /// By `Queue.close()`, which closes both.
    queue: AtomicU64,
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
        self.reader.store(generation(), Ordering::Relaxed);
    }

    pub fn close_writer(&self) {
        self.writer.store(generation(), Ordering::Relaxed);
    }

    pub fn close_queue(&self) {
        self.close_reader();
        self.close_writer();
        self.queue.store(generation(), Ordering::Relaxed);
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

fn is_by_me(end: &AtomicU64) -> bool {
    let by = end.load(Ordering::Relaxed);
    by != 0 && by == generation()
}
