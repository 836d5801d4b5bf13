//! The worker of the example rust_worker_from_python: squares numbers until it gets a zero.
//!
//! Started by a program in another language, which handed it three things by name.

use std::error::Error;

use tasuki::{Queue, Value};

#[tasuki::main]
fn main() -> Result<(), Box<dyn Error>> {
    let jobs = tasuki::inherited::<Queue<i64>>("jobs")?;
    let squares = tasuki::inherited::<Queue<i64>>("squares")?;
    let total = tasuki::inherited::<Value<i64>>("total")?;
    loop {
        let number = jobs.get()?;
        if number == 0 {
            return Ok(());
        }
        squares.put(number * number)?;
        total.update(|sum| *sum += number * number)?;
    }
}
