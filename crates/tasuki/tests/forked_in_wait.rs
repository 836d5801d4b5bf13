//! A caller's check forks while the caller waits for a section in which another process was stopped: the child is told,
//! and has touched nothing of its parent's.
#![cfg(feature = "kill-points")]

mod support;

use std::cell::{Cell, RefCell};

use support::{Ended, fork, watchdog};
use tasuki::kill_points::{KillPoint, arm_stop};
use tasuki::raw::{
    AcquireFailure, Acquired, GaveUp, OutboundMessage, QueueOptions, RawLock, RawQueue,
    RawSemaphore, TransportFailure, Wait,
};

/// Waits with a check that forks once and then calls `go_on`; false in the child, which gave up.
fn waits(
    acquire: impl FnOnce(&mut Wait<'_>) -> Result<Acquired, AcquireFailure>,
    go_on: impl Fn(),
) -> bool {
    let me = std::process::id();
    let forked = Cell::new(false);
    let child = RefCell::new(None);
    let mut check = || {
        if !forked.replace(true) {
            // SAFETY: no other thread of this process holds anything that the child needs.
            #[allow(unsafe_code)]
            let pid = unsafe { libc::fork() };
            if pid != 0 {
                *child.borrow_mut() = Some(pid);
            }
        } else {
            go_on();
        }
        false
    };
    let mut wait = Wait::forever().interruptible(&mut check);
    let acquired = acquire(&mut wait);
    let has_forked = wait.has_forked();
    if std::process::id() != me {
        let told =
            matches!(acquired, Err(AcquireFailure::GaveUp(GaveUp::Interrupted))) && has_forked;
        // SAFETY: ends the process.
        #[allow(unsafe_code)]
        unsafe {
            libc::_exit(if told { 0 } else { 1 })
        }
    }
    assert_eq!(acquired.unwrap(), Acquired::Clean);
    assert!(!has_forked);
    let mut status = 0;
    // SAFETY: waits for a child of this process.
    #[allow(unsafe_code)]
    let waited = unsafe { libc::waitpid(child.take().unwrap(), &raw mut status, 0) };
    assert!(waited > 0);
    status == 0
}

#[test]
fn for_a_section() {
    let _watchdog = watchdog();
    let semaphore = RawSemaphore::create(2, 2).unwrap();
    let mut stopped = fork(|| {
        arm_stop(KillPoint::LockTaken, 1);
        let _ = semaphore.acquire_owned(&mut Wait::forever()).unwrap();
    });
    stopped.wait_until_stopped();
    let told = waits(
        |wait| semaphore.acquire_owned(wait).map(|(acquired, _)| acquired),
        || stopped.signal(libc::SIGCONT),
    );
    assert!(told, "the child waited on");
    assert_eq!(stopped.wait(), Ended::WELL);
}

#[test]
fn for_a_lock() {
    let _watchdog = watchdog();
    let lock = RawLock::create(false).unwrap();
    assert_eq!(lock.acquire(&mut Wait::now()).unwrap(), Acquired::Clean);
    let release = || {
        let _ = lock.release(); // the check may be asked again before the lock is taken
    };
    let told = waits(|wait| lock.acquire(wait), release);
    assert!(told, "the child waited on");
}

/// What a put, called with a wait, says: how many messages are in, and why no more.
type Put = (usize, Result<(), TransportFailure>);

/// A process is stopped while it holds the lock of places. The call waits for it, and its check forks; then the child puts
/// a message of its own, and the stopped one goes on. All messages are whole, and none comes twice.
fn for_a_place(own: usize, call: impl Fn(&RawQueue, &mut Wait<'_>) -> Put) {
    const LEN: usize = 100_000;
    let queue = RawQueue::create(QueueOptions::default()).unwrap();
    let put = |byte: u8| queue.put(1, &[&vec![byte; LEN]], &[], &mut Wait::forever()).unwrap();
    let mut stopped = fork(|| {
        arm_stop(KillPoint::PutPlaceCut, 1);
        put(b'v');
    });
    stopped.wait_until_stopped();
    let me = std::process::id();
    let (forked, child) = (Cell::new(false), Cell::new(0));
    let mut check = || {
        if !forked.replace(true) {
            // SAFETY: no other thread of this process holds anything that the child needs.
            #[allow(unsafe_code)]
            child.set(unsafe { libc::fork() });
        } else if std::process::id() == me {
            stopped.signal(libc::SIGCONT);
        }
        false
    };
    let mut wait = Wait::forever().interruptible(&mut check);
    let (count, result) = call(&queue, &mut wait);
    let has_forked = wait.has_forked();
    if std::process::id() != me {
        let interrupted = matches!(result, Err(TransportFailure::GaveUp(GaveUp::Interrupted)));
        let told = interrupted && has_forked && count == 0;
        put(b'c');
        tasuki::raw::note_leaving();
        // SAFETY: ends the process.
        #[allow(unsafe_code)]
        unsafe {
            libc::_exit(if told { 0 } else { 1 })
        }
    }
    assert_eq!(count, own);
    result.unwrap();
    let mut status = 0;
    // SAFETY: waits for a child of this process.
    #[allow(unsafe_code)]
    let waited = unsafe { libc::waitpid(child.get(), &raw mut status, 0) };
    assert!(waited > 0 && status == 0, "the child was not told, or put what is its parent's");
    assert_eq!(stopped.wait(), Ended::WELL);
    let mut seen = Vec::new();
    let mut buffer = Vec::new();
    while let Ok(taken) = queue.get(&mut buffer, &mut Wait::now()) {
        let bytes = taken.large.map_or_else(|| buffer.clone(), |large| large.to_vec());
        assert!(bytes.iter().all(|byte| *byte == bytes[0]), "two messages in one");
        seen.push(bytes[0]);
    }
    seen.sort_unstable();
    let mut expected = [b"cv".to_vec(), vec![b'o'; own]].concat();
    expected.sort_unstable();
    assert_eq!(seen, expected);
}

#[test]
fn for_the_place_of_a_large_message() {
    let _watchdog = watchdog();
    for_a_place(1, |queue, wait| {
        let result = queue.put(1, &[&vec![b'o'; 100_000]], &[], wait);
        (usize::from(result.is_ok()), result)
    });
}

#[test]
fn for_the_place_of_a_later_one_of_many() {
    let _watchdog = watchdog();
    for_a_place(2, |queue, wait| {
        let large = vec![b'o'; 100_000];
        let (small, large): ([&[u8]; 1], [&[u8]; 1]) = ([b"o"], [&large]);
        let message = |parts| OutboundMessage { codec: 1, parts, fds: &[] };
        queue.put_many(&[message(&small), message(&large)], wait)
    });
}
