//! A condition: as many go on as were notified, the oldest first, and nobody sleeps for ever.

mod support;

use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use support::{Child, Ended, Words, end_well, fork, park, soaking, until, watchdog, watchdog_of};
use tasuki::raw::{Acquired, GaveUp, NotWaited, RawCondition, RawLock, Wait, Woken};
use tasuki::synchronize::LockError;
use tasuki::{Condition, Lock, Process, Queue, RLock};

tasuki::enable_tests!();

/// A child that waits once under the condition's own lock, then says so.
fn waiter<'a>(condition: &'a Condition, woken: &'a std::sync::atomic::AtomicU64) -> Child {
    fork(move || {
        let guard = condition.lock().unwrap();
        drop(condition.wait(guard).unwrap());
        woken.fetch_add(1, SeqCst);
    })
}

#[test]
fn its_own_lock_tells_of_a_dead_owner_until_somebody_clears_it() {
    let _watchdog = watchdog();
    let condition = Condition::new().unwrap();
    let mut owner = fork(|| std::mem::forget(condition.lock().unwrap()));
    assert_eq!(owner.wait(), Ended::WELL);
    let LockError::Poisoned(poisoned) = condition.lock().unwrap_err() else { panic!() };
    assert_eq!(poisoned.pid(), owner.pid());
    drop(poisoned);
    assert!(condition.is_poisoned());
    condition.clear_poison();
    assert!(condition.lock().is_ok() && !condition.is_poisoned());
}

#[test]
fn exactly_as_many_go_on_as_are_notified_and_the_oldest_first() {
    let _watchdog = watchdog();
    let condition = Condition::new().unwrap();
    let woken = Words::new(6);
    let mut children = Vec::new();
    for index in 0..6 {
        children.push(waiter(&condition, &woken[index]));
        until("it waits", || condition.waiting() == index + 1);
    }
    let count = || woken.iter().filter(|word| word.load(SeqCst) == 1).count();
    let mut expected = 0;
    for n in [1, 0, 2, 1] {
        let guard = condition.lock().unwrap();
        condition.notify(n);
        drop(guard);
        expected += n;
        until("they go on", || count() == expected);
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!((count(), condition.waiting()), (expected, 6 - expected));
        assert!(woken[..expected].iter().all(|word| word.load(SeqCst) == 1), "the oldest first");
    }
    condition.notify_all();
    end_well(&mut children);
    condition.notify_one(); // nobody waits: it is not kept for later
    let guard = condition.lock().unwrap();
    let (_guard, result) = condition.wait_timeout(guard, Duration::from_millis(20)).unwrap();
    assert!(result.timed_out());
}

#[test]
fn data_changes_while_one_waits() {
    let _watchdog = watchdog();
    let (lock, condition) = (Lock::new([0_u64; 3]).unwrap(), Condition::new().unwrap());
    let mut child = fork(|| {
        let mut guard = lock.lock().unwrap();
        guard[0] = 1; // written back before the wait, or the other would wait for ever
        let guard = condition.wait_while(guard, |data| data[1] == 0).unwrap();
        assert_eq!(*guard, [1, 2, 3]);
    });
    until("the child waits", || condition.waiting() == 1);
    let mut guard = lock.lock().unwrap();
    assert_eq!(guard[0], 1);
    *guard = [1, 2, 3];
    drop(guard);
    condition.notify_one();
    assert_eq!(child.wait(), Ended::WELL);
}

#[test]
fn timeouts_end_with_the_lock_held() {
    let _watchdog = watchdog();
    let (lock, condition) = (Lock::new(0_u64).unwrap(), Condition::new().unwrap());
    for time in [Duration::ZERO, Duration::from_millis(30), Duration::from_millis(700)] {
        let start = Instant::now();
        let guard = lock.lock().unwrap();
        let (guard, result) = condition.wait_timeout(guard, time).unwrap();
        assert!(result.timed_out() && start.elapsed() >= time);
        assert!(lock.try_lock().unwrap_err().is_timed_out());
        let (guard, result) = condition.wait_deadline(guard, start + time).unwrap();
        assert!(result.timed_out());
        let (guard, result) = condition.wait_while_timeout(guard, time, |_| true).unwrap();
        assert!(result.timed_out() && *guard == 0);
    }
    assert!(lock.try_lock().is_ok());
    assert_eq!(condition.waiting(), 0);
}

#[test]
fn a_recursive_lock_is_freed_and_taken_as_often_as_it_was_held() {
    let _watchdog = watchdog();
    let (lock, condition) = (RLock::new().unwrap(), Condition::new().unwrap());
    let woken = Words::new(1);
    let mut child = fork(|| {
        let outer = lock.lock().unwrap();
        let inner = lock.lock().unwrap();
        let inner = condition.wait(inner).unwrap();
        woken[0].store(1, SeqCst);
        drop(inner);
        until("the parent looked", || woken[0].load(SeqCst) == 2);
        drop(outer);
    });
    until("the child waits", || condition.waiting() == 1);
    let guard = lock.try_lock().expect("free while the child waits");
    condition.notify_all();
    drop(guard);
    until("the child has the lock", || woken[0].load(SeqCst) == 1);
    assert!(lock.try_lock().unwrap_err().is_timed_out());
    woken[0].store(2, SeqCst);
    assert_eq!(child.wait(), Ended::WELL);
    assert!(lock.try_lock().is_ok());
}

#[test]
fn one_without_the_lock_cannot_wait() {
    let condition = RawCondition::create().unwrap();
    for lock in
        [RawLock::create(false).unwrap(), RawLock::create(true).unwrap(), condition.own_lock()]
    {
        let lock = &lock;
        assert!(matches!(condition.wait(lock, &mut Wait::now()), Err(NotWaited::NotHeld)));
    }
    assert_eq!(condition.waiting(), 0);
}

#[test]
fn an_interrupted_wait_ends_with_the_lock_held_and_absorbs_nothing() {
    let _watchdog = watchdog();
    let raw = RawCondition::create().unwrap();
    let lock = RawLock::create(true).unwrap();
    let take = || assert_eq!(lock.acquire(&mut Wait::forever()).unwrap(), Acquired::Clean);
    take();
    take();
    let mut stop = || true;
    let wait = &mut Wait::forever().interruptible(&mut stop);
    let waited = raw.wait(&lock, wait).unwrap();
    assert_eq!(waited, (Woken::GaveUp(GaveUp::Interrupted), Acquired::Clean));
    assert_eq!((lock.depth().unwrap(), raw.waiting()), (2, 0));
}

#[test]
fn more_can_wait_than_there_are_entries() {
    let _watchdog = watchdog();
    const MANY: usize = 300;
    let (lock, condition) = (Lock::new(0_u64).unwrap(), Condition::new().unwrap());
    std::thread::scope(|scope| {
        for _ in 0..MANY {
            scope.spawn(|| {
                let guard = lock.lock().unwrap();
                let mut guard = condition.wait_while(guard, |turns| *turns == 0).unwrap();
                *guard -= 1;
            });
        }
        until("all wait", || condition.waiting() == MANY);
        // One after the other: each notification reaches one that can use it.
        for left in (0..MANY).rev() {
            *lock.lock().unwrap() += 1;
            condition.notify_one();
            until("one went on", || *lock.lock().unwrap() == 0);
            until("it is gone", || condition.waiting() <= left);
        }
    });
}

#[test]
fn sixty_four_processes_hand_a_turn_round() {
    let _watchdog = watchdog_of(Duration::from_secs(if soaking() { 900 } else { 120 }));
    let rounds = if soaking() { 2000 } else { 20 };
    let (lock, condition) = (Lock::new(0_u64).unwrap(), Condition::new().unwrap());
    let mut children: Vec<Child> = (0..64_u64)
        .map(|me| {
            let (lock, condition) = (&lock, &condition);
            fork(move || {
                for _ in 0..rounds {
                    let guard = lock.lock().unwrap();
                    let mut guard = condition.wait_while(guard, |turn| *turn % 64 != me).unwrap();
                    *guard += 1;
                    condition.notify_all();
                }
            })
        })
        .collect();
    end_well(&mut children);
    assert_eq!(*lock.lock().unwrap(), 64 * rounds);
}

#[test]
fn no_notification_is_lost_among_sixty_four() {
    let _watchdog = watchdog_of(Duration::from_secs(if soaking() { 900 } else { 120 }));
    const CONSUMERS: u64 = 63;
    let items = if soaking() { 200_000 } else { 4000 };
    let (stock, condition) = (Lock::new(0_u64).unwrap(), Condition::new().unwrap());
    let taken = Words::new(1);
    let mut consumers: Vec<Child> = (0..CONSUMERS)
        .map(|_| {
            fork(|| {
                while taken[0].load(SeqCst) < items {
                    let guard = stock.lock().unwrap();
                    let over = |stock: &mut u64| *stock == 0 && taken[0].load(SeqCst) < items;
                    let mut guard = condition.wait_while(guard, over).unwrap();
                    if *guard > 0 {
                        *guard -= 1;
                        taken[0].fetch_add(1, SeqCst);
                    }
                }
            })
        })
        .collect();
    for _ in 0..items {
        *stock.lock().unwrap() += 1;
        condition.notify_one(); // one for each: if any is lost, one piece remains
    }
    until("all is taken", || taken[0].load(SeqCst) >= items);
    drop(stock.lock().unwrap()); // who looked before that waits by now
    condition.notify_all();
    end_well(&mut consumers);
}

#[tasuki::task]
fn answer(lock: Lock<u64>, condition: Condition) {
    let mut guard = lock.lock().unwrap();
    *guard = 1;
    condition.notify_all();
    drop(condition.wait_while(guard, |state| *state != 2).unwrap());
}

#[test]
fn a_condition_travels_to_processes_that_are_started() {
    let _watchdog = watchdog();
    let (lock, condition) = (Lock::new(0_u64).unwrap(), Condition::new().unwrap());
    let guard = lock.lock().unwrap();
    let child = Process::spawn(answer, (lock.clone(), condition.clone())).unwrap();
    let mut guard = condition.wait_while(guard, |state| *state != 1).unwrap();
    *guard = 2;
    drop(guard);
    condition.notify_all();
    child.join().unwrap();
    let queue: Queue<Condition> = Queue::unbounded().unwrap();
    queue.put(condition.clone()).unwrap();
    let again = queue.get().unwrap();
    let _guard = condition.lock().unwrap();
    let taken =
        std::thread::scope(|scope| scope.spawn(|| again.try_lock().is_ok()).join().unwrap());
    assert!(!taken, "it is the same lock, and taken");
}

#[test]
fn who_waits_learns_that_the_owner_of_the_lock_died() {
    let _watchdog = watchdog();
    let (lock, condition) = (Lock::new(0_u64).unwrap(), Condition::new().unwrap());
    let words = Words::new(1);
    let mut waiting = fork(|| {
        let error = condition.wait(lock.lock().unwrap()).unwrap_err();
        let LockError::Poisoned(poisoned) = error else { panic!("{error:?}") };
        words[0].store(u64::from(poisoned.pid()), SeqCst);
    });
    until("one waits", || condition.waiting() == 1);
    let mut owner = fork(|| {
        let _guard = lock.lock().unwrap();
        park()
    });
    until("the lock is held", || lock.try_lock().is_err());
    owner.kill();
    owner.wait();
    assert_eq!(waiting.wait(), Ended::WELL);
    assert_eq!(words[0].load(SeqCst), u64::from(owner.pid()));
}

#[test]
fn ten_thousand_conditions_come_and_go() {
    let _watchdog = watchdog();
    support::in_own_process(|| {
        let make = |count: usize| (0..count).map(|_| Condition::new().unwrap()).collect::<Vec<_>>();
        drop(make(500));
        let (descriptors, memory) = (support::descriptor_count(), support::resident());
        for _ in 0..10_000 {
            let condition = Condition::new().unwrap();
            let guard = condition.lock().unwrap();
            drop(condition.wait_timeout(guard, Duration::ZERO).unwrap());
        }
        assert_eq!(support::descriptor_count(), descriptors);
        assert!(support::resident() < memory + (1 << 20));
        support::limit_descriptors(300);
        assert_eq!(make(10_000).len(), 10_000, "with three hundred descriptors");
    });
}
