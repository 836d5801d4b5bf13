//! Messages that can be accounted for: who sent it, which one it is, how long it is, and a checksum over all.
//!
//! A [`Ledger`] lies in shared memory. A producer notes a number *after* its put returned; a consumer notes a message
//! when it has it. So at the end every message is either acknowledged and taken once, or somebody died.

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;

use tasuki::raw::{GaveUp, RawQueue, TransportFailure, Wait};

use super::Words;

/// The tag of these messages: bytes.
pub const CODEC: u16 = 1;
const HEAD: usize = 24;

/// The bytes of message `sequence` of `producer`, `len` of them, at least 24.
pub fn message(producer: u32, sequence: u32, len: usize) -> Vec<u8> {
    let len = len.max(HEAD);
    let mut bytes = Vec::with_capacity(len);
    bytes.extend(producer.to_le_bytes());
    bytes.extend(sequence.to_le_bytes());
    bytes.extend((len as u64).to_le_bytes());
    bytes.extend([0; 8]);
    let fill = (producer.wrapping_mul(31) ^ sequence) as u8;
    bytes.resize(len, fill);
    let sum = checksum(&bytes);
    bytes[16..24].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// Producer and sequence of a whole message; fails the test on a torn one.
pub fn read(bytes: &[u8]) -> (u32, u32) {
    assert!(bytes.len() >= HEAD, "a torn message of {} bytes", bytes.len());
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let len = u64::from_le_bytes(bytes[8..16].try_into().unwrap());
    assert_eq!(len, bytes.len() as u64, "a message of another length");
    let sum = u64::from_le_bytes(bytes[16..24].try_into().unwrap());
    assert_eq!(sum, checksum(bytes), "a torn message");
    (number(0), number(4))
}

/// Over everything but the checksum's own place.
fn checksum(bytes: &[u8]) -> u64 {
    let mut sum = 0xcbf2_9ce4_8422_2325_u64;
    let words = bytes.chunks_exact(8);
    let rest = words.remainder();
    for (at, word) in words.enumerate() {
        if at != 2 {
            let word = u64::from_le_bytes(word.try_into().unwrap());
            sum = (sum ^ word).wrapping_mul(0x100_0000_01b3).rotate_left(17);
        }
    }
    rest.iter().fold(sum, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// Which messages were acknowledged and which were taken.
#[derive(Debug)]
pub struct Ledger {
    producers: usize,
    each: usize,
    /// For each producer how many puts have returned; then for each message how often it was taken, a byte each.
    words: Words,
}

impl Ledger {
    /// For `producers` that send up to `each` messages.
    pub fn new(producers: usize, each: usize) -> Ledger {
        Ledger { producers, each, words: Words::new(producers + (producers * each).div_ceil(8)) }
    }

    /// The put of message `sequence` has returned; producers count from 0 without gaps.
    pub fn acknowledge(&self, producer: u32, sequence: u32) {
        self.words[producer as usize].store(u64::from(sequence) + 1, Ordering::SeqCst);
    }

    /// How many puts of a producer have returned.
    pub fn acknowledged(&self, producer: u32) -> u32 {
        self.words[producer as usize].load(Ordering::SeqCst) as u32
    }

    /// Somebody has this message; fails when anybody had it before.
    pub fn take(&self, bytes: &[u8]) -> (u32, u32) {
        let (producer, sequence) = read(bytes);
        let (word, shift) = self.place(producer, sequence);
        let before = self.words[word].fetch_add(1 << shift, Ordering::SeqCst) >> shift & 0xff;
        assert_eq!(before, 0, "message {sequence} of producer {producer} was taken twice");
        (producer, sequence)
    }

    /// Whether a message was taken.
    pub fn was_taken(&self, producer: u32, sequence: u32) -> bool {
        let (word, shift) = self.place(producer, sequence);
        self.words[word].load(Ordering::SeqCst) >> shift & 0xff == 1
    }

    /// How many messages of a producer below `end` were taken.
    pub fn taken(&self, producer: u32, end: u32) -> u32 {
        (0..end).filter(|&sequence| self.was_taken(producer, sequence)).count() as u32
    }

    /// All acknowledged messages that nobody took.
    pub fn lost(&self) -> Vec<(u32, u32)> {
        (0..self.producers as u32)
            .flat_map(|producer| (0..self.acknowledged(producer)).map(move |seq| (producer, seq)))
            .filter(|&(producer, sequence)| !self.was_taken(producer, sequence))
            .collect()
    }

    fn place(&self, producer: u32, sequence: u32) -> (usize, u32) {
        let (producer, sequence) = (producer as usize, sequence as usize);
        assert!(producer < self.producers && sequence < self.each, "a message that nobody sent");
        let byte = producer * self.each + sequence;
        (self.producers + byte / 8, (byte % 8 * 8) as u32)
    }
}

/// Puts bytes, waiting for room.
pub fn put(queue: &RawQueue, bytes: &[u8], fds: &[OwnedFd]) {
    queue.put(CODEC, &[bytes], fds, &mut Wait::forever()).expect("put");
}

/// Takes the oldest message, or says that there was none in time.
pub fn get(queue: &RawQueue, wait: &mut Wait<'_>) -> Option<(Vec<u8>, Vec<OwnedFd>)> {
    let mut bytes = Vec::new();
    match queue.get(&mut bytes, wait) {
        Ok(taken) => {
            assert_eq!(taken.codec, CODEC);
            if let Some(large) = taken.large {
                assert!(bytes.is_empty());
                bytes = large.to_vec();
            }
            Some((bytes, taken.fds))
        }
        Err(TransportFailure::GaveUp(GaveUp::TimedOut)) => None,
        Err(other) => panic!("get: {other:?}"),
    }
}
