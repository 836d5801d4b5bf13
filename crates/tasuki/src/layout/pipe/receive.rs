//! The receiving side: copy out, give the room back, wait for what is not there yet.

use std::os::fd::{AsFd as _, OwnedFd};
use std::ptr;
use std::sync::atomic::AtomicPtr;
use std::time::Duration;

use super::descriptors::Made;
use super::ring::{Direction, FIRST, Frame, LAST};
use super::turn::{Settled, Turn};
use super::{PipeEnd, corrupt};
use crate::error::Error;
use crate::layout::failure::TransportFailure;
use crate::sync::atomic::{Ordering, fence};
use crate::sync::{GaveUp, Wait, kill_point};
use crate::sys::fork;
use crate::sys::socket_pair::{self, Label, State};

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
///
/// Those who come here have the turn to receive. But that is a word that a broken peer can change, so this does not rely on it:
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
    fn take(&self, _turn: &Turn<'_>) -> Option<Box<Midway>> {
        if self.exists() { self.exchange(None) } else { None }
    }

    fn put(&self, _turn: &Turn<'_>, message: Box<Midway>) {
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
        // SAFETY: from `Box::into_raw` above, and whoever takes a pointer out is the only one who has it. In a forked child it
        // is the child's copy, whole since it was before it was put here.
        let Kept { message, epoch } = *unsafe { Box::from_raw(old) };
        (epoch == fork::epoch()).then_some(message)
    }

    fn exists(&self) -> bool {
        !self.0.load(Ordering::Relaxed).is_null()
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        drop(self.exchange(None));
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
    ) -> Result<u16, TransportFailure> {
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
    ) -> Result<Step, TransportFailure> {
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
                *fds = self.descriptors(&frame)?;
            }
            direction.read(&frame, 0, out);
            self.consume(direction, turn, &frame);
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
    ) -> Result<Step, TransportFailure> {
        if !frame.is(FIRST) {
            self.consume(direction, turn, &frame);
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
                midway.fds = self.descriptors(&frame)?;
            }
            let believed = total.min(BELIEVED) as usize;
            midway.bytes.try_reserve(believed).map_err(|_| out_of_memory(total))?;
            direction.read(&frame, size_of::<u64>(), &mut midway.bytes);
            self.consume(direction, turn, &frame);
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
    fn go_on(
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
                        if direction.words.seldom.bell.is_polled() {
                            // Whoever sends tells when it is done; when it waits for room, it does anyway.
                            let _ = direction.settle(&self.turns);
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
            direction.read(&frame, 0, &mut midway.bytes);
            self.consume(direction, turn, &frame);
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
    ) -> Result<Looked, TransportFailure> {
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
            self.consume(direction, turn, &frame);
        }
        Ok(Looked::Nothing)
    }

    /// Gives the frame's room back, drops its datagram, and wakes senders.
    #[inline]
    fn consume(&self, direction: Direction<'_>, _turn: &Turn<'_>, frame: &Frame) {
        kill_point!(PipeCopied);
        direction.set_head(frame.end());
        kill_point!(PipeHeadMoved);
        if frame.handles() > 0 {
            self.drop_datagram(frame);
        }
        let words = direction.words;
        words.room.0.wake_here();
        if words.seldom.bell.is_polled() {
            self.darken_if_empty(direction);
        }
    }

    #[cold]
    fn darken_if_empty(&self, direction: Direction<'_>) {
        if !direction.has_frame() {
            // The message is taken, so this must not fail; what is wrong with the pipe, the next call tells.
            let _ = direction.settle(&self.turns);
        }
    }

    #[cold]
    fn drop_datagram(&self, frame: &Frame) {
        let mine = Label { ticket: frame.position, attempt: frame.attempt };
        // Who took it has the descriptors, and so there are some.
        let Some(socket) = self.descriptors.made().map(Made::socket) else { return };
        while let Some(label) = socket_pair::first(socket) {
            if is_later(label, frame.position) {
                break;
            }
            socket_pair::drop_first(socket);
            if label == mine {
                break;
            }
        }
    }

    /// Copies of the frame's descriptors; what belongs to messages that never came is closed on the way.
    #[cold]
    fn descriptors(&self, frame: &Frame) -> Result<Vec<OwnedFd>, TransportFailure> {
        let failed = |error| Error::os("receive the handles of a message", error);
        let mine = Label { ticket: frame.position, attempt: frame.attempt };
        let socket = self.socket()?;
        loop {
            match socket_pair::first(socket) {
                Some(label) if label == mine => {
                    let fds = socket_pair::first_descriptors(socket).map_err(failed)?;
                    if fds.len() == frame.handles() && socket_pair::can_open_as_many(&fds) {
                        return Ok(fds);
                    }
                    // The message stays: close some descriptors and receive it again.
                    return Err(failed(socket_pair::too_many_open_files()).into());
                }
                Some(label) if !is_later(label, frame.position) => {
                    socket_pair::drop_first(socket);
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
            let lit = self.lit.load(Ordering::Relaxed) || seldom.beacon.may_be_lit();
            let busy = lit && self.settle_incoming(direction)? == Settled::BySender;
            let slept = match busy {
                false => self.sleep_on_beacon(direction, wait),
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

    /// Sleeps until there may be a frame, or the end. The beacon may be lit nevertheless, for nothing.
    fn sleep_on_beacon(
        &self,
        direction: Direction<'_>,
        wait: &mut Wait<'_>,
    ) -> Result<(), TransportFailure> {
        // Before it says so: what nobody has made, nobody lights.
        self.made()?;
        direction.words.seldom.bell.announce_asleep();
        kill_point!(PipeAsleep);
        if direction.has_frame() {
            return Ok(());
        }
        let state = self.end_or_beacon(direction, wait.slice()?)?;
        self.end_if_gone(direction, state)?;
        // Without a frame, it was lit for another's message, or by one who was killed. With one, it is settled before the next sleep.
        self.lit.store(state.readable, Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn settle_incoming(
        &self,
        direction: Direction<'_>,
    ) -> Result<Settled, TransportFailure> {
        let settled = direction.settle(&self.turns)?;
        if settled == Settled::Now {
            self.lit.store(false, Ordering::Relaxed);
        }
        Ok(settled)
    }

    /// A sender is at work, and the beacon lit: what it commits wakes here, and so does its end.
    #[cold]
    fn sleep_until_given_back(
        &self,
        direction: Direction<'_>,
        wait: &mut Wait<'_>,
    ) -> Result<(), TransportFailure> {
        let bell = &direction.words.seldom.bell;
        let announced = bell.announce_here();
        kill_point!(PipeAsleepHere);
        // Marked after the announcement: who gives the turn back sees it.
        if self.settle_incoming(direction)? == Settled::Now || direction.has_frame() {
            return Ok(());
        }
        Ok(bell.sleep_here(announced, wait)?)
    }

    /// What the socket and the beacon say, at most `time` from now.
    fn end_or_beacon(
        &self,
        direction: Direction<'_>,
        time: Duration,
    ) -> Result<State, TransportFailure> {
        if time.is_zero() && self.descriptors.made().is_none() {
            return Ok(State { gone: self.is_gone()?, readable: false });
        }
        let made = self.made()?;
        Ok(socket_pair::sleep(made.socket(), direction.beacon_of(made).as_fd(), time)
            .map_err(|error| Error::os("sleep on a socket", error))?)
    }

    /// Disconnected: nobody has the other end, and there is no frame. All commits come before the end, so the ring is looked at
    /// after the socket.
    fn end_if_gone(&self, direction: Direction<'_>, state: State) -> Result<(), TransportFailure> {
        if state.gone && !direction.has_frame() {
            return Err(TransportFailure::Disconnected(None));
        }
        Ok(())
    }

    /// Whether there is a frame now.
    fn look_for_frame(&self, direction: Direction<'_>) -> Result<(), TransportFailure> {
        self.drop_void(direction)?;
        let state = self.end_or_beacon(direction, Duration::ZERO)?;
        self.end_if_gone(direction, state)?;
        self.lit.store(state.readable, Ordering::Relaxed);
        if !direction.has_frame() && state.readable {
            self.settle_incoming(direction)?;
        }
        match direction.has_frame() {
            true => Ok(()),
            false => Err(GaveUp::TimedOut.into()),
        }
    }

    /// A sender found the socket full and there is no frame: drops the datagrams of those who died before they committed.
    #[inline]
    fn drop_void(&self, direction: Direction<'_>) -> Result<(), TransportFailure> {
        match direction.words.seldom.bell.is_crowded() {
            true => self.drop_void_datagrams(direction),
            false => Ok(()),
        }
    }

    #[cold]
    fn drop_void_datagrams(&self, direction: Direction<'_>) -> Result<(), TransportFailure> {
        let words = direction.words;
        let _turn = match Turn::to_receive(direction, &self.turns, &mut Wait::now()) {
            Ok(turn) => turn,
            Err(TransportFailure::GaveUp(_)) => return Ok(()), // who has it finds the ring empty later
            Err(why) => return Err(why),
        };
        words.seldom.bell.clear_crowded();
        let socket = self.socket()?;
        let mut dropped = false;
        while let Some(label) = socket_pair::first(socket) {
            // The datagram first, then the attempt that is under way, then the ring: its own frame may have come meanwhile.
            // SYNC: Acquire, with the store in `send_descriptors`.
            let attempt = words.sender.attempt.load(Ordering::Acquire);
            if label.attempt == attempt || direction.has_frame() {
                break;
            }
            socket_pair::drop_first(socket);
            dropped = true;
        }
        if dropped {
            words.room.0.wake_here();
        }
        Ok(())
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
            turn.while_others_run(|| bell.sleep_here(announced, wait))?;
        }
    }
}

/// Whether a datagram is for a later position than this; garbage counts as one or the other.
fn is_later(label: Label, position: u64) -> bool {
    (label.ticket.wrapping_sub(position) as i64) > 0
}

#[inline]
fn check_limit(total: u64, limit: usize) -> Result<(), TransportFailure> {
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
