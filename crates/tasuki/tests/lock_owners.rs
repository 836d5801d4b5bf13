//! A lock has one owner at a time, also among processes, and says who died while holding it.

mod support;

use std::time::{Duration, Instant, SystemTime};

use support::{Child, Ended, end_well, fork, park, until, watchdog};
use tasuki::raw::{Acquired, RawLock, Wait};
use tasuki::synchronize::LockError;
use tasuki::{Lock, Process, Queue};

tasuki::enable_tests!();

#[test]
fn one_at_a_time() {
    let _watchdog = watchdog();
    // Three words that are equal outside a section; 24 bytes are not written in one piece.
    let lock = Lock::new([0_u64; 3]).unwrap();
    let work = || {
        for _ in 0..2000 {
            let mut guard = lock.lock().unwrap();
            assert!(guard[0] == guard[1] && guard[1] == guard[2], "{guard:?}");
            guard.iter_mut().for_each(|word| *word += 1);
        }
    };
    let mut children: Vec<Child> = (0..4).map(|_| fork(work)).collect();
    std::thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    end_well(&mut children);
    assert_eq!(*lock.lock().unwrap(), [12_000; 3]);
}

#[test]
fn try_and_timeout_do_not_wait_longer_than_they_say() {
    let _watchdog = watchdog();
    let lock = Lock::new(()).unwrap();
    let guard = lock.lock().unwrap();
    assert!(lock.try_lock().unwrap_err().is_timed_out());
    for time in [Duration::ZERO, Duration::from_millis(30), Duration::from_millis(700)] {
        let start = Instant::now();
        assert!(lock.lock_timeout(time).unwrap_err().is_timed_out());
        assert!(start.elapsed() >= time);
    }
    drop(guard);
    assert!(lock.lock_timeout(Duration::ZERO).is_ok());
}

fn die_with(lock: &Lock<u64>) -> u32 {
    let mut child = fork(|| {
        let mut guard = lock.lock().unwrap();
        *guard = 99; // not written: the guard is never dropped
        std::mem::forget(guard);
    });
    assert_eq!(child.wait(), Ended::WELL);
    child.pid()
}

#[test]
fn the_next_owner_learns_who_died_until_somebody_clears_it() {
    let _watchdog = watchdog();
    let lock = Lock::new(7_u64).unwrap();
    let dead = die_with(&lock);
    for _ in 0..3 {
        let LockError::Poisoned(poisoned) = lock.lock().unwrap_err() else { panic!() };
        assert_eq!(poisoned.pid(), dead);
        assert!(poisoned.to_string().contains(&format!("process {dead} died")), "{poisoned}");
        assert_eq!(*poisoned.into_inner(), 7);
        assert!(lock.is_poisoned());
    }
    let mut other = fork(|| assert!(lock.lock().is_err(), "poisoned for all processes"));
    assert_eq!(other.wait(), Ended::WELL);
    lock.clear_poison();
    assert_eq!(*lock.lock().unwrap(), 7);
}

#[test]
fn who_died_is_known_even_after_its_row_was_swept() {
    let _watchdog = watchdog();
    let lock = Lock::new(7_u64).unwrap();
    let dead = die_with(&lock);
    // So many processes that the roster is swept of its dead; each is gone before the next comes.
    for _ in 0..70 {
        let mut child = fork(|| {
            let many: Vec<Lock<u64>> = (0..100).map(|n| Lock::new(n).unwrap()).collect();
            assert!(many.iter().all(|one| one.lock().is_ok()));
            std::mem::forget(many);
        });
        assert_eq!(child.wait(), Ended::WELL);
    }
    let LockError::Poisoned(poisoned) = lock.lock().unwrap_err() else { panic!() };
    assert!([dead, 0].contains(&poisoned.pid()), "{} is another's pid", poisoned.pid());
}

#[test]
fn those_who_wait_when_the_owner_is_killed_go_on_one_after_the_other() {
    let _watchdog = watchdog();
    let lock = Lock::new(0_u64).unwrap();
    let mut owner = fork(|| {
        let _guard = lock.lock().unwrap();
        park()
    });
    until("the owner has it", || lock.try_lock().is_err());
    let mut waiting: Vec<Child> = (0..5)
        .map(|_| {
            fork(|| {
                let LockError::Poisoned(poisoned) = lock.lock().unwrap_err() else { panic!() };
                *poisoned.into_inner() += 1;
            })
        })
        .collect();
    waiting.iter().for_each(Child::wait_until_asleep);
    owner.kill();
    assert_eq!(owner.wait(), Ended::DEAD);
    end_well(&mut waiting);
    let LockError::Poisoned(poisoned) = lock.lock().unwrap_err() else { panic!() };
    assert_eq!((poisoned.pid(), *poisoned.into_inner()), (owner.pid(), 5));
}

#[tasuki::task]
fn hold(lock: Lock<u64>, ready: Queue<()>) {
    let _guard = lock.lock().unwrap();
    ready.put(()).unwrap();
    park()
}

#[test]
fn the_same_holds_for_an_owner_that_was_started_and_not_forked() {
    let _watchdog = watchdog();
    let lock = Lock::new(3_u64).unwrap();
    let ready = Queue::unbounded().unwrap();
    let owner = Process::spawn(hold, (lock.clone(), ready.clone())).unwrap();
    ready.get().unwrap();
    assert!(lock.lock_timeout(Duration::from_millis(600)).unwrap_err().is_timed_out());
    owner.kill().unwrap();
    let LockError::Poisoned(poisoned) = lock.lock().unwrap_err() else { panic!() };
    assert_eq!((poisoned.pid(), *poisoned.into_inner()), (owner.pid(), 3));
    owner.join().unwrap_err();
}

#[tasuki::task]
fn leave(lock: Lock<u64>) {
    std::mem::forget(lock.lock().unwrap());
    std::mem::forget(lock);
}

#[test]
fn an_owner_is_known_by_name_and_whether_it_was_killed_or_left() {
    let _watchdog = watchdog();
    let lock = Lock::new(0_u64).unwrap();
    let ready = Queue::unbounded().unwrap();
    let before = SystemTime::now() - Duration::from_millis(1); // deaths are noted in whole milliseconds
    for leaves in [false, true] {
        let arguments = (lock.clone(), ready.clone());
        if leaves {
            Process::builder(leave, (lock.clone(),))
                .name("leaver")
                .spawn()
                .unwrap()
                .join()
                .unwrap();
        } else {
            let owner = Process::builder(hold, arguments).name("victim").spawn().unwrap();
            ready.get().unwrap();
            owner.kill().unwrap();
            owner.join().unwrap_err();
        }
        let LockError::Poisoned(poisoned) = lock.lock().unwrap_err() else { panic!() };
        let death = *poisoned.death();
        assert_eq!(death.name(), if leaves { "leaver" } else { "victim" });
        assert_eq!(death.left_normally(), leaves);
        assert!((before..=SystemTime::now()).contains(&death.noticed()));
        lock.clear_poison();
    }
}

#[test]
fn a_stopped_owner_is_not_a_dead_one() {
    let _watchdog = watchdog();
    let lock = Lock::new(0_u64).unwrap();
    let mut owner = fork(|| {
        let mut guard = lock.lock().unwrap();
        // SAFETY: stops this child until it is told to go on.
        #[allow(unsafe_code)]
        unsafe {
            libc::raise(libc::SIGSTOP)
        };
        *guard = 1;
    });
    until("the owner has it", || lock.try_lock().is_err());
    assert!(lock.lock_timeout(Duration::from_millis(1200)).unwrap_err().is_timed_out());
    owner.signal(libc::SIGCONT);
    assert_eq!(owner.wait(), Ended::WELL);
    assert_eq!(*lock.lock().unwrap(), 1);
}

#[test]
fn a_panic_in_a_section_poisons_as_a_death_does() {
    let _watchdog = watchdog();
    let lock = Lock::new(1_u64).unwrap();
    let panicked = std::thread::scope(|scope| {
        scope
            .spawn(|| {
                let _guard = lock.lock().unwrap();
                panic!("in the section, as intended");
            })
            .join()
    });
    assert!(panicked.is_err() && lock.is_poisoned());
    let LockError::Poisoned(poisoned) = lock.lock().unwrap_err() else { panic!() };
    assert_eq!(poisoned.pid(), 0);
    assert!(poisoned.to_string().contains("panicked"), "{poisoned}");
}

#[test]
fn a_recursive_lock_is_free_after_as_many_releases_as_takes() {
    let _watchdog = watchdog();
    let lock = RawLock::create(true).unwrap();
    for depth in 1..=100 {
        assert_eq!(lock.acquire(&mut Wait::now()).unwrap(), Acquired::Clean);
        assert_eq!(lock.depth().unwrap(), depth);
    }
    let another_thread = || lock.acquire(&mut Wait::now()).is_err() && !lock.release();
    assert!(std::thread::scope(|scope| scope.spawn(another_thread).join().unwrap()));
    for depth in (0..100).rev() {
        assert!(lock.release());
        assert_eq!(lock.depth().unwrap(), depth);
    }
    assert!(!lock.release());
    let another_thread = || lock.acquire(&mut Wait::now()).is_ok() && lock.release();
    assert!(std::thread::scope(|scope| scope.spawn(another_thread).join().unwrap()));
}

#[test]
fn a_recursive_lock_of_a_dead_owner_begins_anew() {
    let _watchdog = watchdog();
    let lock = RawLock::create(true).unwrap();
    let mut owner = fork(|| (0..3).for_each(|_| drop(lock.acquire(&mut Wait::now()))));
    assert_eq!(owner.wait(), Ended::WELL);
    let acquired = lock.acquire(&mut Wait::timeout(support::NEVER)).unwrap();
    assert!(matches!(acquired, Acquired::OwnerDied(death) if death.pid() == owner.pid()));
    assert_eq!(lock.depth().unwrap(), 1);
    assert!(lock.release() && !lock.is_locked());
}

#[test]
fn any_process_may_release() {
    let _watchdog = watchdog();
    let lock = RawLock::create(false).unwrap();
    assert!(lock.acquire(&mut Wait::now()).is_ok());
    let mut other = fork(|| assert!(lock.release()));
    assert_eq!(other.wait(), Ended::WELL);
    assert!(!lock.is_locked() && !lock.release());
}
