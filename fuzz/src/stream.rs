//! A connection whose peer sends anything in pieces of any size, and is asked now and then: messages come out whole and
//! in order, and the end is told for what it is.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use tasuki::protocol::frame::header;
use tasuki::raw::connection::{RawStream, StreamError, StreamLimits};
use tasuki::raw::{GaveUp, Wait};

/// The longest message that this end accepts.
const LIMIT: u64 = 5_000;

/// How a stream ends, as the bytes say.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Closed,
    Torn,
    Refused,
}

/// The first byte chooses the size of the pieces, the rest are what the peer sends.
///
/// # Panics
///
/// When a promise is broken.
pub fn feed(data: &[u8]) {
    let Some((&choice, bytes)) = data.split_first() else { return };
    let (expected, end) = expected(bytes);
    let (ours, mut theirs) = UnixStream::pair().expect("a socket");
    theirs.set_write_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    let limits = StreamLimits { max_message: Some(LIMIT), ..StreamLimits::default() };
    let stream = RawStream::new(ours.into(), limits);
    let mut got = Vec::new();
    let mut ended = None;
    // What the socket has no room for is not sent: too little is as good as a peer that stops.
    let bytes = &bytes[..bytes.len().min(60_000)];
    let size = (bytes.len() / (usize::from(choice % 16) + 1)).max(usize::from(choice / 16) + 1);
    for piece in bytes.chunks(size) {
        if theirs.write_all(piece).is_err() {
            break;
        }
        ended = receive_all(&stream, &mut got);
    }
    drop(theirs);
    if ended.is_none() {
        ended = receive_all(&stream, &mut got);
    }
    assert_eq!((got, ended), (expected, Some(end)));
    let (head, tail) = bytes.split_at(usize::from(choice).min(bytes.len()));
    send_in_parts(&[head, &[], tail]);
}

/// Receives what is there; how it ended, if it did.
fn receive_all(stream: &RawStream, got: &mut Vec<Vec<u8>>) -> Option<End> {
    let mut buffer = Vec::new();
    loop {
        match stream.recv(&mut buffer, None, &mut Wait::now()) {
            Ok(()) => got.push(buffer.clone()),
            Err(StreamError::GaveUp(GaveUp::TimedOut)) => return None,
            Err(StreamError::Closed) => return Some(End::Closed),
            Err(StreamError::Torn) => return Some(End::Torn),
            Err(StreamError::Frame(why)) => {
                let again = stream.recv(&mut buffer, None, &mut Wait::now());
                assert!(matches!(again, Err(StreamError::Frame(same)) if same == why));
                return Some(End::Refused);
            }
            Err(other) => panic!("{other}"),
        }
    }
}

/// What the bytes mean, written down a second time.
fn expected(bytes: &[u8]) -> (Vec<Vec<u8>>, End) {
    let mut rest = &bytes[..bytes.len().min(60_000)];
    let mut messages = Vec::new();
    loop {
        if rest.is_empty() {
            return (messages, End::Closed);
        }
        let Some((short, after)) = rest.split_first_chunk::<4>() else {
            return (messages, End::Torn);
        };
        let (length, after) = match i32::from_be_bytes(*short) {
            -1 => match after.split_first_chunk::<8>() {
                Some((long, after)) => (u64::from_be_bytes(*long), after),
                None => return (messages, End::Torn),
            },
            ..0 => return (messages, End::Refused),
            short => (short.unsigned_abs().into(), after),
        };
        if length > LIMIT {
            return (messages, End::Refused);
        }
        let length = length as usize;
        if after.len() < length {
            return (messages, End::Torn);
        }
        let (body, after) = after.split_at(length);
        messages.push(body.to_vec());
        rest = after;
    }
}

/// What this end sends arrives as the standard library would read it, whatever the parts.
fn send_in_parts(parts: &[&[u8]]) {
    let (ours, mut theirs) = UnixStream::pair().expect("a socket");
    let stream = RawStream::new(ours.into(), StreamLimits::default());
    let body = parts.concat();
    if body.len() > 60_000 {
        return;
    }
    stream.send(parts, &mut Wait::now()).expect("room for that");
    drop(stream);
    let mut came = Vec::new();
    theirs.read_to_end(&mut came).expect("all of it");
    assert_eq!(came, [header(body.len() as u64).as_bytes(), &body].concat());
}
