//! Waiting for the first of several things: messages, room, ends of processes, descriptors.
//!
//! [`select()`] is for most uses: it takes the message as well. [`Select`] says which one is ready, and leaves taking
//! to its caller. `README.md` beside this file holds the steps and why no wake-up is lost.

mod selector;
mod source;

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

pub use selector::{Selector, select};
use source::{Source, Watched, Watching};

use crate::channel::{Receiver, Sender};
use crate::connection::Connection;
use crate::error::Error;
use crate::process::ChildProcess;
use crate::queues::Queue;
use crate::raw::Wait;
use crate::sync::Spin;
use crate::sys::poll::Interest;

/// A set of sources; says which one is ready, by the index under which it was added.
///
/// It takes nothing: what was ready is taken with `try_get` and the like, and may be gone when another one was faster.
/// Then one asks again. [`select()`] does that by itself.
///
/// ```
/// use tasuki::{Queue, Select};
///
/// let (apples, pears) = (Queue::<u64>::unbounded()?, Queue::<String>::unbounded()?);
/// pears.put("conference".to_owned())?;
/// let mut select = Select::new();
/// let an_apple = select.get(&apples);
/// let a_pear = select.get(&pears);
/// let ready = select.ready()?;
/// assert_eq!(ready, a_pear);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Select<'a> {
    sources: Vec<Source<'a>>,
    /// Where the next look begins.
    start: usize,
}

/// What is to be asked again in a moment is asked after this.
const SOON: Duration = Duration::from_millis(1);

/// How long looking at memory paid, in this process.
static SPIN: Spin = Spin::new();

impl<'a> Select<'a> {
    /// A set without sources.
    pub fn new() -> Select<'a> {
        // Not always the first one first, when each wait makes a set of its own.
        static STARTS: AtomicUsize = AtomicUsize::new(0);
        Select { sources: Vec::new(), start: STARTS.fetch_add(1, Ordering::Relaxed) }
    }

    /// Ready when a message waits, or the queue is shut down.
    pub fn get<T>(&mut self, queue: &'a Queue<T>) -> usize {
        self.add(Source::Get(queue.raw()))
    }

    /// Ready when there is room, or the queue is shut down. With a limit of bytes there may be too little room for a
    /// message; once that was refused, this is ready when anything was taken.
    pub fn put<T>(&mut self, queue: &'a Queue<T>) -> usize {
        self.add(Source::Put(queue.raw()))
    }

    /// Ready when a message waits, or no sender is left.
    pub fn recv<T>(&mut self, receiver: &'a Receiver<T>) -> usize {
        self.add(Source::Recv(receiver.raw()))
    }

    /// Ready when there is room, or no receiver is left.
    pub fn send<T>(&mut self, sender: &'a Sender<T>) -> usize {
        self.add(Source::Send(sender.raw()))
    }

    /// Ready when a message waits, or nobody has the other end.
    pub fn connection<S, R>(&mut self, connection: &'a Connection<S, R>) -> usize {
        self.add(Source::Connection(connection.transport()))
    }

    /// Ready when the process has ended. For a [`Process`](crate::Process) there is
    /// [`as_child`](crate::Process::as_child).
    pub fn ended(&mut self, process: &'a ChildProcess) -> usize {
        self.readable(process)
    }

    /// Ready when a read from the descriptor would not wait, be it for the end or for an error.
    pub fn readable(&mut self, descriptor: &'a impl AsFd) -> usize {
        self.add(Source::Descriptor(descriptor.as_fd(), Interest::Readable))
    }

    /// Ready when a write to the descriptor would not wait, be it for an error.
    pub fn writable(&mut self, descriptor: &'a impl AsFd) -> usize {
        self.add(Source::Descriptor(descriptor.as_fd(), Interest::Writable))
    }

    fn add(&mut self, source: Source<'a>) -> usize {
        self.sources.push(source);
        self.sources.len() - 1
    }

    /// Takes a source out; the others keep their indices.
    pub fn remove(&mut self, index: usize) {
        if let Some(source) = self.sources.get_mut(index) {
            *source = Source::Removed;
        }
    }

    /// Waits until a source is ready.
    ///
    /// # Errors
    /// When the system refuses; or when there is no source, which would be a wait for ever.
    pub fn ready(&mut self) -> Result<usize, Error> {
        if self.sources.iter().all(|source| matches!(source, Source::Removed)) {
            return Err(without_source());
        }
        match self.ready_within(&mut Wait::forever())? {
            Some(index) => Ok(index),
            None => unreachable!("a wait without a deadline ends with a source"),
        }
    }

    /// A source that is ready now.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn try_ready(&mut self) -> Result<Option<usize>, Error> {
        self.ready_within(&mut Wait::now())
    }

    /// Waits until a source is ready, `timeout` at most; `None` when the time was over before.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn ready_timeout(&mut self, timeout: Duration) -> Result<Option<usize>, Error> {
        self.ready_within(&mut Wait::timeout(timeout))
    }

    fn ready_within(&mut self, wait: &mut Wait<'_>) -> Result<Option<usize>, Error> {
        let ready = self.wait(wait)?;
        if let Some(index) = ready {
            self.start = index + 1;
        }
        Ok(ready)
    }

    /// Steps W1 to W5 of the README.
    fn wait(&self, wait: &mut Wait<'_>) -> Result<Option<usize>, Error> {
        let mut watched = Watched::default();
        if let Some(index) = self.look(&mut watched)? {
            return Ok(Some(index));
        }
        if wait.is_now() {
            return Ok(None);
        }
        if let Some(index) = self.look_longer() {
            return Ok(Some(index));
        }
        loop {
            let Ok(mut slice) = wait.slice() else { return self.look(&mut watched) };
            watched.clear();
            for index in self.in_order() {
                match self.sources[index].watch(index, &mut watched)? {
                    Watching::NoNeed => return Ok(Some(index)),
                    Watching::Soon => slice = slice.min(SOON),
                    Watching::Listed => {}
                }
            }
            if let Some(index) = watched.poll(slice)? {
                self.sources[index].was_ready_in_kernel();
                return Ok(Some(index));
            }
            self.sources.iter().for_each(Source::sleep_ended);
            if let Some(index) = self.look(&mut watched)? {
                return Ok(Some(index));
            }
        }
    }

    /// Asks every source, without waiting.
    fn look(&self, watched: &mut Watched<'a>) -> Result<Option<usize>, Error> {
        watched.clear();
        for index in self.in_order() {
            let source = &self.sources[index];
            if source.is_known_to_kernel_only()
                && let Watching::NoNeed = source.watch(index, watched)?
            {
                return Ok(Some(index));
            }
        }
        let in_kernel = watched.poll(Duration::ZERO)?;
        let ready = self.in_order().find(|&i| Some(i) == in_kernel || self.sources[i].is_ready());
        Ok(ready)
    }

    /// Looks at memory for as long as a wake-up would take.
    fn look_longer(&self) -> Option<usize> {
        let in_memory: Vec<usize> =
            self.in_order().filter(|&index| self.sources[index].is_in_memory()).collect();
        if in_memory.is_empty() {
            return None;
        }
        let mut found = None;
        SPIN.until(|| {
            found = in_memory.iter().copied().find(|&index| self.sources[index].is_ready());
            found.is_some()
        });
        found
    }

    /// All indices, beginning with `start`.
    fn in_order(&self) -> impl Iterator<Item = usize> + use<> {
        let count = self.sources.len();
        let start = self.start.checked_rem(count).unwrap_or(0);
        (start..count).chain(0..start)
    }
}

fn without_source() -> Error {
    Error::Invalid("a select without a source would wait for ever".into())
}
