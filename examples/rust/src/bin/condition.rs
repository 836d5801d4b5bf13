//! Customers wait for bread: a condition is a way to wait for what others change under a lock.
//!
//! Each customer wants another number of loaves, and waits until there are so many. `wait_while` frees the lock while
//! it sleeps, has it again when it looks, and looks whenever somebody notifies. Bread that is there is never sold
//! twice, since looking and taking happen under one lock, which holds the stock.

use std::error::Error;

use tasuki::{Condition, Lock, Process};

const WANTED: [u32; 4] = [4, 1, 3, 2];

#[tasuki::task]
fn buy(loaves: u32, bakery: Condition, stock: Lock<u32>) -> u32 {
    let guard = stock.lock().unwrap();
    let mut guard = bakery.wait_while(guard, |stock| *stock < loaves).unwrap();
    *guard -= loaves;
    loaves
}

#[tasuki::task]
fn bake(loaves: u32, bakery: Condition, stock: Lock<u32>) {
    for _ in 0..loaves {
        *stock.lock().unwrap() += 1;
        bakery.notify_all();
    }
}

#[tasuki::main]
fn main() -> Result<(), Box<dyn Error>> {
    let (bakery, stock) = (Condition::new()?, Lock::new(0)?);
    let customers =
        WANTED.map(|loaves| Process::spawn(buy, (loaves, bakery.clone(), stock.clone())));
    let baker = Process::spawn(bake, (12, bakery.clone(), stock.clone()))?;
    let mut sold = Vec::new();
    for customer in customers {
        sold.push(customer?.join()?);
    }
    sold.sort_unstable();
    let words: Vec<String> = sold.iter().map(u32::to_string).collect();
    println!("loaves sold: {}", words.join(" "));
    baker.join()?;
    println!("loaves left: {}", *stock.lock().unwrap());
    Ok(())
}
