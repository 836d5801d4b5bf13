//! Counts the words of all text files below a folder: `wordcount FOLDER [WORKERS]`, one after another with 0 workers.
//!
//! The main process reads, and puts pieces of text into a bounded queue; the workers take pieces and count; each
//! returns its table when an empty piece tells it that no more will come.

use std::env;
use std::error::Error;
use std::path::Path;
use std::time::Instant;

use tasuki::{Process, Queue};
use tasuki_demo::report::report;
use tasuki_demo::text::{Table, add_table, count_words, for_each_piece};
use tasuki_demo::trace::{Of, Trace, Tracer};

/// How many pieces are in the queue before the reader has to wait.
const WAITING: usize = 64;

fn one_after_another(folder: &Path) -> Result<(Table, Vec<Trace>), Box<dyn Error>> {
    let mut tracer = Tracer::start("main", Of::Process);
    let mut table = Table::new();
    for_each_piece(folder, &mut |piece| {
        count_words(&piece, &mut table);
        tracer.mark();
    })?;
    Ok((table, vec![tracer.close()]))
}

#[tasuki::task]
fn count(name: String, jobs: Queue<Vec<u8>>) -> (Table, Trace) {
    let mut tracer = Tracer::start(name, Of::Process);
    let mut table = Table::new();
    loop {
        let piece = jobs.get().unwrap();
        if piece.is_empty() {
            return (table, tracer.close());
        }
        count_words(&piece, &mut table);
        tracer.mark();
    }
}

fn in_processes(folder: &Path, workers: usize) -> Result<(Table, Vec<Trace>), Box<dyn Error>> {
    let mut tracer = Tracer::start("reader", Of::Process);
    let jobs = Queue::bounded(WAITING)?;
    let processes = (1..=workers)
        .map(|i| Process::spawn(count, (format!("worker {i}"), jobs.clone())))
        .collect::<Result<Vec<_>, _>>()?;
    let mut failed = None;
    for_each_piece(folder, &mut |piece| {
        failed = failed.take().or(jobs.put(piece).err());
        tracer.mark();
    })?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    for _ in 0..workers {
        jobs.put(Vec::new())?;
    }
    let mut total = Table::new();
    let mut traces = Vec::new();
    for process in processes {
        tracer.mark();
        let (table, trace) = process.join()?;
        tracer.mark();
        add_table(&mut total, table);
        traces.push(trace);
    }
    traces.insert(0, tracer.close());
    Ok((total, traces))
}

#[tasuki::main]
fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (folder, workers) = match arguments.as_slice() {
        [folder] => (folder, std::thread::available_parallelism()?.get()),
        [folder, workers] => (folder, workers.parse()?),
        _ => return Err("usage: wordcount FOLDER [WORKERS]".into()),
    };
    let begin = Instant::now();
    let (table, traces) = match workers {
        0 => one_after_another(Path::new(folder))?,
        _ => in_processes(Path::new(folder), workers)?,
    };
    report(begin.elapsed(), table, traces, |table| {
        format!("{} words, {} different", table.values().sum::<u64>(), table.len())
    })
}
