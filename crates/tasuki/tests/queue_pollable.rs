//! A queue's descriptors are ready exactly when a get, or a put, would find what it waits for.

mod support;

use std::os::fd::{AsRawFd, BorrowedFd};

use support::messages::{Ledger, get, message, put};
use support::queues::queue_of;
use support::{Child, Ended, end_well, fork, is_readable, is_writable, poll, until, watchdog};
use tasuki::raw::{GaveUp, QueueOptions, RawQueue, Shutdown, TransportFailure, Wait};

fn put_one(queue: &RawQueue) {
    put(queue, &message(0, 0, 24), &[]);
}

fn get_one(queue: &RawQueue) {
    assert!(get(queue, &mut Wait::now()).is_some());
}

#[test]
fn readable_means_that_a_message_waits() {
    let queue = queue_of(None);
    let fd = queue.pollable().unwrap();
    for round in 0..3 {
        assert!(!is_readable(fd), "round {round}");
        (0..3).for_each(|_| put_one(&queue));
        for left in (0..3).rev() {
            assert!(is_readable(fd));
            get_one(&queue);
            assert_eq!(is_readable(fd), left > 0);
        }
        assert!(get(&queue, &mut Wait::now()).is_none());
    }
}

#[test]
fn writable_means_that_there_is_room() {
    let queue = queue_of(Some(2));
    let fd = queue.pollable_for_put().unwrap();
    for _ in 0..3 {
        assert!(is_writable(fd));
        put_one(&queue);
        assert!(is_writable(fd) && !queue.is_full());
        put_one(&queue);
        assert!(!is_writable(fd) && queue.is_full());
        let full = queue.put(1, &[b"x"], &[], &mut Wait::now()).unwrap_err();
        assert!(matches!(full, TransportFailure::GaveUp(GaveUp::TimedOut)));
        get_one(&queue);
        assert!(is_writable(fd) && !queue.is_full());
        get_one(&queue);
    }
}

#[test]
fn a_queue_without_limits_always_has_room() {
    let queue = queue_of(None);
    let fd = queue.pollable_for_put().unwrap();
    for _ in 0..100 {
        assert!(is_writable(fd) && !queue.is_full());
        put_one(&queue);
    }
    queue.pollable().unwrap();
    assert!(is_writable(fd));
}

#[test]
fn room_for_bytes_is_told_once_something_is_taken() {
    let options = QueueOptions { byte_limit: Some(100), ..QueueOptions::default() };
    let queue = RawQueue::create(options).unwrap();
    let fd = queue.pollable_for_put().unwrap();
    let try_put = |len| queue.put(1, &[&vec![7; len]], &[], &mut Wait::now());
    try_put(60).unwrap();
    assert!(is_writable(fd), "for smaller ones");
    assert!(try_put(60).is_err());
    assert!(!is_writable(fd), "until something is taken");
    queue.get(&mut Vec::new(), &mut Wait::now()).unwrap();
    assert!(is_writable(fd));
    try_put(100).unwrap();
    assert!(!is_writable(fd) && queue.is_full());
}

#[test]
fn what_happened_before_it_was_asked_for_counts() {
    let queue = queue_of(Some(1));
    put_one(&queue);
    assert!(is_readable(queue.pollable().unwrap()));
    assert!(!is_writable(queue.pollable_for_put().unwrap()));
    get_one(&queue);
    assert!(!is_readable(queue.pollable().unwrap()));
    assert!(is_writable(queue.pollable_for_put().unwrap()));
}

#[test]
fn large_messages_are_told_as_well() {
    let queue = queue_of(Some(1));
    let (messages, room) = (queue.pollable().unwrap(), queue.pollable_for_put().unwrap());
    put(&queue, &message(0, 0, 3 << 20), &[]);
    assert!(is_readable(messages) && !is_writable(room));
    get_one(&queue);
    assert!(!is_readable(messages) && is_writable(room));
}

#[test]
fn a_shut_down_queue_stays_ready() {
    let queue = queue_of(Some(1));
    put_one(&queue);
    let (messages, room) = (queue.pollable().unwrap(), queue.pollable_for_put().unwrap());
    queue.shutdown(Shutdown::Drain).unwrap();
    for _ in 0..3 {
        assert!(is_readable(messages) && is_writable(room));
        let _ = queue.get(&mut Vec::new(), &mut Wait::now());
        let _ = queue.put(1, &[b"x"], &[], &mut Wait::now());
    }
    let other = queue_of(Some(1));
    other.shutdown(Shutdown::Drain).unwrap();
    assert!(is_readable(other.pollable().unwrap()), "asked for afterwards");
    assert!(is_writable(other.pollable_for_put().unwrap()));
}

/// Waits for readiness by level or by edge, and then does something until there is nothing to do.
fn by_epoll(
    fd: BorrowedFd<'_>,
    events: u32,
    mut step: impl FnMut() -> bool,
    mut over: impl FnMut() -> bool,
) {
    // SAFETY: plain system calls with live arguments.
    #[allow(unsafe_code)]
    unsafe {
        let epoll = libc::epoll_create1(libc::EPOLL_CLOEXEC);
        assert!(epoll >= 0);
        let mut event = libc::epoll_event { events, u64: 0 };
        assert_eq!(libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd.as_raw_fd(), &raw mut event), 0);
        while !over() {
            let ready = libc::epoll_wait(epoll, &raw mut event, 1, -1);
            assert!(
                ready == 1
                    || std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted
            );
            while step() {}
        }
        libc::close(epoll);
    }
}

const MESSAGES: u32 = 20_000;

/// One producer and one consumer that only sleep in the kernel's poll, one message of room.
fn polled_from_both_sides(edge: u32, capacity: u64, consumers: usize) {
    let _watchdog = watchdog();
    let queue = queue_of(Some(capacity));
    let ledger = Ledger::new(1, MESSAGES as usize);
    let consume = || {
        let events = libc::EPOLLIN as u32 | edge;
        let shut = std::cell::Cell::new(false);
        by_epoll(
            queue.pollable().unwrap(),
            events,
            || {
                let mut bytes = Vec::new();
                match queue.get(&mut bytes, &mut Wait::now()) {
                    Ok(_) => {
                        ledger.take(&bytes);
                        true
                    }
                    Err(TransportFailure::GaveUp(_)) => false,
                    Err(TransportFailure::ShutDown) => {
                        shut.set(true);
                        false
                    }
                    Err(other) => panic!("{other:?}"),
                }
            },
            || shut.get(),
        );
    };
    let mut readers: Vec<Child> = (0..consumers).map(|_| fork(consume)).collect();
    let next = std::cell::Cell::new(0);
    by_epoll(
        queue.pollable_for_put().unwrap(),
        libc::EPOLLOUT as u32 | edge,
        || {
            if next.get() == MESSAGES {
                return false;
            }
            match queue.put(1, &[&message(0, next.get(), 24)], &[], &mut Wait::now()) {
                Ok(()) => {
                    ledger.acknowledge(0, next.get());
                    next.set(next.get() + 1);
                    true
                }
                Err(TransportFailure::GaveUp(_)) => false,
                Err(other) => panic!("{other:?}"),
            }
        },
        || next.get() == MESSAGES,
    );
    until("all are taken", || ledger.lost().is_empty());
    queue.shutdown(Shutdown::Drain).unwrap();
    end_well(&mut readers);
}

#[test]
fn no_wake_up_is_lost_by_level() {
    polled_from_both_sides(0, 1, 1);
    polled_from_both_sides(0, 64, 3);
}

#[test]
fn no_wake_up_is_lost_by_edge() {
    polled_from_both_sides(libc::EPOLLET as u32, 1, 1);
    polled_from_both_sides(libc::EPOLLET as u32, 64, 1);
}

#[test]
fn a_poller_in_another_process_is_woken() {
    let _watchdog = watchdog();
    let queue = queue_of(None);
    let mut poller = fork(|| {
        poll(queue.pollable().unwrap(), libc::POLLIN, None);
        get_one(&queue);
    });
    poller.wait_until_asleep();
    put_one(&queue);
    assert_eq!(poller.wait(), Ended::WELL);
}
