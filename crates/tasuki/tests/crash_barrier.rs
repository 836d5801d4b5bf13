//! Wherever a party of a barrier is killed, the others go on or are told who died, in time, and the barrier can be used
//! again: a table of the barrier's kill points and what must be true afterwards.
#![cfg(feature = "kill-points")]

mod support;

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use support::victims::dies_at;
use support::{
    Child, Dice, Ended, NEVER, Words, end_well, fork, in_own_process, park, soaking, until,
    watchdog, watchdog_of,
};
use tasuki::kill_points::KillPoint;
use tasuki::raw::{Broken, NotPassed, RawArrived, RawBarrier, Wait};

/// What the others get when a party dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// They go on; the next round breaks, since a party is missing.
    Passed,
    /// One or the other: they may all have come before somebody looked at the dead.
    PassedOrDied,
    /// The round breaks, and they learn who died.
    Died,
    /// The round breaks, for what the party did with its last breath.
    TimedOut,
}

const PASSED: u64 = 1;
const DIED: u64 = 2 << 32;
const TIMED_OUT: u64 = 3 << 32;

/// Comes to the barrier and waits, with the outcome of the engine.
fn pass(barrier: &RawBarrier, wait: &mut Wait<'_>) -> Result<u32, NotPassed> {
    match barrier.arrive(false, wait)? {
        RawArrived::Waits(arrival) => arrival.wait(wait),
        RawArrived::RunAction(turn) => turn.done(),
        RawArrived::Passed(index) => Ok(index),
    }
}

/// Waits, and says how that ended in a number.
fn wait(barrier: &RawBarrier) -> u64 {
    match pass(barrier, &mut Wait::forever()) {
        Ok(_) => PASSED,
        Err(NotPassed::Broken(Broken::Died(death))) => DIED | u64::from(death.pid()),
        Err(NotPassed::Broken(Broken::TimedOut { pid })) => TIMED_OUT | u64::from(pid),
        Err(other) => panic!("{other:?}"),
    }
}

/// A process that passes once.
fn passer(barrier: &RawBarrier) -> Child {
    fork(|| {
        assert_eq!(wait(barrier), PASSED);
        tasuki::raw::note_leaving(); // it was not killed: nobody waits for it to come back
    })
}

fn expected(fate: Fate, victim: u32) -> u64 {
    match fate {
        Fate::Passed | Fate::PassedOrDied => PASSED,
        Fate::Died => DIED | u64::from(victim),
        Fate::TimedOut => TIMED_OUT | u64::from(victim),
    }
}

/// A process that waits as often as there are answers, notes how each wait ended, and stays.
fn survivor<'a>(barrier: &'a RawBarrier, answers: &'a [AtomicU64], who: usize) -> Child {
    fork(move || {
        answers[who..].iter().step_by(2).for_each(|answer| answer.store(wait(barrier), SeqCst));
        park()
    })
}

/// Everybody who waits gets an answer, the same, and it is the right one.
fn all_get(answers: &[AtomicU64], fate: Fate, victim: u32, what: &str) {
    until(what, || answers.iter().all(|answer| answer.load(SeqCst) != 0));
    let first = answers[0].load(SeqCst);
    assert!(answers.iter().all(|answer| answer.load(SeqCst) == first), "{what}: {answers:x?}");
    let died = fate == Fate::PassedOrDied && first == expected(Fate::Died, victim);
    assert!(died || first == expected(fate, victim), "{what}: {first:x}");
}

/// After a reset the barrier is as good as new.
fn works_again(barrier: &RawBarrier) {
    barrier.reset().unwrap();
    let mut others = [passer(barrier), passer(barrier)];
    assert!(pass(barrier, &mut Wait::timeout(NEVER)).is_ok());
    end_well(&mut others);
}

#[test]
fn the_last_to_come_dies() {
    let _watchdog = watchdog_of(Duration::from_secs(240));
    for (point, fate) in [
        (KillPoint::BarrierEntered, Fate::Died),
        (KillPoint::BarrierSeated, Fate::Died),
        (KillPoint::BarrierCommitted, Fate::Passed),
        (KillPoint::BarrierUnlocked, Fate::Passed),
    ] {
        let barrier = RawBarrier::create(3).unwrap();
        let words = Words::new(4);
        let waiting = [survivor(&barrier, &words, 0), survivor(&barrier, &words, 1)];
        until("both wait", || barrier.waiting() == 2);
        waiting.iter().for_each(Child::wait_until_asleep);
        let victim = dies_at(point, 1, || drop(pass(&barrier, &mut Wait::forever())));
        all_get(&words[..2], fate, victim, &format!("{point:?}"));
        // Whether or not the round was passed, there is no other one without the victim.
        all_get(&words[2..], Fate::Died, victim, &format!("{point:?}, afterwards"));
        works_again(&barrier);
        drop(waiting);
    }
}

#[test]
fn one_who_came_before_the_others_dies() {
    let _watchdog = watchdog_of(Duration::from_secs(240));
    for (point, fate) in [
        (KillPoint::BarrierEntered, Fate::Died),
        (KillPoint::BarrierSeated, Fate::Died),
        (KillPoint::BarrierAsleep, Fate::PassedOrDied),
        (KillPoint::BarrierSeatLeft, Fate::Died),
        (KillPoint::BarrierCommitted, Fate::TimedOut),
    ] {
        for round in [1, 2] {
            let barrier = RawBarrier::create(3).unwrap();
            if round == 2 {
                let mut others = [passer(&barrier), passer(&barrier)];
                pass(&barrier, &mut Wait::forever()).unwrap();
                others.iter_mut().for_each(|other| assert_eq!(other.wait(), Ended::WELL));
            }
            let victim = dies_at(point, 1, || match point {
                // As when a signal handler raises.
                KillPoint::BarrierSeatLeft => drop(barrier.arrive(false, &mut Wait::forever())),
                KillPoint::BarrierCommitted => drop(pass(&barrier, &mut Wait::now())),
                _ => drop(pass(&barrier, &mut Wait::forever())),
            });
            let words = Words::new(2);
            let waiting = [survivor(&barrier, &words, 0), survivor(&barrier, &words, 1)];
            all_get(&words, fate, victim, &format!("{point:?} in round {round}"));
            drop(waiting);
            works_again(&barrier);
        }
    }
}

#[test]
fn who_runs_the_action_dies() {
    let _watchdog = watchdog();
    let barrier = RawBarrier::create(3).unwrap();
    let words = Words::new(2);
    let waiting = [survivor(&barrier, &words, 0), survivor(&barrier, &words, 1)];
    until("both wait", || barrier.waiting() == 2);
    let mut victim = fork(|| {
        let Ok(RawArrived::RunAction(_turn)) = barrier.arrive(true, &mut Wait::forever()) else {
            panic!("the last one runs the action")
        };
        park()
    });
    victim.wait_until_asleep();
    victim.kill();
    assert_eq!(victim.wait(), Ended::DEAD);
    all_get(&words, Fate::Died, victim.pid(), "the action's runner");
    drop(waiting);
    works_again(&barrier);
}

#[test]
fn a_party_of_the_last_round_is_missed_if_it_was_killed_and_only_then() {
    let _watchdog = watchdog();
    for killed in [true, false] {
        let barrier = RawBarrier::create(2).unwrap();
        let mut other = fork(|| {
            pass(&barrier, &mut Wait::forever()).unwrap();
            if !killed {
                tasuki::raw::note_leaving(); // as `exit` does, which a forked test does not call
                return;
            }
            park()
        });
        pass(&barrier, &mut Wait::forever()).unwrap();
        if killed {
            other.wait_until_asleep();
            other.kill();
        }
        other.wait();
        if killed {
            assert_eq!(wait(&barrier), DIED | u64::from(other.pid()));
        } else {
            let waited = pass(&barrier, &mut Wait::timeout(Duration::from_millis(1200)));
            assert!(matches!(waited, Err(NotPassed::GaveUp(_))), "{waited:?}");
        }
    }
}

#[test]
fn a_newcomer_takes_the_place_of_one_who_was_killed() {
    let _watchdog = watchdog();
    // Two of three processes meet, again and again: it is no matter if one of them is killed between two meetings.
    let barrier = RawBarrier::create(2).unwrap();
    let meet = || assert!(pass(&barrier, &mut Wait::timeout(NEVER)).is_ok());
    let mut victim = fork(|| {
        meet();
        park()
    });
    meet();
    victim.wait_until_asleep();
    victim.kill();
    victim.wait();
    let mut stranger = fork(meet);
    until("the stranger waits", || barrier.waiting() == 1);
    std::thread::sleep(Duration::from_millis(700)); // longer than until the next look at the dead
    assert!(!barrier.is_broken());
    meet();
    assert_eq!(stranger.wait(), Ended::WELL);
}

#[test]
fn at_random_moments() {
    let _watchdog = watchdog_of(Duration::from_secs(if soaking() { 1200 } else { 120 }));
    const PARTIES: usize = 4;
    const GO: usize = PARTIES;
    const PASSES: usize = PARTIES + 1;
    let rounds = if soaking() { 200 } else { 10 };
    let mut dice = Dice::roll("barrier, random kills");
    let barrier = RawBarrier::create(PARTIES as u32).unwrap();
    // For each party the number of the life of the barrier that it saw break; then the life that is on, and how often
    // somebody passed: who never came is not missed.
    let words = Words::new(PARTIES + 2);
    let party = |who: usize| {
        let (barrier, words) = (&barrier, &words);
        fork(move || {
            loop {
                let life = words[GO].load(SeqCst);
                while wait(barrier) == PASSED {
                    words[PASSES].fetch_add(1, SeqCst);
                }
                words[who].store(life + 1, SeqCst);
                while words[GO].load(SeqCst) == life {
                    std::thread::sleep(Duration::from_micros(200));
                }
            }
        })
    };
    let mut parties: Vec<Child> = (0..PARTIES).map(party).collect();
    for life in 0..rounds {
        let passes = words[PASSES].load(SeqCst);
        until("a round is passed", || words[PASSES].load(SeqCst) >= passes + 2 * PARTIES as u64);
        std::thread::sleep(Duration::from_micros(dice.below(20_000)));
        let victim = dice.below(PARTIES as u64) as usize;
        parties[victim].kill();
        parties[victim].wait();
        until("all others are told", || {
            (0..PARTIES).all(|who| who == victim || words[who].load(SeqCst) == life + 1)
        });
        barrier.reset().unwrap();
        words[GO].store(life + 1, SeqCst);
        parties[victim] = party(victim);
    }
}

#[test]
fn nothing_grows_with_the_dead() {
    let _watchdog = watchdog();
    in_own_process(|| {
        let barrier = RawBarrier::create(2).unwrap();
        let die =
            || dies_at(KillPoint::BarrierSeated, 1, || drop(pass(&barrier, &mut Wait::forever())));
        die();
        let descriptors = support::descriptor_count();
        for _ in 0..100 {
            barrier.reset().unwrap();
            die();
        }
        assert_eq!(support::descriptor_count(), descriptors);
    });
}
