//! What a timer's process waits for, and what cancels it: one token in a queue. Uses the queue to wait; has no thread
//! and no clock that ticks.
//!
//! The queue has room for one message and holds one: the token. The one that takes it decides.
//!
//! ```text
//! the timer's process                              somebody who cancels
//! put, until the delay has passed: it sleeps,      take what is there
//! since there is no room                             the token: cancelled, and the sleeper's put has room
//!   put: cancelled                                   nothing, or what the sleeper put: too late
//!   no room: take what is there
//!     the token: nobody can cancel any more; call
//!     nothing: cancelled at the last moment
//! ```
//! A message is taken at most once, so exactly one side has it; a side that is killed with the token in its hand has
//! decided all the same, and the queue's own promises say that the other one does not wait for it.

use std::fmt;
use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ending::ProcessError;
use crate::error::Error;
use crate::queues::Queue;
use crate::sys::clock;

/// Cancels a timer from anywhere; from [`Timer::canceller`](crate::Timer::canceller). It travels as the handle of a
/// queue does.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canceller {
    token: Queue<Token>,
}

impl Canceller {
    /// As [`Timer::cancel`](crate::Timer::cancel).
    pub fn cancel(&self) -> bool {
        matches!(self.token.try_get(), Ok(Token::Open))
    }
}

impl fmt::Debug for Canceller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Canceller").finish_non_exhaustive()
    }
}

/// What is in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Token {
    /// Nothing is decided.
    Open,
    /// The timer has seen that it was cancelled.
    Cancelled,
}

/// What a timer's process has to wait for; it travels before the arguments.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Delay {
    /// By the clock that all processes share.
    due: Duration,
    canceller: Canceller,
}

impl Delay {
    /// Waits, and says whether it is time to call the function: not when the timer was cancelled.
    pub(crate) fn passes(&self) -> bool {
        let token = &self.canceller.token;
        let left = self.due.saturating_sub(clock::monotonic());
        match token.put_timeout(Token::Cancelled, left) {
            Ok(()) => false,
            Err(error) if error.is_full() => matches!(token.try_get(), Ok(Token::Open)),
            // Told to whoever joins: to call the function now could be too early, never to call it is no better.
            Err(error) => panic!("a timer cannot wait: {error}"),
        }
    }
}

/// A delay that begins now, and what cancels it.
pub(crate) fn begin(delay: Duration) -> Result<(Canceller, Delay), ProcessError> {
    let due = clock::monotonic().saturating_add(delay);
    let token = made(Queue::builder().capacity(1).label("timer").create())?;
    token.put(Token::Open).map_err(|error| unusable(io::Error::other(error.to_string())))?;
    let canceller = Canceller { token };
    Ok((canceller.clone(), Delay { due, canceller }))
}

fn made<T>(object: Result<T, Error>) -> Result<T, ProcessError> {
    object.map_err(|error| match error {
        Error::Os { source, .. } => unusable(source),
        other => unusable(io::Error::other(other)),
    })
}

fn unusable(error: io::Error) -> ProcessError {
    ProcessError::os("make a timer", error)
}
