//! tasuki and its peers, side by side: one file per question, in it `tasuki` beside a function named after each peer.
//!
//! `list` prints the questions as JSON; `run QUESTION SIDE OPERATIONS` answers one for one side, once, in a process of
//! its own, and prints the seconds it took. `bench/run.py` calls these two, interleaves the sides and makes the table.
//! Every run asserts what came out: counts, sums, checksums.

mod barrier;
mod boost;
mod condition;
mod event;
mod lock_contended;
mod lock_free;
mod queue_bytes;
mod queue_u64;
mod round_trip;
mod semaphore;
mod spawn;
mod team;
mod value;

use std::error::Error;
use std::time::Duration;

/// What is compared, and how to measure each side.
pub struct Question {
    pub name: &'static str,
    /// For the table.
    pub what: &'static str,
    /// tasuki first, then the peers.
    pub sides: Vec<Side>,
}

/// One participant.
pub struct Side {
    pub name: &'static str,
    /// Does at least this many operations, and says how many it did in which time.
    pub run: fn(u64) -> Done,
    /// How many times as fast as this peer tasuki is meant to be; None when there is no goal.
    pub goal: Option<f64>,
}

/// What a run did.
pub struct Done {
    pub operations: u64,
    pub time: Duration,
}

/// A side of a question, in the form of the lists below each question.
pub fn side(name: &'static str, run: fn(u64) -> Done, goal: Option<f64>) -> Side {
    Side { name, run, goal }
}

fn questions() -> Vec<Question> {
    let mut all = Vec::new();
    all.extend(queue_u64::questions());
    all.extend(queue_bytes::questions());
    all.extend(round_trip::questions());
    all.extend(lock_free::questions());
    all.extend(lock_contended::questions());
    all.extend(semaphore::questions());
    all.extend(event::questions());
    all.extend(condition::questions());
    all.extend(barrier::questions());
    all.extend(value::questions());
    all.extend(spawn::questions());
    all
}

#[tasuki::main]
fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["list"] => {
            let list: Vec<_> = questions()
                .iter()
                .map(|question| {
                    let sides: Vec<_> = question
                        .sides
                        .iter()
                        .map(|side| serde_json::json!({"name": side.name, "goal": side.goal}))
                        .collect();
                    serde_json::json!({
                        "name": question.name, "what": question.what, "sides": sides,
                    })
                })
                .collect();
            println!("{}", serde_json::to_string(&list)?);
        }
        ["run", name, side, operations] => {
            team::die_in_time();
            let questions = questions();
            let question = questions
                .iter()
                .find(|question| question.name == name)
                .ok_or("no such question")?;
            let side = question.sides.iter().find(|it| it.name == side).ok_or("no such side")?;
            let done = (side.run)(operations.parse()?);
            let (operations, seconds) = (done.operations, done.time.as_secs_f64());
            println!("{}", serde_json::json!({"operations": operations, "seconds": seconds}));
        }
        // What `spawn` starts by `std::process::Command`.
        [spawn::NOTHING] => {}
        _ => return Err("tasuki-bench list | run QUESTION SIDE OPERATIONS".into()),
    }
    Ok(())
}
