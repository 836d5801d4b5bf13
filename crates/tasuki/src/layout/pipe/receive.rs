//! The receiving side: copy out and give the room back. `await_frame.rs` waits for what is not there yet, `midway.rs`
//! has the messages of several frames.

use std::os::fd::OwnedFd;

use super::descriptors::Made;
use super::midway::{Step, check_limit};
use super::ring::{Direction, FIRST, Frame, LAST};
use super::turn::Turn;
use super::{PipeEnd, corrupt};
use crate::error::Error;
use crate::layout::failure::TransportFailure;
use crate::sync::{Wait, kill_point};
use crate::sys::socket_pair::{self, Label};

/// A message that was received; its bytes are in the caller's buffer.
#[derive(Debug)]
pub struct Received {
    /// What the bytes mean.
    pub codec: u16,
    /// The descriptors that came along.
    pub fds: Vec<OwnedFd>,
}

/// What waits at the head, for a caller that only looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looked {
    /// A message, or the rest of one that was begun here.
    Message,
    Nothing,
}

impl PipeEnd {
    /// Receives a message into `buffer`, which is emptied first. One of more than `limit` bytes is not received: it
    /// stays where it is, and every call with that limit gives the same error, [`Error::Limit`]. `Disconnected`: nobody
    /// has the other end, and there is no message left.
    ///
    /// A call that gives up in the middle of a message loses nothing: the next one goes on.
    #[inline]
    pub fn recv(
        &self,
        buffer: &mut Vec<u8>,
        limit: usize,
        wait: &mut Wait<'_>,
    ) -> Result<Received, TransportFailure> {
        let mut fds = Vec::new();
        let codec = self.recv_with(buffer, &mut fds, limit, wait)?;
        Ok(Received { codec, fds })
    }

    /// As `recv`, and returns what the bytes mean; descriptors go into `fds`, which comes empty.
    #[inline]
    pub(crate) fn recv_with(
        &self,
        out: &mut Vec<u8>,
        fds: &mut Vec<OwnedFd>,
        limit: usize,
        wait: &mut Wait<'_>,
    ) -> Result<u16, TransportFailure> {
        out.clear();
        let direction = self.incoming()?;
        loop {
            // A receiver in the middle of a message sleeps where its sender wakes, which is not where one waits for the
            // begin of one.
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
                *fds = self.descriptors(frame)?;
            }
            direction.read(frame, 0, out);
            self.consume(direction, turn, frame);
            return Ok(Step::Done(frame.codec));
        }
        match midway {
            Some(midway) if midway.next == head && !frame.is(FIRST) => {
                self.go_on(direction, turn, midway, out, fds, limit, wait)
            }
            _ => self.begin(direction, turn, frame, out, fds, limit, wait),
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
            self.consume(direction, turn, frame);
        }
        Ok(Looked::Nothing)
    }

    /// Gives the frame's room back, drops its datagram, and wakes senders.
    #[inline]
    pub(super) fn consume(&self, direction: Direction<'_>, _turn: &Turn<'_>, frame: Frame) {
        kill_point!(PipeCopied);
        direction.set_head(frame.end());
        kill_point!(PipeHeadMoved);
        if frame.handles() > 0 {
            self.drop_datagram(frame);
        }
        let words = direction.words;
        words.room.0.notify_here();
        if words.seldom.waiters.is_polled() {
            self.clear_if_empty(direction);
        }
    }

    #[cold]
    fn clear_if_empty(&self, direction: Direction<'_>) {
        if !direction.has_frame() {
            // The message is taken, so this must not fail; what is wrong with the pipe, the next call tells.
            let _ = direction.resync(&self.turns);
        }
    }

    #[cold]
    fn drop_datagram(&self, frame: Frame) {
        let mine = Label { ticket: frame.position, attempt: frame.attempt };
        // The receiver that took it has the descriptors, and so there are some.
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
    pub(super) fn descriptors(&self, frame: Frame) -> Result<Vec<OwnedFd>, TransportFailure> {
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
}

/// Whether a datagram is for a later position than this; garbage counts as one or the other.
fn is_later(label: Label, position: u64) -> bool {
    (label.ticket.wrapping_sub(position) as i64) > 0
}
