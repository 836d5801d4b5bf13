//! One array, and processes that each work on a part of it: what numpy does in Python, Rust does on the same memory.
//!
//! Nothing is sent: an `Array` is a handle to memory that all processes have. Each smooths one half: every number
//! becomes the mean of three neighbours. A `tasuki.shared_array` of numpy is such an array too:
//! `rust_worker_on_array.py` has its array changed by a program like this one.

use std::error::Error;

use tasuki::{Array, Process};

#[tasuki::task]
fn smooth(noisy: Array<f64>, smoothed: Array<f64>, first: usize, last: usize) {
    let source = noisy.lock().unwrap().read(first..last + 2);
    let means: Vec<f64> = source.windows(3).map(|three| three.iter().sum::<f64>() / 3.0).collect();
    smoothed.lock().unwrap().write(first, &means);
}

fn show(what: &str, array: &Array<f64>) {
    let words: Vec<String> = array.to_vec().iter().map(|number| format!("{number:?}")).collect();
    println!("{what:<9} {}", words.join(" "));
}

#[tasuki::main]
fn main() -> Result<(), Box<dyn Error>> {
    let noisy = Array::from_slice(&[3.0, 0.0, 6.0, 3.0, 9.0, 6.0, 12.0, 9.0, 15.0, 12.0])?;
    let smoothed = Array::new(noisy.len() - 2)?;
    let halves = [(0, 4), (4, 8)].map(|(first, last)| {
        Process::spawn(smooth, (noisy.clone(), smoothed.clone(), first, last))
    });
    for half in halves {
        half?.join()?;
    }
    show("noisy:", &noisy);
    show("smoothed:", &smoothed);
    Ok(())
}
