//! Another process finds the prime factors of a number and sends each as soon as it has it; this one polls.
//!
//! `poll` says whether there is something to receive, after waiting for it for some time at most: a program with other
//! things to do need not block. The end of the pipe is something, too.

use std::error::Error;
use std::time::Duration;

use tasuki::{Connection, Process, pipe};

const NUMBER: u64 = 9 * 10007 * 65537;

#[tasuki::task]
fn find_factors(line: Connection<u64, u64>) {
    let mut number = line.recv().unwrap();
    let mut candidate = 2;
    while candidate * candidate <= number {
        while number % candidate == 0 {
            line.send(candidate).unwrap();
            number /= candidate;
        }
        candidate += 1;
    }
    if number > 1 {
        line.send(number).unwrap();
    }
}

#[tasuki::main]
fn main() -> Result<(), Box<dyn Error>> {
    let (ours, theirs) = pipe()?;
    let process = Process::spawn(find_factors, (theirs,))?;
    let early = ours.poll(Duration::from_millis(100))?;
    println!("something before there is a number: {}", yes_or_no(early));
    ours.send(NUMBER)?;
    let mut product = 1;
    loop {
        while !ours.poll(Duration::from_millis(500))? {
            // the time to do something else
        }
        let Ok(factor) = ours.recv() else { break };
        product *= factor;
        println!("factor {factor}");
    }
    println!("that was all, and their product is right: {}", yes_or_no(product == NUMBER));
    process.join()?;
    Ok(())
}

/// As Python prints it.
fn yes_or_no(answer: bool) -> &'static str {
    if answer { "True" } else { "False" }
}
