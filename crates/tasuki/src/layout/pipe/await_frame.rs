//! A receiver waits until there may be a frame, or the end: asleep on the socket and the eventfd, or on the wait word
//! while a sender is at work.

use std::os::fd::AsFd as _;
use std::time::Duration;

use super::PipeEnd;
use super::ring::Direction;
use super::turn::{Resynced, Turn};
use crate::error::Error;
use crate::layout::failure::TransportFailure;
use crate::sync::atomic::Ordering;
use crate::sync::{GaveUp, Wait, kill_point};
use crate::sys::socket_pair::{self, State};

impl PipeEnd {
    /// Sleeps until there may be a frame; Disconnected: there never will be one.
    #[cold]
    pub(super) fn wait_for_frame(
        &self,
        direction: Direction<'_>,
        wait: &mut Wait<'_>,
    ) -> Result<(), TransportFailure> {
        if !wait.is_now() && self.messages.until_answered(|| direction.has_frame()) {
            return Ok(());
        }
        loop {
            if wait.is_now() {
                return self.look_for_frame(direction);
            }
            // In the middle of a message that this very call interrupted.
            Turn::is_not_mine(direction.receiving(&self.turns), false)?;
            self.drop_void(direction)?;
            let seldom = &direction.words.seldom;
            let is_set = self.seems_set.load(Ordering::Relaxed) || seldom.readiness.may_be_set();
            let busy = is_set && self.resync_incoming(direction)? == Resynced::BySender;
            let slept = match busy {
                false => self.sleep_on_eventfd(direction, wait),
                true => self.sleep_until_given_back(direction, wait),
            };
            match slept {
                // However short the time was: it may not have been enough for a look at the socket.
                Err(TransportFailure::GaveUp(GaveUp::TimedOut)) => {
                    return self.look_for_frame(direction);
                }
                other => other?,
            }
            if direction.has_frame() {
                return Ok(());
            }
        }
    }

    /// Sleeps until there may be a frame, or the end. The readiness may be set nevertheless, for nothing.
    fn sleep_on_eventfd(
        &self,
        direction: Direction<'_>,
        wait: &mut Wait<'_>,
    ) -> Result<(), TransportFailure> {
        if self.descriptors.made().is_none() {
            // A receiver that has come to the end needs none.
            self.end_if_gone(direction, State { gone: self.is_gone()?, readable: false })?;
        }
        // Before it says so: an eventfd that nobody has made, nobody sets.
        self.made()?;
        direction.words.seldom.waiters.prepare_asleep();
        kill_point!(PipeAsleep);
        if direction.has_frame() {
            return Ok(());
        }
        let state = self.end_or_readiness(direction, wait.slice()?)?;
        self.end_if_gone(direction, state)?;
        // Without a frame, it was set for another's message, or by one that was killed. With one, it is resynced before
        // the next sleep.
        self.seems_set.store(state.readable, Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn resync_incoming(
        &self,
        direction: Direction<'_>,
    ) -> Result<Resynced, TransportFailure> {
        let resynced = direction.resync(&self.turns)?;
        if resynced == Resynced::Now {
            self.seems_set.store(false, Ordering::Relaxed);
        }
        Ok(resynced)
    }

    /// A sender is at work, and the readiness set: what it commits wakes here, and so does its end.
    #[cold]
    fn sleep_until_given_back(
        &self,
        direction: Direction<'_>,
        wait: &mut Wait<'_>,
    ) -> Result<(), TransportFailure> {
        let waiters = &direction.words.seldom.waiters;
        let prepared = waiters.prepare_here();
        kill_point!(PipeAsleepHere);
        // Marked after `prepare_here`: the process that gives the turn back sees it.
        if self.resync_incoming(direction)? == Resynced::Now || direction.has_frame() {
            return Ok(());
        }
        Ok(waiters.wait_here(prepared, wait)?)
    }

    /// What the socket and the eventfd say, at most `time` from now.
    fn end_or_readiness(
        &self,
        direction: Direction<'_>,
        time: Duration,
    ) -> Result<State, TransportFailure> {
        if time.is_zero() && self.descriptors.made().is_none() {
            return Ok(State { gone: self.is_gone()?, readable: false });
        }
        let made = self.made()?;
        Ok(socket_pair::sleep(made.socket(), direction.eventfd_of(made).as_fd(), time)
            .map_err(|error| Error::os("sleep on a socket", error))?)
    }

    /// Disconnected: nobody has the other end, and there is no frame. All commits come before the end, so the ring is
    /// looked at after the socket.
    fn end_if_gone(&self, direction: Direction<'_>, state: State) -> Result<(), TransportFailure> {
        if state.gone && !direction.has_frame() {
            return Err(TransportFailure::Disconnected(None));
        }
        Ok(())
    }

    /// Whether there is a frame now.
    fn look_for_frame(&self, direction: Direction<'_>) -> Result<(), TransportFailure> {
        self.drop_void(direction)?;
        let state = self.end_or_readiness(direction, Duration::ZERO)?;
        self.end_if_gone(direction, state)?;
        self.seems_set.store(state.readable, Ordering::Relaxed);
        if !direction.has_frame() && state.readable {
            self.resync_incoming(direction)?;
        }
        match direction.has_frame() {
            true => Ok(()),
            false => Err(GaveUp::TimedOut.into()),
        }
    }

    /// A sender found the socket full and there is no frame: drops the datagrams of senders that died before they
    /// committed.
    #[inline]
    fn drop_void(&self, direction: Direction<'_>) -> Result<(), TransportFailure> {
        match direction.words.seldom.waiters.is_crowded() {
            true => self.drop_void_datagrams(direction),
            false => Ok(()),
        }
    }

    #[cold]
    fn drop_void_datagrams(&self, direction: Direction<'_>) -> Result<(), TransportFailure> {
        let words = direction.words;
        let _turn = match Turn::to_receive(direction, &self.turns, &mut Wait::now()) {
            Ok(turn) => turn,
            Err(TransportFailure::GaveUp(_)) => return Ok(()), // the process that has it finds the ring empty later
            Err(why) => return Err(why),
        };
        words.seldom.waiters.clear_crowded();
        let socket = self.socket()?;
        let mut dropped = false;
        while let Some(label) = socket_pair::first(socket) {
            // The datagram first, then the attempt that is under way, then the ring: its own frame may have come
            // meanwhile. SYNC: Acquire, with the store in `send_descriptors`.
            let attempt = words.sender.attempt.load(Ordering::Acquire);
            if label.attempt == attempt || direction.has_frame() {
                break;
            }
            socket_pair::drop_first(socket);
            dropped = true;
        }
        if dropped {
            words.room.0.notify_here();
        }
        Ok(())
    }
}
