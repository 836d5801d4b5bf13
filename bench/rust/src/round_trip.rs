//! How many questions a second does one process get answered by another, one after the other?
//!
//! The floors are two processes that only look at a word of shared memory ("spin"), and two that sleep on it ("futex").

use crate::links::{self, Link, ask_and_answer};
use crate::{Done, Question, side};

pub fn questions() -> Vec<Question> {
    vec![
        Question {
            name: "round-trip-pipe",
            what: "round trip of u64, a pipe",
            sides: vec![
                side("tasuki", run::<links::tasuki::Pipe>, None),
                side("crossbeam-channel", run::<links::crossbeam::Channels>, None),
                side("ipc-channel", run::<links::ipc::Channels>, None),
                side("iceoryx2, looking", run::<links::iceoryx::Looking>, None),
                side("iceoryx2, events", run::<links::iceoryx::Events>, None),
                side("bare spin", run::<links::bare::Spin>, Some(0.5)),
                side("bare futex", run::<links::bare::Futex>, Some(1.0)),
            ],
        },
        Question {
            name: "round-trip-queue",
            what: "round trip of u64, two queues",
            sides: vec![
                side("tasuki", run::<links::tasuki::Queues>, None),
                side("crossbeam-channel", run::<links::crossbeam::Channels>, None),
                side("ipc-channel", run::<links::ipc::Channels>, None),
            ],
        },
    ]
}

fn run<L: Link>(rounds: u64) -> Done {
    let outcome = ask_and_answer::<L>(rounds, |ask| (0..rounds).map(ask).sum());
    assert_eq!(outcome.sum, (0..rounds).sum::<u64>(), "each answer belongs to its question");
    Done { operations: rounds, time: outcome.time }
}
