//! A caller's check forks while the caller waits for a section in which another process was stopped: the child is told,
//! and has touched nothing of its parent's.
#![cfg(feature = "kill-points")]

mod support;

use std::cell::{Cell, RefCell};

use support::{Ended, fork, watchdog};
use tasuki::kill_points::{KillPoint, arm_stop};
use tasuki::raw::{AcquireFailure, Acquired, GaveUp, RawLock, RawSemaphore, Wait};

/// Waits with a check that forks once and then calls `go_on`; false in the child, which gave up.
fn waits(
    acquire: impl FnOnce(&mut Wait<'_>) -> Result<Acquired, AcquireFailure>,
    go_on: impl Fn(),
) -> bool {
    let me = std::process::id();
    let forked = Cell::new(false);
    let child = RefCell::new(None);
    let mut check = || {
        if !forked.replace(true) {
            // SAFETY: no other thread of this process holds anything that the child needs.
            #[allow(unsafe_code)]
            let pid = unsafe { libc::fork() };
            if pid != 0 {
                *child.borrow_mut() = Some(pid);
            }
        } else {
            go_on();
        }
        false
    };
    let mut wait = Wait::forever().interruptible(&mut check);
    let acquired = acquire(&mut wait);
    let has_forked = wait.has_forked();
    if std::process::id() != me {
        let told =
            matches!(acquired, Err(AcquireFailure::GaveUp(GaveUp::Interrupted))) && has_forked;
        // SAFETY: ends the process.
        #[allow(unsafe_code)]
        unsafe {
            libc::_exit(if told { 0 } else { 1 })
        }
    }
    assert_eq!(acquired.unwrap(), Acquired::Clean);
    assert!(!has_forked);
    let mut status = 0;
    // SAFETY: waits for a child of this process.
    #[allow(unsafe_code)]
    let waited = unsafe { libc::waitpid(child.take().unwrap(), &raw mut status, 0) };
    assert!(waited > 0);
    status == 0
}

#[test]
fn for_a_section() {
    let _watchdog = watchdog();
    let semaphore = RawSemaphore::create(2, 2).unwrap();
    let mut stopped = fork(|| {
        arm_stop(KillPoint::LockTaken, 1);
        let _ = semaphore.acquire_owned(&mut Wait::forever()).unwrap();
    });
    stopped.wait_until_stopped();
    let told = waits(
        |wait| semaphore.acquire_owned(wait).map(|(acquired, _)| acquired),
        || stopped.signal(libc::SIGCONT),
    );
    assert!(told, "the child waited on");
    assert_eq!(stopped.wait(), Ended::WELL);
}

#[test]
fn for_a_lock() {
    let _watchdog = watchdog();
    let lock = RawLock::create(false).unwrap();
    assert_eq!(lock.acquire(&mut Wait::now()).unwrap(), Acquired::Clean);
    let release = || {
        let _ = lock.release(); // the check may be asked again before the lock is taken
    };
    let told = waits(|wait| lock.acquire(wait), release);
    assert!(told, "the child waited on");
}
