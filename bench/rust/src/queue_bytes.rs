//! How fast do bytes go through a queue, 1 KiB and 1 MiB at a time?
//!
//! A producer makes each message anew (it copies a template and stamps every page), a consumer reads the stamps.
//! Between processes, except for crossbeam, whose channels hand over a pointer between threads. ipc-channel's bytes
//! channel has one receiver.

use std::iter::repeat_with;

use crate::team::{Outcome, Worker, processes, threads};
use crate::{Done, Question, side};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

pub fn questions() -> Vec<Question> {
    let (one, four, ten) = (Some(1.0), Some(4.0), Some(10.0));
    vec![
        Question {
            name: "queue-1k-1-1",
            what: "Queue of 1 KiB, 1:1",
            sides: vec![
                side("tasuki", tasuki::<KIB, 1, 1>, None),
                side("crossbeam-channel", crossbeam::<KIB, 1, 1>, one),
                side("ipc-channel", ipc::<KIB, 1>, ten),
            ],
        },
        Question {
            name: "queue-1k-4-1",
            what: "Queue of 1 KiB, 4:1",
            sides: vec![
                side("tasuki", tasuki::<KIB, 4, 1>, None),
                side("crossbeam-channel", crossbeam::<KIB, 4, 1>, one),
                side("ipc-channel", ipc::<KIB, 4>, ten),
            ],
        },
        Question {
            name: "queue-1k-4-4",
            what: "Queue of 1 KiB, 4:4",
            sides: vec![
                side("tasuki", tasuki::<KIB, 4, 4>, None),
                side("crossbeam-channel", crossbeam::<KIB, 4, 4>, one),
            ],
        },
        Question {
            name: "queue-1m-1-1",
            what: "Queue of 1 MiB, 1:1",
            sides: vec![
                side("tasuki", tasuki::<MIB, 1, 1>, None),
                side("crossbeam-channel", crossbeam::<MIB, 1, 1>, one),
                side("ipc-channel", ipc::<MIB, 1>, four),
            ],
        },
        Question {
            name: "queue-1m-4-1",
            what: "Queue of 1 MiB, 4:1",
            sides: vec![
                side("tasuki", tasuki::<MIB, 4, 1>, None),
                side("crossbeam-channel", crossbeam::<MIB, 4, 1>, one),
                side("ipc-channel", ipc::<MIB, 4>, four),
            ],
        },
        Question {
            name: "queue-1m-4-4",
            what: "Queue of 1 MiB, 4:4",
            sides: vec![
                side("tasuki", tasuki::<MIB, 4, 4>, None),
                side("crossbeam-channel", crossbeam::<MIB, 4, 4>, one),
            ],
        },
    ]
}

/// Room for this many messages: few when they are large.
const fn capacity(len: usize) -> usize {
    if len > 64 * KIB { 16 } else { 1024 }
}

fn tasuki<const LEN: usize, const PRODUCERS: u64, const CONSUMERS: u64>(operations: u64) -> Done {
    let total = operations.next_multiple_of(PRODUCERS * CONSUMERS);
    let queue = tasuki::Queue::<Vec<u8>>::bounded(capacity(LEN)).unwrap();
    let mut team: Vec<Worker> = Vec::new();
    for producer in 0..PRODUCERS {
        let queue = queue.clone();
        team.push(Box::new(move || {
            for message in messages::<LEN>(producer, total / PRODUCERS) {
                queue.put(message).unwrap();
            }
            0
        }));
    }
    for _ in 0..CONSUMERS {
        let queue = queue.clone();
        team.push(Box::new(move || {
            read::<LEN>(repeat_with(|| queue.get().unwrap()).take((total / CONSUMERS) as usize))
        }));
    }
    done::<LEN>(total, processes(team))
}

fn crossbeam<const LEN: usize, const PRODUCERS: u64, const CONSUMERS: u64>(
    operations: u64,
) -> Done {
    let total = operations.next_multiple_of(PRODUCERS * CONSUMERS);
    let (sender, receiver) = crossbeam_channel::bounded::<Vec<u8>>(capacity(LEN));
    let mut team: Vec<Worker> = Vec::new();
    for producer in 0..PRODUCERS {
        let sender = sender.clone();
        team.push(Box::new(move || {
            for message in messages::<LEN>(producer, total / PRODUCERS) {
                sender.send(message).unwrap();
            }
            0
        }));
    }
    for _ in 0..CONSUMERS {
        let receiver = receiver.clone();
        team.push(Box::new(move || {
            read::<LEN>(repeat_with(|| receiver.recv().unwrap()).take((total / CONSUMERS) as usize))
        }));
    }
    done::<LEN>(total, threads(team))
}

fn ipc<const LEN: usize, const PRODUCERS: u64>(operations: u64) -> Done {
    let total = operations.next_multiple_of(PRODUCERS);
    let (sender, receiver) = ipc_channel::ipc::bytes_channel().unwrap();
    let mut team: Vec<Worker> = Vec::new();
    for producer in 0..PRODUCERS {
        let sender = sender.clone();
        team.push(Box::new(move || {
            for message in messages::<LEN>(producer, total / PRODUCERS) {
                sender.send(&message).unwrap();
            }
            0
        }));
    }
    team.push(Box::new(move || {
        read::<LEN>(repeat_with(|| receiver.recv().unwrap()).take(total as usize))
    }));
    done::<LEN>(total, processes(team))
}

const PAGE: usize = 4096;

/// Messages of `LEN` bytes whose pages begin with the message's number.
fn messages<const LEN: usize>(producer: u64, count: u64) -> impl Iterator<Item = Vec<u8>> {
    let template = vec![7; LEN];
    (producer * count..(producer + 1) * count).map(move |number| {
        let mut message = template.clone();
        for page in message.chunks_mut(PAGE) {
            page[..8].copy_from_slice(&number.to_le_bytes());
        }
        message
    })
}

/// The sum of all stamps.
fn read<const LEN: usize>(messages: impl Iterator<Item = Vec<u8>>) -> u64 {
    let mut sum = 0_u64;
    for message in messages {
        assert!(message.len() == LEN && message[LEN - 1] == 7);
        for page in message.chunks(PAGE) {
            sum = sum.wrapping_add(u64::from_le_bytes(page[..8].try_into().unwrap()));
        }
    }
    sum
}

fn done<const LEN: usize>(total: u64, outcome: Outcome) -> Done {
    let numbers = (0..total).fold(0, u64::wrapping_add);
    let pages = LEN.div_ceil(PAGE) as u64;
    assert_eq!(outcome.sum, numbers.wrapping_mul(pages), "each message came whole and once");
    Done { operations: total, time: outcome.time }
}
