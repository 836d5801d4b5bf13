//! How long does each single answer take, in the middle and at the tail?
//!
//! "Awake" asks the next question as soon as the answer is here, so that both sides find each other awake if they look
//! before they sleep. "Asleep" pauses before each question for far longer than anybody looks, so that the answer needs
//! a wake-up; the pause does not count. Each time contains a look at the clock, some 30 ns, on every side.

use std::time::Duration;

use crate::histogram::Histogram;
use crate::links::{self, Link, ask_and_answer};
use crate::team::{now, shared};
use crate::{Done, Question, latency_side};

const PAUSE: Duration = Duration::from_micros(500);
/// What the first ones take is the kernel giving pages.
const UNCOUNTED: u64 = 16;

pub fn questions() -> Vec<Question> {
    vec![
        Question {
            name: "latency-awake",
            what: "one round trip, both awake",
            sides: vec![
                latency_side("tasuki pipe", awake::<links::tasuki::Pipe>, None),
                latency_side("tasuki Queue", awake::<links::tasuki::Queues>, None),
                latency_side("tasuki channel", awake::<links::tasuki::Channels>, None),
                latency_side("crossbeam-channel", awake::<links::crossbeam::Channels>, None),
                latency_side("ipc-channel", awake::<links::ipc::Channels>, None),
                latency_side("iceoryx2, looking", awake::<links::iceoryx::Looking>, None),
                latency_side("bare spin", awake::<links::bare::Spin>, Some(0.5)),
            ],
        },
        Question {
            name: "latency-asleep",
            what: "one round trip, asleep before",
            sides: vec![
                latency_side("tasuki pipe", asleep::<links::tasuki::Pipe>, None),
                latency_side("tasuki Queue", asleep::<links::tasuki::Queues>, None),
                latency_side("tasuki channel", asleep::<links::tasuki::Channels>, None),
                latency_side("crossbeam-channel", asleep::<links::crossbeam::Channels>, None),
                latency_side("ipc-channel", asleep::<links::ipc::Channels>, None),
                latency_side("iceoryx2, events", asleep::<links::iceoryx::Events>, None),
                latency_side("bare futex", asleep::<links::bare::Futex>, Some(1.0 / 1.2)),
            ],
        },
    ]
}

fn awake<L: Link>(rounds: u64) -> (Done, &'static Histogram) {
    run::<L>(rounds, || {})
}

fn asleep<L: Link>(rounds: u64) -> (Done, &'static Histogram) {
    run::<L>(rounds, || std::thread::sleep(PAUSE))
}

fn run<L: Link>(rounds: u64, pause: fn()) -> (Done, &'static Histogram) {
    let times: &Histogram = shared();
    let all = rounds + UNCOUNTED;
    let outcome = ask_and_answer::<L>(all, |ask| {
        let mut sum = 0;
        for number in 0..all {
            pause();
            let start = now();
            let answer = ask(number);
            let time = now() - start;
            assert_eq!(answer, number, "the answer belongs to the question");
            sum += answer;
            if number >= UNCOUNTED {
                times.record(time);
            }
        }
        sum
    });
    assert_eq!(outcome.sum, (0..all).sum::<u64>());
    let counted: u64 = times.counts().iter().map(|(_, count)| count).sum();
    assert_eq!(counted, rounds, "each answer was timed");
    (Done { operations: rounds, time: outcome.time }, times)
}
