//! How long until somebody who waits for a condition has answered it? Two players add to one number by turns.

use std::sync::{Condvar, Mutex};

use crate::boost::{self, boost};
use crate::team::{Worker, processes, threads};
use crate::{Done, Question, side};

pub fn questions() -> Vec<Question> {
    let mut sides = vec![
        side("tasuki", tasuki, None),
        side("std::sync::Condvar", std_condvar, None),
        side("parking_lot::Condvar", parking_lot, None),
    ];
    sides.extend(boost(|rounds| boost::answer("condition-round-trip", rounds), None));
    vec![Question { name: "condition-round-trip", what: "round trip, two Conditions", sides }]
}

fn tasuki(rounds: u64) -> Done {
    let number = tasuki::Lock::new(0_u64).unwrap();
    let turns = [(); 2].map(|()| tasuki::Condition::new().unwrap());
    let play = |parity: usize| {
        for _ in 0..rounds {
            let mut guard = number.lock().unwrap();
            while *guard % 2 != parity as u64 {
                guard = turns[parity].wait(guard).unwrap();
            }
            *guard += 1;
            turns[1 - parity].notify_one();
        }
        0
    };
    let time = processes(vec![player(&play, 0), player(&play, 1)]).time;
    assert_eq!(*number.lock().unwrap(), 2 * rounds);
    Done { operations: rounds, time }
}

fn std_condvar(rounds: u64) -> Done {
    let number = Mutex::new(0_u64);
    let turns = [(); 2].map(|()| Condvar::new());
    let play = |parity: usize| {
        for _ in 0..rounds {
            let mut guard = number.lock().unwrap();
            while *guard % 2 != parity as u64 {
                guard = turns[parity].wait(guard).unwrap();
            }
            *guard += 1;
            turns[1 - parity].notify_one();
        }
        0
    };
    let time = threads(vec![player(&play, 0), player(&play, 1)]).time;
    assert_eq!(*number.lock().unwrap(), 2 * rounds);
    Done { operations: rounds, time }
}

fn parking_lot(rounds: u64) -> Done {
    let number = parking_lot::Mutex::new(0_u64);
    let turns = [(); 2].map(|()| parking_lot::Condvar::new());
    let play = |parity: usize| {
        for _ in 0..rounds {
            let mut guard = number.lock();
            while *guard % 2 != parity as u64 {
                turns[parity].wait(&mut guard);
            }
            *guard += 1;
            turns[1 - parity].notify_one();
        }
        0
    };
    let time = threads(vec![player(&play, 0), player(&play, 1)]).time;
    assert_eq!(*number.lock(), 2 * rounds);
    Done { operations: rounds, time }
}

fn player<'a>(play: &'a (impl Fn(usize) -> u64 + Sync), parity: usize) -> Worker<'a> {
    Box::new(move || play(parity))
}
