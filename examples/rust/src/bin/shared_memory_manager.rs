//! Several pieces of shared memory, made for a while: at the end of the block their names go, all together.
//!
//! Whoever shares memory by name has to take the names away, whatever happens in between. Python has a manager for
//! that; in Rust the values themselves do it when they are dropped, also when a `?` or a panic ends the block.

use std::error::Error;

use tasuki::shared_memory::Item;
use tasuki::{Process, ShareableList, SharedMemory};

#[tasuki::task]
fn add(name: String, first: usize, last: usize, sums: String, place: usize) {
    let mut numbers = vec![0; last - first];
    SharedMemory::open(&name).unwrap().read(first, &mut numbers).unwrap();
    let sum: i64 = numbers.into_iter().map(i64::from).sum();
    ShareableList::open(&sums).unwrap().set(place, sum).unwrap();
}

/// Shares memory for as long as this runs, and returns the names that it had.
fn add_in_halves() -> Result<[String; 2], Box<dyn Error>> {
    let numbers = SharedMemory::new(100)?;
    numbers.write(0, &(0..100).collect::<Vec<u8>>())?;
    let sums = ShareableList::new([0, 0])?;
    let names = [numbers.name().to_owned(), sums.memory().name().to_owned()];
    let [numbers_name, sums_name] = &names;
    let halves = [(0, 50), (50, 100)];
    let mut processes = Vec::new();
    for (place, (first, last)) in halves.into_iter().enumerate() {
        let arguments = (numbers_name.clone(), first, last, sums_name.clone(), place);
        processes.push(Process::spawn(add, arguments)?);
    }
    for process in processes {
        process.join()?;
    }
    let (Item::Int(one), Item::Int(other)) = (sums.get(0)?, sums.get(1)?) else {
        panic!("these are no sums: {sums:?}");
    };
    println!("sums of the halves: {one} {other}");
    println!("together: {}", one + other);
    Ok(names)
}

#[tasuki::main]
fn main() -> Result<(), Box<dyn Error>> {
    let names = add_in_halves()?;
    let gone = names.iter().filter(|name| SharedMemory::open(name).is_err()).count();
    println!("names that are gone: {gone}");
    Ok(())
}
