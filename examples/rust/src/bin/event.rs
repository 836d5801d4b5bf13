//! Runners wait for the starting gun: an event that happens once, for everybody who waits.
//!
//! Nobody asks again and again whether it has happened: a waiting process sleeps. The event remembers: a runner who
//! comes late finds that the gun was fired, and runs at once.

use std::error::Error;

use tasuki::{Event, Process, Queue};

#[tasuki::task]
fn run(name: String, ready: Queue<String>, gun: Event, finish: Queue<String>) {
    ready.put(name.clone()).unwrap();
    gun.wait();
    finish.put(format!("{name} runs")).unwrap();
}

/// As many messages, in the order of the alphabet: who is first differs from run to run.
fn sorted(queue: &Queue<String>, count: usize) -> Result<Vec<String>, Box<dyn Error>> {
    let mut lines = (0..count).map(|_| queue.get()).collect::<Result<Vec<_>, _>>()?;
    lines.sort();
    Ok(lines)
}

#[tasuki::main]
fn main() -> Result<(), Box<dyn Error>> {
    let gun = Event::new()?;
    let (ready, finish) = (Queue::unbounded()?, Queue::unbounded()?);
    let start = |name: &str| {
        Process::spawn(run, (name.to_owned(), ready.clone(), gun.clone(), finish.clone()))
    };
    let runners = ["Aiko", "Bakari", "Chiara"].map(start);
    println!("at the start: {}", sorted(&ready, runners.len())?.join(" "));
    let early = if finish.is_empty() { "False" } else { "True" };
    println!("somebody ran before the gun: {early}");
    gun.set();
    for line in sorted(&finish, runners.len())? {
        println!("{line}");
    }
    let late = start("Dmitri");
    println!("{} is late; {} all the same", ready.get()?, finish.get()?);
    for runner in runners.into_iter().chain([late]) {
        runner?.join()?;
    }
    Ok(())
}
