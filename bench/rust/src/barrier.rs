//! How long does a round take of those who wait for each other?

use crate::team::{Worker, processes, threads};
use crate::{Done, Question, side};

pub fn questions() -> Vec<Question> {
    vec![
        Question {
            name: "barrier-2",
            what: "Barrier, a round of 2",
            sides: vec![
                side("tasuki", tasuki::<2>, None),
                side("std::sync::Barrier", std_barrier::<2>, None),
            ],
        },
        Question {
            name: "barrier-4",
            what: "Barrier, a round of 4",
            sides: vec![
                side("tasuki", tasuki::<4>, None),
                side("std::sync::Barrier", std_barrier::<4>, None),
            ],
        },
    ]
}

fn tasuki<const PARTIES: usize>(rounds: u64) -> Done {
    let barrier = tasuki::Barrier::new(PARTIES).unwrap();
    let play = || (0..rounds).map(|_| u64::from(barrier.wait().unwrap().is_leader())).sum();
    done(rounds, processes(team::<PARTIES>(&play)))
}

fn std_barrier<const PARTIES: usize>(rounds: u64) -> Done {
    let barrier = std::sync::Barrier::new(PARTIES);
    let play = || (0..rounds).map(|_| u64::from(barrier.wait().is_leader())).sum();
    done(rounds, threads(team::<PARTIES>(&play)))
}

fn team<'a, const PARTIES: usize>(play: &'a (impl Fn() -> u64 + Sync)) -> Vec<Worker<'a>> {
    (0..PARTIES).map(|_| Box::new(play) as Worker<'a>).collect()
}

fn done(rounds: u64, outcome: crate::team::Outcome) -> Done {
    assert_eq!(outcome.sum, rounds, "each round has one leader");
    Done { operations: rounds, time: outcome.time }
}
