//! A counter in shared memory, and the lock that keeps its count right.
//!
//! Adding one is three steps: read, add, write. When two processes interleave them, both read the same number and
//! one increment is lost. In Rust the lock holds what it protects: the number can only be reached through the guard,
//! and the guard is there only while the lock is held. Four processes count to a thousand each: four thousand.

use std::error::Error;

use tasuki::{Lock, Process};

#[tasuki::task]
fn count(counter: Lock<u64>) {
    for _ in 0..1000 {
        *counter.lock().unwrap() += 1;
    }
}

#[tasuki::main]
fn main() -> Result<(), Box<dyn Error>> {
    let counter = Lock::new(0_u64)?;
    let processes =
        (0..4).map(|_| Process::spawn(count, (counter.clone(),))).collect::<Result<Vec<_>, _>>()?;
    for process in processes {
        process.join()?;
    }
    println!("four processes counted to {}", *counter.lock().unwrap());
    Ok(())
}
