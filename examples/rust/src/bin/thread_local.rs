//! What a worker has for itself: a thread what is thread-local, a process everything.
//!
//! The same function counts in two places, run by threads and by processes; the first name of `Process` is all that
//! differs. What is in `thread_local!` every thread has for itself. A static is one for all threads, and one for each
//! process.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};

use tasuki::{ProcessError, thread};

thread_local! {
    static OWN: Cell<u32> = const { Cell::new(0) };
}
static EVERYBODY: AtomicU32 = AtomicU32::new(0);

#[tasuki::task]
fn count(number: u32) -> u32 {
    for _ in 0..number {
        OWN.set(OWN.get() + 1);
        EVERYBODY.fetch_add(1, Ordering::Relaxed);
    }
    OWN.get()
}

#[tasuki::main]
fn main() -> Result<(), ProcessError> {
    let mut workers = Vec::new();
    for number in [10, 20, 30] {
        workers.push(thread::Process::spawn(count, (number,))?);
    }
    print!("each thread counted for itself:");
    for worker in workers {
        print!(" {}", worker.join()?);
    }
    println!("\nand all together, in the same memory: {}", EVERYBODY.swap(0, Ordering::Relaxed));

    let mut workers = Vec::new();
    for number in [10, 20, 30] {
        workers.push(tasuki::Process::spawn(count, (number,))?);
    }
    print!("each process counted for itself:");
    for worker in workers {
        print!(" {}", worker.join()?);
    }
    println!(
        "\nand none of that arrived in the memory of this one: {}",
        EVERYBODY.load(Ordering::Relaxed)
    );
    Ok(())
}
