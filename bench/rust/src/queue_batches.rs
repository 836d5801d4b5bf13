//! How fast do small messages go through a queue a hundred at a time: `put_many` and `get_many`?
//!
//! A batch is one lock and one commit. crossbeam has no batches; its channel between threads, one number at a time, is
//! the speed to reach, and our own one at a time says what a batch brings.

use crate::team::{Outcome, Worker, processes, threads};
use crate::{Done, Question, side};

const CAPACITY: usize = 1024;
const BATCH: u64 = 100;

pub fn questions() -> Vec<Question> {
    vec![
        Question {
            name: "queue-batches-1-1",
            what: "Queue<u64> by hundreds, 1:1",
            sides: vec![
                side("tasuki", tasuki::<1, 1>, None),
                side("tasuki, one by one", one_by_one::<1, 1>, None),
                side("crossbeam-channel", crossbeam::<1, 1>, Some(1.0)),
            ],
        },
        Question {
            name: "queue-batches-4-4",
            what: "Queue<u64> by hundreds, 4:4",
            sides: vec![
                side("tasuki", tasuki::<4, 4>, None),
                side("tasuki, one by one", one_by_one::<4, 4>, None),
                side("crossbeam-channel", crossbeam::<4, 4>, Some(1.0)),
            ],
        },
    ]
}

/// What a consumer takes, of how many it still lacks.
type Take<'a> = Box<dyn Fn(u64) -> (u64, u64) + Send + 'a>;

fn tasuki<const PRODUCERS: u64, const CONSUMERS: u64>(operations: u64) -> Done {
    let queue = tasuki::Queue::<u64>::bounded(CAPACITY).unwrap();
    run::<PRODUCERS, CONSUMERS>(
        operations,
        processes,
        || Box::new(|batch| queue.put_many(batch).unwrap()),
        || {
            Box::new(|left| {
                let messages = queue.get_many(left.min(BATCH) as usize).unwrap();
                let count = messages.len() as u64;
                (count, messages.map(Result::unwrap).fold(0, u64::wrapping_add))
            })
        },
    )
}

fn one_by_one<const PRODUCERS: u64, const CONSUMERS: u64>(operations: u64) -> Done {
    let queue = tasuki::Queue::<u64>::bounded(CAPACITY).unwrap();
    run::<PRODUCERS, CONSUMERS>(
        operations,
        processes,
        || Box::new(|batch| batch.for_each(|number| queue.put(number).unwrap())),
        || Box::new(|_| (1, queue.get().unwrap())),
    )
}

fn crossbeam<const PRODUCERS: u64, const CONSUMERS: u64>(operations: u64) -> Done {
    let (sender, receiver) = crossbeam_channel::bounded::<u64>(CAPACITY);
    run::<PRODUCERS, CONSUMERS>(
        operations,
        threads,
        || Box::new(|batch| batch.for_each(|number| sender.send(number).unwrap())),
        || Box::new(|_| (1, receiver.recv().unwrap())),
    )
}

fn run<'a, const PRODUCERS: u64, const CONSUMERS: u64>(
    operations: u64,
    team: fn(Vec<Worker<'a>>) -> Outcome,
    put: impl Fn() -> Box<dyn Fn(std::ops::Range<u64>) + Send + 'a>,
    take: impl Fn() -> Take<'a>,
) -> Done {
    let total = operations.next_multiple_of(PRODUCERS * CONSUMERS * BATCH);
    let mut workers: Vec<Worker<'a>> = Vec::new();
    for producer in 0..PRODUCERS {
        let put = put();
        workers.push(Box::new(move || {
            let share = total / PRODUCERS;
            for batch in 0..share / BATCH {
                let first = producer * share + batch * BATCH;
                put(first..first + BATCH);
            }
            0
        }));
    }
    for _ in 0..CONSUMERS {
        let take = take();
        workers.push(Box::new(move || {
            let (mut left, mut sum) = (total / CONSUMERS, 0_u64);
            while left > 0 {
                let (count, of_these) = take(left);
                left -= count;
                sum = sum.wrapping_add(of_these);
            }
            sum
        }));
    }
    let Outcome { time, sum } = team(workers);
    assert_eq!(sum, (0..total).fold(0, u64::wrapping_add), "each number came once");
    Done { operations: total, time }
}
