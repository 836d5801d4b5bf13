//! Awaitable forms of what waits, for programs that run on tokio: `get_async`, `put_async`, `recv_async`, `send_async`.
//!
//! A future here is the call that does not wait, made again whenever the descriptors say that it may succeed. It takes
//! or puts only in the very poll that returns the result, so that dropping it, as `select!` and `timeout` do, loses
//! nothing. It sleeps in the runtime: no thread, no timer, nothing that looks now and then. That no wake-up is lost
//! although tokio listens to edges rests on what the queue's README says of readiness: "there is none" is only said
//! with the readiness clear, so whatever comes later sets it; and on tokio's, that an event which comes after one was
//! read is not cleared with that one.
//!
//! Each waiting future has descriptors of its own, two at most, so that any number may wait on one handle; a message
//! wakes all of them, and one gets it.
#![allow(unsafe_code)] // tokio asks to be promised that a registered descriptor stays what it is

mod channel;
mod connection;
mod queue;

use std::future::poll_fn;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};
use tokio::runtime::Handle;

use crate::error::Error;
use crate::sys::timer;

/// How often to look for room that shows in no descriptor: that a queue without limits has its socket full of handles.
const UNSEEN: Duration = Duration::from_millis(10);

/// Descriptors that a future waits for, registered with the runtime.
#[derive(Debug)]
struct Watched {
    readable: Vec<AsyncFd<OwnedFd>>,
    writable: Vec<AsyncFd<OwnedFd>>,
    timer: Option<AsyncFd<OwnedFd>>,
}

impl Watched {
    fn new() -> Result<Watched, Error> {
        // AsyncFd panics where there is none.
        Handle::try_current()
            .map_err(|_| Error::Invalid("await this inside a tokio runtime".into()))?;
        Ok(Watched { readable: Vec::new(), writable: Vec::new(), timer: None })
    }

    fn readable(mut self, fd: BorrowedFd<'_>) -> Result<Watched, Error> {
        self.readable.push(register(copy(fd)?, Interest::READABLE)?);
        Ok(self)
    }

    fn writable(mut self, fd: BorrowedFd<'_>) -> Result<Watched, Error> {
        self.writable.push(register(copy(fd)?, Interest::WRITABLE)?);
        Ok(self)
    }

    /// Ready when a queue has room, by what it has to show for that.
    fn room<'a>(
        self,
        is_limited: bool,
        pollable: impl FnOnce() -> Result<BorrowedFd<'a>, Error>,
    ) -> Result<Watched, Error> {
        if is_limited { self.writable(pollable()?) } else { self.now_and_then() }
    }

    /// Ready now and then.
    fn now_and_then(mut self) -> Result<Watched, Error> {
        const DOING: &str = "make a timer";
        let fd = timer::create().map_err(|e| Error::os(DOING, e))?;
        timer::start(&fd, UNSEEN).map_err(|e| Error::os(DOING, e))?;
        self.timer = Some(register(fd, Interest::READABLE)?);
        Ok(self)
    }

    /// Starts the timer again, which ran out.
    fn wind(&self) -> Result<(), Error> {
        match &self.timer {
            Some(timer) => timer::start(timer, UNSEEN).map_err(|e| Error::os("start a timer", e)),
            None => Ok(()),
        }
    }

    /// Waits until one of them says something.
    async fn ready(&self) -> Result<Ready<'_>, Error> {
        poll_fn(|context| self.poll(context))
            .await
            .map_err(|e| Error::os("wait for descriptors", e))
    }

    /// Asks all, so that each knows whom to wake.
    fn poll(&self, context: &mut Context<'_>) -> Poll<std::io::Result<Ready<'_>>> {
        let mut ready = Ready(Vec::new());
        for fd in self.readable.iter().chain(&self.timer) {
            if let Poll::Ready(guard) = fd.poll_read_ready(context) {
                ready.0.push(guard?);
            }
        }
        for fd in &self.writable {
            if let Poll::Ready(guard) = fd.poll_write_ready(context) {
                ready.0.push(guard?);
            }
        }
        if ready.0.is_empty() { Poll::Pending } else { Poll::Ready(Ok(ready)) }
    }
}

/// A copy to register: the runtime knows each number once, and others may wait with the same handle.
fn copy(fd: BorrowedFd<'_>) -> Result<OwnedFd, Error> {
    fd.try_clone_to_owned().map_err(|e| Error::os("duplicate a descriptor", e))
}

fn register(fd: OwnedFd, interest: Interest) -> Result<AsyncFd<OwnedFd>, Error> {
    // SAFETY: the AsyncFd owns the descriptor, nobody else has its number, and `OwnedFd` always tells the same one.
    let registered = unsafe { AsyncFd::register_with_interest(fd, interest) };
    registered.map_err(|e| Error::os("register a descriptor with the runtime", e))
}

/// What descriptors said, to be taken back if it was for nothing. An event that came since stays.
struct Ready<'a>(Vec<AsyncFdReadyGuard<'a, OwnedFd>>);

impl Ready<'_> {
    fn was_for_nothing(mut self) {
        self.0.iter_mut().for_each(AsyncFdReadyGuard::clear_ready);
    }
}

/// Makes attempts until one succeeds, and between them waits for what `watch` lists.
async fn until<R>(
    mut attempt: impl FnMut() -> Option<R>,
    watch: impl Fn() -> Result<Watched, Error>,
) -> Result<R, Error> {
    // A task that always finds something lets others run now and then. Before the attempt: here nothing is taken yet.
    tokio::task::consume_budget().await;
    if let Some(done) = attempt() {
        return Ok(done);
    }
    let watched = watch()?;
    loop {
        let ready = watched.ready().await?;
        if let Some(done) = attempt() {
            return Ok(done);
        }
        ready.was_for_nothing();
        watched.wind()?;
    }
}
