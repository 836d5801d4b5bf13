//! Queues whose messages are tasks: the process that put them can wait until all are done, and learns of those that
//! nobody will do.

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Queue, QueueBuilder};
use crate::error::Error;
pub use crate::raw::LostTasks;
use crate::raw::{JoinFailure, TaskDoneFailure, Wait};

/// A queue of tasks: consumers report each task [done](JoinableQueue::task_done), and [`join`](JoinableQueue::join)
/// waits until all are.
///
/// It has everything that a [`Queue`] has. Handles are serde values as a queue's are, and can be read as a `Queue<T>`
/// as well by whoever only puts.
///
/// A task belongs to the process that took it. When that is killed before it reported the task done, nobody will: so
/// `join` does not wait for it, but returns an error that says who died and how many tasks are lost. A task may be
/// reported done by another process than the one that took it; of such tasks a loss may go unnoticed. A process that
/// ends by itself, by `exit` or by returning from `main`, has left its tasks to others, and `join` waits for them.
///
/// ```no_run
/// use tasuki::JoinableQueue;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tasks: JoinableQueue<u64> = JoinableQueue::unbounded()?;
/// for n in 0..100 {
///     tasks.put(n)?;
/// }
/// // In other processes:  loop { work(tasks.get()?); tasks.task_done()?; }
/// tasks.join()?;
/// # Ok(())
/// # }
/// ```
pub struct JoinableQueue<T>(Queue<T>);

impl<T> JoinableQueue<T> {
    /// As [`Queue::unbounded`].
    pub fn unbounded() -> Result<JoinableQueue<T>, Error> {
        Queue::<T>::builder().create_joinable()
    }

    /// As [`Queue::bounded`]. The capacity limits how many messages wait, not how many tasks are unfinished.
    pub fn bounded(capacity: usize) -> Result<JoinableQueue<T>, Error> {
        Queue::<T>::builder().capacity(capacity).create_joinable()
    }

    /// Reports one task done that was taken.
    ///
    /// # Errors
    /// When there is no unfinished task: one was reported twice. See [`TaskDoneError::is_too_many`].
    #[inline]
    pub fn task_done(&self) -> Result<(), TaskDoneError> {
        self.tasks_done(1)
    }

    /// Reports `count` tasks done at once; what [`get_many`](Queue::get_many) took, say.
    ///
    /// # Errors
    /// As `task_done`; none is counted then.
    #[inline]
    pub fn tasks_done(&self, count: usize) -> Result<(), TaskDoneError> {
        Ok(self.0.raw.task_done(count as u64, &mut Wait::forever())?)
    }

    /// How many messages were put and not reported done, at this moment.
    pub fn unfinished(&self) -> usize {
        usize::try_from(self.0.raw.unfinished()).unwrap_or(usize::MAX)
    }

    /// Waits until every message that was ever put has been reported done.
    ///
    /// # Errors
    /// When tasks were lost with a process that was killed, see [`JoinError::lost_tasks`]. That is said as soon as it
    /// is noticed, within half a second of the death, once for each loss and to one of those who join; the lost ones
    /// count as done from then on, and calling `join` again waits for the rest.
    pub fn join(&self) -> Result<(), JoinError> {
        self.join_within(&mut Wait::forever())
    }

    /// As `join`, at most for `timeout`.
    ///
    /// # Errors
    /// As `join`, and [`is_timeout`](JoinError::is_timeout).
    pub fn join_timeout(&self, timeout: Duration) -> Result<(), JoinError> {
        self.join_within(&mut Wait::timeout(timeout))
    }

    fn join_within(&self, wait: &mut Wait<'_>) -> Result<(), JoinError> {
        Ok(self.0.raw.join(wait)?)
    }
}

impl<T> QueueBuilder<T> {
    /// Makes a queue whose messages are tasks.
    ///
    /// # Errors
    /// As [`create`](QueueBuilder::create).
    pub fn create_joinable(mut self) -> Result<JoinableQueue<T>, Error> {
        self.options.joinable = true;
        Ok(JoinableQueue(self.create()?))
    }
}

impl<T> Deref for JoinableQueue<T> {
    type Target = Queue<T>;

    fn deref(&self) -> &Queue<T> {
        &self.0
    }
}

impl<T> Clone for JoinableQueue<T> {
    fn clone(&self) -> JoinableQueue<T> {
        JoinableQueue(self.0.clone())
    }
}

impl<T> fmt::Debug for JoinableQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinableQueue")
            .field("len", &self.len())
            .field("unfinished", &self.unfinished())
            .field("capacity", &self.capacity())
            .finish_non_exhaustive()
    }
}

/// Two handles are equal when they are to the same queue.
impl<T> PartialEq for JoinableQueue<T> {
    fn eq(&self, other: &JoinableQueue<T>) -> bool {
        self.0 == other.0
    }
}

impl<T> Eq for JoinableQueue<T> {}

impl<T> Serialize for JoinableQueue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for JoinableQueue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<JoinableQueue<T>, D::Error> {
        let queue = Queue::deserialize(deserializer)?;
        if queue.raw.is_joinable() {
            return Ok(JoinableQueue(queue));
        }
        Err(serde::de::Error::custom("a joinable queue was expected and a queue came"))
    }
}

/// Why a task was not reported done. Nothing was counted.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct TaskDoneError(#[from] TaskDoneFailure);

impl TaskDoneError {
    /// Whether more tasks were reported done than were put.
    pub fn is_too_many(&self) -> bool {
        matches!(self.0, TaskDoneFailure::TooMany)
    }
}

/// Why a join ended before all tasks were done.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct JoinError(#[from] JoinFailure);

impl JoinError {
    /// The tasks that nobody will do, and who was killed with them in flight.
    pub fn lost_tasks(&self) -> Option<&LostTasks> {
        match &self.0 {
            JoinFailure::Lost(lost) => Some(lost),
            _ => None,
        }
    }

    /// Whether the time was over.
    pub fn is_timeout(&self) -> bool {
        matches!(self.0, JoinFailure::GaveUp(_))
    }
}
