//! Boost.Interprocess, a peer in C++: a program of its own (`cpp/boost.cpp`), which `TASUKI_BENCH_BOOST` names where it
//! could be built.

use std::process::Command;
use std::time::Duration;

use crate::{Done, Side, side};

const PROGRAM: &str = "TASUKI_BENCH_BOOST";

/// Its side of a question, if the program is there.
pub fn boost(run: fn(u64) -> Done, goal: Option<f64>) -> Option<Side> {
    let program = std::env::var_os(PROGRAM).filter(|program| !program.is_empty());
    program.map(|_| side("Boost.Interprocess", run, goal))
}

/// Lets the program answer, which also checks its result.
pub fn answer(question: &str, operations: u64) -> Done {
    let program = std::env::var_os(PROGRAM).expect("the side is listed only if it is set");
    let output = Command::new(program).arg(question).arg(operations.to_string()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let number = |key: &str| answer[key].as_f64().expect("a number");
    Done {
        operations: number("operations") as u64,
        time: Duration::from_secs_f64(number("seconds")),
    }
}
