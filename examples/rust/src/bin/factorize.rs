//! Find all divisors of some numbers by trying every candidate: work that keeps a processor busy.
//!
//! Each number is independent of the others, so each gets a process, and the operating system puts the processes on
//! as many cores as there are. A process can simply return its result: `join` waits for it and hands it over.

use std::error::Error;

use tasuki::Process;

const NUMBERS: [u64; 5] = [360, 1001, 8128, 65537, 99991];

#[tasuki::task]
fn divisors(number: u64) -> Vec<u64> {
    (1..=number).filter(|candidate| number % candidate == 0).collect()
}

#[tasuki::main]
fn main() -> Result<(), Box<dyn Error>> {
    let processes = NUMBERS
        .map(|number| Process::spawn(divisors, (number,)))
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?;
    for (number, process) in NUMBERS.iter().zip(processes) {
        let found = process.join()?;
        let words: Vec<String> = found.iter().map(u64::to_string).collect();
        println!("{number} has {} divisors: {}", found.len(), words.join(" "));
    }
    Ok(())
}
