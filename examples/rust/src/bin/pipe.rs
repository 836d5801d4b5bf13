//! Two processes talk through a pipe, and a third one only listens.
//!
//! A pipe has two ends. What one sends, the other receives, whole and in order. When nobody has the other end any more,
//! what was sent before still comes, and then the end.

use std::convert::Infallible;
use std::error::Error;

use tasuki::connection::simplex;
use tasuki::{Connection, Process, pipe};

#[tasuki::task]
fn shout(line: Connection<String, Option<String>>) {
    while let Ok(Some(word)) = line.recv() {
        line.send(word.to_uppercase()).unwrap();
    }
}

#[tasuki::task]
fn square(numbers: u32, squares: Connection<u32, Infallible>) {
    for number in 1..=numbers {
        squares.send(number * number).unwrap();
    }
}

#[tasuki::main]
fn main() -> Result<(), Box<dyn Error>> {
    let (ours, theirs) = pipe::<Option<String>, String>()?;
    // Given away, not copied: only that process has this end now.
    let process = Process::spawn(shout, (theirs,))?;
    for word in ["baton", "relay", "sash"] {
        ours.send(Some(word.to_owned()))?;
        println!("{word} -> {}", ours.recv()?);
    }
    ours.send(None)?;
    if ours.recv().is_err_and(|end| end.is_disconnected()) {
        println!("the other end is closed");
    }
    process.join()?;

    // One way: the first end receives, the second one sends.
    let (reader, writer) = simplex::<u32>()?;
    let process = Process::spawn(square, (5, writer))?;
    let mut squares = Vec::new();
    while let Ok(square) = reader.recv() {
        squares.push(square.to_string());
    }
    println!("squares: {}", squares.join(" "));
    process.join()?;
    Ok(())
}
