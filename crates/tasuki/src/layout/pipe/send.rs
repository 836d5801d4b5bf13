//! The sending side: take the turn, write, commit, give the turn back, wake.

use std::os::fd::OwnedFd;

use super::ring::{self, Direction, FIRST, Frame, LAST, PIECE, RING};
use super::turn::Turn;
use super::wait_word;
use super::{MOST_HANDLES, PipeEnd};
use crate::error::Error;
use crate::layout::failure::TransportFailure;
use crate::layout::message::Outbound;
use crate::sync::atomic::{Ordering, fence};
use crate::sync::{GaveUp, Wait, kill_point};
use crate::sys::socket_pair::{self, Label, Sent};

/// The first frame of a message of several begins with the length of the message.
const LENGTH: usize = 8;

/// Those that sleep until the message comes.
enum Sleepers {
    Woken,
    /// By the sender that gave the turn back: woken before that, they would find it taken.
    ToBeWoken,
}

impl PipeEnd {
    /// Sends a message of `codec` that consists of `parts`, one after the other, together with `fds`.
    ///
    /// Waits for room. After a failure nobody receives it, not even a part. `Disconnected`: nobody has the other end. A
    /// message that does not fit at once is never sent with [`Wait::now`].
    #[inline]
    pub fn send(
        &self,
        codec: u16,
        parts: &[&[u8]],
        fds: &[OwnedFd],
        wait: &mut Wait<'_>,
    ) -> Result<(), TransportFailure> {
        let message = &Outbound { codec, parts, fds };
        let direction = self.outgoing()?;
        if message.fds.len() > MOST_HANDLES {
            return Err(Error::Limit(format!(
                "a message can carry {MOST_HANDLES} descriptors and this one has {}",
                message.fds.len()
            ))
            .into());
        }
        // The turn is given back where it lies: moved, it would have to be in memory whole.
        let sent = {
            let turn = Turn::to_send(direction, &self.turns, wait)?;
            self.send_with_turn(direction, &turn, message, wait)
        };
        match sent {
            Ok(Sleepers::ToBeWoken) => direction.wake_without_turn(&self.turns),
            Ok(Sleepers::Woken) => {}
            Err(why) => {
                self.gave_up(direction);
                return Err(why);
            }
        }
        Ok(())
    }

    /// After a message was not sent, or not to its end, and the turn was given back.
    #[cold]
    fn gave_up(&self, direction: Direction<'_>) {
        // A receiver that has a part of it looks whether it goes on.
        // SYNC: with the fence in `wait_midway`, and after the turn is free.
        fence(Ordering::SeqCst);
        let waiters = &direction.words.seldom.waiters;
        waiters.notify_here();
        // The readiness may be set for what does not come.
        if waiters.is_polled() && !direction.has_frame() {
            let _ = direction.resync(&self.turns); // what is wrong with the pipe, the next call tells
        }
    }

    #[inline]
    fn send_with_turn(
        &self,
        direction: Direction<'_>,
        turn: &Turn<'_>,
        message: &Outbound<'_>,
        wait: &mut Wait<'_>,
    ) -> Result<Sleepers, TransportFailure> {
        let tail = direction.words.sender.tail.load(Ordering::Relaxed);
        self.ask_sometimes(direction)?;
        let len: usize = message.parts.iter().map(|part| part.len()).sum();
        if len > PIECE {
            self.send_pieces(direction, turn, tail, message, len, wait)?;
            return Ok(Sleepers::Woken);
        }
        self.wait_for_room(direction, turn, tail, len, wait)?;
        direction.back(tail, len)?;
        let mut at = 0;
        for part in message.parts {
            direction.write(tail, at, part);
            at += part.len();
        }
        kill_point!(PipeHalfWritten);
        self.finish(direction, turn, tail, len, FIRST | LAST, message, wait)?;
        Ok(Sleepers::ToBeWoken)
    }

    #[cold]
    fn send_pieces(
        &self,
        direction: Direction<'_>,
        turn: &Turn<'_>,
        mut tail: u64,
        message: &Outbound<'_>,
        len: usize,
        wait: &mut Wait<'_>,
    ) -> Result<(), TransportFailure> {
        if wait.is_now() && !self.has_room_for_all(direction, tail, len)? {
            return Err(GaveUp::TimedOut.into());
        }
        let mut left = len;
        let mut parts = message.parts.iter();
        let mut part: &[u8] = &[];
        let mut flags = FIRST;
        while left > 0 {
            let mut at = if flags & FIRST != 0 { LENGTH } else { 0 };
            let piece = left.min(PIECE - at) + at;
            self.wait_for_room(direction, turn, tail, piece, wait)?;
            direction.back(tail, piece)?;
            if at > 0 {
                direction.write(tail, 0, &(len as u64).to_le_bytes());
            }
            while at < piece {
                while part.is_empty() {
                    part = parts.next().expect("the parts are as long as their sum");
                }
                let (now, later) = part.split_at(part.len().min(piece - at));
                direction.write(tail, at, now);
                at += now.len();
                left -= now.len();
                part = later;
            }
            kill_point!(PipeHalfWritten);
            if left == 0 {
                flags |= LAST;
            }
            tail = self.finish(direction, turn, tail, piece, flags, message, wait)?;
            // At once: only a receiver makes room for what is still to come.
            direction.wake(if flags & FIRST != 0 {
                wait_word::Frame::First
            } else {
                wait_word::Frame::Later
            });
            flags = 0;
        }
        Ok(())
    }

    /// Commits a frame whose bytes are written, and returns the new tail. Sleepers are still to be woken.
    #[inline]
    #[allow(clippy::too_many_arguments)]
    fn finish(
        &self,
        direction: Direction<'_>,
        turn: &Turn<'_>,
        tail: u64,
        len: usize,
        flags: u16,
        message: &Outbound<'_>,
        wait: &mut Wait<'_>,
    ) -> Result<u64, TransportFailure> {
        let codec = message.codec;
        let mut frame = Frame { position: tail, codec, flags, attempt: 0, len };
        if flags & FIRST != 0 {
            if !message.fds.is_empty() {
                frame.attempt = self.send_descriptors(direction, turn, tail, message.fds, wait)?;
                frame.flags |= ring::handles_flag(message.fds.len());
            }
            // Later frames find it set: nobody clears it as long as this turn lasts.
            let seldom = &direction.words.seldom;
            if seldom.waiters.is_polled() {
                seldom.readiness.set(&direction);
                kill_point!(PipeReadinessSet);
            }
        }
        direction.write_header(frame);
        kill_point!(PipeWritten);
        direction.commit(tail);
        kill_point!(PipeCommitted);
        direction.words.sender.tail.store(frame.end(), Ordering::Relaxed);
        kill_point!(PipeTailMoved);
        direction.fetch_ahead(frame.end());
        Ok(frame.end())
    }

    /// Sends the datagram with the descriptors of the message at `position`, and returns its attempt.
    #[cold]
    fn send_descriptors(
        &self,
        direction: Direction<'_>,
        turn: &Turn<'_>,
        position: u64,
        fds: &[OwnedFd],
        wait: &mut Wait<'_>,
    ) -> Result<u32, TransportFailure> {
        let (words, socket) = (direction.words, self.socket()?);
        let attempt = words.sender.attempt.load(Ordering::Relaxed).wrapping_add(1);
        // SYNC: Release, with the load in `drop_void`: a receiver that sees the datagram sees that earlier attempts are
        // void.
        words.sender.attempt.store(attempt, Ordering::Release);
        let label = Label { ticket: position, attempt };
        loop {
            // Before the try: the receiver that makes room notifies after it.
            let prepared = words.room.0.prepare_here();
            match socket_pair::send(socket, label, fds) {
                Ok(Sent::Done) => break,
                Ok(Sent::Gone) => return Err(TransportFailure::Disconnected(None)),
                Ok(Sent::Full) => {
                    // Those may be of senders that were killed. Only a receiver can drop them, though it has nothing to
                    // receive.
                    words.seldom.waiters.set_crowded();
                    words.seldom.waiters.notify_here();
                    words.seldom.readiness.set(&direction);
                    turn.while_others_run(|| words.room.0.wait_here(prepared, wait))?;
                }
                Err(error) => return Err(Error::os("send the handles of a message", error).into()),
            }
            if self.is_gone()? {
                return Err(TransportFailure::Disconnected(None));
            }
        }
        kill_point!(PipeHandlesSent);
        Ok(attempt)
    }

    /// Returns when a frame of `len` bytes fits behind `tail`.
    #[inline]
    fn wait_for_room(
        &self,
        direction: Direction<'_>,
        turn: &Turn<'_>,
        tail: u64,
        len: usize,
        wait: &mut Wait<'_>,
    ) -> Result<(), TransportFailure> {
        let seen = direction.words.sender.seen.load(Ordering::Relaxed);
        // A head that was overwritten is seen when it is read again.
        if matches!(Direction::fits(tail, seen, len), Ok(true)) {
            return Ok(());
        }
        self.look_for_room(direction, turn, tail, len, wait)
    }

    #[cold]
    fn look_for_room(
        &self,
        direction: Direction<'_>,
        turn: &Turn<'_>,
        tail: u64,
        len: usize,
        wait: &mut Wait<'_>,
    ) -> Result<(), TransportFailure> {
        let words = direction.words;
        let fits = || {
            let head = direction.head();
            words.sender.seen.store(head, Ordering::Relaxed);
            Direction::fits(tail, head, len)
        };
        if fits()? {
            return Ok(());
        }
        if wait.is_now() {
            return Err(GaveUp::TimedOut.into());
        }
        // An error ends the look, and is found below.
        self.room.until(|| !matches!(fits(), Ok(false)));
        while !fits()? {
            if self.is_gone()? {
                return Err(TransportFailure::Disconnected(None));
            }
            let prepared = words.room.0.prepare_here();
            if fits()? {
                break;
            }
            kill_point!(PipeFull);
            let seldom = &words.seldom;
            if seldom.waiters.is_polled() {
                // A poller with edges may have taken what was there, and heard nothing since.
                seldom.readiness.set_again(&direction);
            }
            turn.while_others_run(|| words.room.0.wait_here(prepared, wait))?;
        }
        Ok(())
    }

    fn has_room_for_all(
        &self,
        direction: Direction<'_>,
        tail: u64,
        len: usize,
    ) -> Result<bool, TransportFailure> {
        let used = tail.wrapping_sub(direction.head());
        let frames = (len + LENGTH).div_ceil(PIECE) as u64;
        let needed = len as u64 + (frames + 1) * ring::frame_len(LENGTH);
        Ok(used.checked_add(needed).is_some_and(|end| end <= RING))
    }
}
