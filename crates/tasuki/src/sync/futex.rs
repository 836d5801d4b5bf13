//! The futex as the protocols see it: the kernel's, or a model of it under loom.

#[cfg(not(loom))]
pub(crate) use crate::sys::futex::{Woken, wait, wake};
#[cfg(loom)]
pub(crate) use model::{Woken, wait, wake};

/// A futex for loom: sleeping compares under a lock, waking takes sleepers in order. No time passes in a model, so
/// a lost wake-up shows as a deadlock, which loom reports.
#[cfg(loom)]
mod model {
    use std::collections::VecDeque;
    use std::time::Duration;

    use loom::sync::atomic::{AtomicU32, Ordering};
    use loom::sync::{Arc, Condvar, Mutex};

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Woken {
        Maybe,
        #[allow(dead_code)] // no time passes in a model
        TimedOut,
        #[allow(dead_code)] // no signals in a model
        Interrupted,
    }

    struct Sleeper {
        word: usize,
        woken: Arc<(Mutex<bool>, Condvar)>,
    }

    loom::lazy_static! {
        static ref SLEEPERS: Mutex<VecDeque<Sleeper>> = Mutex::new(VecDeque::new());
    }

    pub(crate) fn wait(word: &AtomicU32, expected: u32, _timeout: Option<Duration>) -> Woken {
        let woken = Arc::new((Mutex::new(false), Condvar::new()));
        {
            let mut sleepers = SLEEPERS.lock().unwrap();
            if word.load(Ordering::SeqCst) != expected {
                return Woken::Maybe;
            }
            sleepers.push_back(Sleeper {
                word: std::ptr::from_ref(word) as usize,
                woken: woken.clone(),
            });
        }
        let mut flag = woken.0.lock().unwrap();
        while !*flag {
            flag = woken.1.wait(flag).unwrap();
        }
        Woken::Maybe
    }

    pub(crate) fn wake(word: &AtomicU32, count: u32) -> usize {
        let address = std::ptr::from_ref(word) as usize;
        let mut sleepers = SLEEPERS.lock().unwrap();
        let mut woken = 0;
        let mut index = 0;
        while index < sleepers.len() && woken < count as usize {
            if sleepers[index].word == address {
                let sleeper = sleepers.remove(index).unwrap();
                *sleeper.woken.0.lock().unwrap() = true;
                sleeper.woken.1.notify_one();
                woken += 1;
            } else {
                index += 1;
            }
        }
        woken
    }
}
