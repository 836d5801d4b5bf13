//! Where a message begins and ends on a stream: the standard library's wire, read and written in pieces of any size.
//!
//! Called by whoever has the descriptor; this never reads, writes or waits. States and dangers: `README.md`.

use std::mem;

/// The most bytes in front of a body.
const LONGEST_HEADER: usize = 12;

/// A length that needs more than the short form's 31 bits.
const LONG_FORM: i32 = -1;

/// The smallest room that is made for a body, if it is not smaller itself.
const FIRST_ROOM: usize = 64 << 10;

/// What goes in front of a body of `length` bytes.
pub fn header(length: u64) -> Header {
    match i32::try_from(length) {
        Ok(short) => Header::of(&[&short.to_be_bytes()]),
        Err(_) => Header::of(&[&LONG_FORM.to_be_bytes(), &length.to_be_bytes()]),
    }
}

/// The bytes in front of a body: 4, or 12 for a body of 2 GiB and more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    bytes: [u8; LONGEST_HEADER],
    length: usize,
}

impl Header {
    fn of(parts: &[&[u8]]) -> Header {
        let mut header = Header { bytes: [0; LONGEST_HEADER], length: 0 };
        for part in parts {
            header.bytes[header.length..][..part.len()].copy_from_slice(part);
            header.length += part.len();
        }
        header
    }

    /// The bytes, to be sent as they are.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// Why a stream holds no message. But for a length that somebody else may accept this is for good: nothing says where
/// the next message would begin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A message is longer than this side accepts. None of its body was read: who accepts more can go on.
    #[error("a message of {length} bytes was announced, and at most {limit} are accepted")]
    TooLong {
        /// What its header says.
        length: u64,
        /// What was allowed.
        limit: u64,
    },
    /// A header that no message has: the peer speaks something else.
    #[error("the peer sent {0:#010x} where the length of a message was expected")]
    Malformed(u32),
    /// There is no memory for what has come.
    #[error("no memory for {0} bytes of a message")]
    NoMemory(usize),
}

/// Puts one message after the other together from what comes.
///
/// Either give it bytes ([`feed`](FrameReader::feed)), or let it say where the next ones belong
/// ([`room`](FrameReader::room)) and how many they were ([`filled`](FrameReader::filled)), which saves a copy.
#[derive(Debug)]
pub struct FrameReader {
    state: State,
    header: [u8; LONGEST_HEADER],
    body: Vec<u8>,
}

#[derive(Clone, Debug)]
enum State {
    /// So many bytes of a header came; the short form decides after four whether it is the long one.
    Header {
        have: usize,
    },
    Body {
        length: usize,
    },
    Whole,
    Over(FrameError),
}

/// Where the next bytes of a stream belong.
#[derive(Debug)]
pub enum Room<'a> {
    /// Into these bytes, from the front.
    Header(&'a mut [u8]),
    /// At the end of this vector, at most so many.
    Body(&'a mut Vec<u8>, usize),
}

impl FrameReader {
    /// A reader at the beginning of a stream.
    pub fn new() -> FrameReader {
        FrameReader {
            state: State::Header { have: 0 },
            header: [0; LONGEST_HEADER],
            body: Vec::new(),
        }
    }

    /// Takes from `bytes` what belongs to the message that is being read, and returns how many bytes that were: fewer
    /// than all only if the message is whole now.
    ///
    /// # Errors
    /// When the header is none, or says more than `limit`; each further call says so again.
    pub fn feed(&mut self, bytes: &[u8], limit: u64) -> Result<usize, FrameError> {
        self.check(limit)?;
        let mut taken = 0;
        while taken < bytes.len() {
            let rest = &bytes[taken..];
            let Some(room) = self.room()? else { break };
            let count = match room {
                Room::Header(place) => {
                    let count = place.len().min(rest.len());
                    place[..count].copy_from_slice(&rest[..count]);
                    count
                }
                Room::Body(body, most) => {
                    let count = most.min(rest.len());
                    body.extend_from_slice(&rest[..count]);
                    count
                }
            };
            self.filled(count, limit)?;
            taken += count;
        }
        Ok(taken)
    }

    /// Where the next bytes belong; `None` when a whole message waits to be taken. There is memory for them.
    ///
    /// # Errors
    /// When the stream is over, or there is no memory.
    pub fn room(&mut self) -> Result<Option<Room<'_>>, FrameError> {
        match self.state {
            State::Whole => Ok(None),
            State::Over(ref why) => Err(why.clone()),
            State::Header { have } => {
                Ok(Some(Room::Header(&mut self.header[have..Self::header_length(have)])))
            }
            State::Body { length } => {
                let left = length - self.body.len();
                let most = left.min(self.body.len().max(FIRST_ROOM));
                if self.body.try_reserve(most).is_err() {
                    return Err(self.over(FrameError::NoMemory(length)));
                }
                Ok(Some(Room::Body(&mut self.body, most)))
            }
        }
    }

    /// Says that `count` bytes were put where [`room`](FrameReader::room) said.
    ///
    /// # Errors
    /// As `feed`.
    ///
    /// # Panics
    /// When they are more than there was room for.
    pub fn filled(&mut self, count: usize, limit: u64) -> Result<(), FrameError> {
        match self.state {
            State::Header { have } => {
                let have = have + count;
                assert!(have <= LONGEST_HEADER, "more bytes than a header has");
                self.state = State::Header { have };
                match self.announced(have) {
                    Ok(Some(length)) => self.begin(length, limit),
                    Ok(None) => Ok(()),
                    Err(why) => Err(self.over(why)),
                }
            }
            State::Body { length } => {
                assert!(self.body.len() <= length, "more bytes than the body has");
                if self.body.len() == length {
                    self.state = State::Whole;
                }
                Ok(())
            }
            State::Whole | State::Over(_) => {
                assert_eq!(count, 0, "there was no room");
                Ok(())
            }
        }
    }

    /// Whether the message that has begun, if there is one, is within a limit: who reads into
    /// [`room`](FrameReader::room) asks first, since the limit may be another one than when its header came.
    ///
    /// # Errors
    /// When it is longer, or the stream is over.
    pub fn check(&self, limit: u64) -> Result<(), FrameError> {
        match &self.state {
            State::Body { length } if *length as u64 > limit => {
                Err(FrameError::TooLong { length: *length as u64, limit })
            }
            State::Whole if self.body.len() as u64 > limit => {
                Err(FrameError::TooLong { length: self.body.len() as u64, limit })
            }
            State::Over(why) => Err(why.clone()),
            _ => Ok(()),
        }
    }

    /// The message, if it is whole; the next one can be read then.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        self.is_whole().then(|| {
            self.state = State::Header { have: 0 };
            mem::take(&mut self.body)
        })
    }

    /// Exchanges the message, if it is whole, with what is in `buffer`, whose memory is used again for the next one.
    /// Returns whether it did.
    pub fn swap(&mut self, buffer: &mut Vec<u8>) -> bool {
        let whole = self.is_whole();
        if whole {
            mem::swap(&mut self.body, buffer);
            self.body.clear();
            self.state = State::Header { have: 0 };
        }
        whole
    }

    /// Whether a whole message waits to be taken.
    pub fn is_whole(&self) -> bool {
        matches!(self.state, State::Whole)
    }

    /// Whether the stream may not end here: a part of a message came.
    pub fn is_inside(&self) -> bool {
        match self.state {
            State::Header { have } => have > 0,
            State::Body { .. } => true,
            State::Whole | State::Over(_) => false,
        }
    }

    /// How long the body of the message is that has begun, once that is known.
    pub fn announced_length(&self) -> Option<u64> {
        match self.state {
            State::Body { length } => Some(length as u64),
            State::Header { .. } | State::Whole | State::Over(_) => None,
        }
    }

    /// How many bytes a header has of which so many came.
    fn header_length(have: usize) -> usize {
        if have < 4 { 4 } else { LONGEST_HEADER }
    }

    /// The length that a header announces, once it is complete.
    fn announced(&self, have: usize) -> Result<Option<u64>, FrameError> {
        let (short, long) = self.header.split_first_chunk::<4>().expect("twelve bytes");
        let short = i32::from_be_bytes(*short);
        match (have, short) {
            (..4, _) | (..LONGEST_HEADER, LONG_FORM) => Ok(None),
            (_, LONG_FORM) => {
                let long = long.first_chunk::<8>().expect("eight of the twelve bytes");
                Ok(Some(u64::from_be_bytes(*long)))
            }
            (_, short) => match u64::try_from(short) {
                Ok(length) => Ok(Some(length)),
                Err(_) => Err(FrameError::Malformed(short.cast_unsigned())),
            },
        }
    }

    fn begin(&mut self, length: u64, limit: u64) -> Result<(), FrameError> {
        /// What memory can hold, whatever the caller allows.
        const LONGEST: u64 = isize::MAX as u64;
        let fitting = usize::try_from(length).ok().filter(|_| length <= LONGEST);
        let Some(length) = fitting else {
            return Err(self.over(FrameError::TooLong { length, limit: limit.min(LONGEST) }));
        };
        self.state = if length == 0 { State::Whole } else { State::Body { length } };
        self.check(limit)
    }

    fn over(&mut self, why: FrameError) -> FrameError {
        self.body = Vec::new();
        self.state = State::Over(why.clone());
        why
    }
}

impl Default for FrameReader {
    fn default() -> FrameReader {
        FrameReader::new()
    }
}

#[cfg(test)]
mod tests;
