//! A fork at the very moment when another thread uses the library for the first time gives a child that can use it.
//!
//! A program of its own: no other test may have used the library before, in the process that all rounds fork from.

mod support;

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use support::{Ended, fork, until, watchdog};
use tasuki::Value;

#[test]
fn a_fork_during_the_first_use_gives_a_whole_child() {
    let _watchdog = watchdog();
    for round in 0..300 {
        let mut fresh = fork(|| {
            let ready = AtomicU32::new(0);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    ready.store(1, SeqCst);
                    assert_eq!(Value::new(round).unwrap().get(), round);
                });
                while ready.load(SeqCst) == 0 {
                    std::hint::spin_loop();
                }
                // A little later each time: the moment that matters is some microseconds long.
                (0..round * 20).for_each(|_| std::hint::spin_loop());
                let mut child = fork(|| assert_eq!(Value::new(7).unwrap().get(), 7));
                until("the child is done", || child.has_ended().is_some());
                assert_eq!(child.wait(), Ended::WELL);
            });
        });
        assert_eq!(fresh.wait(), Ended::WELL, "round {round}");
    }
}
