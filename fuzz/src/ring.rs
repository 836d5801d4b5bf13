//! A queue whose memory a broken process left behind is attached and used: header, positions, ring, chunk and block
//! tables hold nonsense from the beginning, and more comes in between. Errors and garbage, in time; no panic, no access
//! outside.
//!
//! `segment` writes into a queue in use; here the nonsense is met by what attaches, repairs, throws away and takes many
//! at a time as well. The lock words get only what a death leaves there: one that names a living thread makes callers
//! wait for that thread, as it should.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use tasuki::protocol::transfer::Outgoing;
use tasuki::raw::{
    Batch, LargeMessage, OutboundMessage, QueueOptions, RawHandle, RawQueue, Shutdown, Wait,
};

/// The control page, behind the segment's header and roster.
const CONTROL: u64 = 0x8_1000;
const TASKS: u64 = CONTROL + 0x1000;
const CHUNKS: u64 = TASKS + 4096 * 128;
/// The first blocks of each size.
const BLOCKS: u64 = CHUNKS + 0x1000;
const BLOCK_TABLE: u64 = 32 * 32;
/// Of a side: its lock, and its two marks, where a position is an offset and a number of bytes.
const SIDES: [u64; 2] = [CONTROL, CONTROL + 64];
const MARKS: [u64; 2] = [32, 48];
const OWNER_DIED: u32 = 1 << 30;
/// No queue is longer.
const LONGEST: u64 = 1 << 36;

/// Plays the bytes: what the queue is like, what is overwritten with what, and what is done with it.
pub fn attach_and_use(data: &[u8]) {
    let mut input = data.iter().copied();
    let mut next = || input.next().unwrap_or(0);
    let shape = next();
    let (record, fds, memory) = left_behind(shape);
    let mut garbage = Garbage::new(memory);
    for _ in 0..next() % 8 {
        garbage.write(&mut next);
    }
    let mut descriptor =
        |index: u32| Ok(fds[index as usize].try_clone().expect("a descriptor more"));
    let Ok(RawHandle::Queue(queue)) = RawHandle::open(&record, &mut descriptor) else { return };
    // More steps only repeat what fewer show.
    for _ in 0..48 {
        match next() {
            0 => return,
            step if step % 3 == 0 => garbage.write(&mut next),
            step => use_it(&queue, step, next()),
        }
    }
}

/// A queue with a few messages in it that nobody has any more: its record, its descriptors, its memory.
fn left_behind(shape: u8) -> (Vec<u8>, Vec<OwnedFd>, File) {
    let options = QueueOptions {
        capacity: [None, Some(1), Some(3), Some(1000)][usize::from(shape % 4)],
        byte_limit: (shape & 4 != 0).then_some(1 << 20),
        joinable: shape & 8 != 0,
        ..QueueOptions::default()
    };
    let queue = RawQueue::create(options).expect("memory for a queue");
    let file: OwnedFd = File::open("/dev/null").expect("a file").into();
    for number in 0..u32::from(shape >> 4) {
        let len = [10, 3000, 4000, 20_000][number as usize % 4];
        let fds = if number % 5 == 1 { std::slice::from_ref(&file) } else { &[] };
        let _ = queue.put(1, &[&vec![7; len]], fds, &mut Wait::now());
        if number % 3 == 2 {
            take(&queue);
        }
    }
    let mut table = Outgoing::default();
    let record = queue.record(&mut table).expect("a record");
    let fds = table.into_descriptors();
    let memory = File::from(fds[0].try_clone().expect("a descriptor more"));
    (record, fds, memory)
}

fn take(queue: &RawQueue) {
    if let Ok(taken) = queue.get(&mut Vec::new(), &mut Wait::now()) {
        read_large(taken.large);
    }
}

/// Garbage may claim to be huge; it is copied only by those who want that.
fn read_large(large: Option<Box<LargeMessage>>) {
    if let Some(large) = large.filter(|large| large.len() < 8 << 20) {
        drop(large.to_vec());
    }
}

fn use_it(queue: &RawQueue, step: u8, size: u8) {
    let soon = || Wait::timeout(Duration::from_micros(200));
    let body = vec![step; usize::from(size) * 20];
    match step / 3 % 16 {
        0..3 => drop(queue.put(1, &[&body], &[], &mut Wait::now())),
        3 => {
            drop(queue.put(1, &[&vec![step; 5_000 + usize::from(size) * 1_000]], &[], &mut soon()))
        }
        4 => {
            let file: OwnedFd = File::open("/dev/null").expect("a file").into();
            drop(queue.put(1, &[&body], &[file], &mut Wait::now()));
        }
        5 => {
            let parts: [&[u8]; 1] = [&body];
            let messages: Vec<OutboundMessage<'_>> = (0..size % 16)
                .map(|_| OutboundMessage { codec: 1, parts: &parts, fds: &[] })
                .collect();
            let _ = queue.put_many(&messages, &mut soon());
        }
        6..10 => take(queue),
        10 | 11 => {
            let mut batch = Batch::new();
            if queue.get_many(usize::from(size), &mut batch, &mut soon()).is_ok() {
                batch.drain().for_each(|message| read_large(message.large));
            }
        }
        12 => {
            let _ = (queue.pollable().is_ok(), queue.pollable_for_put().is_ok());
        }
        13 => {
            let _ = (queue.len(), queue.capacity(), queue.structured(), queue.unfinished());
            let _ = (queue.is_full(), queue.is_empty(), queue.is_joinable(), queue.is_shut_down());
        }
        14 => {
            let _ = queue.task_done(u64::from(size % 4), &mut soon()).is_ok();
            let _ = queue.join(&mut soon()).is_ok();
        }
        // Seldom, since nothing can be put afterwards.
        _ if size < 32 => {
            let how = if size % 2 == 0 { Shutdown::Drain } else { Shutdown::Immediate };
            drop(queue.shutdown(how));
        }
        _ => drop(queue.put(1, &[&body], &[], &mut soon())),
    }
}

/// Writes nonsense into a queue's memory.
struct Garbage {
    memory: File,
    first_chunk: u64,
}

impl Garbage {
    fn new(memory: File) -> Garbage {
        let first_chunk = word(&memory, SIDES[1] + MARKS[0]) & !0xffff;
        Garbage { memory, first_chunk }
    }

    fn write(&mut self, next: &mut impl FnMut() -> u8) {
        let (place, fine) = (next(), u64::from(next()));
        let positions =
            SIDES.map(|side| MARKS.map(|mark| word(&self.memory, side + mark) & (LONGEST - 1)));
        let at = match place % 16 {
            0 => fine * 8 % 256,    // the segment's header
            1 => 0x1000 + fine * 8, // rows of the roster
            2..5 => SIDES[usize::from(place & 1)] + fine * 8 % 64,
            5..7 => CONTROL + 128 + fine * 8 % 640,
            7 => BLOCKS + u64::from(place / 16) % 24 * BLOCK_TABLE + fine * 8 % 512,
            8 => BLOCKS + fine % 4 * BLOCK_TABLE + u64::from(place / 16) * 8,
            9 => CHUNKS + fine * 4,
            10 => TASKS + fine * 8,
            11..14 => positions[usize::from(place & 1)][fine as usize & 1] + fine / 2 % 16 * 4,
            14 => self.first_chunk + fine * 4,
            _ => {
                let side = SIDES[fine as usize & 1];
                let _ = self.memory.write_all_at(&OWNER_DIED.to_le_bytes(), side);
                return;
            }
        };
        let before = word(&self.memory, at);
        let value = match next() % 8 {
            0 => u64::from(next()),
            1 => u64::MAX - u64::from(next()),
            2 => before ^ 1 << (next() % 64),
            3 => before.wrapping_add(u64::from(next())).wrapping_sub(128),
            4 => self.first_chunk.wrapping_add(u64::from(next()) << 9),
            5 => positions[usize::from(next() & 1)][0],
            6 => u64::from(next()) << 32 | before & 0xffff_ffff,
            _ => u64::from_le_bytes(std::array::from_fn(|_| next())),
        };
        let halves = if next() % 2 == 0 { 2 } else { 1 };
        for (at, half) in (at..).step_by(4).zip(value.to_le_bytes().chunks(4)).take(halves) {
            if SIDES.iter().all(|&lock| at.abs_diff(lock) >= 4) {
                let _ = self.memory.write_all_at(half, at);
            }
        }
    }
}

/// The word at `at`, 0 where there is none.
fn word(memory: &File, at: u64) -> u64 {
    let mut bytes = [0; 8];
    let _ = memory.read_exact_at(&mut bytes, at);
    u64::from_le_bytes(bytes)
}
