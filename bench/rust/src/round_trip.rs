//! How long until an answer is here: a question through one queue, the answer through another?
//!
//! The two floors: two processes that only look at a word of shared memory ("spin"), and two that sleep on it ("futex").

use std::sync::atomic::{AtomicU32, Ordering};

use crate::team::{Outcome, Worker, processes, shared, threads};
use crate::{Done, Question, side};

pub fn questions() -> Vec<Question> {
    vec![Question {
        name: "round-trip",
        what: "round trip, two Queue<u64>",
        sides: vec![
            side("tasuki", tasuki, None),
            side("crossbeam-channel", crossbeam, None),
            side("ipc-channel", ipc, None),
            side("bare spin", spin, Some(0.5)),
            side("bare futex", futex, Some(1.0)),
        ],
    }]
}

fn tasuki(rounds: u64) -> Done {
    let questions = tasuki::Queue::<u64>::bounded(16).unwrap();
    let answers = tasuki::Queue::<u64>::bounded(16).unwrap();
    let team: Vec<Worker> = vec![
        Box::new(|| ask(rounds, |n| questions.put(n).unwrap(), || answers.get().unwrap())),
        Box::new(|| answer(rounds, || questions.get().unwrap(), |n| answers.put(n).unwrap())),
    ];
    done(rounds, processes(team))
}

fn crossbeam(rounds: u64) -> Done {
    let (ask_end, questions) = crossbeam_channel::bounded::<u64>(16);
    let (answer_end, answers) = crossbeam_channel::bounded::<u64>(16);
    let team: Vec<Worker> = vec![
        Box::new(|| ask(rounds, |n| ask_end.send(n).unwrap(), || answers.recv().unwrap())),
        Box::new(|| answer(rounds, || questions.recv().unwrap(), |n| answer_end.send(n).unwrap())),
    ];
    done(rounds, threads(team))
}

fn ipc(rounds: u64) -> Done {
    let (ask_end, questions) = ipc_channel::ipc::channel::<u64>().unwrap();
    let (answer_end, answers) = ipc_channel::ipc::channel::<u64>().unwrap();
    let team: Vec<Worker> = vec![
        Box::new(move || ask(rounds, |n| ask_end.send(n).unwrap(), || answers.recv().unwrap())),
        Box::new(move || {
            answer(rounds, || questions.recv().unwrap(), |n| answer_end.send(n).unwrap())
        }),
    ];
    done(rounds, processes(team))
}

/// A word on a cache line of its own: even while it is the asker's turn, odd while it is the answerer's.
#[repr(C, align(64))]
struct Turn(AtomicU32);

fn spin(rounds: u64) -> Done {
    let turn: &Turn = shared();
    let wait_for = |parity: u32| {
        loop {
            let seen = turn.0.load(Ordering::Acquire);
            if seen % 2 == parity {
                return seen;
            }
            std::hint::spin_loop();
        }
    };
    done(rounds, ping_pong(rounds, turn, &wait_for, &|| ()))
}

fn futex(rounds: u64) -> Done {
    let turn: &Turn = shared();
    let wait_for = |parity: u32| {
        loop {
            let seen = turn.0.load(Ordering::Acquire);
            if seen % 2 == parity {
                return seen;
            }
            let forever = std::ptr::null::<libc::timespec>();
            // SAFETY: sleeps on a word that lives as long as the process.
            unsafe {
                libc::syscall(libc::SYS_futex, turn.0.as_ptr(), libc::FUTEX_WAIT, seen, forever)
            };
        }
    };
    // SAFETY: wakes who sleeps on the word.
    let wake = || unsafe {
        libc::syscall(libc::SYS_futex, turn.0.as_ptr(), libc::FUTEX_WAKE, 1);
    };
    done(rounds, ping_pong(rounds, turn, &wait_for, &wake))
}

fn ping_pong(
    rounds: u64,
    turn: &Turn,
    wait_for: &(impl Fn(u32) -> u32 + Sync),
    wake: &(impl Fn() + Sync),
) -> Outcome {
    let play = move |parity: u32| {
        let mut sum = 0;
        for number in 0..rounds {
            let seen = wait_for(parity);
            turn.0.store(seen.wrapping_add(1), Ordering::Release);
            wake();
            sum += number;
        }
        sum
    };
    let second = move || {
        play(1);
        0
    };
    processes(vec![Box::new(move || play(0)), Box::new(second)])
}

fn ask(rounds: u64, put: impl Fn(u64), get: impl Fn() -> u64) -> u64 {
    (0..rounds).fold(0, |sum, number| {
        put(number);
        sum + get()
    })
}

fn answer(rounds: u64, get: impl Fn() -> u64, put: impl Fn(u64)) -> u64 {
    (0..rounds).for_each(|_| put(get()));
    0
}

fn done(rounds: u64, outcome: Outcome) -> Done {
    assert_eq!(outcome.sum, (0..rounds).sum::<u64>(), "each answer belongs to its question");
    Done { operations: rounds, time: outcome.time }
}
