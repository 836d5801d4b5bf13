//! A message of several frames: received as they come, and kept by this process when its receiver gives up in between.

use std::os::fd::OwnedFd;
use std::ptr;
use std::sync::atomic::AtomicPtr;

use super::ring::{Direction, FIRST, Frame, LAST};
use super::turn::Turn;
use super::{PipeEnd, corrupt};
use crate::error::Error;
use crate::layout::failure::TransportFailure;
use crate::sync::atomic::{Ordering, fence};
use crate::sync::{Wait, kill_point};
use crate::sys::fork;

/// A message's memory is taken at once up to this length; beyond, it grows with what came.
const BELIEVED: u64 = 1 << 20;

/// A message of which some frames were received.
#[derive(Debug)]
pub(super) struct Midway {
    codec: u16,
    /// How long it is to be.
    total: u64,
    /// Where its next frame begins.
    pub(super) next: u64,
    bytes: Vec<u8>,
    fds: Vec<OwnedFd>,
}

/// What a receiver that gave up in the middle of a message has of it: the next one goes on with that.
///
/// Callers have the turn to receive. But that is a word that a broken peer can change, so this does not rely on it:
/// what is taken is taken once, and what is put in the place of another drops that one.
#[derive(Debug, Default)]
pub(super) struct Unfinished(AtomicPtr<Kept>);

#[derive(Debug)]
struct Kept {
    message: Box<Midway>,
    /// The fork epoch it belongs to. Of a child, the message is its parent's.
    epoch: u64,
}

impl Unfinished {
    #[inline]
    pub(super) fn take(&self, _turn: &Turn<'_>) -> Option<Box<Midway>> {
        if self.exists() { self.exchange(None) } else { None }
    }

    pub(super) fn put(&self, _turn: &Turn<'_>, message: Box<Midway>) {
        drop(self.exchange(Some(Box::new(Kept { message, epoch: fork::epoch() }))));
    }

    #[cold]
    fn exchange(&self, new: Option<Box<Kept>>) -> Option<Box<Midway>> {
        let new = new.map_or(ptr::null_mut(), Box::into_raw);
        // SYNC: AcqRel, with itself in another thread: the message is whole.
        let old = self.0.swap(new, Ordering::AcqRel);
        if old.is_null() {
            return None;
        }
        // SAFETY: from `Box::into_raw` above, and the thread that takes a pointer out is the only one that has it. In a
        // forked child it is the child's copy, whole since it was before it was put here.
        let Kept { message, epoch } = *unsafe { Box::from_raw(old) };
        (epoch == fork::epoch()).then_some(message)
    }

    pub(super) fn exists(&self) -> bool {
        !self.0.load(Ordering::Relaxed).is_null()
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        drop(self.exchange(None));
    }
}

/// What a look at the ring found.
pub(super) enum Step {
    /// A whole message is in the caller's hands.
    Done(u16),
    /// Nothing, or nothing any more.
    Nothing,
}

impl PipeEnd {
    /// The first frame of several, or one whose begin nobody has.
    #[cold]
    #[allow(clippy::too_many_arguments)]
    pub(super) fn begin(
        &self,
        direction: Direction<'_>,
        turn: &Turn<'_>,
        frame: Frame,
        out: &mut Vec<u8>,
        fds: &mut Vec<OwnedFd>,
        limit: usize,
        wait: &mut Wait<'_>,
    ) -> Result<Step, TransportFailure> {
        if !frame.is(FIRST) {
            self.consume(direction, turn, frame);
            return Ok(Step::Nothing);
        }
        let total = direction.first_word(frame);
        let mut midway = Box::new(Midway {
            codec: frame.codec,
            total,
            next: frame.end(),
            bytes: std::mem::take(out),
            fds: Vec::new(),
        });
        let begun = check_limit(total, limit).and_then(|()| {
            if frame.handles() > 0 {
                midway.fds = self.descriptors(frame)?;
            }
            let believed = total.min(BELIEVED) as usize;
            midway.bytes.try_reserve(believed).map_err(|_| out_of_memory(total))?;
            direction.read(frame, size_of::<u64>(), &mut midway.bytes);
            self.consume(direction, turn, frame);
            Ok(())
        });
        if let Err(why) = begun {
            *out = midway.bytes;
            out.clear();
            return Err(why);
        }
        self.go_on(direction, turn, midway, out, fds, limit, wait)
    }

    /// The other frames of a message, as they come.
    #[cold]
    #[allow(clippy::too_many_arguments)]
    pub(super) fn go_on(
        &self,
        direction: Direction<'_>,
        turn: &Turn<'_>,
        mut midway: Box<Midway>,
        out: &mut Vec<u8>,
        fds: &mut Vec<OwnedFd>,
        limit: usize,
        wait: &mut Wait<'_>,
    ) -> Result<Step, TransportFailure> {
        if let Err(why) = check_limit(midway.total, limit) {
            self.unfinished.put(turn, midway);
            return Err(why);
        }
        if direction.head() != midway.next {
            return Ok(Step::Nothing); // another process received meanwhile
        }
        loop {
            let frame = match direction.frame_at(midway.next)? {
                Some(frame) if frame.is(FIRST) => return Ok(Step::Nothing), // torn
                Some(frame) => frame,
                None => match self.wait_midway(direction, turn, midway.next, wait) {
                    Ok(true) => continue,
                    Ok(false) => return Ok(Step::Nothing),
                    // Of a child that was forked in the wait, neither the message nor the turn.
                    Err(why) if wait.has_forked() => return Err(why),
                    Err(why) => {
                        self.unfinished.put(turn, midway);
                        if direction.words.seldom.waiters.is_polled() {
                            // The sender tells when it is done; when it waits for room, it does anyway.
                            let _ = direction.resync(&self.turns);
                        }
                        return Err(why);
                    }
                },
            };
            let length = midway.bytes.len() as u64 + frame.len as u64;
            if length > midway.total || (length == midway.total) != frame.is(LAST) {
                return Err(corrupt("a message is not as long as it said"));
            }
            if midway.bytes.try_reserve(frame.len).is_err() {
                return Err(out_of_memory(midway.total)); // the rest is passed over
            }
            direction.read(frame, 0, &mut midway.bytes);
            self.consume(direction, turn, frame);
            midway.next = frame.end();
            if frame.is(LAST) {
                *out = midway.bytes;
                *fds = midway.fds;
                return Ok(Step::Done(midway.codec));
            }
        }
    }

    /// Waits for the next frame of a message; false: it is torn.
    #[cold]
    fn wait_midway(
        &self,
        direction: Direction<'_>,
        turn: &Turn<'_>,
        next: u64,
        wait: &mut Wait<'_>,
    ) -> Result<bool, TransportFailure> {
        let came = || !matches!(direction.frame_at(next), Ok(None));
        // A caller without time does not look for long either: others may wait for it.
        if came() || (!wait.is_now() && self.messages.until(came)) {
            return Ok(true);
        }
        let sending = direction.sending(&self.turns);
        let waiters = &direction.words.seldom.waiters;
        loop {
            let prepared = waiters.prepare_here();
            kill_point!(PipeMidway);
            // SYNC: with the fence in `send`: either this sees the turn free, or that wakes the waiter, which has
            // prepared.
            fence(Ordering::SeqCst);
            // The sender first: a sender that gave the turn back has committed all that it ever will.
            let nobody_sends = !sending.is_locked() || sending.owner_is_dead() || self.is_gone()?;
            // SYNC: with the release of the turn: its frames are seen.
            fence(Ordering::Acquire);
            if came() {
                return Ok(true);
            }
            if nobody_sends {
                return Ok(false);
            }
            turn.while_others_run(|| waiters.wait_here(prepared, wait))?;
        }
    }
}

#[inline]
pub(super) fn check_limit(total: u64, limit: usize) -> Result<(), TransportFailure> {
    if total <= limit as u64 {
        return Ok(());
    }
    Err(too_long(total, limit))
}

#[cold]
fn too_long(total: u64, limit: usize) -> TransportFailure {
    Error::Limit(format!(
        "the next message has {total} bytes, more than the {limit} that the caller takes"
    ))
    .into()
}

#[cold]
fn out_of_memory(total: u64) -> TransportFailure {
    Error::Limit(format!("a message of {total} bytes does not fit in memory")).into()
}
