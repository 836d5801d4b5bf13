//! Threads behind the names of processes: with `use tasuki::thread::Process` in place of `use tasuki::Process` a
//! program runs its tasks in threads of its own process, and back.
//!
//! What is said of [`tasuki::Process`](crate::Process) holds for a [`Process`] of this module: a task and a tuple of
//! arguments, a result or a [`ProcessError`](crate::ProcessError) from `join`, names, daemons, and at the end of a
//! `main` marked `#[tasuki::main]` those that are no daemons are waited for. Queues, locks, values and all other
//! shared objects work between threads as between processes. What differs is what threads are:
//!
//! - Arguments and results are moved, not written as bytes: they need `Send`, not serde. A task can be a closure.
//! - A thread cannot be killed from outside, so there is no `kill`, `terminate` or `interrupt`: a program that uses
//!   them does not compile with threads. Nor can it have an environment or an executable of its own.
//! - `pid` is the number by which the kernel knows the thread; no process has the same.
//! - A daemon thread ends when the process does, whatever it is doing.
//!
//! ```
//! use tasuki::Queue;
//! use tasuki::thread::Process; // the one line that differs from a program with processes
//!
//! #[tasuki::task]
//! fn square(numbers: Queue<Option<u64>>, squares: Queue<u64>) {
//!     while let Some(number) = numbers.get().unwrap() {
//!         squares.put(number * number).unwrap();
//!     }
//! }
//!
//! #[tasuki::main]
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let (numbers, squares) = (Queue::unbounded()?, Queue::unbounded()?);
//!     let worker = Process::spawn(square, (numbers.clone(), squares.clone()))?;
//!     for number in [Some(2), Some(3), None] {
//!         numbers.put(number)?;
//!     }
//!     worker.join()?;
//!     assert_eq!((squares.get()?, squares.get()?), (4, 9));
//!     Ok(())
//! }
//! ```
//!
//! Threads share all memory of their process but what is `thread_local!`, which every thread has for itself, as
//! processes have everything for themselves:
//!
//! ```
//! use std::cell::Cell;
//! use tasuki::thread::Process;
//!
//! thread_local! {
//!     static VISITS: Cell<u32> = const { Cell::new(0) };
//! }
//!
//! fn visit(times: u32) -> u32 {
//!     (0..times).for_each(|_| VISITS.set(VISITS.get() + 1));
//!     VISITS.get()
//! }
//!
//! let other = Process::spawn(visit, (3,))?;
//! assert_eq!(visit(1), 1);
//! assert_eq!(other.join()?, 3);
//! # Ok::<(), tasuki::ProcessError>(())
//! ```
//!
//! For threads alone `std::thread` does, and its scoped threads borrow; crossbeam's channels move values between
//! threads without encoding them.

mod current;
mod process;
mod running;
mod task;
mod timer;

pub use current::{Thread, active_children, active_count, current_thread, enumerate};
pub use process::{Builder, ChildThread, Process};
pub use task::Task;
pub use timer::{Canceller, Timer};

/// The thread that runs this code, under the name that a program with processes uses.
pub use current::current_thread as current_process;

pub(crate) use running::finish;
