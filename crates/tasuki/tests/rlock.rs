//! A recursive lock has one owner at a time, who may take it again, and says who died while holding it.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use support::{Child, Ended, end_well, fork, until, watchdog};
use tasuki::protocol::transfer::{self, Incoming};
use tasuki::synchronize::LockError;
use tasuki::{Lock, Process, Queue, RLock, Value};

tasuki::enable_tests!();

#[test]
fn its_owner_takes_it_again_and_others_wait_for_the_last_guard() {
    let _watchdog = watchdog();
    let lock = RLock::new().unwrap();
    let is_free = || {
        let try_it = || lock.try_lock().is_ok();
        std::thread::scope(|scope| scope.spawn(try_it).join().unwrap())
    };
    let first = lock.lock().unwrap();
    let second = lock.try_lock().unwrap();
    let third = lock.lock_timeout(Duration::ZERO).unwrap();
    drop(first); // the order does not matter
    drop(third);
    assert!(!is_free() && lock.is_locked());
    drop(second);
    assert!(is_free() && !lock.is_locked());
}

#[test]
fn one_owner_at_a_time() {
    let _watchdog = watchdog();
    let lock = RLock::new().unwrap();
    let words = Value::new([0_u64; 3]).unwrap();
    let add = |i: usize| {
        let _again = lock.lock().unwrap();
        let mut now = words.get();
        now[i] += 1;
        words.set(now).unwrap();
    };
    let work = || {
        for _ in 0..1000 {
            let _guard = lock.lock().unwrap();
            let before = words.get();
            assert!(before[0] == before[1] && before[1] == before[2], "{before:?}");
            (0..3).for_each(add);
        }
    };
    let mut children: Vec<Child> = (0..3).map(|_| fork(work)).collect();
    std::thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    end_well(&mut children);
    assert_eq!(words.get(), [5000; 3]);
}

#[test]
fn timeouts_and_deadlines_of_others_pass() {
    let _watchdog = watchdog();
    let lock = RLock::new().unwrap();
    let _guard = lock.lock().unwrap();
    let mut child = fork(|| {
        let start = Instant::now();
        assert!(lock.try_lock().unwrap_err().is_timed_out());
        assert!(lock.lock_timeout(Duration::from_millis(30)).unwrap_err().is_timed_out());
        let deadline = Instant::now() + Duration::from_millis(30);
        assert!(lock.lock_deadline(deadline).unwrap_err().is_timed_out());
        assert!(start.elapsed() >= Duration::from_millis(60));
    });
    assert_eq!(child.wait(), Ended::WELL);
}

#[test]
fn a_killed_owner_poisons_it_at_any_depth() {
    let _watchdog = watchdog();
    let lock = RLock::new().unwrap();
    let child = fork(|| {
        let _first = lock.lock().unwrap();
        let _second = lock.lock().unwrap();
        std::thread::sleep(Duration::from_secs(1000));
    });
    until("the child takes the lock", || lock.is_locked());
    child.kill();
    let Err(LockError::Poisoned(poisoned)) = lock.lock() else { panic!("it is not poisoned") };
    assert_eq!(poisoned.pid(), child.pid());
    let outer = poisoned.into_inner();
    drop((lock.lock().unwrap(), outer));
    assert!(lock.is_poisoned() && !lock.is_locked());
    lock.clear_poison();
    drop(lock.lock().unwrap());
}

#[test]
fn a_panic_inside_poisons_it_and_frees_it() {
    let _watchdog = watchdog();
    let lock = RLock::new().unwrap();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _first = lock.lock().unwrap();
        let _second = lock.lock().unwrap();
        panic!("on purpose");
    }));
    assert!(panicked.is_err() && lock.is_poisoned() && !lock.is_locked());
    assert!(matches!(lock.try_lock(), Err(LockError::Poisoned(_))));
}

#[test]
fn a_fork_does_not_free_the_lock_of_its_parent() {
    let _watchdog = watchdog();
    let lock = RLock::new().unwrap();
    let mut guard = Some(lock.lock().unwrap());
    let mut child = fork(|| {
        drop(guard.take());
        assert!(lock.try_lock().unwrap_err().is_timed_out());
    });
    assert_eq!(child.wait(), Ended::WELL);
    assert!(lock.is_locked());
}

#[tasuki::task]
fn take_twice(lock: RLock, begun: Queue<()>, proceed: Queue<()>) -> bool {
    let _first = lock.lock().unwrap();
    let _second = lock.clone().lock().is_ok();
    begun.put(()).unwrap();
    proceed.get().unwrap();
    lock.is_locked()
}

#[test]
fn it_travels_as_what_it_is() {
    let _watchdog = watchdog();
    let lock = RLock::new().unwrap();
    let (begun, proceed) = (Queue::unbounded().unwrap(), Queue::unbounded().unwrap());
    let other = Process::spawn(take_twice, (lock.clone(), begun.clone(), proceed.clone())).unwrap();
    begun.get().unwrap();
    assert!(lock.try_lock().unwrap_err().is_timed_out());
    proceed.put(()).unwrap();
    assert!(other.join().unwrap());
    drop(lock.lock().unwrap());

    let (bytes, outgoing) = transfer::collect(|| postcard::to_stdvec(&Lock::new(()).unwrap()));
    let incoming = Incoming::new(outgoing.into_descriptors());
    let read = || postcard::from_bytes::<RLock>(&bytes.unwrap()).unwrap_err();
    assert!(matches!(transfer::provide(incoming, read), postcard::Error::SerdeDeCustom));
}
