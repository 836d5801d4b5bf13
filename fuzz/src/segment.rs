//! A broken process writes into the memory of a queue between the puts and gets of another one: errors and garbage, in
//! time.
//!
//! Not into the two lock words: one that names a living thread makes callers wait for that thread, as it should.
//! `tests/crash_corruption.rs` does that, with processes that run at the same time.

use std::fs::File;
use std::os::unix::fs::FileExt;

use tasuki::raw::{QueueOptions, RawQueue, Wait};

/// Where a queue's control page begins; the tail's first mark is 32 bytes into it, and says where the first chunk is.
const CONTROL: u64 = 0x8_1000;
const TASKS: u64 = CONTROL + 0x1000;
const CHUNKS: u64 = TASKS + 4096 * 128;
const BLOCKS: u64 = CHUNKS + 0x1000;
const LOCKS: [u64; 2] = [CONTROL, CONTROL + 64];

/// Plays the bytes: what is put, what is taken, and what is overwritten with what.
pub fn corrupt(data: &[u8]) {
    let queue = RawQueue::create(QueueOptions::default()).expect("memory for a queue");
    let memory = queue.descriptors()[0].try_clone_to_owned().expect("a descriptor");
    let memory = File::from(memory);
    let first_chunk = word(&memory, CONTROL + 32);
    let mut buffer = Vec::new();
    let mut input = data.iter().copied();
    // More steps only repeat what fewer show.
    for _ in 0..64 {
        let Some(step) = input.next() else { return };
        let mut next = || input.next().unwrap_or(0);
        match step % 5 {
            0 => {
                let body = vec![step; usize::from(next()) * 20];
                let _ = queue.put(1, &[&body], &[], &mut Wait::now());
            }
            1 => {
                let body = vec![step; 8_000 + usize::from(next()) * 1_000];
                let _ = queue.put(1, &[&body], &[], &mut Wait::now());
            }
            2 => {
                if let Ok(taken) = queue.get(&mut buffer, &mut Wait::now()) {
                    let _ = taken.large.map(|large| large.to_vec());
                }
                let _ = (queue.len(), queue.structured(), queue.capacity());
            }
            _ => {
                let area = [0, 0x1000, CONTROL, CONTROL, BLOCKS, CHUNKS, first_chunk, TASKS];
                let place = u64::from(u16::from_le_bytes([next(), next()]) % 4096) & !7;
                let at = area[usize::from(next() % 8)] + place;
                let value = match next() % 3 {
                    0 => u64::from(next()),
                    1 => first_chunk.wrapping_add(u64::from(next()) << 3),
                    _ => u64::from_le_bytes(std::array::from_fn(|_| next())),
                };
                if !LOCKS.contains(&at) {
                    let _ = memory.write_all_at(&value.to_le_bytes(), at);
                }
            }
        }
    }
}

fn word(memory: &File, at: u64) -> u64 {
    let mut bytes = [0; 8];
    memory.read_exact_at(&mut bytes, at).expect("a page of the segment");
    u64::from_le_bytes(bytes)
}
