//! A broken process may write anything into the memory of what others synchronise with: they get wrong answers or
//! errors, in time, and never crash or hang beyond their own timeouts.

mod support;

use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use support::memory::ObjectMemory;
use support::{Dice, Ended, NEVER, fork, soaking, watchdog_of};
use tasuki::raw::{
    NotPassed, RawArrived, RawBarrier, RawCondition, RawLock, RawRwLock, Wait, element,
};

/// Runs `use_it` with one seed after the other, each in a child, so that a crash tells its seed.
fn survives(what: &str, use_it: impl Fn(Dice)) {
    let _watchdog = watchdog_of(Duration::from_secs(if soaking() { 900 } else { 120 }));
    let mut dice = Dice::roll(what);
    let (start, time) = (Instant::now(), Duration::from_secs(if soaking() { 150 } else { 4 }));
    while start.elapsed() < time {
        let seed = dice.next();
        assert_eq!(fork(|| use_it(Dice(seed))).wait(), Ended::WELL, "seed {seed}");
    }
}

/// Calls `call` from three threads while the words of the object that `may` allows are written over.
fn corrupt_while(
    dice: &mut Dice,
    memory: &ObjectMemory,
    may: impl Fn(usize) -> bool,
    call: impl Fn(&mut Dice) + Sync,
) {
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let mut dice = Dice(dice.next());
            let call = &call;
            scope.spawn(move || {
                for _ in 0..20 {
                    let start = Instant::now();
                    call(&mut dice);
                    assert!(start.elapsed() < NEVER, "a call that does not keep its time");
                }
            });
        }
        for _ in 0..60 {
            let mut any = || dice.below(memory.words() as u64) as usize;
            let (to, other) = (any(), memory.word(any()).load(SeqCst));
            let value = match dice.below(6) {
                0 => dice.next() as u32,
                1 => dice.below(300) as u32,
                2 => other,
                3 => other ^ (1 << dice.below(32)),
                4 => {
                    memory.word(to).load(SeqCst).wrapping_add(dice.below(17) as u32).wrapping_sub(8)
                }
                _ => 0,
            };
            if may(to) {
                memory.write(to, value);
            }
            std::thread::sleep(Duration::from_micros(dice.below(300)));
        }
    });
}

#[test]
fn a_barrier() {
    survives("barrier", |mut dice| {
        let barrier = RawBarrier::create(3).unwrap();
        let memory = ObjectMemory::of(|table| barrier.record(table), 128 + 2 * 3 * 8);
        let pass = |wait: &mut Wait<'_>| match barrier.arrive(false, wait)? {
            RawArrived::Waits(arrival) => arrival.wait(wait),
            RawArrived::RunAction(turn) => turn.done(),
            RawArrived::Passed(index) => Ok::<u32, NotPassed>(index),
        };
        // All but the lock and who runs the action: a corrupter may take the one for good, and give the other to
        // somebody who lives and knows nothing of it. Others wait then, as for a process that is stopped.
        const NOT: [usize; 2] = [0, 5];
        corrupt_while(
            &mut dice,
            &memory,
            |word| !NOT.contains(&word),
            |dice| {
                let time = Duration::from_millis(dice.below(4));
                let _ = match dice.below(8) {
                    0 => barrier.abort().is_err(),
                    1 => barrier.reset().is_err(),
                    _ => pass(&mut Wait::timeout(time)).is_err(),
                };
                let _ = (barrier.waiting(), barrier.is_broken());
            },
        );
    });
}

#[test]
fn a_condition() {
    survives("condition", |mut dice| {
        let condition = RawCondition::create().unwrap();
        let lock = RawLock::create(false).unwrap();
        let memory = ObjectMemory::of(|table| condition.record(table), 2048);
        // All but the lock of the list, which a corrupter may take for good. The first entries are what is used.
        const LOCK: usize = 16;
        corrupt_while(
            &mut dice,
            &memory,
            |word| word != LOCK && word < 64,
            |dice| {
                let time = Duration::from_millis(dice.below(4));
                if dice.below(3) == 0 {
                    condition.notify([0, 1, 2, usize::MAX][dice.below(4) as usize]);
                } else if lock.acquire(&mut Wait::timeout(time)).is_ok() {
                    let _ = condition.wait(&lock, &mut Wait::timeout(time));
                    assert!(lock.release());
                }
                let _ = condition.waiting();
                // Its own lock is written over as well.
                let own = condition.own_lock();
                let _ = own.acquire(&mut Wait::timeout(time)).is_ok() && own.release();
            },
        );
    });
}

#[test]
fn a_lock_of_readers_and_writers() {
    survives("rwlock", |mut dice| {
        let lock = RawRwLock::create(element::OPAQUE, 0).unwrap();
        // The lock of the writers, the words of the readers, and the places that are used.
        let memory = ObjectMemory::of(|table| lock.record(table), 64 + 64 + 64 * 8);
        corrupt_while(
            &mut dice,
            &memory,
            |_| true,
            |dice| {
                let wait = &mut Wait::timeout(Duration::from_millis(dice.below(4)));
                let _ = match dice.below(5) {
                    0 => lock.write(wait).is_ok() && lock.end_write(),
                    1 => lock.read(wait).is_ok() && lock.end_write(),
                    2 => lock.read_fast(),
                    _ => lock.read(wait).is_ok() && lock.end_read(),
                };
                let _ = (lock.readers(), lock.is_wanted_by_writer(), lock.is_poisoned());
            },
        );
    });
}
