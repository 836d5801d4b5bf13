//! A handshake on a descriptor: moves bytes between `protocol::handshake` and a socket, and never waits itself.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use super::stream::StreamError;
use crate::protocol::handshake::{Handshake, HandshakeError, LONGEST_MESSAGE, Side};
use crate::sync::GaveUp;
use crate::sys::sockets::{self, Kind, Ready};

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectFailure {
    /// The two ends do not have the same key, or one of them does not know of keys.
    #[error(transparent)]
    Refused(HandshakeError),
    /// The peer did not finish the handshake within its time.
    #[error("the peer did not finish the handshake within {0:?}")]
    TooSlow(Duration),
    /// The socket failed, the peer went away, or the caller gave up.
    #[error(transparent)]
    Stream(#[from] StreamError),
}

impl ConnectFailure {
    /// Whether the two ends disagree about the key, or one of them has none.
    pub fn is_authentication(&self) -> bool {
        matches!(self, ConnectFailure::Refused(_))
    }

    pub(super) fn os(doing: &'static str) -> impl FnOnce(io::Error) -> ConnectFailure {
        move |source| ConnectFailure::Stream(StreamError::Os { doing, source })
    }

    pub(super) fn gave_up(why: GaveUp) -> ConnectFailure {
        ConnectFailure::Stream(StreamError::GaveUp(why))
    }
}

/// A descriptor whose peer has not proved its key yet.
pub(super) struct Authenticating {
    pub(super) socket: OwnedFd,
    handshake: Handshake,
    /// The time for all of it, if it has a limit.
    time: Option<Duration>,
    /// How much of it was used before `since`.
    used: Duration,
    since: Instant,
}

/// How far a handshake is.
pub(super) enum Step {
    Done,
    /// It goes on when the socket is ready.
    Waits(Ready),
}

impl Authenticating {
    /// Begins; `time` limits the whole of it, from now on.
    pub(super) fn begin(
        socket: OwnedFd,
        side: Side,
        key: &[u8],
        time: Option<Duration>,
    ) -> io::Result<Authenticating> {
        let handshake = Handshake::new(side, key, crate::sys::random::bytes()?);
        Ok(Authenticating { socket, handshake, time, used: Duration::ZERO, since: Instant::now() })
    }

    /// Goes on as far as it can without waiting. Once it failed it is to be dropped.
    pub(super) fn go_on(&mut self) -> Result<Step, ConnectFailure> {
        let fd = self.socket.as_fd();
        loop {
            while !self.handshake.outgoing().is_empty() {
                match sockets::send(fd, Kind::Socket, &[IoSlice::new(self.handshake.outgoing())]) {
                    Ok(count) => self.handshake.sent(count),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        return Ok(Step::Waits(Ready::ToSend));
                    }
                    Err(error) => return Err(ConnectFailure::os("prove the key")(error)),
                }
            }
            if self.handshake.is_done() {
                return Ok(Step::Done);
            }
            let mut buffer = [0; LONGEST_MESSAGE as usize];
            let wanted = self.handshake.wanted().min(buffer.len());
            match sockets::receive(fd, Kind::Socket, &mut buffer[..wanted]) {
                Ok(0) => return Err(StreamError::Closed.into()),
                Ok(count) => {
                    if let Err(why) = self.handshake.feed(&buffer[..count]) {
                        // So that it learns why, if it has room for that.
                        let last_words = [IoSlice::new(self.handshake.outgoing())];
                        let _ = sockets::send(fd, Kind::Socket, &last_words);
                        return Err(match why {
                            HandshakeError::NoMessage(frame) => StreamError::Frame(frame).into(),
                            why => ConnectFailure::Refused(why),
                        });
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Step::Waits(Ready::ToReceive));
                }
                Err(error) => return Err(ConnectFailure::os("have the key proved")(error)),
            }
        }
    }

    /// Stops its clock: nobody is there to go on with it.
    pub(super) fn pause(&mut self) {
        self.used += self.since.elapsed();
    }

    /// Starts its clock again, after `pause`.
    pub(super) fn resume(&mut self) {
        self.since = Instant::now();
    }

    /// How much of its time is left; `None` when it has no limit.
    pub(super) fn time_left(&self) -> Option<Duration> {
        self.time.map(|time| time.saturating_sub(self.used + self.since.elapsed()))
    }

    /// What to say when its time is over.
    pub(super) fn too_slow(&self) -> ConnectFailure {
        ConnectFailure::TooSlow(self.time.unwrap_or_default())
    }
}
