//! How fast do small numbers go through a channel that ends by disconnection?
//!
//! Receivers take until every sender is gone, and nobody tells them how many there will be. Between processes, except
//! for crossbeam, whose channels connect threads; ipc-channel has one receiver per channel.

use crate::team::{Outcome, Worker, processes, threads};
use crate::{Done, Question, side};

const CAPACITY: usize = 1024;

pub fn questions() -> Vec<Question> {
    vec![
        Question {
            name: "channel-u64-1-1",
            what: "channel of u64, 1:1, to its end",
            sides: vec![
                side("tasuki", tasuki::<1, 1>, None),
                side("crossbeam-channel", crossbeam::<1, 1>, None),
                side("ipc-channel", ipc, Some(10.0)),
            ],
        },
        Question {
            name: "channel-u64-4-4",
            what: "channel of u64, 4:4, to its end",
            sides: vec![
                side("tasuki", tasuki::<4, 4>, None),
                side("crossbeam-channel", crossbeam::<4, 4>, None),
            ],
        },
    ]
}

fn tasuki<const SENDERS: u64, const RECEIVERS: u64>(operations: u64) -> Done {
    let total = operations.next_multiple_of(SENDERS);
    let (sender, receiver) = tasuki::bounded::<u64>(CAPACITY).unwrap();
    let mut team: Vec<Worker> = Vec::new();
    for number in 0..SENDERS {
        let sender = sender.clone();
        team.push(Box::new(move || {
            numbers(number, total / SENDERS).for_each(|number| sender.send(number).unwrap());
            0
        }));
    }
    drop(sender);
    for _ in 0..RECEIVERS {
        let receiver = receiver.clone();
        team.push(Box::new(move || sum(receiver.iter())));
    }
    drop(receiver);
    done(total, processes(team))
}

fn crossbeam<const SENDERS: u64, const RECEIVERS: u64>(operations: u64) -> Done {
    let total = operations.next_multiple_of(SENDERS);
    let (sender, receiver) = crossbeam_channel::bounded::<u64>(CAPACITY);
    let mut team: Vec<Worker> = Vec::new();
    for number in 0..SENDERS {
        let sender = sender.clone();
        team.push(Box::new(move || {
            numbers(number, total / SENDERS).for_each(|number| sender.send(number).unwrap());
            0
        }));
    }
    drop(sender);
    for _ in 0..RECEIVERS {
        let receiver = receiver.clone();
        team.push(Box::new(move || sum(receiver.iter())));
    }
    drop(receiver);
    done(total, threads(team))
}

fn ipc(operations: u64) -> Done {
    let (sender, receiver) = ipc_channel::ipc::channel::<u64>().unwrap();
    let team: Vec<Worker> = vec![
        Box::new(move || {
            numbers(0, operations).for_each(|number| sender.send(number).unwrap());
            0
        }),
        Box::new(move || sum(std::iter::from_fn(|| receiver.recv().ok()))),
    ];
    done(operations, processes(team))
}

fn numbers(sender: u64, count: u64) -> std::ops::Range<u64> {
    sender * count..(sender + 1) * count
}

fn sum(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(0, u64::wrapping_add)
}

fn done(total: u64, outcome: Outcome) -> Done {
    assert_eq!(outcome.sum, sum(0..total), "each number came once");
    Done { operations: total, time: outcome.time }
}
