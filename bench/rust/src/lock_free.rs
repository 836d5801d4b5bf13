//! What does a lock cost that nobody else wants?

use std::hint::black_box;
use std::time::Instant;

use crate::boost::{self, boost};
use crate::{Done, Question, side};

pub fn questions() -> Vec<Question> {
    let mut sides = vec![
        side("tasuki", tasuki, None),
        // At most 1.5 times its time.
        side("parking_lot::Mutex", parking_lot, Some(1.0 / 1.5)),
        side("std::sync::Mutex", std_mutex, None),
    ];
    sides.extend(boost(|times| boost::answer("lock-free", times), None));
    vec![Question { name: "lock-free", what: "Lock, nobody else wants it", sides }]
}

fn tasuki(times: u64) -> Done {
    let lock = tasuki::Lock::new(0_u64).unwrap();
    let start = Instant::now();
    for _ in 0..times {
        *black_box(&lock).lock().unwrap() += 1;
    }
    let time = start.elapsed();
    assert_eq!(*lock.lock().unwrap(), times);
    Done { operations: times, time }
}

fn parking_lot(times: u64) -> Done {
    let lock = parking_lot::Mutex::new(0_u64);
    let start = Instant::now();
    for _ in 0..times {
        *black_box(&lock).lock() += 1;
    }
    let time = start.elapsed();
    assert_eq!(*lock.lock(), times);
    Done { operations: times, time }
}

fn std_mutex(times: u64) -> Done {
    let lock = std::sync::Mutex::new(0_u64);
    let start = Instant::now();
    for _ in 0..times {
        *black_box(&lock).lock().unwrap() += 1;
    }
    let time = start.elapsed();
    assert_eq!(*lock.lock().unwrap(), times);
    Done { operations: times, time }
}
