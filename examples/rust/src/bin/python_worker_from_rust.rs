//! A Rust program that has its work done by a Python program, over one queue and one value.
//!
//! `Command` starts any program and hands it what it is to share, each under a name; the worker asks for it by that
//! name (examples/python/square_worker.py). Numbers travel as eight plain bytes: neither side pickles anything.
//! The other way round is examples/python/rust_worker_from_python.py; both print the same.
//!
//! Run it from the checkout after `make build`, or with the worker: python_worker_from_rust PYTHON SCRIPT

use std::env;
use std::error::Error;

use tasuki::{Command, Queue, Value};

#[tasuki::main]
fn main() -> Result<(), Box<dyn Error>> {
    let mut words = env::args().skip(1);
    let interpreter = words.next().unwrap_or_else(|| ".venv/bin/python".to_owned());
    let script = words.next().unwrap_or_else(|| "examples/python/square_worker.py".to_owned());

    let jobs = Queue::<i64>::unbounded()?;
    let squares = Queue::<i64>::unbounded()?;
    let total = Value::new(0_i64)?;
    let worker = Command::new(interpreter)
        .arg(script)
        .handle("jobs", &jobs)
        .handle("squares", &squares)
        .handle("total", &total)
        .spawn()?;
    for number in [1, 2, 3, 4, 5] {
        jobs.put(number)?;
        println!("{number} squared is {}", squares.get()?);
    }
    jobs.put(0)?;
    let status = worker.wait()?;
    if !status.success() {
        return Err(format!("the worker ended with {status}").into());
    }
    println!("the worker's total: {}", total.get());
    Ok(())
}
