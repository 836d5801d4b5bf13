//! All divisors of four large numbers, by trying every candidate: `divisors one-after-another|threads|processes`.
//!
//! The twin of demo/python/divisors.py. In Rust threads run in parallel too; a process costs a little more to start.

use std::env;
use std::error::Error;
use std::thread;
use std::time::Instant;

use tasuki::Process;
use tasuki_demo::report::report;
use tasuki_demo::trace::{Of, Trace, Tracer};

const NUMBERS: [u64; 4] = [53541233, 21235343, 11421443, 5423123];

/// Candidates tried between two marks in the trace.
const STRETCH: usize = 1 << 18;

/// For each number its divisors.
type Results = Vec<(u64, Vec<u64>)>;

fn divisors(number: u64, tracer: &mut Tracer) -> Vec<u64> {
    let mut found = Vec::new();
    for low in (1..=number).step_by(STRETCH) {
        let high = number.min(low + STRETCH as u64 - 1);
        found.extend((low..=high).filter(|candidate| number % candidate == 0));
        tracer.mark();
    }
    found
}

fn one_after_another() -> (Results, Vec<Trace>) {
    let mut tracer = Tracer::start("main", Of::Process);
    let results = NUMBERS.map(|number| (number, divisors(number, &mut tracer)));
    (results.into(), vec![tracer.close()])
}

fn in_threads() -> (Results, Vec<Trace>) {
    thread::scope(|scope| {
        let threads = NUMBERS.map(|number| {
            scope.spawn(move || {
                let mut tracer = Tracer::start(number.to_string(), Of::Thread);
                ((number, divisors(number, &mut tracer)), tracer.close())
            })
        });
        threads.into_iter().map(|thread| thread.join().unwrap()).unzip()
    })
}

#[tasuki::task]
fn work(number: u64) -> ((u64, Vec<u64>), Trace) {
    let mut tracer = Tracer::start(number.to_string(), Of::Process);
    ((number, divisors(number, &mut tracer)), tracer.close())
}

fn in_processes() -> Result<(Results, Vec<Trace>), Box<dyn Error>> {
    let processes = NUMBERS
        .map(|number| Process::spawn(work, (number,)))
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?;
    let mut finished = Vec::new();
    for process in processes {
        finished.push(process.join()?);
    }
    Ok(finished.into_iter().unzip())
}

#[tasuki::main]
fn main() -> Result<(), Box<dyn Error>> {
    let how = env::args().nth(1).unwrap_or_default();
    let begin = Instant::now();
    let (results, traces) = match how.as_str() {
        "one-after-another" => one_after_another(),
        "threads" => in_threads(),
        "processes" => in_processes()?,
        _ => return Err("usage: divisors one-after-another|threads|processes".into()),
    };
    report(begin.elapsed(), results, traces, |results| format!("{results:?}"))
}
