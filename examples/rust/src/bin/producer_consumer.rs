//! Three producers, two consumers, and nobody who counts when it is over.
//!
//! The producers share one end of a channel, the consumers the other one. A consumer's loop ends when the last producer
//! is gone and everything was taken: no message says so, and a producer that was killed would be gone as well. The
//! channel is bounded, so producers that run ahead wait until there is room again.

use std::collections::BTreeMap;
use std::error::Error;

use tasuki::{Process, Receiver, Sender, bounded};

const CONSUMERS: usize = 2;

#[tasuki::task]
fn produce(fruit: String, boxes: Sender<(String, u32)>) {
    for number in 1..=20 {
        boxes.send((fruit.clone(), number)).unwrap();
    }
}

#[tasuki::task]
fn consume(boxes: Receiver<(String, u32)>) -> Vec<(String, u32)> {
    boxes.into_iter().collect()
}

#[tasuki::main]
fn main() -> Result<(), Box<dyn Error>> {
    let (sender, receiver) = bounded(5)?;
    let producers = ["apples", "pears", "plums"]
        .map(|fruit| Process::spawn(produce, (fruit.to_owned(), sender.clone())));
    let consumers: Vec<_> =
        (0..CONSUMERS).map(|_| Process::spawn(consume, (receiver.clone(),))).collect();
    // This process produces nothing: as long as it had a sender, the consumers would wait for what it sends.
    drop(sender);

    let mut boxes = Vec::new();
    for consumer in consumers {
        boxes.extend(consumer?.join()?);
    }
    for producer in producers {
        producer?.join()?;
    }
    // Who took how much differs from run to run; together it is always everything, once.
    let mut count = BTreeMap::new();
    for (fruit, _) in &boxes {
        *count.entry(fruit.as_str()).or_insert(0) += 1;
    }
    for (fruit, count) in count {
        println!("{fruit}: {count} boxes");
    }
    let all = boxes.len();
    boxes.sort();
    boxes.dedup();
    println!("no box twice: {}", if boxes.len() == all { "True" } else { "False" });
    Ok(())
}
