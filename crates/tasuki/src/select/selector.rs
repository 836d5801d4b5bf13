//! A select whose sources each have a closure for what was taken.

use std::fmt;
use std::os::fd::AsFd;
use std::time::Duration;

use super::{Select, without_source};
use crate::channel::{Receiver, RecvError, SendError, Sender};
use crate::connection::{self, Connection};
use crate::error::Error;
use crate::process::ChildProcess;
use crate::protocol::codec::Message;
use crate::queues::{GetError, PutError, Queue};
use crate::raw::Wait;

/// After so many sources that were ready, and then were not, in one wait, a rest: the socket that carries handles may
/// be full, which shows in no descriptor.
const TRIES_BEFORE_REST: u32 = 64;

/// Waits for the first of several things, and does what belongs to it.
///
/// Add what to wait for, each with a closure, and then [`wait`](Selector::wait). Exactly one closure runs, with what
/// was taken or done, and its result is the select's. A message goes to nobody but that closure: a select that ends
/// otherwise has taken none, and sent none.
///
/// ```
/// use std::time::Duration;
///
/// let (sender, lines) = tasuki::channel::<String>()?;
/// let numbers = tasuki::Queue::<u64>::unbounded()?;
/// numbers.put(42)?;
/// let what = tasuki::select()
///     .recv(&lines, |line| line.unwrap_or("no more lines".to_owned()))
///     .get(&numbers, |number| format!("the number {}", number.unwrap()))
///     .wait_timeout(Duration::from_secs(1))?;
/// assert_eq!(what.as_deref(), Some("the number 42"));
/// drop(sender);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn select<'a, R>() -> Selector<'a, R> {
    Selector { select: Select::new(), arms: Vec::new() }
}

/// Things to wait for, with what to do for each; from [`select()`].
#[must_use = "a select waits when `wait` is called"]
pub struct Selector<'a, R> {
    select: Select<'a>,
    /// For each source of the select: takes what is ready, unless another one was faster.
    arms: Vec<Box<dyn FnMut() -> Option<R> + 'a>>,
}

impl<R> fmt::Debug for Selector<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Selector").field("select", &self.select).finish_non_exhaustive()
    }
}

impl<'a, R> Selector<'a, R> {
    /// Takes a message from the queue.
    pub fn get<T: Message>(
        mut self,
        queue: &'a Queue<T>,
        then: impl FnOnce(Result<T, GetError>) -> R + 'a,
    ) -> Self {
        self.select.get(queue);
        let attempt = move || queue.try_get();
        self.arm(move || unless(attempt(), GetError::is_empty), then)
    }

    /// Takes a message from the channel, or the news that no sender is left.
    pub fn recv<T: Message>(
        mut self,
        receiver: &'a Receiver<T>,
        then: impl FnOnce(Result<T, RecvError>) -> R + 'a,
    ) -> Self {
        self.select.recv(receiver);
        let attempt = move || receiver.try_recv();
        self.arm(move || unless(attempt(), RecvError::is_empty), then)
    }

    /// Puts the value, which the closure gets back in the error if that cannot be done. A value that is not put is
    /// dropped with the select.
    pub fn put<T: Message + 'a>(
        mut self,
        queue: &'a Queue<T>,
        value: T,
        then: impl FnOnce(Result<(), PutError<T>>) -> R + 'a,
    ) -> Self {
        self.select.put(queue);
        let mut value = Some(value);
        let attempt = move || match queue.try_put(value.take()?) {
            Err(error) if error.is_full() => {
                value = Some(error.into_inner());
                None
            }
            done => Some(done),
        };
        self.arm(attempt, then)
    }

    /// Sends the value, which the closure gets back in the error if that cannot be done. A value that is not sent is
    /// dropped with the select.
    pub fn send<T: Message + 'a>(
        mut self,
        sender: &'a Sender<T>,
        value: T,
        then: impl FnOnce(Result<(), SendError<T>>) -> R + 'a,
    ) -> Self {
        self.select.send(sender);
        let mut value = Some(value);
        let attempt = move || match sender.try_send(value.take()?) {
            Err(error) if error.is_full() => {
                value = Some(error.into_inner());
                None
            }
            done => Some(done),
        };
        self.arm(attempt, then)
    }

    /// Receives a message from the connection, or the news that nobody has the other end.
    pub fn connection<S, T: Message>(
        mut self,
        connection: &'a Connection<S, T>,
        then: impl FnOnce(Result<T, connection::RecvError>) -> R + 'a,
    ) -> Self {
        self.select.connection(connection);
        let attempt = move || connection.try_recv();
        self.arm(move || unless(attempt(), connection::RecvError::is_empty), then)
    }

    /// Waits for the end of the process. For a [`Process`](crate::Process) there is
    /// [`as_child`](crate::Process::as_child).
    pub fn ended(mut self, process: &'a ChildProcess, then: impl FnOnce() -> R + 'a) -> Self {
        self.select.ended(process);
        self.arm(|| Some(()), |()| then())
    }

    /// Waits until a read from the descriptor would not wait, be it for the end or for an error.
    pub fn readable(mut self, descriptor: &'a impl AsFd, then: impl FnOnce() -> R + 'a) -> Self {
        self.select.readable(descriptor);
        self.arm(|| Some(()), |()| then())
    }

    /// Waits until a write to the descriptor would not wait, be it for an error.
    pub fn writable(mut self, descriptor: &'a impl AsFd, then: impl FnOnce() -> R + 'a) -> Self {
        self.select.writable(descriptor);
        self.arm(|| Some(()), |()| then())
    }

    fn arm<V>(
        mut self,
        mut attempt: impl FnMut() -> Option<V> + 'a,
        then: impl FnOnce(V) -> R + 'a,
    ) -> Self {
        let mut then = Some(then);
        self.arms.push(Box::new(move || {
            let taken = attempt()?;
            then.take().map(|then| then(taken))
        }));
        self
    }

    /// Waits for the first, and returns what its closure returned.
    ///
    /// # Errors
    /// When the system refuses; or when there is nothing to wait for.
    pub fn wait(self) -> Result<R, Error> {
        if self.arms.is_empty() {
            return Err(without_source());
        }
        match self.wait_within(&mut Wait::forever())? {
            Some(result) => Ok(result),
            None => unreachable!("a wait without a deadline ends with a source"),
        }
    }

    /// As `wait`, for at most `timeout`; `None` when the time was over before, and then nothing was taken.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn wait_timeout(self, timeout: Duration) -> Result<Option<R>, Error> {
        self.wait_within(&mut Wait::timeout(timeout))
    }

    /// As `wait`, if one is ready now.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn try_now(self) -> Result<Option<R>, Error> {
        self.wait_within(&mut Wait::now())
    }

    fn wait_within(mut self, wait: &mut Wait<'_>) -> Result<Option<R>, Error> {
        let mut too_late = 0;
        while let Some(index) = self.select.ready_within(wait)? {
            if let Some(result) = (self.arms[index])() {
                return Ok(Some(result));
            }
            too_late += 1;
            if too_late % TRIES_BEFORE_REST == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(None)
    }
}

/// The result, unless the error says that another one was faster.
fn unless<T, E>(got: Result<T, E>, is_empty: impl Fn(&E) -> bool) -> Option<Result<T, E>> {
    match got {
        Err(error) if is_empty(&error) => None,
        got => Some(got),
    }
}
