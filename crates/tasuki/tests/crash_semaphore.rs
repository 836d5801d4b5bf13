//! A process is killed anywhere inside a semaphore's calls: the others go on, in time, and no permit is lost or there
//! twice.
#![cfg(feature = "kill-points")]

mod support;

use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use support::memory::ObjectMemory;
use support::victims::dies_at;
use support::{Child, Dice, Ended, Words, end_well, fork, soaking, until, watchdog_of};
use tasuki::Semaphore;
use tasuki::kill_points::{KillPoint, arm, arm_stop};
use tasuki::raw::{RawSemaphore, Wait};

/// What a process does when it dies.
#[derive(Clone, Copy, Debug)]
enum Work {
    /// Acquires and releases permits of its own, among others who do.
    Own,
    /// As `Own`, and no permit is ever left over, so that it has to wait.
    OwnScarce,
    /// Takes permits that nobody owns, and gives them.
    Bare,
    /// Gives permits that others wait for.
    Give,
    /// Waits for a permit that never comes.
    Starve,
    /// Gives back what another dead one owned.
    Inherit,
}

/// How many permits are gone for good: those that a dead process took without owning them.
type Missing = u32;

/// The table.
const TABLE: &[(KillPoint, Work, Missing)] = &[
    (KillPoint::LockTaken, Work::Own, 0),
    (KillPoint::LockTaken, Work::OwnScarce, 0),
    (KillPoint::LockTaken, Work::Inherit, 0),
    (KillPoint::LockFreedBeforeWake, Work::OwnScarce, 0),
    (KillPoint::SemaphorePrepared, Work::OwnScarce, 0),
    (KillPoint::SemaphorePrepared, Work::Starve, 0),
    (KillPoint::SemaphoreTaken, Work::Own, 0),
    (KillPoint::SemaphoreTaken, Work::OwnScarce, 0),
    (KillPoint::SemaphoreTakenBare, Work::Bare, 1),
    (KillPoint::SemaphoreDisowned, Work::Own, 0),
    (KillPoint::SemaphoreDisowned, Work::OwnScarce, 0),
    (KillPoint::SemaphoreGiven, Work::Own, 0),
    (KillPoint::SemaphoreGiven, Work::OwnScarce, 0),
    (KillPoint::SemaphoreGiven, Work::Bare, 0),
    (KillPoint::SemaphoreGiven, Work::Give, 0),
    (KillPoint::SemaphoreNoted, Work::Inherit, 0),
    (KillPoint::SemaphoreReclaimed, Work::Inherit, 0),
];

const PERMITS: u32 = 3;

#[test]
fn the_others_go_on_and_every_permit_is_accounted_for() {
    let _watchdog = watchdog_of(Duration::from_secs(300));
    for &(point, work, missing) in TABLE {
        for nth in [1, 2] {
            eprintln!("{point:?}: {work:?}, {nth}");
            match work {
                Work::Own => one_of_a_crowd_dies(point, nth, 2),
                Work::OwnScarce => one_of_a_crowd_dies(point, nth, 6),
                Work::Bare => a_bare_taker_dies(point, nth, missing),
                Work::Give => a_giver_dies(point, nth),
                Work::Starve => a_waiter_dies(point, nth),
                Work::Inherit => an_heir_dies(point, nth),
            }
        }
    }
}

/// As `dies_at`, for a step that is taken only if others sleep at the lock: others are stopped inside until they do.
fn dies_with_sleepers(point: KillPoint, nth: u32, semaphore: &Semaphore, work: impl Fn()) {
    let mut victim = fork(|| {
        arm(point, nth);
        loop {
            work();
        }
    });
    while victim.has_ended().is_none() {
        let mut holder = fork(|| {
            drop(semaphore.acquire().unwrap()); // whatever else is locked the first time
            arm_stop(KillPoint::LockTaken, 1);
            drop(semaphore.acquire().unwrap());
        });
        holder.wait_until_stopped();
        // One that does not sleep by then does the next time.
        std::thread::sleep(Duration::from_millis(2));
        holder.signal(libc::SIGCONT);
        assert_eq!(holder.wait(), Ended::WELL);
    }
    assert_eq!(victim.wait(), Ended::DEAD);
}

/// All permits that are left can be had, and no more; says whether a death was told.
fn take_all(semaphore: &Semaphore, permits: u32) -> bool {
    assert_eq!(semaphore.value(), permits);
    let guards: Vec<_> = (0..permits)
        .map(|_| semaphore.acquire_timeout(support::NEVER).expect("a permit"))
        .collect();
    assert!(semaphore.try_acquire().unwrap_err().is_timed_out(), "one too many");
    guards.iter().any(|guard| guard.owner_died().is_some())
}

/// So many others want three permits, each with one in hand for a moment, while one more dies.
fn one_of_a_crowd_dies(point: KillPoint, nth: u32, others: usize) {
    let semaphore = Semaphore::bounded(PERMITS).unwrap();
    let words = Words::new(3);
    let (stop, passed, inside) = (&words[0], &words[1], &words[2]);
    let enter = |is_victim: bool| {
        let _guard = semaphore.acquire().unwrap();
        if !is_victim {
            // The victim's own part of the count could be left over.
            assert!(inside.fetch_add(1, SeqCst) < u64::from(PERMITS));
            std::thread::sleep(Duration::from_micros(100));
            inside.fetch_sub(1, SeqCst);
            passed.fetch_add(1, SeqCst);
        } else if others > 2 {
            std::thread::sleep(Duration::from_micros(100));
        }
    };
    let work = || {
        while stop.load(SeqCst) == 0 {
            enter(false);
        }
    };
    let mut crowd: Vec<Child> = (0..others).map(|_| fork(work)).collect();
    if point == KillPoint::LockFreedBeforeWake {
        dies_with_sleepers(point, nth, &semaphore, || enter(true));
    } else {
        dies_at(point, nth, || (0..100_000).for_each(|_| enter(true)));
    }
    let before = passed.load(SeqCst);
    until("the others go on", || passed.load(SeqCst) > before + 50);
    stop.store(1, SeqCst);
    end_well(&mut crowd);
    take_all(&semaphore, PERMITS);
}

fn a_bare_taker_dies(point: KillPoint, nth: u32, missing: Missing) {
    let semaphore = Semaphore::bounded(PERMITS).unwrap();
    dies_at(point, nth, || {
        for _ in 0..5 {
            semaphore.wait().unwrap();
            semaphore.release(1).unwrap();
        }
    });
    assert!(!take_all(&semaphore, PERMITS - missing), "nobody owned what it took");
    if missing > 0 {
        semaphore.release(missing).unwrap();
    }
    take_all(&semaphore, PERMITS);
}

/// Three sleep; the giver dies at its first or second gift; another one gives the rest.
fn a_giver_dies(point: KillPoint, nth: u32) {
    let semaphore = Semaphore::new(0).unwrap();
    let got = Words::new(1);
    let take = || {
        semaphore.wait().unwrap();
        got[0].fetch_add(1, SeqCst);
    };
    let mut takers: Vec<Child> = (0..3).map(|_| fork(take)).collect();
    takers.iter().for_each(Child::wait_until_asleep);
    dies_at(point, nth, || (0..3).for_each(|_| semaphore.release(1).unwrap()));
    let given = u64::from(nth);
    until("what was given is taken", || got[0].load(SeqCst) == given);
    semaphore.release(3 - given as u32).unwrap();
    end_well(&mut takers);
    assert_eq!(semaphore.value(), 0);
}

fn a_waiter_dies(point: KillPoint, nth: u32) {
    let semaphore = Semaphore::new(0).unwrap();
    let mut sleeper = fork(|| assert_eq!(semaphore.wait().unwrap(), None));
    sleeper.wait_until_asleep();
    dies_at(point, nth, || drop(semaphore.acquire()));
    semaphore.release(1).unwrap();
    assert_eq!(sleeper.wait(), Ended::WELL);
    assert_eq!(semaphore.value(), 0);
    semaphore.release(2).unwrap();
    take_all(&semaphore, 2);
}

/// Two permits of a dead process; who gives them back dies as well, perhaps half-way.
fn an_heir_dies(point: KillPoint, nth: u32) {
    let semaphore = Semaphore::bounded(2).unwrap();
    let hold = |count: usize| {
        let guards: Vec<_> = (0..count).map(|_| semaphore.acquire().unwrap()).collect();
        std::mem::forget(guards);
    };
    // One owner each, so that there are two entries to give back.
    let mut owners = [fork(|| hold(1)), fork(|| hold(1))];
    end_well(&mut owners);
    let mut waiter = fork(|| assert!(semaphore.acquire().unwrap().owner_died().is_some()));
    // It may come first; then there is one entry less for the heir.
    assert_eq!(waiter.wait(), Ended::WELL);
    hold_again(&semaphore);
    dies_at(point, nth, || hold(2));
    assert!(take_all(&semaphore, 2), "that an owner died is told");
}

/// Leaves both permits with processes that are dead.
fn hold_again(semaphore: &Semaphore) {
    let mut owners: Vec<Child> =
        (0..2).map(|_| fork(|| std::mem::forget(semaphore.acquire().unwrap()))).collect();
    end_well(&mut owners);
}

#[test]
fn random_kills_lose_and_double_no_permit() {
    let rounds = if soaking() { 200 } else { 20 };
    let _watchdog = watchdog_of(Duration::from_secs(900));
    let mut dice = Dice::roll("semaphore, random kills");
    let semaphore = Semaphore::bounded(PERMITS).unwrap();
    for round in 0..rounds {
        let passed = Words::new(1);
        let work = || {
            loop {
                let _guard = semaphore.acquire().unwrap();
                passed[0].fetch_add(1, SeqCst);
            }
        };
        let mut crowd: Vec<Child> = (0..5).map(|_| fork(work)).collect();
        while let Some(mut victim) = crowd.pop() {
            std::thread::sleep(Duration::from_micros(dice.below(3000)));
            victim.kill();
            assert_eq!(victim.wait(), Ended::DEAD);
            let before = passed[0].load(SeqCst);
            if !crowd.is_empty() {
                until("the others go on", || passed[0].load(SeqCst) > before + 10);
            }
        }
        take_all(&semaphore, PERMITS);
        assert_eq!(semaphore.value(), PERMITS, "round {round}");
    }
}

/// Any value at all anywhere in it but in the lock: errors and wrong numbers, in time, and never a crash or a hang.
#[test]
fn nonsense_in_its_memory_is_survived() {
    let _watchdog = watchdog_of(Duration::from_secs(if soaking() { 900 } else { 120 }));
    let mut dice = Dice::roll("semaphore, nonsense");
    let start = Instant::now();
    let time = Duration::from_secs(if soaking() { 150 } else { 4 });
    while start.elapsed() < time {
        let initial = [0, 1, 5, 20][dice.below(4) as usize];
        let semaphore =
            RawSemaphore::create(initial, [initial, 1000][dice.below(2) as usize].max(initial))
                .unwrap();
        let memory = ObjectMemory::of(|table| semaphore.record(table), 128);
        assert_eq!(memory.word(2).load(SeqCst), initial, "the third word is the pool");
        let seed = dice.next();
        let stop = Words::new(1);
        let mut corrupter = fork(|| {
            let mut dice = Dice(seed);
            while !stop.told(0) {
                let at = 1 + dice.below(memory.words() as u64 - 1) as usize;
                let old = memory.word(at).load(SeqCst);
                let values =
                    [dice.next() as u32, dice.below(9) as u32, !0, old ^ 1 << dice.below(32)];
                memory.write(at, values[dice.below(4) as usize]);
                std::thread::sleep(Duration::from_micros(dice.below(200)));
            }
        });
        let work = |seed: u64| {
            let mut dice = Dice(seed);
            for _ in 0..100 {
                let call = Instant::now();
                let wait = || Wait::timeout(Duration::from_millis(2));
                match dice.below(6) {
                    0 => _ = semaphore.acquire(&mut wait()),
                    1 | 2 => _ = semaphore.acquire_owned(&mut wait()),
                    3 => _ = semaphore.release(dice.below(4) as u32),
                    4 => _ = semaphore.release_owned(),
                    _ => _ = semaphore.value(),
                }
                assert!(call.elapsed() < support::NEVER, "a call that does not keep its time");
            }
        };
        let mut users: Vec<Child> = (0..3)
            .map(|_| {
                let seed = dice.next();
                fork(move || work(seed))
            })
            .collect();
        for user in &mut users {
            assert_eq!(user.wait(), Ended::WELL, "seed {seed}");
        }
        stop.tell(0);
        assert_eq!(corrupter.wait(), Ended::WELL);
    }
}
