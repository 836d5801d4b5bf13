//! What the programs of the demo share: the text to count, traces of who worked when, and how a run is reported.
//!
//! The Python half is in demo/python; a run's result and traces are plain data there too.

pub mod report;
pub mod text;
pub mod trace;
