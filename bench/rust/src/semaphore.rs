//! What does a permit cost that nobody else wants, taken and given back?

use std::hint::black_box;
use std::time::Instant;

use crate::boost::{self, boost};
use crate::team::shared;
use crate::{Done, Question, side};

pub fn questions() -> Vec<Question> {
    let mut sides = vec![
        side("tasuki", tasuki, None),
        // Neither knows who holds a permit, so what a killed process held is lost there.
        side("POSIX sem_t", posix, None),
    ];
    sides.extend(boost(|times| boost::answer("semaphore-free", times), None));
    vec![Question { name: "semaphore-free", what: "Semaphore, a permit is free", sides }]
}

fn tasuki(times: u64) -> Done {
    let semaphore = tasuki::Semaphore::new(1).unwrap();
    let mut taken = 0;
    let start = Instant::now();
    for _ in 0..times {
        let _permit = black_box(&semaphore).acquire().unwrap();
        taken += 1;
    }
    let time = start.elapsed();
    assert_eq!((taken, semaphore.value()), (times, 1));
    Done { operations: times, time }
}

fn posix(times: u64) -> Done {
    struct Word(std::cell::UnsafeCell<libc::sem_t>);
    let semaphore: &Word = shared();
    let semaphore = semaphore.0.get();
    let mut left = 0;
    // SAFETY: a semaphore in shared memory that is never unmapped; initialised before its use.
    unsafe {
        assert_eq!(libc::sem_init(semaphore, 1, 1), 0);
        let start = Instant::now();
        for _ in 0..times {
            assert_eq!(libc::sem_wait(black_box(semaphore)), 0);
            assert_eq!(libc::sem_post(black_box(semaphore)), 0);
        }
        let time = start.elapsed();
        assert_eq!(libc::sem_getvalue(semaphore, &raw mut left), 0);
        assert_eq!(left, 1);
        Done { operations: times, time }
    }
}
