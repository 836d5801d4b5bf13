//! Turns: the right to send or to receive, one at a time in all processes; and what is done when the one to send ends.

use std::mem::ManuallyDrop;

use super::ring::Direction;
use super::wait_word::Frame;
use crate::error::Error;
use crate::layout::failure::TransportFailure;
use crate::layout::lock::{Acquired, LockView};
use crate::sync::atomic::{Ordering, fence};
use crate::sync::{Spin, Wait};
use crate::sys::fork;

/// The right to send or to receive; given back when dropped.
pub(super) struct Turn<'a> {
    lock: LockView<'a>,
    direction: Direction<'a>,
    sends: bool,
}

/// What became of the wish that the readiness says what the ring does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resynced {
    /// It does.
    Now,
    /// It will when the turn to send is given back, by its owner. Until then it is set, or no message is there.
    BySender,
}

impl<'a> Turn<'a> {
    /// The turn to receive. There is nothing to repair after a death: see the table in README.md.
    #[inline]
    pub(super) fn to_receive(
        direction: Direction<'a>,
        spin: &'a Spin,
        wait: &mut Wait<'_>,
    ) -> Result<Turn<'a>, TransportFailure> {
        Turn::take(direction, direction.receiving(spin), false, wait)
    }

    /// The turn to send. A sender that died with it may have committed a frame and not moved the tail behind it.
    #[inline]
    pub(super) fn to_send(
        direction: Direction<'a>,
        spin: &'a Spin,
        wait: &mut Wait<'_>,
    ) -> Result<Turn<'a>, TransportFailure> {
        Turn::take(direction, direction.sending(spin), true, wait)
    }

    #[inline]
    fn take(
        direction: Direction<'a>,
        lock: LockView<'a>,
        sends: bool,
        wait: &mut Wait<'_>,
    ) -> Result<Turn<'a>, TransportFailure> {
        if !lock.acquire_fast() {
            Turn::wait_for_lock(direction, lock, sends, wait)?;
        }
        Ok(Turn { lock, direction, sends })
    }

    /// The caller has the turn afterwards.
    #[cold]
    fn wait_for_lock(
        direction: Direction<'a>,
        lock: LockView<'a>,
        sends: bool,
        wait: &mut Wait<'_>,
    ) -> Result<(), TransportFailure> {
        Turn::is_not_mine(lock, sends)?;
        let acquired = lock.acquire(wait)?;
        // It is made anew where it is used: one that came from a call would have to be in memory.
        Turn::taken(direction, lock, sends, acquired).map(std::mem::forget)
    }

    /// An error if the caller would wait for itself: it is a signal handler, or whatever else `while_others_run` lets
    /// run.
    pub(super) fn is_not_mine(lock: LockView<'_>, sends: bool) -> Result<(), TransportFailure> {
        if !lock.is_mine()? {
            return Ok(());
        }
        let doing = if sends { "sending on" } else { "receiving from" };
        Err(Error::Reentrant(format!(
            "this thread is {doing} this end of the pipe already, and what interrupted that would wait for it"
        ))
        .into())
    }

    fn taken(
        direction: Direction<'a>,
        lock: LockView<'a>,
        sends: bool,
        acquired: Acquired,
    ) -> Result<Turn<'a>, TransportFailure> {
        let turn = Turn { lock, direction, sends };
        if let Acquired::OwnerDied(_) = acquired {
            if sends {
                // As long as it fails, it is tried by each that takes the turn.
                direction.find_tail()?;
            }
            lock.clear_poison();
        }
        Ok(turn)
    }

    /// The turn to send if nobody alive has it; else its owner is going to resync the readiness.
    fn to_send_or_told(
        direction: Direction<'a>,
        spin: &'a Spin,
    ) -> Result<Option<Turn<'a>>, TransportFailure> {
        /// About as long as a small message is written.
        const MOMENT: u32 = 16;
        let lock = direction.sending(spin);
        for _ in 0..MOMENT {
            if lock.acquire_fast() {
                return Ok(Some(Turn { lock, direction, sends: true }));
            }
            std::hint::spin_loop();
        }
        match lock.acquire_or_mark()? {
            Some(acquired) => Turn::taken(direction, lock, true, acquired).map(Some),
            None => Ok(None),
        }
    }

    /// Runs a wait in which a caller's own code may run, a signal handler: if that wants the same turn, it gets an
    /// error. If that forks, the turn is the parent's: it is not noted here that its wait is over, nor given back when
    /// this is dropped.
    pub(super) fn while_others_run<R>(&self, wait: impl FnOnce() -> R) -> R {
        let epoch = fork::epoch();
        self.lock.note_thread(true);
        let result = wait();
        if fork::epoch() == epoch {
            self.lock.note_thread(false);
        }
        result
    }

    /// Others wait for the turn to send, or found the ring empty while it was taken. Of those that poll with edges some
    /// may have heard of a message before it was there.
    #[cold]
    fn sender_was_awaited(direction: Direction<'a>, spin: &'a Spin) {
        let seldom = &direction.words.seldom;
        loop {
            // SYNC: with the mark in `acquire_or_mark`: the process that set it prepared before, and has moved the
            // head.
            fence(Ordering::SeqCst);
            seldom.waiters.notify_here();
            if !seldom.waiters.is_polled() {
                return;
            }
            // An error: what is wrong with the pipe, the next call tells.
            let Ok(Some(turn)) = Turn::to_send_or_told(direction, spin) else { return };
            turn.resync();
            if !ManuallyDrop::new(turn).lock.release_telling() {
                return;
            }
        }
    }

    /// Makes the readiness say what the ring does. This is the turn to send.
    fn resync(&self) {
        let direction = self.direction;
        let seldom = &direction.words.seldom;
        seldom.readiness.resync(&seldom.waiters, || direction.has_frame(), &direction);
    }
}

impl Drop for Turn<'_> {
    #[inline]
    fn drop(&mut self) {
        let awaited = self.lock.release_telling();
        if awaited && self.sends {
            Turn::sender_was_awaited(self.direction, self.lock.spin);
        }
    }
}

impl<'a> Direction<'a> {
    /// Makes the readiness say what the ring does, without waiting for anybody.
    #[cold]
    pub(super) fn resync(self, spin: &'a Spin) -> Result<Resynced, TransportFailure> {
        match Turn::to_send_or_told(self, spin)? {
            Some(turn) => {
                turn.resync();
                Ok(Resynced::Now)
            }
            None => Ok(Resynced::BySender),
        }
    }

    /// After a commit, by the sender that has given the turn to send back.
    #[inline]
    pub(super) fn wake_without_turn(self, spin: &'a Spin) {
        let seldom = &self.words.seldom;
        if seldom.waiters.take(Frame::First).0 {
            crate::sync::kill_point!(PipeSleepersTaken);
            seldom.readiness.set_without_turn(&self);
            // SYNC: with the fetch_or in `set_polled`: either this sees it, or the process that begins to poll resyncs
            // after that write.
            if seldom.waiters.is_polled() {
                let _ = self.resync(spin); // what is wrong with the pipe, the next call tells
            }
        }
    }

    /// After a commit, by the sender with the turn to send.
    #[inline]
    pub(super) fn wake(self, what: Frame) {
        let seldom = &self.words.seldom;
        if seldom.waiters.take(what).0 {
            crate::sync::kill_point!(PipeSleepersTaken);
            seldom.readiness.set(&self);
        }
    }
}
