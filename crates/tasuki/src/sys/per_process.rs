//! State of the whole process that a forked child finds fresh.

#![allow(unsafe_code)] // a pointer to state that belongs to one process

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// State of the whole process that a forked child does not share: the child finds it fresh.
///
/// A mutex in plain static state may be held by another thread at the moment of a fork, and is then
/// locked in the child for ever. Here the child's first look sees that the state belongs to another
/// pid and puts new state in its place; the parent's copy is left alone, locked or not.
pub(crate) struct PerProcess<T: 'static> {
    state: AtomicPtr<Owned<T>>,
    fresh: fn() -> T,
}

struct Owned<T> {
    pid: u32,
    value: T,
}

impl<T: Send + Sync> PerProcess<T> {
    pub(crate) const fn new(fresh: fn() -> T) -> PerProcess<T> {
        PerProcess { state: AtomicPtr::new(ptr::null_mut()), fresh }
    }

    /// This process's state.
    pub(crate) fn get(&self) -> &'static T {
        let pid = std::process::id();
        // SYNC: with the exchange below: a thread that sees the pointer sees what it points to.
        let mut current = self.state.load(Ordering::Acquire);
        loop {
            // SAFETY: the pointer is null or comes from Box::into_raw below and is never freed.
            if let Some(owned) = unsafe { current.as_ref() } {
                if owned.pid == pid {
                    return &owned.value;
                }
            }
            let ours = Box::into_raw(Box::new(Owned { pid, value: (self.fresh)() }));
            match self.state.compare_exchange(current, ours, Ordering::AcqRel, Ordering::Acquire) {
                // SAFETY: just made, and from now on shared and never freed.
                Ok(_) => return unsafe { &(*ours).value },
                Err(other) => {
                    // SAFETY: nobody else has seen it.
                    drop(unsafe { Box::from_raw(ours) });
                    current = other;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_of_one_process_is_made_once() {
        static STATE: PerProcess<std::sync::Mutex<u32>> =
            PerProcess::new(|| std::sync::Mutex::new(1));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| *STATE.get().lock().unwrap() += 1);
            }
        });
        assert_eq!(*STATE.get().lock().unwrap(), 9);
    }
}
