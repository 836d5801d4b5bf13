//! Tasks that are reported done: `join` returns when nothing is left to do, not when nothing is left to take.
//!
//! A worker reports each task when its result is on its way. So when `join` returns, every result can be had. Even the
//! `None` that ends a worker is a task. Had a worker been killed with a task in flight, `join` would return an error
//! that names it, instead of waiting for ever.

use std::error::Error;

use tasuki::{JoinableQueue, Process, Queue};

const WORKERS: usize = 3;

#[tasuki::task]
fn square(tasks: JoinableQueue<Option<u64>>, squares: Queue<(u64, u64)>) {
    while let Some(number) = tasks.get().unwrap() {
        squares.put((number, number * number)).unwrap();
        tasks.task_done().unwrap();
    }
    tasks.task_done().unwrap();
}

#[tasuki::main]
fn main() -> Result<(), Box<dyn Error>> {
    let tasks = JoinableQueue::unbounded()?;
    let squares = Queue::unbounded()?;
    let workers: Vec<_> =
        (0..WORKERS).map(|_| Process::spawn(square, (tasks.clone(), squares.clone()))).collect();
    tasks.put_many((1..7).map(Some))?;
    tasks.join()?;
    println!("all tasks are done");
    // Who is first differs from run to run; together it is always everything.
    let mut done = Vec::new();
    while !squares.is_empty() {
        done.push(squares.get()?);
    }
    done.sort();
    for (number, squared) in done {
        println!("{number} squared is {squared}");
    }
    if tasks.task_done().is_err() {
        println!("no task is left to be reported done");
    }
    tasks.put_many([None; WORKERS])?;
    tasks.join()?;
    for worker in workers {
        worker?.join()?;
    }
    println!("the workers went home");
    Ok(())
}
