//! Places where a test can make the process die, in the middle of every protocol.
//!
//! `kill_point!(Name)` is nothing unless the crate is built with the feature `kill-points`. Random kills hit the
//! dangerous instructions once in thousands of rounds; a kill point hits them every time.

macro_rules! kill_points {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// One place in the engine where a process can be made to die.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[cfg_attr(not(feature = "kill-points"), allow(dead_code))]
        pub enum KillPoint { $($(#[$doc])* $name),* }

        #[cfg(feature = "kill-points")]
        impl KillPoint {
            /// Every kill point of the engine.
            pub const ALL: &'static [KillPoint] = &[$(KillPoint::$name),*];
        }
    };
}

kill_points! {
    /// An internal lock was just taken.
    LockTaken,
    /// An internal lock was set free and its waiter not woken yet.
    LockFreedBeforeWake,
    /// put: a block of its own is claimed and not yet filled.
    PutBlockClaimed,
    /// put: a free block has lost its place for others, and is not free yet.
    PutPlaceTaken,
    /// put: the room for blocks is found anew and not yet told.
    PutGapMoved,
    /// put: a place is cut off the room for blocks, and no block has it yet.
    PutPlaceCut,
    /// put: the block has memory, which its entry does not say.
    PutBlockBacked,
    /// put: the block is full, the queue's lock not yet taken.
    PutBlockFilled,
    /// put: under the lock, before anything is written.
    PutLocked,
    /// put: a fresh chunk was taken and not yet linked.
    PutChunkTaken,
    /// put: a fresh chunk is linked and the tail still before it.
    PutChunkLinked,
    /// put: half of the frame is written.
    PutHalfWritten,
    /// put: the frame is complete, its descriptors not yet sent.
    PutWritten,
    /// put: the descriptors are on their way, the frame not committed.
    PutHandlesSent,
    /// put: sleepers were woken, the frame is not committed.
    PutNotified,
    /// put: the frame is committed and the lock still held.
    PutCommitted,
    /// put: all done, before the call returns.
    PutUnlocked,
    /// get: under the lock, before anything is read.
    GetLocked,
    /// get: the frame is copied, the head not moved.
    GetCopied,
    /// get: the row says what is in flight, the head not moved.
    GetInFlight,
    /// get: waiting producers were woken, the head not moved.
    GetNotified,
    /// get: the head has moved, the lock still held.
    GetCommitted,
    /// get: the block is marked as held by this process, the lock still held.
    GetBlockHeld,
    /// get: the lock is free, the block not yet copied.
    GetUnlocked,
    /// get: the block was copied and not yet given back.
    GetBlockCopied,
    /// giving memory back: the chunk is out of the ring and not yet on the free list.
    TrimUnlinked,
    /// lock: the user's lock was just taken.
    UserLockTaken,
    /// lock: the user's lock is free, its waiter not woken.
    UserLockFreed,
    /// condition: about to enter the list of those that wait, the list's lock held.
    ConditionEntered,
    /// condition: in the list, the list's lock and the user's lock held.
    ConditionListed,
    /// condition: the user's lock is free, not asleep yet.
    ConditionReleased,
    /// condition: about to sleep.
    ConditionAsleep,
    /// condition: notified, or the time was over; the user's lock not taken yet.
    ConditionWoken,
    /// condition: the user's lock is taken again, still in the list.
    ConditionReacquired,
    /// condition: out of the list without having been notified, the user's lock not taken yet.
    ConditionLeft,
    /// condition: notified and interrupted, somebody else is owed the notification.
    ConditionOwed,
    /// notify: one is marked and not woken, the list's lock held.
    ConditionMarked,
    /// barrier: inside its lock, nothing done yet.
    BarrierEntered,
    /// barrier: in a seat, which is not counted yet.
    BarrierSeated,
    /// barrier: about to sleep until the others come.
    BarrierAsleep,
    /// barrier: gave its seat up, which is still counted.
    BarrierSeatLeft,
    /// barrier: the round is over or broken, nobody was woken.
    BarrierCommitted,
    /// barrier: the round is over and the lock free, nobody was woken.
    BarrierUnlocked,
    /// arena: pages are marked as asked for, the kernel is not asked yet.
    SlotAsked,
    /// arena: pages have memory, which is not noted yet.
    SlotBacked,
    /// arena: the memory of slots is there and zero, they are not yet marked as taken.
    SlotReady,
    /// arena: slots are marked as taken, the holder's row not yet.
    SlotTaken,
    /// arena: the holder's row says so, the call has not returned.
    SlotHeld,
    /// arena: the holder's row is cleared, the slot not yet free.
    SlotDropped,
    /// arena: the head of a run is free, the other slots are not yet.
    SlotHeadFreed,
    /// arena: the slots are free and say that they have no memory, which is not given back yet.
    SlotBare,
    /// event: a waiter has marked the word and does not sleep yet.
    EventMarked,
    /// event: it is set, waiters are not woken.
    EventSet,
    /// named shared memory: it is whole and has no name yet.
    SharedMemoryFilled,
    /// named shared memory: it has its name, the call has not returned.
    SharedMemoryNamed,
    /// rwlock: a reader is counted and has not looked whether there is a writer.
    ReaderCounted,
    /// rwlock: a reader behind a writer has the lock and is counted.
    ReaderPlaced,
    /// rwlock: a reader is counted off, the writer that waits for it was not woken.
    ReaderLeft,
    /// rwlock: a writer has the lock and is about to sleep until the readers have left.
    WriterWaits,
    /// rwlock: a writer may change what is guarded.
    WriterIn,
    /// rwlock: a writer has said that it changes nothing more, and has the lock.
    WriterOut,
    /// rwlock: a writer's death is noted, by one that has its lock.
    WriterPoisoned,
    /// semaphore: a waiter has counted itself and does not sleep yet.
    SemaphorePrepared,
    /// semaphore: the sum says that this process owns a permit, the ledger does not.
    SemaphoreTaken,
    /// semaphore: a permit that nobody owns was just taken.
    SemaphoreTakenBare,
    /// semaphore: the ledger says that this process owns a permit less, the sum does not.
    SemaphoreDisowned,
    /// semaphore: the permits are there, sleepers are not woken yet.
    SemaphoreGiven,
    /// semaphore: the death of an owner is noted, its permits are not back.
    SemaphoreNoted,
    /// semaphore: the ledger is rid of a dead owner, the sum is not.
    SemaphoreReclaimed,

    // layout/queue/ends.rs
    /// channel: the process's copy of an end is closed, nobody was told.
    EndClosed,
    /// channel: the closed end is counted, nobody was woken.
    EndCounted,
    /// channel: sleepers of one side were woken, not those of the other.
    EndHalfNotified,
    // layout/queue/side.rs
    /// readiness: the descriptor is set, the word does not say so.
    ReadinessSetting,
    /// readiness: set, what it is set for is not committed.
    ReadinessSet,
    /// readiness: the word says clear, the descriptor is set.
    ReadinessClearing,
    /// readiness: clear, the lock still held.
    ReadinessClear,
    // layout/queue/readiness.rs
    /// readiness: the other side knows that it is polled, its own side does not.
    ReadinessHalfAsked,
    /// readiness: after a put, between the looks that decide whether room is to be cleared.
    ReadinessRoomSeen,
    /// readiness: to be cleared, and left to the holder of the lock.
    ReadinessClearLeft,
    // layout/queue/shutdown.rs
    /// shutdown: no message is put any more, the consumers' side does not know.
    ShutDownHalf,
    /// shutdown: the messages are thrown away, their blocks and descriptors not yet free.
    ShutDownThrown,
    // layout/queue/put_many.rs
    /// put_many: one block belongs to its message, others do not yet, nothing is committed.
    PutSomeQueued,
    // layout/queue/batch.rs
    /// get_many: the head has moved, one block is marked as held by this process, others are not yet.
    GetSomeHeld,
    // layout/queue/joining.rs
    /// get of a joinable queue: this process's tally is prepared, the head not moved.
    GetTallied,
    /// task_done: this process's tally is prepared, the task not counted.
    TaskTallied,
    /// task_done: waiters in join were woken, the task is not counted.
    TaskNotified,
    /// task_done: the task is counted, the lock still held.
    TaskCommitted,
    /// joining: the row of a dead process is nobody's and not yet this one's.
    TaskRowCleared,
    /// joining: the tasks of a dead process are noted as lost and not yet counted as done.
    TaskLossNoted,
    // pipe
    /// pipe, send: the frame's bytes are written, its header is not.
    PipeHalfWritten,
    /// pipe, send: the datagram with the message's descriptors is sent, the frame not committed.
    PipeHandlesSent,
    /// pipe, readiness: the descriptor is set, its word does not say so.
    PipeReadinessSetting,
    /// pipe, send: the readiness is set for a selector, the frame not committed.
    PipeReadinessSet,
    /// pipe, readiness: its word says that nobody knows, the descriptor is set.
    PipeReadinessClearing,
    /// pipe, readiness: clear, the turn to send not yet given back.
    PipeReadinessClear,
    /// pipe, send: the frame is complete and not committed.
    PipeWritten,
    /// pipe, send: the frame is committed, the tail still before it.
    PipeCommitted,
    /// pipe, send: the tail has moved, nobody was woken.
    PipeTailMoved,
    /// pipe, send: sleepers are noted as woken and are not.
    PipeSleepersTaken,
    /// pipe, send: about to sleep until there is room.
    PipeFull,
    /// pipe, receive: a frame is copied, the head not moved.
    PipeCopied,
    /// pipe, receive: the head has moved; datagram, senders and readiness are as they were.
    PipeHeadMoved,
    /// pipe, receive: prepared, about to look once more and sleep.
    PipeAsleep,
    /// pipe, receive: prepared, about to sleep until a sender gives its turn back.
    PipeAsleepHere,
    /// pipe, receive: prepared, about to sleep until the message goes on.
    PipeMidway,
    /// pipe, selectors: the readiness is set for each message from now on; those before were not looked at.
    PipePolled,
    /// pipe, selectors: the readiness is set whatever there is.
    PipePolledSet,
}

macro_rules! kill_point {
    ($name:ident) => {
        #[cfg(feature = "kill-points")]
        $crate::sync::kill_point::reached($crate::sync::kill_point::KillPoint::$name);
    };
}
pub(crate) use kill_point;

#[cfg(feature = "kill-points")]
mod armed {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use super::KillPoint;
    use crate::sys::identity;

    /// Low half: the point's number plus one, 0 for none; high half: how many times it is still to be passed.
    static ARMED: AtomicU64 = AtomicU64::new(0);

    /// Whether the process is to stop there instead of dying.
    static STOPS: AtomicBool = AtomicBool::new(false);

    /// From now on this process dies by SIGKILL when it reaches `point` for the `nth` time, counted from 1.
    pub fn arm(point: KillPoint, nth: u32) {
        STOPS.store(false, Ordering::SeqCst);
        ARMED.store(u64::from(nth) << 32 | (point as u64 + 1), Ordering::SeqCst);
    }

    /// As [`arm`], but the process stops there, by SIGSTOP, and goes on when it is continued; later passages do
    /// nothing.
    pub fn arm_stop(point: KillPoint, nth: u32) {
        arm(point, nth);
        STOPS.store(true, Ordering::SeqCst);
    }

    pub(crate) fn reached(point: KillPoint) {
        let armed = ARMED.load(Ordering::Relaxed);
        if armed & 0xffff_ffff == point as u64 + 1 {
            let before = ARMED.fetch_sub(1 << 32, Ordering::SeqCst);
            if before >> 32 <= 1 {
                if !STOPS.load(Ordering::SeqCst) {
                    identity::die();
                }
                ARMED.store(0, Ordering::SeqCst);
                identity::stop();
            }
        }
    }
}
#[cfg(feature = "kill-points")]
pub(crate) use armed::reached;
#[cfg(feature = "kill-points")]
pub use armed::{arm, arm_stop};
