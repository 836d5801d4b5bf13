//! The receiving side: copy out, give the room back, wait for what is not there yet.

use std::cell::UnsafeCell;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64 as Private64};

use super::ring::{Direction, FIRST, Frame, LAST, RUNG};
use super::{Ended, PipeEnd, Turn, corrupt};
use crate::error::Error;
use crate::sync::atomic::{Ordering, fence};
use crate::sync::{GaveUp, Wait, kill_point};
use crate::sys::fork;
use crate::sys::socket_pair::{self, Label};

/// A message's memory is taken at once up to this length; beyond, it grows with what came.
const BELIEVED: u64 = 1 << 20;

/// A message of which some frames were received.
#[derive(Debug)]
struct Midway {
    codec: u16,
    /// How long it is to be.
    total: u64,
    /// Where its next frame begins.
    next: u64,
    bytes: Vec<u8>,
    fds: Vec<OwnedFd>,
}

/// What a receiver that gave up in the middle of a message has of it: the next one goes on with that.
#[derive(Debug, Default)]
pub(super) struct Unfinished {
    message: UnsafeCell<Option<Box<Midway>>>,
    /// The fork epoch it belongs to. A child has a copy that may be torn, since the parent's threads go on.
    epoch: Private64,
    /// Whether there is one: a hint for who has no turn.
    exists: AtomicBool,
}

// SAFETY: the message is reached only through `take` and `put`, whose callers have the turn to receive.
unsafe impl Sync for Unfinished {}

impl Unfinished {
    fn take(&self, _turn: &Turn<'_>) -> Option<Box<Midway>> {
        // SAFETY: the turn is held, of which there is one at a time in all processes; nobody else is here.
        let message = unsafe { &mut *self.message.get() };
        if self.epoch.load(Ordering::Relaxed) != fork::epoch() {
            std::mem::forget(message.take());
        }
        self.exists.store(false, Ordering::Relaxed);
        message.take()
    }

    fn put(&self, _turn: &Turn<'_>, midway: Box<Midway>) {
        // SAFETY: as in `take`; which every receive called before, so what is overwritten is None.
        unsafe { *self.message.get() = Some(midway) };
        self.epoch.store(fork::epoch(), Ordering::Relaxed);
        self.exists.store(true, Ordering::Relaxed);
    }

    fn exists(&self) -> bool {
        self.exists.load(Ordering::Relaxed)
    }
}

/// What waits at the head, for who only looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looked {
    /// A message, or the rest of one that was begun here.
    Message,
    Nothing,
}

/// What a look at the ring found.
enum Step {
    /// A whole message is in the caller's hands.
    Done(u16),
    /// Nothing, or nothing any more.
    Nothing,
}

impl PipeEnd {
    /// Receives a message, waiting for one as long as `wait` says, and returns what its bytes mean. `out` is emptied first,
    /// `fds` comes empty. A message of more than `limit` bytes stays where it is and is an error.
    #[inline]
    pub(crate) fn receive(
        &self,
        out: &mut Vec<u8>,
        fds: &mut Vec<OwnedFd>,
        limit: usize,
        wait: &mut Wait<'_>,
    ) -> Result<u16, Ended> {
        out.clear();
        let direction = self.incoming()?;
        loop {
            // Who is in the middle of a message sleeps where its sender wakes, which is not where one waits for the begin of one.
            if !direction.has_frame() && !self.unfinished.exists() {
                self.wait_for_frame(direction, wait)?;
            }
            let turn = Turn::to_receive(direction, &self.turns, wait)?;
            if let Step::Done(codec) =
                self.receive_with_turn(direction, &turn, out, fds, limit, wait)?
            {
                return Ok(codec);
            }
        }
    }

    #[inline]
    fn receive_with_turn(
        &self,
        direction: Direction<'_>,
        turn: &Turn<'_>,
        out: &mut Vec<u8>,
        fds: &mut Vec<OwnedFd>,
        limit: usize,
        wait: &mut Wait<'_>,
    ) -> Result<Step, Ended> {
        let head = direction.head();
        let midway = self.unfinished.take(turn);
        let Some(frame) = direction.frame_at(head)? else {
            let Some(midway) = midway else { return Ok(Step::Nothing) };
            return self.go_on(direction, turn, midway, out, fds, limit, wait);
        };
        if frame.is(FIRST) && frame.is(LAST) {
            // What was begun before is torn: it ends without its last frame.
            drop(midway);
            check_limit(frame.len as u64, limit)?;
            if frame.handles() > 0 {
                *fds = self.descriptors(direction, &frame)?;
            }
            direction.read(&frame, 0, out);
            self.consume(direction, turn, &frame)?;
            return Ok(Step::Done(frame.codec));
        }
        match midway {
            Some(midway) if midway.next == head && !frame.is(FIRST) => {
                self.go_on(direction, turn, midway, out, fds, limit, wait)
            }
            _ => self.begin(direction, turn, frame, out, fds, limit, wait),
        }
    }

    /// The first frame of several, or one whose begin nobody has.
    #[cold]
    #[allow(clippy::too_many_arguments)]
    fn begin(
        &self,
        direction: Direction<'_>,
        turn: &Turn<'_>,
        frame: Frame,
        out: &mut Vec<u8>,
        fds: &mut Vec<OwnedFd>,
        limit: usize,
        wait: &mut Wait<'_>,
    ) -> Result<Step, Ended> {
        if !frame.is(FIRST) {
            self.consume(direction, turn, &frame)?;
            return Ok(Step::Nothing);
        }
        let total = direction.first_word(&frame);
        let mut midway = Box::new(Midway {
            codec: frame.codec,
            total,
            next: frame.end(),
            bytes: std::mem::take(out),
            fds: Vec::new(),
        });
        let begun = check_limit(total, limit).and_then(|()| {
            if frame.handles() > 0 {
                midway.fds = self.descriptors(direction, &frame)?;
            }
            let believed = total.min(BELIEVED) as usize;
            midway.bytes.try_reserve(believed).map_err(|_| out_of_memory(total))?;
            direction.read(&frame, size_of::<u64>(), &mut midway.bytes);
            self.consume(direction, turn, &frame)
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
    fn go_on(
        &self,
        direction: Direction<'_>,
        turn: &Turn<'_>,
        mut midway: Box<Midway>,
        out: &mut Vec<u8>,
        fds: &mut Vec<OwnedFd>,
        limit: usize,
        wait: &mut Wait<'_>,
    ) -> Result<Step, Ended> {
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
                None => match self.wait_midway(direction, midway.next, wait) {
                    Ok(true) => continue,
                    Ok(false) => return Ok(Step::Nothing),
                    Err(why) => {
                        self.unfinished.put(turn, midway);
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
            direction.read(&frame, 0, &mut midway.bytes);
            self.consume(direction, turn, &frame)?;
            midway.next = frame.end();
            if frame.is(LAST) {
                *out = midway.bytes;
                *fds = midway.fds;
                return Ok(Step::Done(midway.codec));
            }
        }
    }

    /// What waits at the head. Frames of a message that has no begin are passed over.
    pub(super) fn look_with_turn(
        &self,
        direction: Direction<'_>,
        turn: &Turn<'_>,
    ) -> Result<Looked, Ended> {
        while let Some(frame) = direction.frame_at(direction.head())? {
            if frame.is(FIRST) {
                return Ok(Looked::Message);
            }
            if let Some(midway) = self.unfinished.take(turn) {
                let goes_on = midway.next == frame.position;
                self.unfinished.put(turn, midway);
                if goes_on {
                    return Ok(Looked::Message);
                }
            }
            self.consume(direction, turn, &frame)?;
        }
        Ok(Looked::Nothing)
    }

    /// Gives the frame's room back, drops its datagram, and wakes senders.
    #[inline]
    fn consume(
        &self,
        direction: Direction<'_>,
        turn: &Turn<'_>,
        frame: &Frame,
    ) -> Result<(), Ended> {
        kill_point!(PipeCopied);
        direction.set_head(frame.end());
        kill_point!(PipeHeadMoved);
        if frame.is(RUNG) {
            self.drop_datagram(direction, frame);
        }
        direction.words.room.0.wake_here();
        self.note_consumed(direction, turn)
    }

    #[cold]
    fn drop_datagram(&self, direction: Direction<'_>, frame: &Frame) {
        let mine = Label { ticket: frame.position, attempt: frame.attempt };
        while let Some(label) = socket_pair::first(self.socket()) {
            if is_later(label, frame.position) {
                break;
            }
            self.drop_first(direction, label);
            if label == mine {
                break;
            }
        }
    }

    /// Drops the first datagram. If it was sent to wake somebody, that one may not have begun to poll: it is announced again,
    /// before there is nothing that wakes it.
    fn drop_first(&self, direction: Direction<'_>, label: Label) {
        if label.attempt == 0 {
            direction.words.seldom.bell.announce_asleep();
        }
        socket_pair::drop_first(self.socket());
    }

    /// Copies of the frame's descriptors; what belongs to messages that never came is closed on the way.
    #[cold]
    fn descriptors(&self, direction: Direction<'_>, frame: &Frame) -> Result<Vec<OwnedFd>, Ended> {
        let failed = |error| Error::os("receive the handles of a message", error);
        let mine = Label { ticket: frame.position, attempt: frame.attempt };
        loop {
            match socket_pair::first(self.socket()) {
                Some(label) if label == mine => {
                    let fds = socket_pair::first_descriptors(self.socket()).map_err(failed)?;
                    if fds.len() == frame.handles() && socket_pair::can_open_as_many(&fds) {
                        return Ok(fds);
                    }
                    // The message stays: close some descriptors and receive it again.
                    return Err(failed(socket_pair::too_many_open_files()).into());
                }
                Some(label) if !is_later(label, frame.position) => {
                    self.drop_first(direction, label);
                }
                _ => return Err(corrupt("the handles of a message are missing")),
            }
        }
    }

    /// Sleeps until there may be a frame; Disconnected: there never will be one.
    #[cold]
    pub(super) fn wait_for_frame(
        &self,
        direction: Direction<'_>,
        wait: &mut Wait<'_>,
    ) -> Result<(), Ended> {
        if !wait.is_now() && self.messages.until_answered(|| direction.has_frame()) {
            return Ok(());
        }
        loop {
            if wait.is_now() {
                return self.look_for_frame(direction);
            }
            self.drop_stale(direction, &Turn::to_receive(direction, &self.turns, wait)?, wait)?;
            direction.words.seldom.bell.announce_asleep();
            kill_point!(PipeAsleep);
            if direction.has_frame() {
                return Ok(());
            }
            let slice = match wait.slice() {
                Ok(slice) => slice,
                Err(_) if direction.has_frame() => return Ok(()),
                Err(why) => return Err(why.into()),
            };
            let state = socket_pair::sleep(self.socket(), slice)
                .map_err(|error| Error::os("sleep on a socket", error))?;
            if direction.has_frame() {
                return Ok(());
            }
            if state.gone {
                return Err(Ended::Disconnected);
            }
        }
    }

    /// Whether there is a frame now. What a selector saw may be there in a moment.
    fn look_for_frame(&self, direction: Direction<'_>) -> Result<(), Ended> {
        let state = socket_pair::state(self.socket())
            .map_err(|error| Error::os("look at a socket", error))?;
        if state.readable && !direction.has_frame() {
            // Busy: another one receives, and drops what is stale.
            if let Ok(turn) = Turn::to_receive(direction, &self.turns, &mut Wait::now()) {
                self.drop_stale(direction, &turn, &mut Wait::forever())?;
            }
        }
        // The ring is looked at again: all commits come before the end.
        match direction.has_frame() {
            true => Ok(()),
            false if state.gone => Err(Ended::Disconnected),
            false => Err(GaveUp::TimedOut.into()),
        }
    }

    /// Drops the datagrams that no frame has, unless there is a frame.
    pub(super) fn drop_stale(
        &self,
        direction: Direction<'_>,
        _turn: &Turn<'_>,
        wait: &mut Wait<'_>,
    ) -> Result<(), Ended> {
        while let Some(label) = socket_pair::first(self.socket()) {
            let head = direction.head();
            // Looked at after the datagram: who sent one for the head commits there next, or is dead.
            if label.ticket == head && label.attempt != 0 {
                let Some(_settled) = self.settle(direction, wait)? else { return Ok(()) };
                socket_pair::drop_first(self.socket());
                continue;
            }
            // As in `drop_first`, and before this look: a message from now on has its own datagram.
            direction.words.seldom.bell.announce_asleep();
            if direction.has_frame() {
                return Ok(());
            }
            socket_pair::drop_first(self.socket());
        }
        Ok(())
    }

    /// Waits until no sender is between its look at POLLED, or its datagram, and its commit. None: there is a frame. Else
    /// the turn to send, so that there is none as long as the caller keeps it.
    pub(super) fn settle<'a>(
        &'a self,
        direction: Direction<'a>,
        wait: &mut Wait<'_>,
    ) -> Result<Option<Turn<'a>>, Ended> {
        /// Who has the turn may wait for room that only this caller can make, so the turn is asked for in vain at times.
        const GLANCE: std::time::Duration = std::time::Duration::from_millis(1);
        loop {
            if direction.has_frame() {
                return Ok(None);
            }
            match Turn::to_send(direction, &self.turns, &mut Wait::timeout(GLANCE)) {
                Ok(turn) => {
                    return Ok(if direction.has_frame() { None } else { Some(turn) });
                }
                Err(Ended::GaveUp(_)) => wait.overtime().map(drop)?,
                Err(why) => return Err(why),
            }
        }
    }

    /// Waits for the next frame of a message; false: it is torn.
    #[cold]
    fn wait_midway(
        &self,
        direction: Direction<'_>,
        next: u64,
        wait: &mut Wait<'_>,
    ) -> Result<bool, Ended> {
        let came = || !matches!(direction.frame_at(next), Ok(None));
        if self.messages.until(came) {
            return Ok(true);
        }
        let sending = direction.sending(&self.turns);
        let bell = &direction.words.seldom.bell;
        loop {
            let announced = bell.announce_here();
            kill_point!(PipeMidway);
            // SYNC: with the fence in `send`: either this sees the turn free, or that wakes who announced itself.
            fence(Ordering::SeqCst);
            // The sender first: who gave the turn back has committed all that it ever will.
            let nobody_sends = !sending.is_locked() || sending.owner_is_dead() || self.is_gone()?;
            // SYNC: with the release of the turn: its frames are seen.
            fence(Ordering::Acquire);
            if came() {
                return Ok(true);
            }
            if nobody_sends {
                return Ok(false);
            }
            bell.sleep_here(announced, wait)?;
        }
    }
}

/// Whether a datagram is for a later position than this; garbage counts as one or the other.
fn is_later(label: Label, position: u64) -> bool {
    (label.ticket.wrapping_sub(position) as i64) > 0
}

#[inline]
fn check_limit(total: u64, limit: usize) -> Result<(), Ended> {
    if total <= limit as u64 {
        return Ok(());
    }
    Err(too_long(total, limit))
}

#[cold]
fn too_long(total: u64, limit: usize) -> Ended {
    Ended::Failed(Error::Limit(format!(
        "the next message has {total} bytes, more than the {limit} that the caller takes"
    )))
}

#[cold]
fn out_of_memory(total: u64) -> Ended {
    Ended::Failed(Error::Limit(format!("a message of {total} bytes does not fit in memory")))
}
