//! The clock that all processes of the machine share and nobody sets.

use std::time::Duration;

/// Time since some fixed moment of this boot, the same in every process.
pub(crate) fn monotonic() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}
