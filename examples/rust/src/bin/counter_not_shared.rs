//! A global variable is not shared between processes.
//!
//! Each process has its own copy of every variable. The child counts its copy up to a thousand; the parent's stays
//! what it was. This is why everything that processes share has to be shared on purpose.

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};

use tasuki::{Process, Queue};

static COUNTER: AtomicU64 = AtomicU64::new(0);

#[tasuki::task]
fn count(seen: Queue<u64>) {
    for _ in 0..1000 {
        COUNTER.fetch_add(1, Ordering::Relaxed);
    }
    seen.put(COUNTER.load(Ordering::Relaxed)).unwrap();
}

#[tasuki::main]
fn main() -> Result<(), Box<dyn Error>> {
    let seen = Queue::unbounded()?;
    let process = Process::spawn(count, (seen.clone(),))?;
    println!("the child counted to {}", seen.get()?);
    process.join()?;
    println!("the parent's counter is {}", COUNTER.load(Ordering::Relaxed));
    Ok(())
}
