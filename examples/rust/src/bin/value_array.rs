//! A value and an array in shared memory: what one process writes, all others read.
//!
//! Both bring along a lock of their own. Two processes square one half of the numbers each; the array is changed in
//! place, one element at a time under its lock, and the value gathers what they found, without any lock: adding to a
//! number is one atomic step.

use std::error::Error;

use tasuki::{Array, Process, Value};

#[tasuki::task]
fn square(numbers: Array<i32>, first: usize, last: usize, total: Value<f64>) {
    let mut part = 0.0;
    for i in first..last {
        part += numbers
            .update(i, |number| {
                *number *= *number;
                f64::from(*number)
            })
            .unwrap();
    }
    total.fetch_add(part);
}

#[tasuki::main]
fn main() -> Result<(), Box<dyn Error>> {
    let numbers = Array::from_slice(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9])?;
    let total = Value::new(0.0)?;
    let halves = [(0, 5), (5, 10)]
        .map(|(first, last)| Process::spawn(square, (numbers.clone(), first, last, total.clone())));
    for half in halves {
        half?.join()?;
    }
    let words: Vec<String> = numbers.to_vec().iter().map(i32::to_string).collect();
    println!("the array: {}", words.join(" "));
    println!("the value: {:?}", total.get());
    Ok(())
}
