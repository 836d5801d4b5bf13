//! Checks in waits, as a table: what waits, and what its check does before it says "stop". The call ends as
//! interrupted, it has taken nothing, and what the check made true is there for the next one.
//!
//! | waits | the check | afterwards |
//! |---|---|---|
//! | for a lock, a permit | gives it | it is free |
//! | for a notification, an event | notifies, sets | nobody waits, the lock is held; the event is set |
//! | at a barrier | lets the other come | the round is over, or goes on with others; nothing is broken |
//! | for a message, or whether one is there | sends it | it is there, once |
//! | for room | makes room | nothing was sent, and others can be |
//! | for tasks | does them | there are none |

mod support;

use std::cell::Cell;

use support::messages::{get, put};
use support::watchdog;
use tasuki::raw::connection::Mode;
use tasuki::raw::{
    Acquired, GaveUp, JoinFailure, NotPassed, QueueOptions, RawArrived, RawBarrier, RawCondition,
    RawConnection, RawEvent, RawLock, RawQueue, RawSemaphore, TransportFailure, Wait, Woken,
};

/// Calls `block` with a wait whose first check does `open` and stops it; the check is not asked again after that.
fn interrupted<R>(open: impl Fn(), block: impl FnOnce(&mut Wait<'_>) -> R) -> R {
    let asked = Cell::new(0);
    let mut check = || {
        asked.set(asked.get() + 1);
        open();
        true
    };
    let result = block(&mut Wait::timeout(support::NEVER).interruptible(&mut check));
    assert_eq!(asked.get(), 1, "a check that said stop is not asked again");
    result
}

fn stopped<T: std::fmt::Debug>(result: &Result<T, TransportFailure>) {
    assert!(matches!(result, Err(TransportFailure::GaveUp(GaveUp::Interrupted))), "{result:?}");
}

fn now() -> Wait<'static> {
    Wait::now()
}

#[test]
fn locks() {
    let _watchdog = watchdog();
    for recursive in [false, true] {
        let lock = RawLock::create(recursive).unwrap();
        // A recursive one is another thread's.
        std::thread::scope(|scope| {
            let (go, let_go) = std::sync::mpsc::channel();
            let (held, is_held) = std::sync::mpsc::channel();
            let (freed, is_free) = std::sync::mpsc::channel();
            let holder = lock.clone();
            scope.spawn(move || {
                assert_eq!(holder.acquire(&mut now()).unwrap(), Acquired::Clean);
                held.send(()).unwrap();
                let_go.recv().unwrap();
                assert!(holder.release());
                freed.send(()).unwrap();
            });
            is_held.recv().unwrap();
            let open = || {
                go.send(()).unwrap();
                is_free.recv().unwrap();
            };
            stopped(&interrupted(open, |wait| lock.acquire(wait).map_err(TransportFailure::from)));
        });
        assert!(!lock.is_locked());
        assert_eq!(lock.acquire(&mut now()).unwrap(), Acquired::Clean);
    }
}

#[test]
fn permits() {
    let _watchdog = watchdog();
    for owned in [false, true] {
        let semaphore = RawSemaphore::create(0, 1).unwrap();
        let open = || assert!(semaphore.release(1));
        let result = interrupted(open, |wait| match owned {
            true => semaphore.acquire_owned(wait).map(|(acquired, _)| acquired),
            false => semaphore.acquire(wait),
        });
        stopped(&result.map_err(TransportFailure::from));
        assert_eq!(semaphore.value(), 1);
        assert_eq!(semaphore.acquire(&mut now()).unwrap(), Acquired::Clean);
    }
}

#[test]
fn notifications() {
    let _watchdog = watchdog();
    let condition = RawCondition::create().unwrap();
    let lock = condition.own_lock();
    assert_eq!(lock.acquire(&mut now()).unwrap(), Acquired::Clean);
    let open = || {
        assert_eq!(lock.acquire(&mut now()).unwrap(), Acquired::Clean, "given up during the wait");
        condition.notify(1);
        assert!(lock.release());
    };
    let (woken, acquired) = interrupted(open, |wait| condition.wait(&lock, wait)).unwrap();
    assert_eq!((woken, acquired), (Woken::GaveUp(GaveUp::Interrupted), Acquired::Clean));
    assert_eq!(condition.waiting(), 0);
    assert!(lock.is_mine().unwrap() && lock.release());
}

#[test]
fn events() {
    let _watchdog = watchdog();
    let event = RawEvent::create().unwrap();
    // Set in the last moment is set: there is nothing that could be lost.
    let _ = interrupted(|| event.set(), |wait| event.wait(wait));
    assert!(event.is_set());
    event.wait(&mut now()).unwrap();
}

#[test]
fn barriers() {
    let _watchdog = watchdog();
    let barrier = RawBarrier::create(2).unwrap();
    let arrive = || match barrier.arrive(false, &mut now()).unwrap() {
        RawArrived::Waits(arrival) => arrival,
        other => panic!("{other:?}"),
    };
    // The other one comes: the round is over, for both.
    let open =
        || assert!(matches!(barrier.arrive(false, &mut now()).unwrap(), RawArrived::Passed(1)));
    assert_eq!(interrupted(open, |wait| arrive().wait(wait)).unwrap(), 0);
    assert!(barrier.waiting() == 0 && !barrier.is_broken());
    // Nobody comes: the seat is free again.
    let result = interrupted(|| (), |wait| arrive().wait(wait));
    assert!(matches!(result, Err(NotPassed::GaveUp(GaveUp::Interrupted))), "{result:?}");
    assert!(barrier.waiting() == 0 && !barrier.is_broken());
    open_round(&barrier);
}

fn open_round(barrier: &RawBarrier) {
    let first = barrier.arrive(false, &mut now()).unwrap();
    assert!(matches!(barrier.arrive(false, &mut now()).unwrap(), RawArrived::Passed(1)));
    match first {
        RawArrived::Waits(arrival) => assert_eq!(arrival.wait(&mut now()).unwrap(), 0),
        other => panic!("{other:?}"),
    }
}

#[test]
fn messages_of_queues_and_room_in_them() {
    let _watchdog = watchdog();
    let queue =
        RawQueue::create(QueueOptions { capacity: Some(1), ..QueueOptions::default() }).unwrap();
    let result = interrupted(
        || put(&queue, b"a message", &[]),
        |wait| queue.get(&mut Vec::new(), wait).map(drop),
    );
    stopped(&result);
    assert_eq!(queue.len(), 1);
    // Now it is full.
    let open = || assert_eq!(get(&queue, &mut now()).unwrap().0, b"a message");
    stopped(&interrupted(open, |wait| queue.put(1, &[b"not put"], &[], wait)));
    assert!(queue.is_empty());
    put(&queue, b"another", &[]);
    assert_eq!(get(&queue, &mut now()).unwrap().0, b"another");
}

#[test]
fn tasks() {
    let _watchdog = watchdog();
    let queue =
        RawQueue::create(QueueOptions { joinable: true, ..QueueOptions::default() }).unwrap();
    put(&queue, b"a task", &[]);
    let open = || {
        assert!(get(&queue, &mut now()).is_some());
        assert!(queue.task_done(1, &mut now()).is_ok());
    };
    let result = interrupted(open, |wait| queue.join(wait));
    assert!(matches!(result, Ok(()) | Err(JoinFailure::GaveUp(GaveUp::Interrupted))), "{result:?}");
    assert_eq!(queue.unfinished(), 0);
    assert!(queue.join(&mut now()).is_ok());
}

#[test]
fn messages_of_pipes_and_room_in_them() {
    let _watchdog = watchdog();
    let (writer, reader) = RawConnection::pipe(Mode::Simplex)
        .map(|(one, other)| match one.is_writable() {
            true => (one, other),
            false => (other, one),
        })
        .unwrap();
    let send = |bytes: &[u8], wait: &mut Wait<'_>| writer.send(1, &[bytes], &[], wait);
    let recv = || {
        let mut buffer = Vec::new();
        reader.recv(&mut buffer, usize::MAX, &mut now()).map(|_| buffer)
    };
    let open = || send(b"a message", &mut now()).unwrap();
    stopped(&interrupted(open, |wait| reader.recv(&mut Vec::new(), usize::MAX, wait).map(drop)));
    assert_eq!(recv().unwrap(), b"a message");
    let result = interrupted(open, |wait| reader.poll(wait));
    assert!(
        matches!(result, Ok(true) | Err(TransportFailure::GaveUp(GaveUp::Interrupted))),
        "{result:?}"
    );
    assert_eq!(recv().unwrap(), b"a message");
    let mut sent = 0;
    while send(&[7; 1000], &mut now()).is_ok() {
        sent += 1;
    }
    let open = || (0..sent).for_each(|_| assert_eq!(recv().unwrap(), [7; 1000]));
    stopped(&interrupted(open, |wait| send(&[8; 1000], wait)));
    assert!(
        matches!(recv(), Err(TransportFailure::GaveUp(_))),
        "what was interrupted was not sent"
    );
    send(b"last", &mut now()).unwrap();
    assert_eq!(recv().unwrap(), b"last");
}
