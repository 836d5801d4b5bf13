//! Who may talk over a stream: two ends prove to each other that they have the same key, as the standard library's do.
//!
//! Driven by `raw::connection`, which moves the bytes and sets the deadline; this only says what comes next. States,
//! messages and dangers: `README.md`.

mod digest;

use std::fmt;
use std::mem;

use super::frame::{self, FrameError, FrameReader, Room};
use digest::Digest;

/// No message of the handshake is longer.
pub const LONGEST_MESSAGE: u64 = 256;

/// How many random bytes a question has.
pub const RANDOM_BYTES: usize = 40;

const CHALLENGE: &[u8] = b"#CHALLENGE#";
const WELCOME: &[u8] = b"#WELCOME#";
const FAILURE: &[u8] = b"#FAILURE#";

/// What 3.11 and earlier ask: so many random bytes and no digest's name.
const BARE_QUESTION: usize = 20;

/// Which end of a connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// It accepted the connection, and asks first.
    Listener,
    /// It made the connection, and answers first.
    Client,
}

/// Why two ends may not talk.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The peer has another key, or none.
    #[error("the peer did not prove that it has the same key: {0}")]
    WrongKey(&'static str),
    /// The peer says that this end has another key.
    #[error("the peer refused this end's proof: it has another key")]
    Refused,
    /// The peer does not take part in a handshake, or not in this one.
    #[error("the peer broke the rules of the handshake: {0}")]
    OutOfTurn(&'static str),
    /// What comes is not even a message: no program that knows of handshakes.
    #[error(transparent)]
    NoMessage(#[from] FrameError),
}

/// One end of a handshake: what to send, what was received, how far it is.
///
/// It never asks for a byte beyond its own last one: that belongs to the connection.
pub struct Handshake {
    key: Vec<u8>,
    question: Vec<u8>,
    state: State,
    /// The other half, which comes after this one.
    next: Option<Half>,
    reader: FrameReader,
    outgoing: Vec<u8>,
    sent: usize,
}

#[derive(Clone, Copy)]
enum Half {
    Ask,
    Answer,
}

enum State {
    /// Our question is asked; its proof comes next.
    Asked,
    /// The peer's question comes next.
    Challenged,
    /// The peer's question is answered; its verdict comes next.
    Proved,
    Done,
    Over(HandshakeError),
}

impl Handshake {
    /// The beginning of a handshake. `random` makes this end's question, and must never be used again.
    pub fn new(side: Side, key: &[u8], random: [u8; RANDOM_BYTES]) -> Handshake {
        let mut handshake = Handshake {
            key: key.to_vec(),
            question: [Digest::PREFERRED.prefix(), &random].concat(),
            state: State::Done,
            next: None,
            reader: FrameReader::new(),
            outgoing: Vec::new(),
            sent: 0,
        };
        let (first, second) = match side {
            Side::Listener => (Half::Ask, Half::Answer),
            Side::Client => (Half::Answer, Half::Ask),
        };
        handshake.begin(first);
        handshake.next = Some(second);
        handshake
    }

    /// What is to be sent now. Also after an error, which the peer should hear of.
    pub fn outgoing(&self) -> &[u8] {
        &self.outgoing[self.sent..]
    }

    /// Says that the first `count` bytes of [`outgoing`](Handshake::outgoing) were sent.
    ///
    /// # Panics
    /// When there were fewer.
    pub fn sent(&mut self, count: usize) {
        assert!(count <= self.outgoing().len(), "more was sent than there was");
        self.sent += count;
        if self.outgoing().is_empty() {
            self.outgoing.clear();
            self.sent = 0;
        }
    }

    /// How many bytes may be received now; 0 when it is over, well or not.
    pub fn wanted(&mut self) -> usize {
        match (&self.state, self.reader.room()) {
            (State::Done | State::Over(_), _) | (_, Err(_) | Ok(None)) => 0,
            (_, Ok(Some(Room::Header(place)))) => place.len(),
            (_, Ok(Some(Room::Body(_, most)))) => most,
        }
    }

    /// Takes what was received, and returns how many bytes of it: fewer than all when they go beyond the handshake.
    ///
    /// # Errors
    /// When the two ends may not talk; each further call says so again.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<usize, HandshakeError> {
        let mut taken = 0;
        loop {
            match &self.state {
                State::Over(why) => return Err(why.clone()),
                State::Done => return Ok(taken),
                _ if taken == bytes.len() => return Ok(taken),
                _ => {}
            }
            match self.reader.feed(&bytes[taken..], LONGEST_MESSAGE) {
                Ok(count) => taken += count,
                Err(why) => self.state = State::Over(why.into()),
            }
            if let Some(message) = self.reader.take() {
                if let Err(why) = self.take(&message) {
                    self.state = State::Over(why);
                }
            }
        }
    }

    /// Whether both ends have proved their key and everything was sent: what comes now is the connection's.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done) && self.outgoing().is_empty()
    }

    fn begin(&mut self, half: Half) {
        match half {
            Half::Ask => {
                let question = [CHALLENGE, &self.question].concat();
                self.say(&question);
                self.state = State::Asked;
            }
            Half::Answer => self.state = State::Challenged,
        }
    }

    fn next_half(&mut self) {
        match self.next.take() {
            Some(half) => self.begin(half),
            None => self.state = State::Done,
        }
    }

    fn say(&mut self, message: &[u8]) {
        self.outgoing.extend(frame::header(message.len() as u64).as_bytes());
        self.outgoing.extend(message);
    }

    fn take(&mut self, message: &[u8]) -> Result<(), HandshakeError> {
        match mem::replace(&mut self.state, State::Done) {
            State::Asked => match self.check(message) {
                Ok(()) => {
                    self.say(WELCOME);
                    self.next_half();
                    Ok(())
                }
                Err(why) => {
                    self.say(FAILURE);
                    Err(HandshakeError::WrongKey(why))
                }
            },
            State::Challenged => {
                let question = message.strip_prefix(CHALLENGE).ok_or(HandshakeError::OutOfTurn(
                    "a question was expected; has the listener no key?",
                ))?;
                let proof = self.prove(question)?;
                self.say(&proof);
                self.state = State::Proved;
                Ok(())
            }
            State::Proved if message == WELCOME => {
                self.next_half();
                Ok(())
            }
            State::Proved => Err(HandshakeError::Refused),
            State::Done | State::Over(_) => unreachable!("nothing is read then"),
        }
    }

    /// Checks the proof of our question.
    fn check(&self, proof: &[u8]) -> Result<(), &'static str> {
        let (digest, mac) = if proof.len() == Digest::Md5.length() {
            (Digest::Md5, proof)
        } else {
            Digest::named_by(proof).ok_or("it sent no proof")?
        };
        match digest.is_mac(&self.key, &self.question, mac) {
            true => Ok(()),
            false => Err("its proof is wrong"),
        }
    }

    /// The proof that a question asks for.
    fn prove(&self, question: &[u8]) -> Result<Vec<u8>, HandshakeError> {
        if question.len() < BARE_QUESTION {
            return Err(HandshakeError::OutOfTurn("its question is too short to be random"));
        }
        if question.len() == BARE_QUESTION {
            return Ok(Digest::Md5.mac(&self.key, question));
        }
        let (digest, _) = Digest::named_by(question).ok_or(HandshakeError::OutOfTurn(
            "its question asks for a digest that is not one of md5, sha256, sha384, sha3_256, sha3_384",
        ))?;
        Ok([digest.prefix(), &digest.mac(&self.key, question)].concat())
    }
}

/// Without the key.
impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Asked => "Asked",
            State::Challenged => "Challenged",
            State::Proved => "Proved",
            State::Done => "Done",
            State::Over(_) => "Over",
        };
        f.debug_struct("Handshake").field("state", &state).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
