//! So many at a time and no more, in processes and threads; permits of the dead come back, and bare ones are anybody's.

mod support;

use std::cell::RefCell;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use support::{
    Child, Ended, Words, descriptor_count, end_well, fork, in_own_process, park, soaking, until,
    watchdog, watchdog_of,
};
use tasuki::{Event, Process, Queue, Semaphore};

tasuki::enable_tests!();

fn is_none_left(semaphore: &Semaphore) -> bool {
    semaphore.try_acquire().is_err_and(|error| error.is_timed_out())
}

#[test]
fn so_many_permits_and_no_more() {
    let semaphore = Semaphore::new(2).unwrap();
    assert_eq!(semaphore.value(), 2);
    let first = semaphore.acquire().unwrap();
    let second = semaphore.try_acquire().unwrap();
    assert!(first.owner_died().is_none());
    assert_eq!(semaphore.value(), 0);
    assert!(is_none_left(&semaphore));
    drop(first);
    assert_eq!(semaphore.value(), 1);
    let third = semaphore.acquire_timeout(Duration::ZERO).unwrap();
    drop((second, third));
    assert_eq!(semaphore.value(), 2);
    assert!(format!("{semaphore:?}").contains("value: 2"));
}

#[test]
fn bare_permits_are_anybodys() {
    let _watchdog = watchdog();
    let semaphore = Semaphore::new(0).unwrap();
    assert!(semaphore.try_wait().unwrap_err().is_timed_out());
    let mut giver = fork(|| semaphore.release(3).unwrap());
    for _ in 0..3 {
        assert_eq!(semaphore.wait().unwrap(), None);
    }
    assert_eq!(giver.wait(), Ended::WELL);
    assert_eq!(semaphore.value(), 0);
    semaphore.release(5).unwrap();
    let mut taker = fork(|| assert_eq!(semaphore.wait().unwrap(), None));
    assert_eq!(taker.wait(), Ended::WELL);
    assert_eq!(semaphore.value(), 4, "what a bare taker took stays taken");
    let guard = semaphore.acquire().unwrap();
    assert_eq!(semaphore.value(), 3);
    drop(guard);
    assert_eq!(semaphore.value(), 4);
}

#[test]
fn a_bounded_one_has_never_more_than_at_the_beginning() {
    let semaphore = Semaphore::bounded(2).unwrap();
    let error = semaphore.release(1).unwrap_err();
    assert!(error.to_string().contains("too many times"), "{error}");
    semaphore.wait().unwrap();
    assert!(semaphore.release(2).is_err());
    assert_eq!(semaphore.value(), 1, "an error adds nothing");
    semaphore.release(1).unwrap();
    let guard = semaphore.acquire().unwrap();
    semaphore.release(1).unwrap(); // somebody else's mistake
    drop(guard);
    assert_eq!(semaphore.value(), 2);
    let unbounded = Semaphore::new(i32::MAX as u32 - 1).unwrap();
    unbounded.release(1).unwrap();
    assert!(unbounded.release(1).is_err() && unbounded.release(u32::MAX).is_err());
    assert_eq!(unbounded.value(), i32::MAX as u32);
    assert!(Semaphore::new(1 << 31).is_err() && Semaphore::bounded(u32::MAX).is_err());
    assert!(Semaphore::bounded(0).unwrap().release(1).is_err());
}

#[test]
fn waits_keep_their_time() {
    let _watchdog = watchdog();
    let semaphore = Semaphore::new(0).unwrap();
    for time in [Duration::ZERO, Duration::from_millis(30), Duration::from_millis(700)] {
        let start = Instant::now();
        assert!(semaphore.acquire_timeout(time).unwrap_err().is_timed_out());
        assert!(semaphore.wait_timeout(time).unwrap_err().is_timed_out());
        assert!(start.elapsed() >= time * 2);
        let deadline = Instant::now() + time;
        assert!(semaphore.acquire_deadline(deadline).unwrap_err().is_timed_out());
        assert!(semaphore.wait_deadline(deadline).unwrap_err().is_timed_out());
        assert!(Instant::now() >= deadline);
    }
    semaphore.release(1).unwrap();
    assert!(semaphore.wait_deadline(Instant::now()).is_ok());
}

/// Never more inside than permits, and everybody comes in.
fn crowd(permits: u32, work: impl Fn(&dyn Fn())) {
    let semaphore = Semaphore::new(permits).unwrap();
    let words = Words::new(2);
    work(&|| {
        let guard = semaphore.acquire().unwrap();
        let inside = words[0].fetch_add(1, SeqCst) + 1;
        assert!(inside <= u64::from(permits), "{inside} inside");
        words[1].fetch_add(1, SeqCst);
        words[0].fetch_sub(1, SeqCst);
        drop(guard);
    });
    assert_eq!(words[1].load(SeqCst), 8000);
    assert_eq!(semaphore.value(), permits);
}

#[test]
fn never_more_processes_inside_than_permits() {
    let _watchdog = watchdog();
    for permits in [1, 3] {
        crowd(permits, |enter| {
            let mut children: Vec<Child> =
                (0..8).map(|_| fork(|| (0..1000).for_each(|_| enter()))).collect();
            end_well(&mut children);
        });
    }
}

#[test]
fn never_more_threads_inside_than_permits() {
    let _watchdog = watchdog();
    for permits in [1, 3] {
        let semaphore = Semaphore::new(permits).unwrap();
        let (inside, passed) = (AtomicI64::new(0), AtomicI64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        let _guard = semaphore.acquire().unwrap();
                        assert!(inside.fetch_add(1, SeqCst) < i64::from(permits));
                        passed.fetch_add(1, SeqCst);
                        inside.fetch_sub(1, SeqCst);
                    }
                });
            }
        });
        assert_eq!((passed.load(SeqCst), semaphore.value()), (8000, permits));
    }
}

/// As many permits go round as there are processes; a lost wake-up stops some of them.
#[test]
fn no_wake_up_is_lost_among_64_processes() {
    let _watchdog = watchdog_of(Duration::from_secs(900));
    let rounds = if soaking() { 20_000 } else { 200 };
    let (there, back) = (Semaphore::new(0).unwrap(), Semaphore::new(0).unwrap());
    let mut children: Vec<Child> = (0..64)
        .map(|index| {
            let (there, back) = (&there, &back);
            fork(move || {
                for _ in 0..rounds {
                    if index % 2 == 0 {
                        there.release(1).unwrap();
                        back.wait().unwrap();
                    } else {
                        there.wait().unwrap();
                        back.release(1).unwrap();
                    }
                }
            })
        })
        .collect();
    end_well(&mut children);
    assert_eq!((there.value(), back.value()), (0, 0));
}

#[test]
fn one_release_of_many_wakes_many() {
    let _watchdog = watchdog();
    let semaphore = Semaphore::new(0).unwrap();
    let woken = Words::new(1);
    let mut children: Vec<Child> = (0..5)
        .map(|_| {
            fork(|| {
                semaphore.wait().unwrap();
                woken[0].fetch_add(1, SeqCst);
            })
        })
        .collect();
    children.iter().for_each(Child::wait_until_asleep);
    semaphore.release(3).unwrap();
    until("three are through", || woken[0].load(SeqCst) == 3);
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(woken[0].load(SeqCst), 3);
    semaphore.release(2).unwrap();
    end_well(&mut children);
}

#[test]
fn those_who_wait_use_no_processor() {
    let _watchdog = watchdog();
    let semaphore = Semaphore::new(4).unwrap();
    let owners: Vec<Child> = (0..4)
        .map(|_| {
            fork(|| {
                let _guard = semaphore.acquire().unwrap();
                park()
            })
        })
        .collect();
    until("all permits are taken", || semaphore.value() == 0);
    let waiters: Vec<Child> = (0..8).map(|_| fork(|| drop(semaphore.acquire()))).collect();
    waiters.iter().for_each(Child::wait_until_asleep);
    let used = || {
        let all = waiters.iter().chain(&owners);
        all.map(|child| support::processor_time(child.pid())).sum::<Duration>()
    };
    let before = used();
    std::thread::sleep(Duration::from_secs(3));
    let spent = used() - before;
    assert!(spent < Duration::from_millis(500), "twelve idle processes used {spent:?} in 3 s");
}

// --- owners

fn hold(semaphore: &Semaphore) -> Child {
    let before = semaphore.value();
    let child = fork(|| {
        let _guard = semaphore.acquire().unwrap();
        park()
    });
    until("it has its permit", || semaphore.value() == before - 1);
    child
}

fn kill(mut child: Child) {
    child.kill();
    assert_eq!(child.wait(), Ended::DEAD);
}

#[test]
fn a_dead_owners_permit_comes_back_and_the_next_one_is_told_once() {
    let _watchdog = watchdog();
    let semaphore = Semaphore::new(1).unwrap();
    for bare in [false, true] {
        let owner = hold(&semaphore);
        let died = owner.pid();
        kill(owner);
        if bare {
            assert_eq!(semaphore.try_wait().unwrap().unwrap().pid(), died);
            semaphore.release(1).unwrap();
        } else {
            let guard = semaphore.try_acquire().unwrap();
            let death = guard.owner_died().unwrap();
            assert_eq!((death.pid(), death.left_normally()), (died, false));
        }
        let guard = semaphore.acquire().unwrap();
        assert!(guard.owner_died().is_none(), "told before");
        assert!(is_none_left(&semaphore));
    }
    assert_eq!(semaphore.value(), 1);
}

#[test]
fn the_value_counts_what_the_dead_had() {
    let _watchdog = watchdog();
    let semaphore = Semaphore::new(5).unwrap();
    let owners: Vec<Child> = (0..4).map(|_| hold(&semaphore)).collect();
    assert_eq!(semaphore.value(), 1);
    owners.into_iter().for_each(kill);
    assert_eq!(semaphore.value(), 5);
    let told = semaphore.acquire().unwrap().owner_died().is_some();
    assert!(told && semaphore.acquire().unwrap().owner_died().is_none());
}

#[test]
fn those_who_wait_when_owners_are_killed_go_on() {
    let _watchdog = watchdog();
    let semaphore = Semaphore::new(3).unwrap();
    let owners: Vec<Child> = (0..3).map(|_| hold(&semaphore)).collect();
    let mut waiters: Vec<Child> =
        (0..6).map(|_| fork(|| drop(semaphore.acquire().unwrap()))).collect();
    waiters.iter().for_each(Child::wait_until_asleep);
    owners.into_iter().for_each(kill);
    end_well(&mut waiters);
    assert_eq!(semaphore.value(), 3);
}

#[test]
fn several_permits_of_one_process_come_back_together() {
    let _watchdog = watchdog();
    let semaphore = Semaphore::bounded(3).unwrap();
    let mut owner = fork(|| {
        let guards: Vec<_> = (0..3).map(|_| semaphore.acquire().unwrap()).collect();
        assert!(is_none_left(&semaphore));
        std::mem::forget(guards);
    });
    assert_eq!(owner.wait(), Ended::WELL);
    assert_eq!(semaphore.value(), 3);
    assert_eq!(semaphore.acquire().unwrap().owner_died().unwrap().pid(), owner.pid());
}

#[test]
fn what_a_dead_owner_had_and_others_released_is_not_there_twice() {
    let _watchdog = watchdog();
    let semaphore = Semaphore::bounded(2).unwrap();
    let owner = hold(&semaphore);
    semaphore.release(1).unwrap(); // a mistake: it was not this process's
    assert_eq!(semaphore.value(), 2);
    kill(owner);
    assert_eq!(semaphore.value(), 2);
    let _both = (semaphore.acquire().unwrap(), semaphore.acquire().unwrap());
    assert!(is_none_left(&semaphore));
}

#[test]
fn a_forked_child_does_not_give_back_what_its_parent_has() {
    let _watchdog = watchdog();
    let semaphore = Semaphore::new(1).unwrap();
    let guard = RefCell::new(Some(semaphore.acquire().unwrap()));
    let mut child = fork(|| drop(guard.take().expect("the copy of the parent's")));
    assert_eq!(child.wait(), Ended::WELL);
    assert!(is_none_left(&semaphore));
    drop(guard);
    assert_eq!(semaphore.value(), 1);
}

#[test]
fn more_owners_than_the_ledger_has_room_for_are_as_bare_ones() {
    let _watchdog = watchdog();
    let semaphore = Semaphore::new(0).unwrap();
    semaphore.release(12).unwrap();
    let mut owners: Vec<Child> = (0..12).map(|_| hold(&semaphore)).collect();
    assert_eq!(semaphore.value(), 0);
    let overflow = owners.split_off(8);
    overflow.into_iter().for_each(kill);
    assert_eq!(semaphore.value(), 0);
    owners.into_iter().for_each(kill);
    assert_eq!(semaphore.value(), 8);
}

#[test]
fn five_hundred_owners_are_known() {
    let _watchdog = watchdog_of(Duration::from_secs(300));
    let semaphore = Semaphore::new(600).unwrap();
    let mut owners: Vec<Child> = (0..40)
        .map(|_| {
            fork(|| {
                let guards: Vec<_> = (0..15).map(|_| semaphore.acquire().unwrap()).collect();
                std::mem::forget(guards);
            })
        })
        .collect();
    end_well(&mut owners);
    assert_eq!(semaphore.value(), 600);
}

// --- travelling

#[tasuki::task]
fn take_one(semaphore: Semaphore, taken: Event) {
    let _guard = semaphore.acquire().unwrap();
    taken.set();
    park()
}

#[test]
fn a_started_process_gets_the_same_semaphore() {
    let _watchdog = watchdog();
    let (semaphore, taken) = (Semaphore::bounded(2).unwrap(), Event::new().unwrap());
    let arguments = (semaphore.clone(), taken.clone());
    let process = Process::builder(take_one, arguments).name("holder").spawn().unwrap();
    taken.wait();
    assert_eq!(semaphore.value(), 1);
    process.kill().unwrap();
    process.join().unwrap_err();
    let guards = (semaphore.acquire().unwrap(), semaphore.acquire().unwrap());
    assert_eq!(guards.1.owner_died().unwrap().name(), "holder");
}

#[test]
fn it_travels_in_messages_and_outlives_its_sender() {
    let _watchdog = watchdog();
    let queue = Queue::<(Semaphore, Vec<Semaphore>)>::unbounded().unwrap();
    let mut sender = fork(|| {
        let all = [Semaphore::new(7), Semaphore::bounded(0), Semaphore::bounded(700)];
        let all: Vec<Semaphore> = all.into_iter().map(Result::unwrap).collect();
        queue.put((all[0].clone(), all)).unwrap();
    });
    assert_eq!(sender.wait(), Ended::WELL);
    // Were a slot free now, these would come to lie in it.
    let _others: Vec<Semaphore> = (0..50).map(|n| Semaphore::new(n).unwrap()).collect();
    let (one, all) = queue.get().unwrap();
    assert_eq!(all.iter().map(Semaphore::value).collect::<Vec<_>>(), [7, 0, 700]);
    one.wait().unwrap();
    assert_eq!(all[0].value(), 6, "two handles to one semaphore");
    assert!(all[1].release(1).is_err(), "the bound travels along");
    assert!(all[0].release(1000).is_ok());
}

#[test]
fn ten_thousand_cost_a_few_descriptors_and_leave_nothing() {
    let _watchdog = watchdog();
    in_own_process(|| {
        let round = || {
            let all: Vec<Semaphore> = (0..1000).map(|n| Semaphore::new(n).unwrap()).collect();
            all.iter().skip(1).for_each(|one| drop(one.acquire().unwrap()));
        };
        round();
        let before = (descriptor_count(), support::resident());
        (0..10).for_each(|_| round());
        let alive: Vec<Semaphore> = (0..10_000).map(|_| Semaphore::new(1).unwrap()).collect();
        assert!(alive.iter().all(|one| one.value() == 1), "fresh, wherever they lie");
        assert!(descriptor_count() <= before.0 + 6);
        drop(alive);
        assert!(descriptor_count() <= before.0 + 1);
        assert!(support::resident() < before.1 + (16 << 20));
    });
}
