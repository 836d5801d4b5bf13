//! Models of the engine's protocols. They are the engine's own files, compiled with loom's atomics: every interleaving
//! of a few threads is tried, and every value that the memory model allows a load to return.
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
    #[path = "../../../tasuki/src/layout/queue/tally.rs"]
    mod tally;

    mod ends_models;
    mod joining_models;
    mod models;
    mod readiness_models;
}
/// The part of `layout/pipe` that is protocol alone.
mod pipe {
    #[path = "../../../tasuki/src/layout/pipe/readiness.rs"]
    mod readiness;
    #[path = "../../../tasuki/src/layout/pipe/wait_word.rs"]
    mod wait_word;

    mod models;
    mod readiness_models;
}
#[path = "../../tasuki/src/layout/event.rs"]
mod event;
mod segment;
/// What users synchronise with.
mod layout {
    #[path = "../../../tasuki/src/layout/barrier/mod.rs"]
    pub(crate) mod barrier;
    #[path = "../../../tasuki/src/layout/condition.rs"]
    pub(crate) mod condition;
    #[path = "../../../tasuki/src/layout/failure.rs"]
    pub(crate) mod failure;
    #[path = "../../../tasuki/src/layout/lock.rs"]
    pub(crate) mod lock;
    #[path = "../../../tasuki/src/layout/rwlock.rs"]
    pub(crate) mod rwlock;
    #[path = "../../../tasuki/src/layout/semaphore.rs"]
    pub(crate) mod semaphore;

    mod barrier_models;
    mod condition_models;
    mod rwlock_models;
    mod semaphore_models;
    mod user_lock_models;
}
#[path = "../../tasuki/src/error.rs"]
mod error;
/// No time passes in a model; but a process that looks at the clock is the first one to look in that half second.
mod sys {
    pub(crate) mod clock {
        use std::sync::atomic::{AtomicU64, Ordering};
        use std::time::Duration;

        pub(crate) fn monotonic() -> Duration {
            static LOOKS: AtomicU64 = AtomicU64::new(1);
            Duration::from_secs(LOOKS.fetch_add(1, Ordering::Relaxed))
        }
    }
    pub(crate) mod fork {
        pub(crate) fn epoch() -> u64 {
            1 // nobody forks in a model
        }
    }
    pub(crate) mod identity {
        pub(crate) fn thread_id() -> u32 {
            1 // no thread of a model asks for another one's recursive lock
        }
    }
}
mod event_models;
mod lock_models;
