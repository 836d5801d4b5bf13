//! What the tests share: children made by `fork`, memory to keep count in, a watchdog, and what the system says of a
//! process.
#![allow(dead_code, unused_imports)] // Each test's file is a program of its own and uses a part of this.
#![allow(unsafe_code)] // fork, kill, waitpid and mmap

use std::time::{Duration, Instant};

pub mod children;
mod dice;
pub mod handles;
pub mod memory;
pub mod messages;
pub mod queues;
mod system;
#[cfg(feature = "kill-points")]
pub mod victims;
mod watchdog;
mod words;

pub use children::{
    Child, Ended, continue_process, die, end_well, fork, in_own_process, park, wait_until_asleep,
};
pub use dice::Dice;
pub use system::{
    descriptor_count, descriptors, is_readable, is_writable, limit_descriptors, memory_of, poll,
    processor_time, resident, set_descriptor_limit, state_of,
};
pub use watchdog::{watchdog, watchdog_of};
pub use words::Words;

/// How long something may take before it counts as "never": far beyond any promise, since no test judges speed.
pub const NEVER: Duration = Duration::from_secs(120);

/// Waits until `done`, looking every millisecond; fails the test when that takes for ever.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < NEVER, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether `make soak` asks for the long version.
pub fn soaking() -> bool {
    std::env::var_os("TASUKI_SOAK").is_some_and(|value| value == "1")
}
