//! Models of the engine's protocols. They are the engine's own files, compiled with loom's atomics: every interleaving of
//! a few threads is tried, and every value that the memory model allows a load to return.
//!
//! A killed process is a thread that stops inside a section while the kernel, played by `RobustLock::owner_dies`, hands
//! its lock on. A lost wake-up shows as a deadlock, which loom reports.
#![cfg(test)]
// The engine documents its files where they are; a model uses only part of them and has no features.
#![allow(dead_code, missing_docs, unexpected_cfgs, unused_imports)]

#[path = "../../tasuki/src/sync/mod.rs"]
mod sync;
/// The part of `layout/queue` that is protocol alone.
mod queue {
    #[path = "../../../tasuki/src/layout/queue/side.rs"]
    mod side;

    mod models;
}
#[path = "../../tasuki/src/layout/event.rs"]
mod event;
mod segment;
/// What stands between the segment and the primitives of `layout`.
mod layout {
    pub(crate) mod lock {
        use crate::error::Error;
        use crate::segment::death::Death;
        use crate::sync::GaveUp;

        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Acquired {
            Clean,
            OwnerDied(Death),
        }

        #[derive(Debug)]
        pub(crate) enum NotAcquired {
            GaveUp(GaveUp),
            Failed(Error),
        }

        impl From<GaveUp> for NotAcquired {
            fn from(why: GaveUp) -> Self {
                NotAcquired::GaveUp(why)
            }
        }
    }
    #[path = "../../../tasuki/src/layout/semaphore.rs"]
    pub(crate) mod semaphore;

    mod semaphore_models;
}
mod error {
    #[derive(Debug)]
    pub(crate) enum Error {}
}
/// No time passes in a model; but whoever looks at the clock is the first one to look in that half second.
mod sys {
    pub(crate) mod clock {
        use std::sync::atomic::{AtomicU64, Ordering};
        use std::time::Duration;

        pub(crate) fn monotonic() -> Duration {
            static LOOKS: AtomicU64 = AtomicU64::new(1);
            Duration::from_secs(LOOKS.fetch_add(1, Ordering::Relaxed))
        }
    }
}
mod event_models;
mod lock_models;
