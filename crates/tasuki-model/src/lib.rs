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
/// No time passes in a model.
mod sys {
    pub(crate) mod clock {
        pub(crate) fn monotonic() -> std::time::Duration {
            std::time::Duration::ZERO
        }
    }
}
mod event_models;
mod lock_models;
