//! The beacon of a direction: an eventfd that is readable while there is a message, or wakes who sleeps.
//!
//! ```text
//! lit  1: the descriptor is readable.  0: nobody knows.
//! ```
//! Only who has the turn to send changes either; but to wake sleepers, the descriptor is lit also after the turn, and the word is
//! not told. So nobody commits while the descriptor is darkened, and a process that dies
//! here leaves it readable for nothing at worst. Who finds the ring empty and does not get the turn marks the turn's word, and
//! its owner looks when it gives it back. `README.md` has the steps.
//!
//! Nothing here knows descriptors, so that loom can explore it as it is (`crates/tasuki-model`).

use super::wait_word::WaitWord;
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::kill_point;

/// See the file's head.
#[derive(Debug)]
#[repr(transparent)]
pub(super) struct Beacon(AtomicU32);

/// What is lit: a descriptor.
pub(super) trait Lamp {
    /// Makes it readable.
    fn light(&self);
    /// Makes it not readable.
    fn darken(&self);
}

impl Beacon {
    #[cfg(loom)]
    pub(super) fn new() -> Beacon {
        Beacon(AtomicU32::new(0))
    }

    /// Whether the descriptor may be readable: a hint for who has no turn.
    pub(super) fn may_be_lit(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    /// Before a commit if somebody polls, after it to wake. The caller has the turn to send.
    #[cold]
    pub(super) fn light(&self, lamp: &impl Lamp) {
        if self.0.load(Ordering::Relaxed) == 0 {
            self.light_again(lamp);
        }
    }

    /// As `light`, also if it is lit: who polls with edges and found nothing hears of it again. The caller has the turn to send.
    #[cold]
    pub(super) fn light_again(&self, lamp: &impl Lamp) {
        lamp.light();
        kill_point!(PipeLighting);
        self.0.store(1, Ordering::Relaxed);
    }

    /// As `light`, without the turn, for those who sleep: it is lit for nothing if the message was taken and the beacon settled
    /// meanwhile. The word stays, which others change at this moment.
    #[cold]
    pub(super) fn light_without_turn(&self, lamp: &impl Lamp) {
        lamp.light();
        kill_point!(PipeLighting);
    }

    /// Makes the descriptor say what the ring does. The caller has the turn to send, so that an empty ring stays empty.
    #[cold]
    pub(super) fn settle(
        &self,
        waiters: &WaitWord,
        has_frame: impl FnOnce() -> bool,
        lamp: &impl Lamp,
    ) {
        let polled = waiters.is_polled();
        if has_frame() {
            if polled {
                self.light_again(lamp);
            }
            return;
        }
        if !polled {
            // Others may have prepared to sleep, been told by this very light, and not begun to poll.
            waiters.prepare_asleep();
        }
        self.0.store(0, Ordering::Relaxed);
        kill_point!(PipeDarkening);
        lamp.darken();
        kill_point!(PipeDark);
    }
}
