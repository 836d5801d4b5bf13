//! How long does it take to read under a lock of readers and writers: alone, and with others who read, processes
//! here and threads at the peers?

use crate::team::{Worker, processes, threads};
use crate::{Done, Question, side};

pub fn questions() -> Vec<Question> {
    vec![
        Question {
            name: "rwlock-read-free",
            what: "RwLock, read alone",
            sides: vec![
                side("tasuki", tasuki::<1>, None),
                side("parking_lot::RwLock", parking_lot::<1>, None),
                side("std::sync::RwLock", std_rwlock::<1>, None),
            ],
        },
        Question {
            name: "rwlock-read-2",
            what: "RwLock, 2 read",
            sides: vec![
                side("tasuki", tasuki::<2>, None),
                side("parking_lot::RwLock", parking_lot::<2>, None),
                side("std::sync::RwLock", std_rwlock::<2>, Some(1.0)),
            ],
        },
        Question {
            name: "rwlock-write-free",
            what: "RwLock, write alone",
            sides: vec![
                side("tasuki", writes, None),
                side("parking_lot::RwLock", parking_lot_writes, None),
                side("std::sync::RwLock", std_writes, None),
            ],
        },
    ]
}

fn tasuki<const READERS: u64>(operations: u64) -> Done {
    let lock = tasuki::RwLock::new(1_u64).unwrap();
    let each = operations.div_ceil(READERS);
    let outcome = processes(team::<READERS>(each, &|| *lock.read().unwrap()));
    assert_eq!(outcome.sum, each * READERS);
    Done { operations: each * READERS, time: outcome.time }
}

fn parking_lot<const READERS: u64>(operations: u64) -> Done {
    let lock = parking_lot::RwLock::new(1_u64);
    let each = operations.div_ceil(READERS);
    let outcome = threads(team::<READERS>(each, &|| *lock.read()));
    assert_eq!(outcome.sum, each * READERS);
    Done { operations: each * READERS, time: outcome.time }
}

fn std_rwlock<const READERS: u64>(operations: u64) -> Done {
    let lock = std::sync::RwLock::new(1_u64);
    let each = operations.div_ceil(READERS);
    let outcome = threads(team::<READERS>(each, &|| *lock.read().unwrap()));
    assert_eq!(outcome.sum, each * READERS);
    Done { operations: each * READERS, time: outcome.time }
}

fn writes(operations: u64) -> Done {
    let lock = tasuki::RwLock::new(0_u64).unwrap();
    let outcome = processes(team::<1>(operations, &|| {
        *lock.write().unwrap() += 1;
        1
    }));
    assert_eq!((outcome.sum, *lock.read().unwrap()), (operations, operations));
    Done { operations, time: outcome.time }
}

fn parking_lot_writes(operations: u64) -> Done {
    let lock = parking_lot::RwLock::new(0_u64);
    let outcome = threads(team::<1>(operations, &|| {
        *lock.write() += 1;
        1
    }));
    assert_eq!((outcome.sum, *lock.read()), (operations, operations));
    Done { operations, time: outcome.time }
}

fn std_writes(operations: u64) -> Done {
    let lock = std::sync::RwLock::new(0_u64);
    let outcome = threads(team::<1>(operations, &|| {
        *lock.write().unwrap() += 1;
        1
    }));
    assert_eq!((outcome.sum, *lock.read().unwrap()), (operations, operations));
    Done { operations, time: outcome.time }
}

fn team<'a, const WORKERS: u64>(each: u64, step: &'a (impl Fn() -> u64 + Sync)) -> Vec<Worker<'a>> {
    let worker = || -> Worker<'a> { Box::new(move || (0..each).map(|_| step()).sum()) };
    (0..WORKERS).map(|_| worker()).collect()
}
