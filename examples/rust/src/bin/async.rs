//! Await a queue: the program goes on with other things while it waits for a process.
//!
//! No thread waits in between: the event loop watches a descriptor of the queue. A wait can be called off at any time,
//! by a timeout for example, and takes nothing along: what it waited for comes to the next one who asks.

use std::cell::Cell;
use std::error::Error;
use std::time::Duration;

use tasuki::{Process, Queue};
use tokio::time::{sleep, timeout};

const NUMBERS: u64 = 100;

#[tasuki::task]
fn square(numbers: Queue<u64>, squares: Queue<u64>) {
    for _ in 0..NUMBERS {
        let number = numbers.get().unwrap();
        squares.put(number * number).unwrap();
    }
}

#[tasuki::main]
fn main() -> Result<(), Box<dyn Error>> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run())
}

async fn run() -> Result<(), Box<dyn Error>> {
    let (numbers, squares) = (Queue::bounded(10)?, Queue::bounded(10)?);
    let process = Process::spawn(square, (numbers.clone(), squares.clone()))?;

    let ticks = Cell::new(0);
    let tick = async {
        loop {
            sleep(Duration::from_millis(5)).await;
            ticks.set(ticks.get() + 1);
        }
    };
    let work = async {
        // Nothing was asked yet.
        if timeout(Duration::from_millis(50), squares.get_async()).await.is_err() {
            println!("no answer in time");
        }
        let ask = async {
            for number in 1..=NUMBERS {
                numbers.put_async(number).await?;
            }
            Ok::<_, Box<dyn Error>>(())
        };
        let add = async {
            let mut sum = 0;
            for _ in 0..NUMBERS {
                sum += squares.get_async().await?;
            }
            Ok(sum)
        };
        Ok::<_, Box<dyn Error>>(tokio::try_join!(ask, add)?.1)
    };
    let sum = tokio::select! {
        sum = work => sum?,
        () = tick => unreachable!("it ticks for ever"),
    };
    println!("the program went on meanwhile: {}", if ticks.get() > 0 { "True" } else { "False" });
    println!("sum of the squares: {sum}");
    process.join()?;
    Ok(())
}
