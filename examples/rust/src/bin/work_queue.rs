//! A producer and two consumers around one queue.
//!
//! The queue carries the work and evens it out: whoever is free takes the next piece. It is bounded, so a producer
//! that runs ahead waits until there is room again. One `None` for each consumer says that no more will come.

use std::error::Error;

use tasuki::{Process, Queue};

const CONSUMERS: usize = 2;

#[tasuki::task]
fn produce(jobs: Queue<Option<u64>>) {
    for number in 1..=100 {
        jobs.put(Some(number)).unwrap();
    }
    for _ in 0..CONSUMERS {
        jobs.put(None).unwrap();
    }
}

/// Returns how many numbers it took, and their sum.
#[tasuki::task]
fn consume(jobs: Queue<Option<u64>>) -> (u64, u64) {
    let (mut count, mut total) = (0, 0);
    while let Some(number) = jobs.get().unwrap() {
        count += 1;
        total += number;
    }
    (count, total)
}

#[tasuki::main]
fn main() -> Result<(), Box<dyn Error>> {
    let jobs = Queue::bounded(10)?;
    let producer = Process::spawn(produce, (jobs.clone(),))?;
    let consumers = (0..CONSUMERS)
        .map(|_| Process::spawn(consume, (jobs.clone(),)))
        .collect::<Result<Vec<_>, _>>()?;
    producer.join()?;
    // Who took how much differs from run to run; together it is always everything, once.
    let (mut count, mut total) = (0, 0);
    for consumer in consumers {
        let (taken, sum) = consumer.join()?;
        count += taken;
        total += sum;
    }
    println!("numbers consumed: {count}");
    println!("their sum: {total}");
    Ok(())
}
