//! The readiness of a direction: an eventfd that is readable while there is a message, or wakes sleepers.
//!
//! ```text
//! set  1: the descriptor is readable.  0: nobody knows.
//! ```
//! Only the process with the turn to send changes either; but to wake sleepers, the descriptor is set also after the
//! turn, and the word is not told. So nobody commits while the descriptor is cleared, and a process that dies
//! here leaves it readable for nothing at worst. A receiver that finds the ring empty and does not get the turn marks
//! the turn's word, and its owner looks when it gives it back. `README.md` has the steps.
//!
//! Nothing here knows descriptors, so that loom can explore it as it is (`crates/tasuki-model`).

use super::wait_word::WaitWord;
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::kill_point;

/// See the file's head.
#[derive(Debug)]
#[repr(transparent)]
pub(super) struct Readiness(AtomicU32);

/// The kernel's half: an eventfd.
pub(super) trait ReadinessFd {
    /// Makes it readable.
    fn set_readable(&self);
    /// Makes it not readable.
    fn clear_readable(&self);
}

impl Readiness {
    #[cfg(loom)]
    pub(super) fn new() -> Readiness {
        Readiness(AtomicU32::new(0))
    }

    /// Whether the descriptor may be readable: a hint for a process without the turn.
    pub(super) fn may_be_set(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    /// Before a commit if somebody polls, after it to wake. The caller has the turn to send.
    #[cold]
    pub(super) fn set(&self, eventfd: &impl ReadinessFd) {
        if self.0.load(Ordering::Relaxed) == 0 {
            self.set_again(eventfd);
        }
    }

    /// As `set`, also if it is set: a process that polls with edges and found nothing hears of it again. The caller has
    /// the turn to send.
    #[cold]
    pub(super) fn set_again(&self, eventfd: &impl ReadinessFd) {
        eventfd.set_readable();
        kill_point!(PipeReadinessSetting);
        self.0.store(1, Ordering::Relaxed);
    }

    /// As `set`, without the turn, for sleepers: it is set for nothing if the message was taken and the readiness
    /// resynced meanwhile. The word stays, which others change at this moment.
    #[cold]
    pub(super) fn set_without_turn(&self, eventfd: &impl ReadinessFd) {
        eventfd.set_readable();
        kill_point!(PipeReadinessSetting);
    }

    /// Makes the descriptor say what the ring does. The caller has the turn to send, so that an empty ring stays empty.
    #[cold]
    pub(super) fn resync(
        &self,
        waiters: &WaitWord,
        has_frame: impl FnOnce() -> bool,
        eventfd: &impl ReadinessFd,
    ) {
        let polled = waiters.is_polled();
        if has_frame() {
            if polled {
                self.set_again(eventfd);
            }
            return;
        }
        if !polled {
            // Others may have prepared to sleep, been told by this very event, and not begun to poll.
            waiters.prepare_asleep();
        }
        self.0.store(0, Ordering::Relaxed);
        kill_point!(PipeReadinessClearing);
        eventfd.clear_readable();
        kill_point!(PipeReadinessClear);
    }
}
