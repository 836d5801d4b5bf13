//! How fast do small messages go through a queue?
//!
//! Between processes, except for crossbeam, whose channels connect threads and move values unencoded: the speed to
//! reach. ipc-channel has one receiver per channel, so it takes part with one consumer only. So does iceoryx2, whose
//! publishers give every sample to every subscriber; both of its sides look all the time and never sleep.

use std::iter::repeat_with;
use std::time::Instant;

use iceoryx2::prelude::{BackpressureStrategy, PortFactory};

use crate::links::iceoryx;
use crate::team::{Opener, Outcome, Worker, opening_processes, processes, threads};
use crate::{Done, Question, side};

/// Room for this many messages.
const CAPACITY: usize = 1024;

pub fn questions() -> Vec<Question> {
    let (one, ten) = (Some(1.0), Some(10.0));
    vec![
        Question {
            name: "queue-u64-alone",
            what: "Queue<u64>, put and get, no wait",
            sides: vec![
                side("tasuki", tasuki_alone, None),
                side("crossbeam-channel", crossbeam_alone, None),
            ],
        },
        Question {
            name: "queue-u64-1-1",
            what: "Queue<u64>, 1:1",
            sides: vec![
                side("tasuki", tasuki::<1, 1>, None),
                side("crossbeam-channel", crossbeam::<1, 1>, one),
                side("ipc-channel", ipc::<1>, ten),
                side("iceoryx2, looking", iceoryx::<1>, None),
            ],
        },
        Question {
            name: "queue-u64-4-1",
            what: "Queue<u64>, 4:1",
            sides: vec![
                side("tasuki", tasuki::<4, 1>, None),
                side("crossbeam-channel", crossbeam::<4, 1>, one),
                side("ipc-channel", ipc::<4>, ten),
                side("iceoryx2, looking", iceoryx::<4>, None),
            ],
        },
        Question {
            name: "queue-u64-4-4",
            what: "Queue<u64>, 4:4",
            sides: vec![
                side("tasuki", tasuki::<4, 4>, None),
                side("crossbeam-channel", crossbeam::<4, 4>, one),
            ],
        },
    ]
}

fn tasuki<const PRODUCERS: u64, const CONSUMERS: u64>(operations: u64) -> Done {
    let total = operations.next_multiple_of(PRODUCERS * CONSUMERS);
    let queue = tasuki::Queue::<u64>::bounded(CAPACITY).unwrap();
    let mut team: Vec<Worker> = Vec::new();
    for producer in 0..PRODUCERS {
        let queue = queue.clone();
        team.push(Box::new(move || {
            for number in numbers(producer, total / PRODUCERS) {
                queue.put(number).unwrap();
            }
            0
        }));
    }
    for _ in 0..CONSUMERS {
        let queue = queue.clone();
        team.push(Box::new(move || {
            sum(repeat_with(|| queue.get().unwrap()).take((total / CONSUMERS) as usize))
        }));
    }
    let outcome = processes(team);
    assert!(queue.is_empty());
    done(total, outcome)
}

fn crossbeam<const PRODUCERS: u64, const CONSUMERS: u64>(operations: u64) -> Done {
    let total = operations.next_multiple_of(PRODUCERS * CONSUMERS);
    let (sender, receiver) = crossbeam_channel::bounded::<u64>(CAPACITY);
    let mut team: Vec<Worker> = Vec::new();
    for producer in 0..PRODUCERS {
        let sender = sender.clone();
        team.push(Box::new(move || {
            for number in numbers(producer, total / PRODUCERS) {
                sender.send(number).unwrap();
            }
            0
        }));
    }
    for _ in 0..CONSUMERS {
        let receiver = receiver.clone();
        team.push(Box::new(move || {
            sum(repeat_with(|| receiver.recv().unwrap()).take((total / CONSUMERS) as usize))
        }));
    }
    let outcome = threads(team);
    assert!(receiver.is_empty());
    done(total, outcome)
}

fn ipc<const PRODUCERS: u64>(operations: u64) -> Done {
    let total = operations.next_multiple_of(PRODUCERS);
    let (sender, receiver) = ipc_channel::ipc::channel::<u64>().unwrap();
    let mut team: Vec<Worker> = Vec::new();
    for producer in 0..PRODUCERS {
        let sender = sender.clone();
        team.push(Box::new(move || {
            for number in numbers(producer, total / PRODUCERS) {
                sender.send(number).unwrap();
            }
            0
        }));
    }
    team.push(Box::new(move || sum(repeat_with(|| receiver.recv().unwrap()).take(total as usize))));
    done(total, processes(team))
}

fn iceoryx<const PRODUCERS: u64>(operations: u64) -> Done {
    let total = operations.next_multiple_of(PRODUCERS);
    let name = &iceoryx::service_name("numbers");
    let open = || {
        let service = iceoryx::node().service_builder(&name.as_str().try_into().unwrap());
        let service = service.publish_subscribe::<u64>().enable_safe_overflow(false);
        let service = service.subscriber_max_buffer_size(CAPACITY).max_publishers(4);
        service.open_or_create().unwrap()
    };
    let mut team: Vec<Opener> = Vec::new();
    for producer in 0..PRODUCERS {
        team.push(Box::new(move || {
            let service = open();
            let publisher = service.publisher_builder();
            let wait = BackpressureStrategy::RetryUntilDelivered;
            let publisher = publisher.backpressure_strategy(wait).create().unwrap();
            iceoryx::until(|| service.dynamic_config().number_of_subscribers() == 1);
            Box::new(move || {
                for number in numbers(producer, total / PRODUCERS) {
                    iceoryx::until(|| publisher.send_copy(number).unwrap() == 1);
                }
                0
            })
        }));
    }
    team.push(Box::new(move || {
        let service = open();
        let subscriber = service.subscriber_builder().create().unwrap();
        iceoryx::until(|| service.dynamic_config().number_of_publishers() as u64 == PRODUCERS);
        Box::new(move || {
            let receive = || iceoryx::look(|| subscriber.receive().unwrap());
            sum(repeat_with(|| *receive()).take(total as usize))
        })
    }));
    done(total, opening_processes(team))
}

/// What the calls cost by themselves: a batch in, a batch out, all in one thread.
fn tasuki_alone(operations: u64) -> Done {
    let queue = tasuki::Queue::<u64>::bounded(CAPACITY).unwrap();
    alone(operations, |number| queue.put(number).unwrap(), || queue.get().unwrap())
}

fn crossbeam_alone(operations: u64) -> Done {
    let (sender, receiver) = crossbeam_channel::bounded::<u64>(CAPACITY);
    alone(operations, |number| sender.send(number).unwrap(), || receiver.recv().unwrap())
}

fn alone(operations: u64, put: impl Fn(u64), get: impl Fn() -> u64) -> Done {
    const BATCH: u64 = 100;
    let total = operations.next_multiple_of(BATCH);
    let start = Instant::now();
    let mut result = 0_u64;
    for batch in 0..total / BATCH {
        (batch * BATCH..(batch + 1) * BATCH).for_each(&put);
        result = (0..BATCH).fold(result, |sum, _| sum.wrapping_add(get()));
    }
    done(total, Outcome { time: start.elapsed(), sum: result })
}

fn numbers(producer: u64, count: u64) -> std::ops::Range<u64> {
    producer * count..(producer + 1) * count
}

fn sum(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(0, u64::wrapping_add)
}

fn done(total: u64, outcome: Outcome) -> Done {
    assert_eq!(outcome.sum, sum(0..total), "each number came once");
    Done { operations: total, time: outcome.time }
}
