//! What does it cost to look at an event, and how long until somebody who waits for one has answered with another?

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::team::{Worker, processes};
use crate::{Done, Question, side};

pub fn questions() -> Vec<Question> {
    vec![
        Question {
            name: "event-is-set",
            what: "Event, is_set()",
            sides: vec![side("tasuki", is_set, None), side("AtomicBool", atomic_bool, None)],
        },
        Question {
            name: "event-round-trip",
            what: "round trip, two Events",
            sides: vec![side("tasuki", round_trip, None), side("eventfd", eventfd, None)],
        },
    ]
}

fn is_set(times: u64) -> Done {
    let event = tasuki::Event::new().unwrap();
    event.set();
    let start = Instant::now();
    let seen = (0..times).filter(|_| black_box(&event).is_set()).count();
    let time = start.elapsed();
    assert_eq!(seen as u64, times);
    Done { operations: times, time }
}

fn atomic_bool(times: u64) -> Done {
    let flag = AtomicBool::new(true);
    let start = Instant::now();
    let seen = (0..times).filter(|_| black_box(&flag).load(Ordering::Acquire)).count();
    let time = start.elapsed();
    assert_eq!(seen as u64, times);
    Done { operations: times, time }
}

fn round_trip(rounds: u64) -> Done {
    let events = [(); 2].map(|()| tasuki::Event::new().unwrap());
    let [question, answer] = &events;
    let wait = |event: &tasuki::Event| {
        event.wait();
        event.clear();
        1
    };
    let asker = || {
        (0..rounds)
            .map(|_| {
                question.set();
                wait(answer)
            })
            .sum()
    };
    let answerer = || {
        (0..rounds)
            .map(|_| {
                let seen = wait(question);
                answer.set();
                seen
            })
            .sum()
    };
    done(rounds, vec![Box::new(asker), Box::new(answerer)])
}

fn eventfd(rounds: u64) -> Done {
    // SAFETY: two fresh descriptors, which live as long as this process.
    let fds = [(); 2].map(|()| unsafe { libc::eventfd(0, 0) });
    let set = |fd: i32| {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: writes a live buffer of eight bytes.
        assert_eq!(unsafe { libc::write(fd, one.as_ptr().cast(), 8) }, 8);
    };
    let wait = |fd: i32| {
        let mut count = [0; 8];
        // SAFETY: reads into a live buffer of eight bytes.
        assert_eq!(unsafe { libc::read(fd, count.as_mut_ptr().cast(), 8) }, 8);
        u64::from_ne_bytes(count)
    };
    let asker = || {
        (0..rounds)
            .map(|_| {
                set(fds[0]);
                wait(fds[1])
            })
            .sum()
    };
    let answerer = || {
        (0..rounds)
            .map(|_| {
                let seen = wait(fds[0]);
                set(fds[1]);
                seen
            })
            .sum()
    };
    done(rounds, vec![Box::new(asker), Box::new(answerer)])
}

fn done(rounds: u64, team: Vec<Worker<'_>>) -> Done {
    let outcome = processes(team);
    assert_eq!(outcome.sum, 2 * rounds, "each was woken once a round");
    Done { operations: rounds, time: outcome.time }
}
