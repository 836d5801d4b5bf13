//! A process is stopped in the middle of a step of something that others synchronise with: what has a timeout keeps it,
//! and what is nobody's business but the caller's does not wait at all. When the stopped one goes on, everything is as
//! it should be.
#![cfg(feature = "kill-points")]

mod support;

use std::time::Duration;

use support::victims::{goes_on, stopped_at};
use support::{Ended, NEVER, fork, watchdog};
use tasuki::kill_points::KillPoint;
use tasuki::raw::{
    AcquireFailure, Acquired, GaveUp, NotPassed, RawArrived, RawBarrier, RawCondition,
    RawSemaphore, Wait, Woken,
};

const SHORT: Duration = Duration::from_millis(30);

fn short() -> Wait<'static> {
    Wait::timeout(SHORT)
}

#[test]
fn semaphores() {
    let _watchdog = watchdog();
    let semaphore = RawSemaphore::create(1, 5).unwrap();
    let stopped = stopped_at(KillPoint::LockTaken, || {
        let _ = semaphore.acquire_owned(&mut Wait::forever()).unwrap();
    });
    // What is nobody's needs no section.
    assert_eq!(semaphore.value(), 1);
    assert_eq!(semaphore.acquire(&mut Wait::now()).unwrap(), Acquired::Clean);
    let late = semaphore.acquire(&mut short());
    assert!(matches!(late, Err(AcquireFailure::GaveUp(GaveUp::TimedOut))), "{late:?}");
    assert!(semaphore.release(2));
    assert_eq!(semaphore.value(), 2);
    // The others keep their time.
    let late = semaphore.acquire_owned(&mut short());
    assert!(matches!(late, Err(AcquireFailure::GaveUp(GaveUp::TimedOut))), "{late:?}");
    assert!(semaphore.release_owned_within(&mut Wait::attempt()).is_err());
    assert_eq!(semaphore.value(), 2);
    goes_on(stopped);
    // It ended with a permit that was its own.
    assert_eq!(semaphore.value(), 2);
    assert!(matches!(semaphore.acquire(&mut Wait::now()).unwrap(), Acquired::OwnerDied(_)));
}

#[test]
fn conditions() {
    let _watchdog = watchdog();
    let condition = RawCondition::create().unwrap();
    let lock = condition.own_lock();
    let wait = |wait: &mut Wait<'_>| {
        assert_eq!(lock.acquire(&mut Wait::timeout(NEVER)).unwrap(), Acquired::Clean);
        let (woken, _) = condition.wait(&lock, wait).unwrap();
        assert!(lock.is_mine().unwrap() && lock.release());
        woken
    };
    // One that waits already, and leaves without the section that it cannot get into.
    let mut waiting = fork(|| {
        let woken = wait(&mut Wait::timeout(Duration::from_secs(1)));
        assert_eq!(woken, Woken::GaveUp(GaveUp::TimedOut));
    });
    support::until("it waits", || condition.waiting() == 1);
    let stopped = stopped_at(KillPoint::LockTaken, || condition.notify(0));
    assert_eq!(wait(&mut short()), Woken::GaveUp(GaveUp::TimedOut));
    assert_eq!(condition.notify_within(1, &mut short()), Err(GaveUp::TimedOut));
    assert_eq!(waiting.wait(), Ended::WELL);
    assert_eq!(condition.waiting(), 0);
    goes_on(stopped);
    let mut waiting = fork(|| assert_eq!(wait(&mut Wait::timeout(NEVER)), Woken::Notified));
    support::until("it waits", || condition.waiting() == 1);
    condition.notify(1);
    assert_eq!(waiting.wait(), Ended::WELL);
}

#[test]
fn barriers() {
    let _watchdog = watchdog();
    let barrier = RawBarrier::create(3).unwrap();
    let arrived = barrier.arrive(false, &mut Wait::forever()).unwrap();
    let RawArrived::Waits(arrival) = arrived else { panic!("{arrived:?}") };
    let stopped = stopped_at(KillPoint::LockTaken, || {
        // It comes in when this one has given up.
        let late = barrier.arrive(false, &mut Wait::forever());
        assert!(matches!(late, Err(NotPassed::Broken(_))), "{late:?}");
    });
    let late = barrier.arrive(false, &mut short());
    assert!(matches!(late, Err(NotPassed::GaveUp(GaveUp::TimedOut))), "{late:?}");
    assert!(matches!(barrier.abort_within(&mut short()), Err(AcquireFailure::GaveUp(_))));
    assert!(matches!(barrier.reset_within(&mut short()), Err(AcquireFailure::GaveUp(_))));
    let late = arrival.wait(&mut short());
    assert!(matches!(late, Err(NotPassed::GaveUp(GaveUp::TimedOut))), "{late:?}");
    goes_on(stopped);
    assert!(barrier.is_broken(), "a timeout breaks the barrier for the others");
    barrier.reset().unwrap();
    assert!(!barrier.is_broken() && barrier.waiting() == 0);
}
