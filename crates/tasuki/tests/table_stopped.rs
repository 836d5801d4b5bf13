//! Stopped peers, as a table: a process is stopped at each step of the engine, and another one calls everything there
//! is.
//!
//! ```text
//! a call that waits for a time    returns while the peer is stopped
//! a call that does not wait       returns then, or when the peer has gone on
//! afterwards                      both go on
//! ```
//! Time never decides what a stopped process has done. The same table for Python is in
//! `python/tests/test_table_stopped.py`.
#![cfg(feature = "kill-points")]

mod support;

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use support::handles::{Sent, sent};
use support::{Child, Ended, NEVER, fork, soaking, state_of, until, watchdog_of};
use tasuki::kill_points::{KillPoint, arm_stop};
use tasuki::raw::connection::{Mode, RawConnection};
use tasuki::raw::{
    QueueOptions, RawArrived, RawBarrier, RawCondition, RawEvent, RawLock, RawQueue, RawSemaphore,
    RawValue, Shutdown, Wait, element,
};

const SHORT: Duration = Duration::from_millis(30);
const MOMENT: Duration = Duration::from_millis(1);
const LARGE: usize = 200 << 10;

/// How long a call that does not wait may keep us from letting the peer go on.
const A_WHILE: Duration = Duration::from_millis(200);

/// So often the peer does its work, so that each step that belongs to it is passed.
const TURNS: u32 = 12;

/// What the two processes share.
enum Thing {
    Lock(RawLock),
    Semaphore(RawSemaphore),
    Condition(RawCondition),
    Event(RawEvent),
    Barrier(RawBarrier),
    Queue(RawQueue, usize),
    Pipe(RawConnection, RawConnection, usize),
    /// The arenas in which objects are made, and two that come in messages, which nobody has.
    Arena([Sent; 2]),
}

const PAGES: usize = 9000;

fn small() -> RawLock {
    RawLock::create(false).unwrap()
}

fn of_pages() -> RawValue {
    RawValue::create(element::OPAQUE, PAGES).unwrap()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// It has a timeout.
    Timed,
    /// It does not wait.
    AtOnce,
}
use Manner::{AtOnce, Timed};

/// A thing's name, and what makes one.
type Kind = (&'static str, fn() -> Thing);
/// A call's name, whether it has a timeout, and the call.
type Call = (&'static str, Manner, fn(&Thing));

impl Thing {
    fn all() -> Vec<Kind> {
        fn queue(capacity: Option<u64>, length: usize) -> Thing {
            let options = QueueOptions { capacity, joinable: true, ..QueueOptions::default() };
            Thing::Queue(RawQueue::create(options).unwrap(), length)
        }
        fn pipe(length: usize) -> Thing {
            let (here, there) = RawConnection::pipe(Mode::Duplex).unwrap();
            Thing::Pipe(here, there, length)
        }
        vec![
            ("lock", || Thing::Lock(RawLock::create(false).unwrap())),
            ("rlock", || Thing::Lock(RawLock::create(true).unwrap())),
            ("semaphore", || Thing::Semaphore(RawSemaphore::create(1, 1).unwrap())),
            ("condition", || Thing::Condition(RawCondition::create().unwrap())),
            ("event", || Thing::Event(RawEvent::create().unwrap())),
            ("barrier", || Thing::Barrier(RawBarrier::create(2).unwrap())),
            ("queue", || queue(None, 8)),
            ("bounded queue", || queue(Some(2), 8)),
            ("queue of large messages", || queue(None, LARGE)),
            ("pipe", || pipe(8)),
            ("pipe of large messages", || pipe(LARGE)),
            ("arena", || {
                let (lock, value) = (small(), of_pages());
                Thing::Arena([sent(|table| lock.record(table)), sent(|table| value.record(table))])
            }),
        ]
    }

    /// A turn of the peer.
    fn work(&self, turn: u32) {
        let soon = || Wait::timeout(MOMENT);
        match self {
            Thing::Lock(lock) => {
                if lock.acquire(&mut soon()).is_ok() {
                    let _ = lock.release();
                }
            }
            Thing::Semaphore(semaphore) => {
                if semaphore.acquire_owned(&mut soon()).is_ok() {
                    let _ = semaphore.release_owned();
                }
            }
            Thing::Condition(condition) => {
                if condition.own_lock().acquire(&mut soon()).is_ok() {
                    match turn % 3 {
                        0 => condition.notify(1),
                        1 => condition.notify(usize::MAX),
                        _ => drop(condition.wait(&condition.own_lock(), &mut soon())),
                    }
                    let _ = condition.own_lock().release();
                }
            }
            Thing::Event(event) => match turn % 3 {
                0 => event.set(),
                1 => event.clear(),
                _ => drop(event.wait(&mut soon())),
            },
            Thing::Barrier(barrier) => {
                if meet(barrier, MOMENT).is_none() {
                    barrier.reset().unwrap();
                }
            }
            Thing::Queue(queue, length) => {
                let message = vec![7; *length];
                let _ = queue.put(0, &[&message], &[], &mut soon());
                if turn == 1 {
                    queue.pollable().unwrap();
                    queue.pollable_for_put().unwrap();
                }
                if queue.get(&mut Vec::new(), &mut soon()).is_ok() {
                    let _ = queue.task_done(1, &mut soon());
                }
            }
            Thing::Pipe(_, there, length) => {
                if turn % 3 == 0 {
                    let _ = there.send(0, &[&vec![7; *length]], &[], &mut soon());
                }
                if turn == 1 {
                    there.pollable().unwrap();
                }
                let _ = there.recv(&mut Vec::new(), usize::MAX, &mut soon());
            }
            Thing::Arena(carried) => match turn % 4 {
                0 => drop((small(), small())),
                1 => drop((of_pages(), of_pages())),
                turn => drop(carried[turn as usize - 2].open().unwrap()),
            },
        }
    }

    fn calls(&self) -> Vec<Call> {
        /// Calls are closures without a state of their own: each takes the part of its thing out.
        macro_rules! with {
            ($kind:ident($($part:pat),*) => $call:expr) => {
                |thing| match thing {
                    Thing::$kind($($part),*) => drop($call),
                    _ => unreachable!("a call of another thing"),
                }
            };
        }
        match self {
            Thing::Lock(_) => vec![
                (
                    "acquire",
                    Timed,
                    with!(Lock(it) => it.acquire(&mut Wait::timeout(SHORT)).map(|_| it.release())),
                ),
                (
                    "acquire now",
                    AtOnce,
                    with!(Lock(it) => it.acquire(&mut Wait::now()).map(|_| it.release())),
                ),
            ],
            Thing::Semaphore(_) => vec![
                (
                    "acquire",
                    Timed,
                    with!(Semaphore(it) => {
                        if it.acquire_owned(&mut Wait::timeout(SHORT)).is_ok() {
                            let _ = it.release_owned();
                        }
                    }),
                ),
                ("value", AtOnce, with!(Semaphore(it) => it.value())),
                ("release", AtOnce, with!(Semaphore(it) => it.release(1))),
            ],
            Thing::Condition(_) => vec![
                (
                    "wait",
                    Timed,
                    with!(Condition(it) => {
                        if it.own_lock().acquire(&mut Wait::timeout(SHORT)).is_ok() {
                            drop(it.wait(&it.own_lock(), &mut Wait::timeout(SHORT)));
                            let _ = it.own_lock().release();
                        }
                    }),
                ),
                (
                    "notify within",
                    Timed,
                    with!(Condition(it) => it.notify_within(1, &mut Wait::timeout(SHORT))),
                ),
                ("notify", AtOnce, with!(Condition(it) => it.notify(1))),
            ],
            Thing::Event(_) => vec![
                ("wait", Timed, with!(Event(it) => it.wait(&mut Wait::timeout(SHORT)))),
                ("set", AtOnce, with!(Event(it) => it.set())),
                ("clear", AtOnce, with!(Event(it) => it.clear())),
                ("is_set", AtOnce, with!(Event(it) => it.is_set())),
            ],
            Thing::Barrier(_) => vec![
                ("wait", Timed, with!(Barrier(it) => meet(it, SHORT))),
                (
                    "abort within",
                    Timed,
                    with!(Barrier(it) => it.abort_within(&mut Wait::timeout(SHORT))),
                ),
                (
                    "reset within",
                    Timed,
                    with!(Barrier(it) => it.reset_within(&mut Wait::timeout(SHORT))),
                ),
                ("waiting", AtOnce, with!(Barrier(it) => it.waiting())),
                ("abort", AtOnce, with!(Barrier(it) => it.abort())),
                ("reset", AtOnce, with!(Barrier(it) => it.reset())),
            ],
            Thing::Queue(..) => {
                vec![
                    (
                        "get",
                        Timed,
                        with!(Queue(it, _) => it.get(&mut Vec::new(), &mut Wait::timeout(SHORT))),
                    ),
                    (
                        "put",
                        Timed,
                        with!(Queue(it, length) => {
                            it.put(0, &[&vec![7; *length]], &[], &mut Wait::timeout(SHORT))
                        }),
                    ),
                    ("join", Timed, with!(Queue(it, _) => it.join(&mut Wait::timeout(SHORT)))),
                    (
                        "task_done",
                        Timed,
                        with!(Queue(it, _) => it.task_done(1, &mut Wait::timeout(SHORT))),
                    ),
                    ("len", AtOnce, with!(Queue(it, _) => it.len())),
                    ("is_empty", AtOnce, with!(Queue(it, _) => it.is_empty())),
                    ("is_full", AtOnce, with!(Queue(it, _) => it.is_full())),
                    (
                        "get now",
                        AtOnce,
                        with!(Queue(it, _) => it.get(&mut Vec::new(), &mut Wait::now())),
                    ),
                    ("pollable", AtOnce, with!(Queue(it, _) => it.pollable().map(drop))),
                    (
                        "pollable_for_put",
                        AtOnce,
                        with!(Queue(it, _) => it.pollable_for_put().map(drop)),
                    ),
                    ("shutdown", AtOnce, with!(Queue(it, _) => it.shutdown(Shutdown::Drain))),
                ]
            }
            Thing::Pipe(..) => vec![
                ("poll", Timed, with!(Pipe(it, ..) => it.poll(&mut Wait::timeout(SHORT)))),
                (
                    "recv",
                    Timed,
                    with!(Pipe(it, ..) => {
                        it.recv(&mut Vec::new(), usize::MAX, &mut Wait::timeout(SHORT))
                    }),
                ),
                (
                    "send",
                    Timed,
                    with!(Pipe(it, _, length) => {
                        it.send(0, &[&vec![7; *length]], &[], &mut Wait::timeout(SHORT))
                    }),
                ),
                ("poll now", AtOnce, with!(Pipe(it, ..) => it.poll(&mut Wait::now()))),
                ("arm", AtOnce, with!(Pipe(it, ..) => it.arm().map(drop))),
                ("pollable", AtOnce, with!(Pipe(it, ..) => it.pollable().map(drop))),
            ],
            // None of these waits for a peer: there is another arena, another moment, a lease.
            Thing::Arena(_) => vec![
                ("make and drop", Timed, with!(Arena(_) => (small(), small(), small()))),
                ("make and drop pages", Timed, with!(Arena(_) => (of_pages(), of_pages()))),
                ("open", Timed, with!(Arena([it, _]) => it.open().unwrap())),
                ("open pages", Timed, with!(Arena([_, it]) => it.open().unwrap())),
                (
                    "fork",
                    Timed,
                    with!(Arena([it, _]) => {
                        let mut kept = Some((it.open().unwrap(), small()));
                        let mut child = fork(|| drop((kept.take(), it.open().unwrap(), small(), of_pages())));
                        assert_eq!(child.wait(), Ended::WELL);
                    }),
                ),
            ],
        }
    }
}

/// Meets the others; `None` when the barrier is broken.
fn meet(barrier: &RawBarrier, time: Duration) -> Option<()> {
    let mut wait = Wait::timeout(time);
    match barrier.arrive(false, &mut wait).ok()? {
        RawArrived::Passed(_) => Some(()),
        RawArrived::RunAction(turn) => turn.done().ok().map(drop),
        RawArrived::Waits(arrival) => arrival.wait(&mut wait).ok().map(drop),
    }
}

/// Stops when it comes to a point; says in the word that it passed it, or never came there.
fn peer(thing: &Thing, point: KillPoint, nth: u32) -> Child {
    fork(|| {
        arm_stop(point, nth);
        for turn in 0..TURNS {
            thing.work(turn);
        }
    })
}

/// Whether the peer is stopped; false: it has ended without having come to the point.
fn is_stopped(peer: &mut Child) -> bool {
    let mut ended = None;
    until("the peer stops or ends", || {
        ended = peer.has_ended();
        ended.is_some() || state_of(peer.pid()) == Some('T')
    });
    assert!(ended.is_none_or(|ended| ended == Ended::WELL));
    ended.is_none()
}

/// The lines of the table for one kind of thing.
fn nobody_waits_longer_than_he_wants(kind: &str) {
    let _watchdog = watchdog_of(Duration::from_secs(if soaking() { 3600 } else { 600 }));
    let (name, make) = Thing::all().into_iter().find(|(name, _)| *name == kind).unwrap();
    let mut reached = 0;
    for &point in KillPoint::ALL {
        let calls = make().calls().len();
        'calls: for call in 0..calls {
            for nth in if soaking() { 1..4 } else { 1..2 } {
                let thing = make();
                let mut peer = peer(&thing, point, nth);
                if !is_stopped(&mut peer) {
                    break 'calls;
                }
                reached += 1;
                let (what, manner, run) = thing.calls()[call];
                let place = format!("{name}, {what}, peer stopped at {point:?} ({nth})");
                thread::scope(|scope| {
                    let (done, returned) = mpsc::channel();
                    let thing = &thing;
                    scope.spawn(move || {
                        run(thing);
                        done.send(()).unwrap();
                    });
                    let limit = if manner == Timed { NEVER } else { A_WHILE };
                    if returned.recv_timeout(limit).is_err() {
                        peer.signal(libc::SIGCONT);
                        let late = returned.recv_timeout(NEVER);
                        assert!(manner == AtOnce, "{place}: does not return");
                        assert!(late.is_ok(), "{place}: does not return though it went on");
                    }
                });
                peer.signal(libc::SIGCONT);
                assert_eq!(peer.wait(), Ended::WELL, "{place}: the peer does not go on");
            }
        }
    }
    // Else the table says nothing.
    assert!(reached > 0, "the peer came to no step at all");
}

macro_rules! table {
    ($($test:ident: $kind:literal),* $(,)?) => {
        $(#[test]
        fn $test() {
            nobody_waits_longer_than_he_wants($kind);
        })*

        #[test]
        fn every_kind_has_its_lines() {
            let names: Vec<_> = Thing::all().into_iter().map(|(name, _)| name).collect();
            assert_eq!(names, [$($kind),*]);
        }
    };
}

table! {
    lock: "lock",
    rlock: "rlock",
    semaphore: "semaphore",
    condition: "condition",
    event: "event",
    barrier: "barrier",
    queue: "queue",
    bounded_queue: "bounded queue",
    queue_of_large_messages: "queue of large messages",
    pipe: "pipe",
    pipe_of_large_messages: "pipe of large messages",
    arena: "arena",
}
