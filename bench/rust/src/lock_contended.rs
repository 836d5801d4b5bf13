//! How fast is a counter that several increment under one lock: processes here, threads at the peers?

use crate::boost::{self, boost};
use crate::team::{Worker, processes, threads};
use crate::{Done, Question, side};

pub fn questions() -> Vec<Question> {
    let one = Some(1.0);
    let mut two = vec![
        side("tasuki", tasuki::<2>, None),
        side("parking_lot::Mutex", parking_lot::<2>, None),
        side("std::sync::Mutex", std_mutex::<2>, one),
    ];
    two.extend(boost(|times| boost::answer("lock-contended-2", times), None));
    let mut four = vec![
        side("tasuki", tasuki::<4>, None),
        side("parking_lot::Mutex", parking_lot::<4>, None),
        side("std::sync::Mutex", std_mutex::<4>, one),
    ];
    four.extend(boost(|times| boost::answer("lock-contended-4", times), None));
    vec![
        Question { name: "lock-contended-2", what: "Lock, 2 want it", sides: two },
        Question { name: "lock-contended-4", what: "Lock, 4 want it", sides: four },
    ]
}

fn tasuki<const WORKERS: u64>(operations: u64) -> Done {
    let lock = tasuki::Lock::new(0_u64).unwrap();
    let each = operations.div_ceil(WORKERS);
    let outcome = processes(team::<WORKERS>(each, &|| *lock.lock().unwrap() += 1));
    assert_eq!(*lock.lock().unwrap(), each * WORKERS);
    Done { operations: each * WORKERS, time: outcome.time }
}

fn parking_lot<const WORKERS: u64>(operations: u64) -> Done {
    let lock = parking_lot::Mutex::new(0_u64);
    let each = operations.div_ceil(WORKERS);
    let outcome = threads(team::<WORKERS>(each, &|| *lock.lock() += 1));
    assert_eq!(*lock.lock(), each * WORKERS);
    Done { operations: each * WORKERS, time: outcome.time }
}

fn std_mutex<const WORKERS: u64>(operations: u64) -> Done {
    let lock = std::sync::Mutex::new(0_u64);
    let each = operations.div_ceil(WORKERS);
    let outcome = threads(team::<WORKERS>(each, &|| *lock.lock().unwrap() += 1));
    assert_eq!(*lock.lock().unwrap(), each * WORKERS);
    Done { operations: each * WORKERS, time: outcome.time }
}

fn team<'a, const WORKERS: u64>(each: u64, add: &'a (impl Fn() + Sync)) -> Vec<Worker<'a>> {
    let worker = || -> Worker<'a> {
        Box::new(move || {
            (0..each).for_each(|_| add());
            0
        })
    };
    (0..WORKERS).map(|_| worker()).collect()
}
