//! What does it cost to change a shared value under its lock?

use std::hint::black_box;
use std::time::Instant;

use crate::{Done, Question, side};

pub fn questions() -> Vec<Question> {
    vec![Question {
        name: "value-update",
        what: "Value::update",
        sides: vec![side("tasuki", tasuki, None), side("parking_lot::Mutex", parking_lot, None)],
    }]
}

fn tasuki(times: u64) -> Done {
    let value = tasuki::Value::new(0_u64).unwrap();
    let start = Instant::now();
    for _ in 0..times {
        black_box(&value).update(|number| *number += 1).unwrap();
    }
    let time = start.elapsed();
    assert_eq!(value.get(), times);
    Done { operations: times, time }
}

fn parking_lot(times: u64) -> Done {
    let value = parking_lot::Mutex::new(0_u64);
    let start = Instant::now();
    for _ in 0..times {
        *black_box(&value).lock() += 1;
    }
    let time = start.elapsed();
    assert_eq!(*value.lock(), times);
    Done { operations: times, time }
}
