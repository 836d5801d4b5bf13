//! What does it cost to run a function in a new process, with an argument and a result, beside a program that does
//! nothing?

use std::process::Command;
use std::time::Instant;

use crate::{Done, Question, side};

/// The argument that makes this program do nothing.
pub const NOTHING: &str = "nothing";

pub fn questions() -> Vec<Question> {
    vec![Question {
        name: "spawn-join",
        what: "spawn and join a Process",
        sides: vec![
            side("tasuki", tasuki, None),
            // At most 1.3 times its time.
            side("std::process::Command", command, Some(1.0 / 1.3)),
        ],
    }]
}

#[tasuki::task]
fn next(number: u64) -> u64 {
    number + 1
}

fn tasuki(times: u64) -> Done {
    let start = Instant::now();
    let number = (0..times)
        .fold(0, |number, _| tasuki::Process::spawn(next, (number,)).unwrap().join().unwrap());
    let time = start.elapsed();
    assert_eq!(number, times);
    Done { operations: times, time }
}

fn command(times: u64) -> Done {
    let program = std::env::current_exe().unwrap();
    let start = Instant::now();
    for _ in 0..times {
        assert!(Command::new(&program).arg(NOTHING).status().unwrap().success());
    }
    Done { operations: times, time: start.elapsed() }
}
