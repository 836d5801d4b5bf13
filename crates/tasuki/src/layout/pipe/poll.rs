//! For those who wait for several things at once: a look, a sleep announced, and a descriptor for selectors.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use super::receive::Looked;
use super::ring::{Direction, FIRST, RUNG};
use super::{Ended, PipeEnd, Turn};
use crate::error::Error;
use crate::sync::{GaveUp, Wait, kill_point};
use crate::sys::epoll::Readiness;
use crate::sys::fork;

/// What the end of a wait for several things depends on.
#[derive(Debug)]
pub(crate) enum Armed<'a> {
    /// A receive would not block.
    Ready,
    /// Sleep until this one is readable, then ask again; a slice at most.
    Sleep(BorrowedFd<'a>),
}

/// The descriptor for selectors, once somebody asked for it.
#[derive(Debug, Default)]
pub(super) struct Selector {
    watch: AtomicPtr<Watch>,
}

#[derive(Debug)]
struct Watch {
    /// The fork epoch it belongs to: a child shares its parent's descriptors, and makes its own.
    epoch: u64,
    readiness: Readiness,
    /// Messages without a datagram wait.
    raised: AtomicBool,
}

impl Selector {
    #[inline]
    fn get(&self) -> Option<&Watch> {
        // SAFETY: null, or from `Box::into_raw` in `set`, and freed only where `self` ends or a forked child, which has no
        // other thread that knows it, replaces it.
        let watch = unsafe { self.watch.load(Ordering::Acquire).as_ref() }?;
        (watch.epoch == fork::epoch()).then_some(watch)
    }

    /// The caller has the turn to receive, and `get` gave None.
    fn set(&self, _turn: &Turn<'_>, readiness: Readiness) -> Result<&Watch, Error> {
        let older = self.watch.load(Ordering::Acquire);
        let readiness = if older.is_null() {
            readiness
        } else {
            // SAFETY: from `Box::into_raw`, and its epoch is over: no thread of this process has a reference, since `get`
            // gives none out. The turn keeps others from being here.
            let older = unsafe { Box::from_raw(older) };
            self.watch.store(std::ptr::null_mut(), Ordering::Release);
            readiness
                .in_place_of(older.readiness)
                .map_err(|e| Error::os("replace a descriptor for selectors", e))?
        };
        let watch = Watch { epoch: fork::epoch(), readiness, raised: AtomicBool::new(false) };
        let watch = Box::into_raw(Box::new(watch));
        self.watch.store(watch, Ordering::Release);
        // SAFETY: just made, and kept as long as `self`.
        Ok(unsafe { &*watch })
    }
}

impl Drop for Selector {
    fn drop(&mut self) {
        let watch = *self.watch.get_mut();
        if !watch.is_null() {
            // SAFETY: from `Box::into_raw`, and nobody else has `self`.
            drop(unsafe { Box::from_raw(watch) });
        }
    }
}

impl PipeEnd {
    /// Whether a receive would not block: there is a message, or the end.
    pub(crate) fn is_ready(&self) -> Result<bool, Ended> {
        self.wait_ready(&mut Wait::now())
    }

    /// Waits until a receive would not block; false: not within the time.
    pub(crate) fn wait_ready(&self, wait: &mut Wait<'_>) -> Result<bool, Ended> {
        let direction = self.incoming()?;
        loop {
            let found = match direction.has_frame() {
                true => Ok(()),
                false => self.wait_for_frame(direction, wait),
            };
            match found.and_then(|()| self.has_message(direction, wait)) {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(Ended::Disconnected) => return Ok(true),
                Err(Ended::GaveUp(GaveUp::TimedOut)) => return Ok(false),
                Err(why) => return Err(why),
            }
        }
    }

    /// Whether what is at the head is for a receiver, now that there is a frame.
    fn has_message(&self, direction: Direction<'_>, wait: &mut Wait<'_>) -> Result<bool, Ended> {
        match direction.frame_at(direction.head()) {
            Ok(Some(frame)) if frame.is(FIRST) => return Ok(true),
            _ => {}
        }
        // A later frame: somebody receives the message now, or it has no begin and is passed over.
        let turn = Turn::to_receive(direction, &self.turns, wait)?;
        Ok(self.look_with_turn(direction, &turn)? == Looked::Message)
    }

    /// Prepares a sleep on other things, too: from now on a message makes the descriptor readable, until one looks again.
    pub(crate) fn arm(&self) -> Result<Armed<'_>, Ended> {
        let direction = self.incoming()?;
        // Whoever has the turn drops what is stale.
        if let Ok(turn) = Turn::to_receive(direction, &self.turns, &mut Wait::now()) {
            self.drop_stale(direction, &turn, &mut Wait::forever())?;
        }
        direction.words.seldom.bell.announce_asleep();
        kill_point!(PipeAsleep);
        Ok(if self.is_ready()? { Armed::Ready } else { Armed::Sleep(self.socket()) })
    }

    /// A descriptor that is readable exactly if a receive would not block, from now on.
    pub(crate) fn pollable(&self) -> Result<BorrowedFd<'_>, Ended> {
        let Ok(direction) = self.incoming() else { return Ok(self.socket()) };
        if let Some(watch) = self.selector.get() {
            return Ok(watch.readiness.as_fd());
        }
        let turn = Turn::to_receive(direction, &self.turns, &mut Wait::forever())?;
        if let Some(watch) = self.selector.get() {
            return Ok(watch.readiness.as_fd());
        }
        let readiness = Readiness::of(self.socket())
            .map_err(|e| Error::os("make a descriptor for selectors", e))?;
        let watch = self.selector.set(&turn, readiness)?;
        watch.readiness.raise();
        watch.raised.store(true, Ordering::Relaxed);
        direction.words.seldom.bell.set_polled();
        kill_point!(PipePolled);
        self.lower_if_rung(direction, &turn, watch)?;
        Ok(watch.readiness.as_fd())
    }

    /// After a frame was consumed: whether messages without a datagram are left.
    #[inline]
    pub(super) fn note_consumed(
        &self,
        direction: Direction<'_>,
        turn: &Turn<'_>,
    ) -> Result<(), Ended> {
        match self.selector.get() {
            Some(watch) if watch.raised.load(Ordering::Relaxed) => {
                self.lower_if_rung(direction, turn, watch)
            }
            _ => Ok(()),
        }
    }

    /// Lowers the eventfd unless a message waits that has no datagram. Once lowered, all later ones have theirs.
    #[cold]
    fn lower_if_rung(
        &self,
        direction: Direction<'_>,
        turn: &Turn<'_>,
        watch: &Watch,
    ) -> Result<(), Ended> {
        loop {
            if let Some(frame) = direction.frame_at(direction.head())? {
                if !frame.is(RUNG) {
                    return Ok(());
                }
                break;
            }
            if let Some(settled) = self.settle(direction, &mut Wait::forever())? {
                drop(settled);
                self.drop_stale(direction, turn, &mut Wait::forever())?;
                if !direction.has_frame() {
                    break;
                }
            }
        }
        watch.readiness.lower();
        watch.raised.store(false, Ordering::Relaxed);
        Ok(())
    }
}
