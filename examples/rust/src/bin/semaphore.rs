//! A semaphore is a number of permits: here it is toilets, and then the places of a queue.
//!
//! Six people share two toilets. A permit taken by `acquire` comes back when its guard is dropped, even when the
//! process is killed before. In the queue nobody gives back what he took: who puts waits for a free place and releases
//! a filled one, who gets does the reverse, so that each wakes the other.

use std::error::Error;
use std::thread;
use std::time::Duration;

use tasuki::{Array, Process, Semaphore, Value};

const PLACES: usize = 3;

/// Returns how many were inside, this one included.
#[tasuki::task]
fn visit(toilets: Semaphore, inside: Value<u32>) -> u32 {
    let _permit = toilets.acquire().unwrap();
    let together = inside.fetch_add(1) + 1;
    thread::sleep(Duration::from_millis(10));
    inside.fetch_sub(1);
    together
}

#[tasuki::task]
fn put(numbers: Vec<i32>, free: Semaphore, filled: Semaphore, places: Array<i32>) {
    for (i, number) in numbers.into_iter().enumerate() {
        free.wait().unwrap();
        places.set(i % PLACES, number).unwrap();
        filled.release(1).unwrap();
    }
}

#[tasuki::main]
fn main() -> Result<(), Box<dyn Error>> {
    let (toilets, inside) = (Semaphore::new(2)?, Value::new(0)?);
    let people = [(); 6].map(|()| Process::spawn(visit, (toilets.clone(), inside.clone())));
    let mut most = 0;
    for person in people {
        most = most.max(person?.join()?);
    }
    let kept = if most <= 2 { "True" } else { "False" };
    println!("six people were never more than two at a time: {kept}");

    let (free, filled) = (Semaphore::new(PLACES as u32)?, Semaphore::new(0)?);
    let places = Array::new(PLACES)?;
    let numbers = vec![0, 1, 1, 2, 3, 5, 8, 13, 21];
    let count = numbers.len();
    let producer = Process::spawn(put, (numbers, free.clone(), filled.clone(), places.clone()))?;
    print!("through three places came:");
    for i in 0..count {
        filled.wait()?;
        print!(" {}", places.get(i % PLACES));
        free.release(1)?;
    }
    println!();
    producer.join()?;
    Ok(())
}
