//! A process is killed inside an event's calls, or while waiting: the others are released, in time, and it can be used
//! on.
#![cfg(feature = "kill-points")]

mod support;

use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use support::memory::ObjectMemory;
use support::{Child, Dice, Ended, Words, end_well, fork, soaking, until, watchdog, watchdog_of};
use tasuki::Event;
use tasuki::kill_points::{KillPoint, arm};
use tasuki::raw::{RawEvent, Wait};

/// What a process does when it dies.
#[derive(Clone, Copy, Debug)]
enum Work {
    Sets,
    Waits,
}

#[test]
fn the_others_are_released_wherever_one_is_killed() {
    let _watchdog = watchdog();
    for (point, work) in [(KillPoint::EventSet, Work::Sets), (KillPoint::EventMarked, Work::Waits)]
    {
        for nth in [1, 3] {
            eprintln!("{point:?}: {work:?}");
            one_dies(point, work, nth);
        }
    }
}

fn one_dies(point: KillPoint, work: Work, nth: u32) {
    let event = Event::new().unwrap();
    let released = Words::new(1);
    let waiting = || {
        let wait = || {
            assert!(event.wait_timeout(support::NEVER));
            released[0].fetch_add(1, SeqCst);
        };
        let children: Vec<Child> = (0..3).map(|_| fork(wait)).collect();
        children.iter().for_each(Child::wait_until_asleep);
        children
    };
    let mut sleepers = waiting();
    let mut victim = match work {
        Work::Sets => fork(|| {
            arm(point, 1);
            event.set();
        }),
        // Each slice that ends unreleased passes the point again.
        Work::Waits => fork(|| {
            arm(point, nth);
            event.wait();
        }),
    };
    assert_eq!(victim.wait(), Ended::DEAD, "{point:?} was not reached");
    match work {
        Work::Sets => assert!(event.is_set(), "it was killed after it"),
        Work::Waits => {
            assert!(!event.is_set());
            event.set();
        }
    }
    until("all are released", || released[0].load(SeqCst) == 3);
    end_well(&mut sleepers);
    event.clear();
    let mut sleepers = waiting();
    event.set();
    end_well(&mut sleepers);
}

#[test]
fn a_killed_sleeper_concerns_nobody() {
    let _watchdog = watchdog();
    let event = Event::new().unwrap();
    for _ in 0..10 {
        let mut sleepers: Vec<Child> = (0..4).map(|_| fork(|| event.wait())).collect();
        sleepers.iter().for_each(Child::wait_until_asleep);
        let mut victim = sleepers.swap_remove(1);
        victim.kill();
        assert_eq!(victim.wait(), Ended::DEAD);
        event.set();
        end_well(&mut sleepers);
        event.clear();
    }
}

#[test]
fn random_kills_leave_it_whole() {
    let rounds = if soaking() { 200 } else { 20 };
    let _watchdog = watchdog_of(Duration::from_secs(900));
    let mut dice = Dice::roll("event, random kills");
    let (event, passed) = (Event::new().unwrap(), Words::new(2));
    let flip = || {
        loop {
            event.set();
            event.clear();
        }
    };
    let pass = |done: usize| {
        loop {
            event.wait();
            passed[done].fetch_add(1, SeqCst);
        }
    };
    let _setter = fork(flip);
    let _waiter = fork(|| pass(0));
    for _ in 0..rounds {
        let (mut setter, mut waiter) = (fork(flip), fork(|| pass(1)));
        std::thread::sleep(Duration::from_micros(dice.below(5000)));
        setter.kill();
        waiter.kill();
        assert_eq!((setter.wait(), waiter.wait()), (Ended::DEAD, Ended::DEAD));
        let before = passed[0].load(SeqCst);
        until("the survivors go on", || passed[0].load(SeqCst) > before + 10);
    }
}

/// Any value at all in the word: no call hangs beyond its time, and the next `set` and `clear` are heard.
#[test]
fn nonsense_in_the_word_is_survived() {
    let _watchdog = watchdog();
    let mut dice = Dice::roll("event, nonsense");
    let event = RawEvent::create().unwrap();
    let memory = ObjectMemory::of(|table| event.record(table), 4);
    event.set();
    assert_eq!(memory.word(0).load(SeqCst) & 1, 1, "this is its word");
    let stop = Words::new(1);
    let mut corrupter = fork(|| {
        while !stop.told(0) {
            memory.write(0, dice.next() as u32);
            std::thread::sleep(Duration::from_micros(dice.below(300)));
        }
    });
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(2) {
        let call = Instant::now();
        let _ = event.wait(&mut Wait::timeout(Duration::from_millis(5)));
        event.set();
        let _ = event.is_set();
        event.clear();
        assert!(call.elapsed() < support::NEVER, "a call that does not keep its time");
    }
    stop.tell(0);
    assert_eq!(corrupter.wait(), Ended::WELL);
    event.clear();
    assert!(event.wait(&mut Wait::now()).is_err());
    event.set();
    assert!(event.wait(&mut Wait::forever()).is_ok());
}
