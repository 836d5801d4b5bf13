//! Wherever one who waits for a condition, or notifies, is killed: no notification is lost with it, nobody waits in
//! vain, and the one that gets the lock is told if its owner died. A table of the condition's kill points and what must
//! be true afterwards.
#![cfg(feature = "kill-points")]

mod support;

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use support::{Child, Dice, Ended, NEVER, Words, end_well, fork, soaking, until, watchdog_of};
use tasuki::kill_points::{KillPoint, arm};
use tasuki::raw::{Acquired, GaveUp, RawCondition, RawLock, Wait, Woken};

const NOTIFIED: u64 = 1;
/// And the pid of the dead owner.
const TOLD: u64 = 2 << 32;

fn lock(condition: &RawCondition) -> (RawLock, Acquired) {
    let lock = condition.own_lock();
    let acquired = lock.acquire(&mut Wait::timeout(NEVER)).unwrap();
    if acquired != Acquired::Clean {
        lock.clear_poison();
    }
    (lock, acquired)
}

/// Waits once, at most for `time`; what came of it as a number, 0 for nothing.
fn wait(condition: &RawCondition, time: Duration) -> u64 {
    let (lock, _) = lock(condition);
    let (woken, acquired) = condition.wait(&lock, &mut Wait::timeout(time)).unwrap();
    let result = match (woken, acquired) {
        (_, Acquired::OwnerDied(death)) => {
            lock.clear_poison();
            TOLD | u64::from(death.pid())
        }
        (Woken::Notified, Acquired::Clean) => NOTIFIED,
        (Woken::GaveUp(_), Acquired::Clean) => 0,
    };
    assert!(lock.is_mine().unwrap() && lock.release());
    result
}

fn waiter<'a>(condition: &'a RawCondition, answer: &'a AtomicU64) -> Child {
    fork(move || answer.store(wait(condition, NEVER), SeqCst))
}

/// Notifies `count` under the lock, whoever had it last.
fn notify(condition: &RawCondition, count: usize) {
    let (lock, _) = lock(condition);
    condition.notify(count);
    assert!(lock.release());
}

fn victim(point: KillPoint, work: impl FnOnce()) -> Child {
    fork(|| {
        arm(point, 1);
        work();
    })
}

/// The condition can be used as if nothing had been.
fn works_again(condition: &RawCondition) {
    let words = Words::new(2);
    let mut children = [waiter(condition, &words[0]), waiter(condition, &words[1])];
    until("both wait", || condition.waiting() == 2);
    for expected in 1..=2 {
        notify(condition, 1);
        until("one goes on", || {
            words.iter().filter(|word| word.load(SeqCst) == NOTIFIED).count() == expected
        });
    }
    end_well(&mut children);
    assert_eq!(condition.waiting(), 0);
}

#[test]
fn one_that_waits_dies_and_the_next_one_gets_its_notification() {
    let _watchdog = watchdog_of(Duration::from_secs(240));
    // Whether the dead one has the lock, so that the next owner is told.
    for (point, held_the_lock) in [
        (KillPoint::ConditionEntered, true),
        (KillPoint::ConditionListed, true),
        (KillPoint::ConditionReleased, false),
        (KillPoint::ConditionAsleep, false),
    ] {
        let condition = RawCondition::create().unwrap();
        let mut victim = victim(point, || assert_ne!(wait(&condition, NEVER), u64::MAX));
        assert_eq!(victim.wait(), Ended::DEAD, "{point:?}");
        let words = Words::new(1);
        let told = condition.own_lock().acquire(&mut Wait::timeout(NEVER)).unwrap();
        let was_told =
            matches!(told, Acquired::OwnerDied(ref death) if death.pid() == victim.pid());
        assert_eq!(was_told, held_the_lock, "{point:?}: {told:?}");
        condition.own_lock().clear_poison();
        assert!(condition.own_lock().release());
        // The dead one came first, and has been seen waiting by nobody: one notification is enough for the living.
        let mut living = waiter(&condition, &words[0]);
        living.wait_until_asleep();
        notify(&condition, 1);
        until(&format!("{point:?}"), || words[0].load(SeqCst) == NOTIFIED);
        assert_eq!(living.wait(), Ended::WELL);
        works_again(&condition);
    }
}

#[test]
fn one_that_was_notified_dies_and_another_one_goes_on_in_its_stead() {
    let _watchdog = watchdog_of(Duration::from_secs(240));
    for point in [KillPoint::ConditionWoken, KillPoint::ConditionReacquired] {
        let condition = RawCondition::create().unwrap();
        let words = Words::new(2);
        let mut dying = victim(point, || assert_ne!(wait(&condition, NEVER), u64::MAX));
        until("it waits", || condition.waiting() == 1);
        let mut heirs = [waiter(&condition, &words[0])];
        until("both wait", || condition.waiting() == 2);
        notify(&condition, 1);
        assert_eq!(dying.wait(), Ended::DEAD, "{point:?}");
        // It may also be the one that finds the lock's owner dead.
        let told = TOLD | u64::from(dying.pid());
        until(&format!("{point:?}"), || [NOTIFIED, told].contains(&words[0].load(SeqCst)));
        end_well(&mut heirs);
        notify(&condition, 0); // hears of the lock's owner, if the heir did not
        works_again(&condition);
    }
}

#[test]
fn a_late_one_inherits_nothing() {
    let _watchdog = watchdog_of(Duration::from_secs(120));
    let condition = RawCondition::create().unwrap();
    let words = Words::new(1);
    let mut dying =
        victim(KillPoint::ConditionWoken, || assert_ne!(wait(&condition, NEVER), u64::MAX));
    until("it waits", || condition.waiting() == 1);
    // Two wait, so that the notification is for one and not for all; the other one is gone before anybody looks.
    let other = condition.enter(&mut Wait::forever()).unwrap();
    condition.notify(1);
    assert_eq!(condition.waiting(), 1);
    drop(other);
    assert_eq!(dying.wait(), Ended::DEAD);
    let mut late =
        fork(|| words[0].store(1 + wait(&condition, Duration::from_millis(1500)), SeqCst));
    assert_eq!(late.wait(), Ended::WELL);
    assert_eq!(words[0].load(SeqCst), 1, "it was notified of something from before its time");
    works_again(&condition);
}

#[test]
fn one_whose_time_is_over_dies_while_it_leaves() {
    let _watchdog = watchdog_of(Duration::from_secs(120));
    let condition = RawCondition::create().unwrap();
    let mut victim =
        victim(KillPoint::ConditionLeft, || assert_ne!(wait(&condition, Duration::ZERO), u64::MAX));
    assert_eq!(victim.wait(), Ended::DEAD);
    works_again(&condition);
}

#[test]
fn one_that_is_interrupted_after_it_was_notified_passes_that_on_even_if_it_dies_doing_so() {
    let _watchdog = watchdog_of(Duration::from_secs(240));
    for dies in [false, true] {
        let condition = RawCondition::create().unwrap();
        let words = Words::new(2);
        let mut first = fork(|| {
            if dies {
                arm(KillPoint::ConditionOwed, 1);
            }
            let (lock, _) = lock(&condition);
            // As a handler does that notifies, and then raises.
            let mut check = || {
                until("the other one waits, too", || condition.waiting() == 2);
                notify(&condition, 1);
                true
            };
            let mut wait = Wait::timeout(NEVER).interruptible(&mut check);
            let (woken, _) = condition.wait(&lock, &mut wait).unwrap();
            assert_eq!(woken, Woken::GaveUp(GaveUp::Interrupted));
            assert!(lock.is_mine().unwrap() && lock.release());
        });
        until("it waits", || condition.waiting() == 1);
        let mut second = waiter(&condition, &words[0]);
        until("the second one goes on", || words[0].load(SeqCst) == NOTIFIED);
        assert_eq!(first.wait(), if dies { Ended::DEAD } else { Ended::WELL });
        assert_eq!(second.wait(), Ended::WELL);
        works_again(&condition);
    }
}

#[test]
fn a_notifier_dies_and_those_who_wait_go_on_or_are_told() {
    let _watchdog = watchdog_of(Duration::from_secs(240));
    // Marked and not woken: the sleeper looks. Before any mark: it learns that the lock's owner died.
    for point in [KillPoint::ConditionMarked, KillPoint::LockTaken] {
        let condition = RawCondition::create().unwrap();
        let words = Words::new(3);
        let mut waiting: Vec<Child> =
            (0..3).map(|index| waiter(&condition, &words[index])).collect();
        until("all wait", || condition.waiting() == 3);
        waiting.iter().for_each(Child::wait_until_asleep);
        let mut notifier = fork(|| {
            let (_lock, _) = lock(&condition);
            arm(point, 1);
            condition.notify(3);
        });
        assert_eq!(notifier.wait(), Ended::DEAD, "{point:?}");
        let told = TOLD | u64::from(notifier.pid());
        let answered =
            |answer: u64| words.iter().filter(|word| word.load(SeqCst) == answer).count();
        until(&format!("{point:?}"), || answered(told) == 1);
        // What to do is for the one that was told; here it is to notify once more.
        notify(&condition, usize::MAX);
        until("all go on", || answered(told) + answered(NOTIFIED) == 3);
        end_well(&mut waiting);
        works_again(&condition);
    }
}

#[test]
fn at_random_moments() {
    let _watchdog = watchdog_of(Duration::from_secs(if soaking() { 1200 } else { 120 }));
    const WAITERS: usize = 5;
    let rounds = if soaking() { 200 } else { 20 };
    let mut dice = Dice::roll("condition, random kills");
    let condition = RawCondition::create().unwrap();
    // How often each of them went on.
    let words = Words::new(WAITERS);
    let work = |who: usize| {
        let (condition, words) = (&condition, &words);
        fork(move || {
            loop {
                wait(condition, NEVER);
                words[who].fetch_add(1, SeqCst);
            }
        })
    };
    let mut waiters: Vec<Child> = (0..WAITERS).map(work).collect();
    for _ in 0..rounds {
        // Notifies without pause, so that the kill finds all steps.
        let notifier = fork(|| {
            loop {
                notify(&condition, 1);
            }
        });
        std::thread::sleep(Duration::from_micros(dice.below(20_000)));
        let victim = dice.below(WAITERS as u64) as usize;
        waiters[victim].kill();
        waiters[victim].wait();
        if dice.below(2) == 0 {
            drop(notifier); // killed, perhaps with the lock
        }
        waiters[victim] = work(victim);
        let before: Vec<u64> = words.iter().map(|word| word.load(SeqCst)).collect();
        until("everybody goes on", || {
            notify(&condition, 1);
            words.iter().zip(&before).all(|(word, before)| word.load(SeqCst) > *before)
        });
    }
}
