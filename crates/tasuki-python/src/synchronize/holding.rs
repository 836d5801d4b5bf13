//! How often this process has a semaphore and which thread took it last: what the standard library's own code may ask.

use std::sync::atomic::{AtomicI32, AtomicU32, AtomicUsize, Ordering};

use tasuki::raw::fork_epoch;

use super::this_thread;

/// What one object of this process counts; a forked child begins at zero.
pub struct Holding {
    taken: AtomicI32,
    /// The low half of the fork epoch that `taken` belongs to.
    epoch: AtomicU32,
    thread: AtomicUsize,
}

impl Holding {
    pub fn new() -> Holding {
        Holding {
            taken: AtomicI32::new(0),
            epoch: AtomicU32::new(fork_epoch() as u32),
            thread: AtomicUsize::new(0),
        }
    }

    #[inline]
    fn begin(&self) {
        let epoch = fork_epoch() as u32;
        if self.epoch.load(Ordering::Relaxed) != epoch {
            self.taken.store(0, Ordering::Relaxed);
            self.epoch.store(epoch, Ordering::Relaxed);
        }
    }

    #[inline]
    pub fn taken(&self) {
        self.begin();
        self.taken.fetch_add(1, Ordering::Relaxed);
        self.thread.store(this_thread(), Ordering::Relaxed);
    }

    #[inline]
    pub fn given(&self, count: u32) {
        self.begin();
        self.taken.fetch_sub(count as i32, Ordering::Relaxed);
    }

    /// Taken less given; below zero when others took what this process gave, as in the standard library.
    pub fn count(&self) -> i32 {
        self.begin();
        self.taken.load(Ordering::Relaxed)
    }

    /// Whether the calling thread was the last to take it.
    pub fn is_mine(&self) -> bool {
        self.count() > 0 && self.thread.load(Ordering::Relaxed) == this_thread()
    }
}
