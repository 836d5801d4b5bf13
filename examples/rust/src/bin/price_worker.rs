//! The worker of the example rwlock_with_rust: looks at prices and changes them, in turns with a program in another
//! language, which handed it a lock and an array by name. Told to, it dies in the middle of a change.

use std::error::Error;

use tasuki::{Array, RwLock};

const ROUNDS: u32 = 500;

#[tasuki::main]
fn main() -> Result<(), Box<dyn Error>> {
    let lock = tasuki::inherited::<RwLock>("lock")?;
    let prices = tasuki::inherited::<Array<i32>>("prices")?;
    if std::env::args().any(|word| word == "die") {
        let _writing = lock.write().map_err(|error| error.to_string())?;
        prices.set(0, 0)?;
        std::process::abort();
    }
    for _ in 0..ROUNDS {
        let reading = lock.read().map_err(|error| error.to_string())?;
        assert_eq!(prices.get(0), prices.get(1) * 5, "half changed");
        drop(reading);
        let _writing = lock.write().map_err(|error| error.to_string())?;
        prices.set(0, prices.get(0) + 5)?;
        prices.set(1, prices.get(1) + 1)?;
    }
    Ok(())
}
