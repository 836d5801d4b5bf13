//! The smallest relay: numbers go out through one queue, and their squares come back through another.

use tasuki::{Process, Queue};

#[tasuki::task]
fn square(numbers: Queue<Option<u64>>, squares: Queue<u64>) {
    while let Some(number) = numbers.get().unwrap() {
        squares.put(number * number).unwrap();
    }
}

#[tasuki::main]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (numbers, squares) = (Queue::unbounded()?, Queue::unbounded()?);
    let worker = Process::spawn(square, (numbers.clone(), squares.clone()))?;
    for number in [Some(1), Some(2), Some(3), None] {
        numbers.put(number)?;
    }
    for _ in 0..3 {
        println!("{}", squares.get()?);
    }
    worker.join()?;
    Ok(())
}
