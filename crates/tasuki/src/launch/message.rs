//! The messages of the bootstrap socket as values, and their way into packets: the parent's one
//! [`Start`] and the child's [`Answer`]s. Pure but for the sending; the README beside this file
//! says who sends what when.
//!
//! ```text
//! packet   "tsk" | version u8 | place u8 | body, if place = INLINE
//!          if place = MEMORY, the first descriptor is sealed memory that holds the body
//! body     the Start or Answer as postcard | payload: arguments or result, as postcard too
//! ```

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::protocol::transfer::{self, Incoming};
use crate::sys::descriptors::{self, Received, Wait};

const MAGIC: [u8; 3] = *b"tsk";

/// Changes with every change of these messages: the two sides may be two programs.
const VERSION: u8 = 2;

const INLINE: u8 = 0;
const MEMORY: u8 = 1;
const HEAD: usize = MAGIC.len() + 2;

/// The first and only message from parent to child.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Start<'a> {
    /// Run this function; the payload is its arguments.
    #[serde(borrow)]
    Task(TaskStart<'a>),
    /// Do as you like; here are handles to pick up by name.
    #[serde(borrow)]
    Program(ProgramStart<'a>),
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TaskStart<'a> {
    pub task: &'a str,
    pub table: Fingerprint,
    /// The process's name.
    pub name: &'a str,
    /// Its place in the tree of processes, from which its children get their default names.
    pub lineage: &'a str,
    pub daemon: bool,
    pub parent: u32,
    /// The payload begins with a [`Delay`](super::delay::Delay), and the result will be an `Option`.
    pub delayed: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ProgramStart<'a> {
    pub daemon: bool,
    pub parent: u32,
    #[serde(borrow)]
    pub handles: Vec<HandleStart<'a>>,
}

/// One named value of a program, with its share of the message's descriptors, which come in the
/// order of the handles.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct HandleStart<'a> {
    pub name: &'a str,
    /// MessagePack.
    #[serde(with = "serde_bytes")]
    pub bytes: &'a [u8],
    pub descriptors: u32,
}

/// A number that two programs share when their tables of tasks are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fingerprint(pub(super) u64);

/// One line of a table of tasks, as it is told to the other side.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Line {
    pub(super) name: String,
    pub(super) arguments: String,
    pub(super) result: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{} -> {}", self.name, self.arguments, self.result)
    }
}

/// What a child tells its parent. Either one refusal, or `Ready` and then one of the ends; a child
/// that dies tells nothing more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Answer {
    /// The task was found and its arguments were read; it starts now, or when its time has come.
    Ready,
    /// End: the function returned; the payload is its result.
    Returned,
    /// End: the function panicked.
    Panicked { message: String, location: Option<String> },
    /// End: the function returned something that could not be sent.
    BadResult(String),
    /// Refusal: this is not the table you know; this is mine.
    OtherTable(Vec<Line>),
    /// Refusal: no such function here.
    NotRegistered,
    /// Refusal: the arguments could not be read.
    BadArguments(String),
}

/// A received message: its body and its descriptors.
#[derive(Debug)]
pub(super) struct Message {
    body: Vec<u8>,
    pub descriptors: Vec<OwnedFd>,
}

impl Message {
    /// The message's head and its payload.
    pub fn split<'a, T: Deserialize<'a>>(&'a self) -> io::Result<(T, &'a [u8])> {
        postcard::take_from_bytes(&self.body)
            .map_err(|error| garbage(&format!("a bootstrap message that cannot be read: {error}")))
    }

    /// The last `length` bytes, which [`split`](Message::split) showed to be the payload.
    pub fn into_payload(self, length: usize) -> Payload {
        let from = self.body.len() - length;
        Payload { body: self.body, from, descriptors: self.descriptors }
    }
}

/// Arguments or a result, still as bytes.
#[derive(Debug)]
pub(crate) struct Payload {
    body: Vec<u8>,
    from: usize,
    descriptors: Vec<OwnedFd>,
}

impl Payload {
    /// Reads the value and the handles in it.
    pub fn read<T: DeserializeOwned>(self) -> Result<T, String> {
        let bytes = &self.body[self.from..];
        transfer::provide(Incoming::new(self.descriptors), || postcard::from_bytes(bytes))
            .map_err(|error| error.to_string())
    }
}

/// Sends a message without waiting. Bytes that are too many for a packet go in sealed memory, so a
/// reader that never reads cannot hold up the sender.
pub(super) fn send(
    socket: BorrowedFd<'_>,
    head: &impl Serialize,
    payload: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let head = postcard::to_stdvec(head).map_err(io::Error::other)?;
    if HEAD + head.len() + payload.len() <= descriptors::BYTES_PER_MESSAGE {
        let mut packet = packet_head(INLINE);
        packet.extend_from_slice(&head);
        packet.extend_from_slice(payload);
        match descriptors::send(socket, &packet, descriptors) {
            // The socket is smaller than usual, or nearly full: less will still go.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && descriptors.is_empty() => {}
            sent => return sent,
        }
    }
    let memory = descriptors::sealed_memory("tasuki:message:start", &[&head, payload])?;
    let mut all = Vec::with_capacity(1 + descriptors.len());
    all.push(memory.as_fd());
    all.extend_from_slice(descriptors);
    descriptors::send(socket, &packet_head(MEMORY), &all)
}

fn packet_head(place: u8) -> Vec<u8> {
    let mut packet = Vec::from(MAGIC);
    packet.extend([VERSION, place]);
    packet
}

/// Receives a message; `None` when none is there (with [`Wait::Never`]) or when none will come.
pub(super) fn receive(socket: BorrowedFd<'_>, wait: Wait) -> io::Result<Option<Message>> {
    let (mut packet, mut descriptors) = match descriptors::receive(socket, wait)? {
        Received::Message(packet, descriptors) => (packet, descriptors),
        Received::Nothing | Received::Closed => return Ok(None),
    };
    let Some(&[a, b, c, version, place]) = packet.first_chunk::<HEAD>() else {
        return Err(garbage("a bootstrap message that is none"));
    };
    if [a, b, c] != MAGIC {
        return Err(garbage("a bootstrap message that is none"));
    }
    if version != VERSION {
        return Err(garbage(&format!(
            "the other process runs another version of tasuki (its bootstrap protocol is \
             {version}, ours {VERSION}): build both with the same version"
        )));
    }
    match place {
        INLINE => {
            packet.drain(..HEAD);
            Ok(Some(Message { body: packet, descriptors }))
        }
        MEMORY if !descriptors.is_empty() => {
            let body = descriptors::read_sealed_memory(descriptors.remove(0))?;
            Ok(Some(Message { body, descriptors }))
        }
        _ => Err(garbage("a bootstrap message whose body is nowhere")),
    }
}

fn garbage(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(socket: &OwnedFd) -> Message {
        receive(socket.as_fd(), Wait::Never).unwrap().expect("a message")
    }

    #[test]
    fn small_and_large_payloads_arrive() {
        let (a, b) = descriptors::socket_pair().unwrap();
        for size in [0, 1, 60_000, 65_536, 10 << 20] {
            let payload = vec![size as u8 | 1; size];
            send(a.as_fd(), &Answer::Returned, &payload, &[b.as_fd()]).unwrap();
            let message = message(&b);
            let (answer, received) = message.split::<Answer>().unwrap();
            assert_eq!(answer, Answer::Returned);
            assert!(received == payload);
            assert_eq!(message.descriptors.len(), 1);
        }
    }

    #[test]
    fn garbage_and_other_versions_are_told_apart() {
        let (a, b) = descriptors::socket_pair().unwrap();
        for (packet, expected) in [
            (&b"hi"[..], "is none"),
            (b"http\0", "is none"),
            (b"tsk\x09\0", "version"),
            (b"tsk\x02\x01", "nowhere"),
            (b"tsk\x02\x07", "nowhere"),
        ] {
            descriptors::send(a.as_fd(), packet, &[]).unwrap();
            let error = receive(b.as_fd(), Wait::Never).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
        descriptors::send(a.as_fd(), b"tsk\x02\0\xff", &[]).unwrap();
        assert!(message(&b).split::<Answer>().is_err());
    }

    proptest::proptest! {
        #[test]
        fn random_bytes_never_panic(packet: Vec<u8>, body: Vec<u8>, place in 0..3_u8) {
            let (a, b) = descriptors::socket_pair().unwrap();
            descriptors::send(a.as_fd(), &packet, &[]).unwrap();
            let _ = receive(b.as_fd(), Wait::Never);

            let packet = [&packet_head(place)[..], &body[..]].concat();
            let memory = descriptors::sealed_memory("t", &[&body[..]]).unwrap();
            descriptors::send(a.as_fd(), &packet, &[memory.as_fd()]).unwrap();
            if let Ok(Some(message)) = receive(b.as_fd(), Wait::Never) {
                let _ = message.split::<Start>();
                let _ = message.split::<Answer>();
            }
        }
    }
}
