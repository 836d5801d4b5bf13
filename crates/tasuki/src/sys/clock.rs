//! The clock that all processes of the machine share and nobody sets.

use std::time::{Duration, Instant};

/// Time since some fixed moment of this boot, the same in every process.
pub(crate) fn monotonic() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// Which tenth of a second of that clock it is, without precision and at the price of a few instructions.
#[inline]
pub(crate) fn tenth() -> u32 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
    (now.tv_sec as u32).wrapping_mul(10).wrapping_add(now.tv_nsec as u32 / 100_000_000)
}

/// The same in milliseconds, as of the last tick of the kernel's clock, which is cheaper to ask.
pub(crate) fn coarse_millis() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
    now.tv_sec.unsigned_abs() * 1000 + now.tv_nsec.unsigned_abs() / 1_000_000
}

/// A time from now; `None` for one so far away that it never comes.
pub(crate) fn deadline(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}
