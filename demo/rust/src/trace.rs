//! Who worked when: a list of marks (time, processor time used so far) of one process or thread.
//!
//! The twin of demo/python/timeline.py, which also draws the picture.

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// Seconds between two marks; closer ones are left out.
const APART: f64 = 0.001;

/// What one worker did: its name, and for each mark the time and the processor time it had used by then.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Trace {
    name: String,
    marks: Vec<(f64, f64)>,
}

/// Whose processor time a trace shows.
#[derive(Clone, Copy, Debug)]
pub enum Of {
    /// All threads of this process.
    Process,
    /// The calling thread alone.
    Thread,
}

/// A trace that is being written.
#[derive(Debug)]
pub struct Tracer {
    of: Of,
    trace: Trace,
}

impl Tracer {
    /// Begins the trace of the worker `name`.
    pub fn start(name: impl Into<String>, of: Of) -> Tracer {
        let marks = vec![(now(), processor_time(of))];
        Tracer { of, trace: Trace { name: name.into(), marks } }
    }

    /// Notes how far this worker has come; called after every bit of work.
    pub fn mark(&mut self) {
        let now = now();
        if self.trace.marks.last().is_none_or(|(last, _)| now - last >= APART) {
            self.trace.marks.push((now, processor_time(self.of)));
        }
    }

    /// Ends the trace.
    pub fn close(mut self) -> Trace {
        self.trace.marks.push((now(), processor_time(self.of)));
        self.trace
    }
}

/// The clock that Python calls `time.monotonic()`: the same for all processes.
fn now() -> f64 {
    seconds(ClockId::Monotonic)
}

fn processor_time(of: Of) -> f64 {
    seconds(match of {
        Of::Process => ClockId::ProcessCPUTime,
        Of::Thread => ClockId::ThreadCPUTime,
    })
}

fn seconds(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
