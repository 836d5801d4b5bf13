//! The floors below everything: two processes that only look at a word of shared memory, and two that sleep on it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::{End, Link};
use crate::team::shared;

/// Looks until the word has changed.
pub struct Spin;

/// Sleeps at once, and wakes at every change.
pub struct Futex;

/// A number and whose turn it is: even the asker's to write, odd the answerer's. On a cache line of its own.
#[repr(C, align(64))]
pub struct Turn {
    turn: AtomicU32,
    number: AtomicU64,
}

impl Link for Spin {
    type Half = (&'static Turn, u32);

    fn halves() -> [Self::Half; 2] {
        let turn = shared();
        [(turn, 0), (turn, 1)]
    }

    fn open((turn, parity): Self::Half) -> impl End {
        Spinning { turn, parity }
    }
}

struct Spinning {
    turn: &'static Turn,
    parity: u32,
}

impl End for Spinning {
    #[inline]
    fn send(&mut self, number: u64) {
        self.turn.give(number);
    }

    #[inline]
    fn receive(&mut self) -> u64 {
        while self.turn.turn.load(Ordering::Acquire) % 2 != self.parity {
            std::hint::spin_loop();
        }
        self.turn.number.load(Ordering::Relaxed)
    }
}

impl Link for Futex {
    type Half = (&'static Turn, u32);

    fn halves() -> [Self::Half; 2] {
        let turn = shared();
        [(turn, 0), (turn, 1)]
    }

    fn open((turn, parity): Self::Half) -> impl End {
        Sleeping { turn, parity }
    }
}

struct Sleeping {
    turn: &'static Turn,
    parity: u32,
}

impl End for Sleeping {
    fn send(&mut self, number: u64) {
        self.turn.give(number);
        // SAFETY: wakes who sleeps on the word.
        unsafe { libc::syscall(libc::SYS_futex, self.turn.turn.as_ptr(), libc::FUTEX_WAKE, 1) };
    }

    fn receive(&mut self) -> u64 {
        loop {
            let seen = self.turn.turn.load(Ordering::Acquire);
            if seen % 2 == self.parity {
                return self.turn.number.load(Ordering::Relaxed);
            }
            let word = self.turn.turn.as_ptr();
            let forever = std::ptr::null::<libc::timespec>();
            // SAFETY: sleeps on a word that lives as long as the process.
            unsafe { libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAIT, seen, forever) };
        }
    }
}

impl Turn {
    fn give(&self, number: u64) {
        self.number.store(number, Ordering::Relaxed);
        self.turn.fetch_add(1, Ordering::Release);
    }
}
