//! Wait for whichever comes first: a message on one of several lines, the end of a line, the end of a process, or time.
//!
//! Nobody asks round and round: the program sleeps until one of them is ready. A wait that ends by its time has taken
//! nothing from anybody. A line says that it has closed as soon as nobody has its other end any more, here because the
//! process at that end is gone.

use std::error::Error;
use std::time::Duration;

use tasuki::{Connection, Process, Select, pipe};

type Line = Connection<String, String>;

#[tasuki::task]
fn station(name: String, trains: u32, line: Line) {
    while line.recv().is_ok_and(|order| order == "report") {
        line.send(format!("{name}: {trains} trains")).unwrap();
    }
}

/// The next thing that happens on one of the lines.
fn next(lines: &[(&str, Line)], time: Duration) -> Result<String, tasuki::Error> {
    let mut wait = tasuki::select();
    for (name, line) in lines {
        wait = wait.connection(line, move |news| match news {
            Ok(report) => report,
            Err(_) => format!("{name} has closed"),
        });
    }
    Ok(wait.wait_timeout(time)?.unwrap_or("nothing happened for a while".to_owned()))
}

#[tasuki::main]
fn main() -> Result<(), Box<dyn Error>> {
    let mut lines = Vec::new();
    let mut stations = Vec::new();
    for (name, trains) in [("north", 3), ("south", 5)] {
        let (ours, theirs) = pipe()?;
        // Given away, not copied: the line is to close with that process.
        stations.push(Process::spawn(station, (name.to_owned(), trains, theirs))?);
        lines.push((name, ours));
    }
    println!("{}", next(&lines, Duration::from_millis(100))?);

    let long = Duration::from_secs(60);
    for (_, line) in &lines {
        line.send("report".to_owned())?;
        println!("{}", next(&lines, long)?);
    }
    while !lines.is_empty() {
        lines[0].1.send("close".to_owned())?;
        println!("{}", next(&lines, long)?);
        // A line that has closed would be ready for ever.
        lines.remove(0);
    }

    let mut ends = Select::new();
    for station in &stations {
        ends.ended(station.as_child());
    }
    for _ in &stations {
        let first = ends.ready()?;
        ends.remove(first);
    }
    let ended = stations.iter().all(|station| !station.is_alive());
    println!("both processes have ended: {}", if ended { "True" } else { "False" });
    Ok(())
}
