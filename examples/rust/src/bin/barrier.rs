//! Players join a table: nobody plays before all are there, and nobody begins a round before all have ended the last.
//!
//! A barrier lets nobody pass until as many wait as it has parties. One of them it calls the leader, who deals. If one
//! of them were killed, the barrier would break: the others get an error instead of waiting for ever.

use std::error::Error;

use tasuki::{Barrier, Process, Queue, Value};

const PLAYERS: usize = 4;
const ROUNDS: u32 = 3;

#[tasuki::task]
fn play(table: Barrier, joined: Value<u32>, lines: Queue<String>) {
    joined.fetch_add(1);
    for round in 1..=ROUNDS {
        if table.wait().unwrap().is_leader() {
            let line = format!("round {round}: one of {} players deals", joined.get());
            lines.put(line).unwrap();
        }
        table.wait().unwrap();
    }
}

#[tasuki::main]
fn main() -> Result<(), Box<dyn Error>> {
    let table = Barrier::new(PLAYERS)?;
    let (joined, lines) = (Value::new(0)?, Queue::unbounded()?);
    let players = [(); PLAYERS]
        .map(|()| Process::spawn(play, (table.clone(), joined.clone(), lines.clone())));
    for _ in 0..ROUNDS {
        println!("{}", lines.get()?);
    }
    for player in players {
        player?.join()?;
    }
    println!("waiting at the end: {}", table.waiting());
    Ok(())
}
