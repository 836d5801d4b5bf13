//! Fizz buzz three times: one after another, in threads, in processes.
//!
//! The same function does the work each time; only who calls it changes. One after another, a single worker has the
//! whole range. Threads split it and share the program's memory, so each can append to one list. Processes split it
//! too, but each has a memory of its own: what they find has to be handed over, here through a queue.

use std::error::Error;
use std::sync::Mutex;
use std::thread;

use tasuki::{Process, Queue};

const LAST: u32 = 30;
const WORKERS: u32 = 3;

fn fizz_buzz(number: u32) -> String {
    match (number % 3, number % 5) {
        (0, 0) => "FizzBuzz".to_owned(),
        (_, 0) => "Buzz".to_owned(),
        (0, _) => "Fizz".to_owned(),
        _ => number.to_string(),
    }
}

/// The numbers of one worker: every third, starting with its own.
fn share(worker: u32) -> impl Iterator<Item = u32> {
    (1 + worker..=LAST).step_by(WORKERS as usize)
}

fn in_order(mut found: Vec<(u32, String)>) -> Vec<String> {
    found.sort();
    found.into_iter().map(|(_, word)| word).collect()
}

fn one_after_another() -> Vec<String> {
    (1..=LAST).map(fizz_buzz).collect()
}

fn in_threads() -> Vec<String> {
    let found = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for worker in 0..WORKERS {
            let found = &found;
            scope.spawn(move || {
                for number in share(worker) {
                    found.lock().unwrap().push((number, fizz_buzz(number)));
                }
            });
        }
    });
    in_order(found.into_inner().unwrap())
}

#[tasuki::task]
fn work(worker: u32, found: Queue<(u32, String)>) {
    for number in share(worker) {
        found.put((number, fizz_buzz(number))).unwrap();
    }
}

fn in_processes() -> Result<Vec<String>, Box<dyn Error>> {
    let found = Queue::unbounded()?;
    let processes = (0..WORKERS)
        .map(|worker| Process::spawn(work, (worker, found.clone())))
        .collect::<Result<Vec<_>, _>>()?;
    let words = (1..=LAST).map(|_| found.get()).collect::<Result<_, _>>()?;
    for process in processes {
        process.join()?;
    }
    Ok(in_order(words))
}

#[tasuki::main]
fn main() -> Result<(), Box<dyn Error>> {
    println!("one after another: {}", one_after_another().join(" "));
    println!("in threads:        {}", in_threads().join(" "));
    println!("in processes:      {}", in_processes()?.join(" "));
    Ok(())
}
