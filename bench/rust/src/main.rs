//! tasuki and its peers, side by side: one file per question, in it `tasuki` beside a function named after each peer.
//!
//! `list` prints the questions as JSON; `run QUESTION SIDE OPERATIONS` answers one for one side, once, in a process of
//! its own, and prints the seconds it took. `bench/run.py` calls these two, interleaves the sides and makes the table.
//! `counted` and `count NAME TIMES` are the same for `bench/instructions.py`.
//! Every run asserts what came out: counts, sums, checksums.

mod barrier;
mod boost;
mod channel_u64;
mod condition;
mod event;
mod histogram;
mod idle;
mod instructions;
mod latency;
mod links;
mod lock_contended;
mod lock_free;
mod pipe_stream;
mod queue_batches;
mod queue_bytes;
mod queue_u64;
mod round_trip;
mod rwlock;
mod semaphore;
mod spawn;
mod team;
mod value;

use std::error::Error;
use std::time::Duration;

use histogram::Histogram;
use idle::Idle;

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
    pub run: Run,
    /// How many times as fast as this peer tasuki is meant to be, or, of idleness, which share of a processor tasuki
    /// may use at most; None when there is no goal.
    pub goal: Option<f64>,
}

/// What is measured, the same on all sides of a question.
pub enum Run {
    /// Does at least this many operations, and says how many it did in which time.
    Rate(fn(u64) -> Done),
    /// Does this many operations, and says how long each took.
    Latency(fn(u64) -> (Done, &'static Histogram)),
    /// Waits for this many milliseconds.
    Idle(fn(u64) -> Idle),
}

/// What a run did.
pub struct Done {
    pub operations: u64,
    pub time: Duration,
}

/// A side of a question, in the form of the lists below each question.
pub fn side(name: &'static str, run: fn(u64) -> Done, goal: Option<f64>) -> Side {
    Side { name, run: Run::Rate(run), goal }
}

/// A side of a question about each single operation.
pub fn latency_side(
    name: &'static str,
    run: fn(u64) -> (Done, &'static Histogram),
    goal: Option<f64>,
) -> Side {
    Side { name, run: Run::Latency(run), goal }
}

/// A side of a question about doing nothing.
pub fn idle_side(name: &'static str, run: fn(u64) -> Idle, goal: Option<f64>) -> Side {
    Side { name, run: Run::Idle(run), goal }
}

fn questions() -> Vec<Question> {
    let mut all = Vec::new();
    all.extend(queue_u64::questions());
    all.extend(queue_batches::questions());
    all.extend(queue_bytes::questions());
    all.extend(channel_u64::questions());
    all.extend(pipe_stream::questions());
    all.extend(round_trip::questions());
    all.extend(latency::questions());
    all.extend(idle::questions());
    all.extend(lock_free::questions());
    all.extend(lock_contended::questions());
    all.extend(rwlock::questions());
    all.extend(semaphore::questions());
    all.extend(event::questions());
    all.extend(condition::questions());
    all.extend(barrier::questions());
    all.extend(value::questions());
    all.extend(spawn::questions());
    all
}

fn answer(run: &Run, operations: u64) -> serde_json::Value {
    let times = |done: Done| (done.operations, done.time.as_secs_f64());
    match run {
        Run::Rate(run) => {
            let (operations, seconds) = times(run(operations));
            serde_json::json!({"operations": operations, "seconds": seconds})
        }
        Run::Latency(run) => {
            let (done, each) = run(operations);
            let (operations, seconds) = times(done);
            let each = each.counts();
            serde_json::json!({"operations": operations, "seconds": seconds, "nanoseconds": each})
        }
        Run::Idle(run) => {
            let idle = run(operations);
            serde_json::json!({
                "waited": idle.waited.as_secs_f64(),
                "processor": idle.processor.as_secs_f64(),
                "wake_ups": idle.wake_ups,
            })
        }
    }
}

const USAGE: &str = "tasuki-bench list | run QUESTION SIDE OPERATIONS | counted | count NAME TIMES";

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
                    let kind = match question.sides[0].run {
                        Run::Rate(_) => "rate",
                        Run::Latency(_) => "latency",
                        Run::Idle(_) => "idle",
                    };
                    serde_json::json!({
                        "name": question.name, "what": question.what, "kind": kind, "sides": sides,
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
            println!("{}", answer(&side.run, operations.parse()?));
        }
        ["counted"] => instructions::COUNTED.iter().for_each(|(name, _)| println!("{name}")),
        ["count", name, times] => {
            let counted = instructions::COUNTED.iter().find(|(it, _)| *it == name);
            counted.ok_or("nothing of that name is counted")?.1(times.parse()?);
        }
        // What `spawn` starts by `std::process::Command`.
        [spawn::NOTHING] => {}
        _ => return Err(USAGE.into()),
    }
    Ok(())
}
