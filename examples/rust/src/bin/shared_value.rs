//! One number that several processes build together.
//!
//! Leibniz: pi = 4 - 4/3 + 4/5 - 4/7 + ... Each process adds up every third term on its own, without asking anybody,
//! and touches the shared number once, at the end, under the lock that a value brings along.

use std::error::Error;

use tasuki::{Process, Value};

const TERMS: u32 = 300_000;
const WORKERS: u32 = 3;

#[tasuki::task]
fn add_terms(first: u32, pi: Value<f64>) {
    let part: f64 = (first..TERMS)
        .step_by(WORKERS as usize)
        .map(|k| if k % 2 == 0 { 4.0 } else { -4.0 } / f64::from(2 * k + 1))
        .sum();
    pi.update(|sum| *sum += part).unwrap();
}

#[tasuki::main]
fn main() -> Result<(), Box<dyn Error>> {
    let pi = Value::new(0.0_f64)?;
    let processes = (0..WORKERS)
        .map(|worker| Process::spawn(add_terms, (worker, pi.clone())))
        .collect::<Result<Vec<_>, _>>()?;
    for process in processes {
        process.join()?;
    }
    println!("pi is about {:.4}", pi.get());
    Ok(())
}
