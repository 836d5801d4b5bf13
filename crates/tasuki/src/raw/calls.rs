//! Counting the calls that use something, to free it with the last one, is counting threads; a forked child has only
//! one.
//!
//! ```text
//! count   the caller's word: among others one for each call that is listed here
//! fork    the child has the thread that forked: for every listed call of another one its count goes down
//! ```
//! Only calls that wait are listed: a thread that does not wait is not where a fork could find it for long. Called by
//! the fronts, for their own objects; nothing here is shared between processes.
#![allow(unsafe_code)] // keeps addresses of counts

use std::sync::atomic::{AtomicU32, Ordering};

use crate::sync::private::Private;
use crate::sys::at_load::at_load;
use crate::sys::fork;

/// A listed call: whose thread, and where it is counted.
struct Call {
    thread: usize,
    count: *const AtomicU32,
}

// SAFETY: the address is used under the list's lock only, and whoever is listed there keeps the count where it is.
unsafe impl Send for Call {}

static CALLS: Private<Vec<Call>> = Private::new(Vec::new());

at_load!(HOOKS, || fork::around_fork(prepare, parent, child));

extern "C" fn prepare() {
    CALLS.hold_for_fork();
}

extern "C" fn parent() {
    CALLS.release_after_fork();
}

extern "C" fn child() {
    let me = thread();
    CALLS.with_held(|calls| {
        calls.retain(|call| {
            let mine = call.thread == me;
            if !mine {
                // SAFETY: a listed call keeps its count where it is, and the child has all memory as it was.
                unsafe { &*call.count }.fetch_sub(1, Ordering::Relaxed);
            }
            mine
        });
    });
    CALLS.release_after_fork();
}

/// What tells threads apart; the one that forks has the same in the child.
fn thread() -> usize {
    thread_local!(static HERE: u8 = const { 0 });
    HERE.with(|here| std::ptr::from_ref(here).addr())
}

/// Runs a call that waits, for which the caller has added one to `count` and takes one away afterwards. In a child that
/// another thread forks meanwhile, where this call never ends, that one is taken away at once.
///
/// A caller that uses the count to free something frees it at the next change of the count that comes by; none comes
/// from here.
pub fn while_counted<R>(count: &AtomicU32, call: impl FnOnce() -> R) -> R {
    struct Listed(usize, *const AtomicU32);
    impl Drop for Listed {
        fn drop(&mut self) {
            let mut calls = CALLS.lock();
            let mine = |call: &Call| call.thread == self.0 && call.count == self.1;
            if let Some(at) = calls.iter().rposition(mine) {
                calls.swap_remove(at);
            }
        }
    }
    HOOKS.ensure();
    let listed = Listed(thread(), count);
    CALLS.lock().push(Call { thread: listed.0, count });
    let result = call();
    drop(listed);
    result
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn a_call_is_listed_while_it_runs_and_nested_ones_are_too() {
        let count = AtomicU32::new(1);
        let mine = || {
            let address = std::ptr::from_ref(&count);
            CALLS.lock().iter().filter(|call| call.count == address).count()
        };
        while_counted(&count, || {
            while_counted(&count, || assert_eq!(mine(), 2));
            assert_eq!(mine(), 1);
        });
        assert_eq!(mine(), 0);
        let panicked = std::panic::catch_unwind(|| while_counted(&count, || panic!("on purpose")));
        assert!(panicked.is_err());
        assert_eq!((mine(), count.load(Ordering::Relaxed)), (0, 1));
    }

    #[test]
    fn threads_are_told_apart() {
        let (here, together) = (thread(), Barrier::new(2));
        std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                let there = thread();
                together.wait();
                there
            });
            together.wait();
            assert_ne!(other.join().unwrap(), here);
        });
        assert_eq!(thread(), here);
    }
}
