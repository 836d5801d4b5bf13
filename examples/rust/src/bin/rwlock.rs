//! Many look up prices while one changes them: those who look do not wait for each other.
//!
//! The lock is around the list. Any number of processes have a read guard at the same time; one that has the write
//! guard is alone. If that one were killed in the middle, the next one would get its guard inside an error.

use std::error::Error;

use tasuki::{Process, Queue, RwLock};

const READERS: usize = 3;
const LOOKS: u32 = 200;
const CHANGES: u32 = 20;

type Prices = [i32; 2];

#[tasuki::task]
fn look(prices: RwLock<Prices>, sums: Queue<u32>) {
    for _ in 0..LOOKS {
        let [net, tax] = *prices.read().unwrap();
        assert_eq!(tax * 5, net, "half changed");
    }
    sums.put(LOOKS).unwrap();
}

#[tasuki::task]
fn change(prices: RwLock<Prices>) {
    for _ in 0..CHANGES {
        let mut prices = prices.write().unwrap();
        prices[0] += 5;
        prices[1] += 1;
    }
}

#[tasuki::main]
fn main() -> Result<(), Box<dyn Error>> {
    let prices = RwLock::new([100, 20])?;
    let sums = Queue::unbounded()?;
    let readers = [(); READERS].map(|()| Process::spawn(look, (prices.clone(), sums.clone())));
    let writer = Process::spawn(change, (prices.clone(),))?;
    let mut looks = 0;
    for _ in 0..READERS {
        looks += sums.get()?;
    }
    println!("looks: {looks}");
    for reader in readers {
        reader?.join()?;
    }
    writer.join()?;
    println!("prices: {:?}", *prices.read().unwrap());
    Ok(())
}
