//! The atomics of the whole crate: the standard library's, or loom's while a model runs.

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering, fence};
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering, fence};

/// Where a protocol relies on the single order of all SeqCst operations. The operations themselves have that order;
/// loom knows it of fences only, so a model adds one.
#[inline(always)]
pub(crate) fn in_single_order() {
    #[cfg(loom)]
    fence(Ordering::SeqCst);
}
