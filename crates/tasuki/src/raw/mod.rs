//! The engine without types, for the front of another language: bytes, words and handles.
//!
//! Rust programs use [`Queue`](crate::Queue), [`Lock`](crate::Lock) and [`Value`](crate::Value). What is here has the
//! same guarantees and leaves encoding, policy and names to the caller. Queues, channels and pipes are `layout`'s own
//! types; what lies in a slot of an arena is owned here.

mod access;
mod atomics;
mod calls;
pub mod connection;
mod kinds;
mod queues;
mod record;
pub(crate) mod serde;
pub mod shared_memory;
mod sharedctypes;
mod synchronize;

use std::os::fd::{BorrowedFd, OwnedFd};

pub use access::AtomicWord;
pub use atomics::{Number, Operation};
pub use calls::while_counted;
pub use connection::RawConnection;
pub use kinds::RawHandle;
pub use queues::{
    AttachedQueue, Batch, BatchMessage, JoinFailure, LargeMessage, LostTasks, OutboundMessage,
    PrivateMessage, QueueOptions, QueueRemains, RawQueue, RawReceiver, RawSender, Shutdown, Taken,
    TaskDoneFailure, channel,
};
pub use sharedctypes::RawValue;
pub use synchronize::{
    ActionTurn, Arrival, PermitOwner, RawArrived, RawBarrier, RawCondition, RawEvent, RawLock,
    RawRwLock, RawSemaphore, Waiter,
};

pub use crate::layout::barrier::{Broken, NotPassed};
pub use crate::layout::condition::{NotWaited, Woken};
pub use crate::layout::failure::{AcquireFailure, TransportFailure};
pub use crate::layout::lock::Acquired;
pub use crate::protocol::element;
pub use crate::segment::death::Death;
pub use crate::sync::{GaveUp, Wait};

/// A number of this process that differs from those of all processes that it was forked from; never 0. It costs a load,
/// where a pid costs a system call.
pub fn generation() -> u64 {
    crate::sys::fork::epoch()
}

/// Whether the calling thread is the one that its process began with, or was forked from.
pub fn is_first_thread() -> bool {
    crate::sys::identity::is_first_thread()
}

/// Names this process for those who survive it, see [`Death::name`]. `Process` does it for the tasks it runs.
pub fn set_process_name(name: &str) {
    crate::segment::local::set_process_name(name);
}

/// Says that this process ends by itself, see [`Death::left_normally`]. `exit` does it; a front whose processes end by
/// `_exit` calls this first.
pub fn note_leaving() {
    crate::segment::local::note_leaving();
}

/// A number that a forked child has another one of than its parent, for what a front counts for its own process.
#[inline]
pub fn fork_epoch() -> u64 {
    crate::sys::fork::epoch()
}

/// A duplicate of a descriptor of another process: for a ticket, which names one that its sender still has. Descriptors
/// of files can also be reopened through `/proc/PID/fd`, which asks for fewer rights; sockets cannot.
pub fn take_descriptor(pid: u32, number: i32) -> std::io::Result<OwnedFd> {
    crate::sys::descriptors::take_from_process(pid, number)
}

/// Waits until a read from one of `readers` would not wait, be it for the end or an error, or the other end of one of
/// `ends` is gone, and says which they are, in this order.
pub fn wait_for_descriptors(
    readers: &[BorrowedFd<'_>],
    ends: &[BorrowedFd<'_>],
    wait: &mut Wait<'_>,
) -> std::io::Result<Result<Vec<bool>, GaveUp>> {
    use crate::sys::poll::{self, Interest};
    let readers = readers.iter().map(|fd| (*fd, Interest::Readable));
    let asked: Vec<_> = readers.chain(ends.iter().map(|fd| (*fd, Interest::HungUp))).collect();
    let mut ready = Vec::new();
    loop {
        let (time, gave_up) = match wait.slice() {
            Ok(slice) => (slice, None),
            Err(GaveUp::TimedOut) => (std::time::Duration::ZERO, Some(GaveUp::TimedOut)),
            Err(GaveUp::Interrupted) => return Ok(Err(GaveUp::Interrupted)),
        };
        poll::poll(&asked, time, &mut ready)?;
        match gave_up {
            _ if ready.contains(&true) => return Ok(Ok(ready)),
            Some(why) => return Ok(Err(why)),
            None => {}
        }
    }
}

/// The time since the machine was started, by the clock of all deadlines.
pub fn monotonic() -> std::time::Duration {
    crate::sys::clock::monotonic()
}

/// Closes what `fd` refers to in this process, though others here may be using it: they find the end there, and the
/// number stays open, for nothing, until its owner closes it.
pub fn hang_up(fd: BorrowedFd<'_>) -> std::io::Result<()> {
    crate::sys::hang_up::hang_up(fd)
}

/// Tells the calling thread from all others that live: never 0 nor 1, and the same in the child that it forks.
#[inline]
pub fn thread_mark() -> usize {
    crate::sys::threads::mark()
}

/// Whether this system has [`fence_all_threads`].
pub fn can_fence_all_threads() -> bool {
    crate::sys::threads::can_fence_all()
}

/// Makes all threads of this process execute a full fence at once, so that the many who do something need no fence of
/// their own against the one who does something seldom. False: it was refused, and nothing is known.
pub fn fence_all_threads() -> bool {
    crate::sys::threads::fence_all()
}
