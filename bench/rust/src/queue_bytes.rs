//! How fast do bytes go through a queue, 1 KiB and 1 MiB at a time?
//!
//! A producer makes each message anew (it copies a template and stamps every page), a consumer reads the stamps.
//! Between processes, except for crossbeam, whose channels hand over a pointer between threads. ipc-channel's bytes
//! channel has one receiver; its typed one sends a `Vec<u8>` through serde. iceoryx2 hands over memory: its producer
//! writes the template into loaned memory, its consumer reads the stamps where they are, and both look all the time.

use std::iter::repeat_with;

use iceoryx2::prelude::{BackpressureStrategy, PortFactory};

use crate::links::iceoryx;
use crate::team::{Opener, Outcome, Worker, opening_processes, processes, threads};
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
                side("ipc-channel, typed", ipc_typed::<KIB>, None),
                side("iceoryx2, looking", iceoryx::<KIB, 1>, None),
            ],
        },
        Question {
            name: "queue-1k-4-1",
            what: "Queue of 1 KiB, 4:1",
            sides: vec![
                side("tasuki", tasuki::<KIB, 4, 1>, None),
                side("crossbeam-channel", crossbeam::<KIB, 4, 1>, one),
                side("ipc-channel", ipc::<KIB, 4>, ten),
                side("iceoryx2, looking", iceoryx::<KIB, 4>, None),
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
                side("ipc-channel, typed", ipc_typed::<MIB>, None),
                side("iceoryx2, looking", iceoryx::<MIB, 1>, None),
            ],
        },
        Question {
            name: "queue-1m-4-1",
            what: "Queue of 1 MiB, 4:1",
            sides: vec![
                side("tasuki", tasuki::<MIB, 4, 1>, None),
                side("crossbeam-channel", crossbeam::<MIB, 4, 1>, one),
                side("ipc-channel", ipc::<MIB, 4>, four),
                side("iceoryx2, looking", iceoryx::<MIB, 4>, None),
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
        Question {
            name: "queue-1m-view",
            what: "Queue of 1 MiB, 1:1, read in place",
            sides: vec![
                side("tasuki", tasuki_views::<MIB>, None),
                side("tasuki, copied out", tasuki::<MIB, 1, 1>, None),
                side("crossbeam-channel", crossbeam::<MIB, 1, 1>, None),
                side("iceoryx2, looking", iceoryx::<MIB, 1>, None),
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

/// The consumer reads the stamps where the message lies.
fn tasuki_views<const LEN: usize>(operations: u64) -> Done {
    let queue = tasuki::Queue::<Vec<u8>>::bounded(capacity(LEN)).unwrap();
    let team: Vec<Worker> = vec![
        Box::new(|| {
            messages::<LEN>(0, operations).for_each(|message| queue.put(message).unwrap());
            0
        }),
        Box::new(|| {
            let stamps_of_next = || {
                let view = queue.get_view().unwrap();
                assert!(view.is_shared(), "nothing was copied");
                // SAFETY: the view is alive, and the only other process wrote the message before it put it.
                stamps::<LEN>(unsafe { view.as_slice() })
            };
            repeat_with(stamps_of_next).take(operations as usize).fold(0, u64::wrapping_add)
        }),
    ];
    done::<LEN>(operations, processes(team))
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

fn ipc_typed<const LEN: usize>(operations: u64) -> Done {
    let (sender, receiver) = ipc_channel::ipc::channel::<Vec<u8>>().unwrap();
    let team: Vec<Worker> = vec![
        Box::new(move || {
            for message in messages::<LEN>(0, operations) {
                sender.send(message).unwrap();
            }
            0
        }),
        Box::new(move || {
            read::<LEN>(repeat_with(|| receiver.recv().unwrap()).take(operations as usize))
        }),
    ];
    done::<LEN>(operations, processes(team))
}

fn iceoryx<const LEN: usize, const PRODUCERS: u64>(operations: u64) -> Done {
    let total = operations.next_multiple_of(PRODUCERS);
    let name = &iceoryx::service_name("bytes");
    let open = || {
        let service = iceoryx::node().service_builder(&name.as_str().try_into().unwrap());
        let service = service.publish_subscribe::<[u8]>().enable_safe_overflow(false);
        let service = service.subscriber_max_buffer_size(capacity(LEN)).max_publishers(4);
        service.open_or_create().unwrap()
    };
    let mut team: Vec<Opener> = Vec::new();
    for producer in 0..PRODUCERS {
        team.push(Box::new(move || {
            let service = open();
            let publisher = service.publisher_builder().initial_max_slice_len(LEN);
            let wait = BackpressureStrategy::RetryUntilDelivered;
            let publisher = publisher.backpressure_strategy(wait).create().unwrap();
            iceoryx::until(|| service.dynamic_config().number_of_subscribers() == 1);
            Box::new(move || {
                let template = vec![7; LEN];
                for number in numbers(producer, total / PRODUCERS) {
                    iceoryx::until(|| {
                        let sample = publisher.loan_slice_uninit(LEN).unwrap();
                        let mut sample = sample.write_from_slice(&template);
                        stamp(sample.payload_mut(), number);
                        sample.send().unwrap() == 1
                    });
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
            let stamps = repeat_with(|| stamps::<LEN>(receive().payload())).take(total as usize);
            stamps.fold(0, u64::wrapping_add)
        })
    }));
    done::<LEN>(total, opening_processes(team))
}

const PAGE: usize = 4096;

fn numbers(producer: u64, count: u64) -> std::ops::Range<u64> {
    producer * count..(producer + 1) * count
}

/// Messages of `LEN` bytes whose pages begin with the message's number.
fn messages<const LEN: usize>(producer: u64, count: u64) -> impl Iterator<Item = Vec<u8>> {
    let template = vec![7; LEN];
    numbers(producer, count).map(move |number| {
        let mut message = template.clone();
        stamp(&mut message, number);
        message
    })
}

fn stamp(message: &mut [u8], number: u64) {
    for page in message.chunks_mut(PAGE) {
        page[..8].copy_from_slice(&number.to_le_bytes());
    }
}

/// The sum of all stamps.
fn read<const LEN: usize>(messages: impl Iterator<Item = Vec<u8>>) -> u64 {
    messages.fold(0, |sum, message| sum.wrapping_add(stamps::<LEN>(&message)))
}

/// The sum of a message's stamps.
fn stamps<const LEN: usize>(message: &[u8]) -> u64 {
    assert!(message.len() == LEN && message[LEN - 1] == 7);
    let stamp = |page: &[u8]| u64::from_le_bytes(page[..8].try_into().unwrap());
    message.chunks(PAGE).fold(0, |sum, page| sum.wrapping_add(stamp(page)))
}

fn done<const LEN: usize>(total: u64, outcome: Outcome) -> Done {
    let numbers = (0..total).fold(0, u64::wrapping_add);
    let pages = LEN.div_ceil(PAGE) as u64;
    assert_eq!(outcome.sum, numbers.wrapping_mul(pages), "each message came whole and once");
    Done { operations: total, time: outcome.time }
}
