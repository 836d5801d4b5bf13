//! The worker of the example rust_worker_on_array: scales arrays in place until it is told the factor zero.
//!
//! Started by a program in another language, which handed it two queues by name; arrays come inside messages.

use std::error::Error;

use tasuki::{Array, Queue};

#[tasuki::main]
fn main() -> Result<(), Box<dyn Error>> {
    let jobs = tasuki::inherited::<Queue<(Array<f64>, f64)>>("jobs")?;
    let done = tasuki::inherited::<Queue<Array<f64>>>("done")?;
    loop {
        let (data, factor) = jobs.get()?;
        if factor == 0.0 {
            return Ok(());
        }
        data.lock().map_err(|error| error.to_string())?.for_each_mut(|_, x| *x *= factor);
        done.put(data)?;
    }
}
