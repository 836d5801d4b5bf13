//! What a pipe promises: order, whole messages of any length, the end, room, and descriptors that travel.
//!
//! Tests of an end that is told at once run in a process of their own: a child that another test forks has copies of
//! all ends.

mod support;

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use support::{
    Ended, Words, descriptor_count, end_well, fork, in_own_process, is_readable, watchdog,
    watchdog_of,
};
use tasuki::raw::connection::{Armed, Mode};
use tasuki::raw::{GaveUp, RawConnection, TransportFailure, Wait};

const RAW: u16 = 12;

fn duplex() -> (RawConnection, RawConnection) {
    RawConnection::pipe(Mode::Duplex).unwrap()
}

/// A receiver and its sender.
fn simplex() -> (RawConnection, RawConnection) {
    RawConnection::pipe(Mode::Simplex).unwrap()
}

fn send(end: &RawConnection, bytes: &[u8]) {
    end.send(RAW, &[bytes], &[], &mut Wait::forever()).unwrap();
}

fn receive(end: &RawConnection) -> Vec<u8> {
    let mut buffer = Vec::new();
    let received = end.recv(&mut buffer, usize::MAX, &mut Wait::forever()).unwrap();
    assert_eq!((received.codec, received.fds.len()), (RAW, 0));
    buffer
}

fn try_receive(end: &RawConnection) -> Result<Vec<u8>, TransportFailure> {
    let mut buffer = Vec::new();
    end.recv(&mut buffer, usize::MAX, &mut Wait::now()).map(|_| buffer)
}

fn is_at_end(end: &RawConnection) -> bool {
    matches!(try_receive(end), Err(TransportFailure::Disconnected(_)))
}

fn is_empty(end: &RawConnection) -> bool {
    matches!(try_receive(end), Err(TransportFailure::GaveUp(GaveUp::TimedOut)))
}

/// Bytes that tell their own length and place.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + len) as u8).collect()
}

#[test]
fn messages_of_every_length_arrive_whole_and_in_order() {
    let _watchdog = watchdog();
    let lengths: Vec<usize> = (0..200)
        .chain([1000, 4095, 4096, 4097, 16 << 10, (16 << 10) + 1, 65_536, 65_537, 1_000_003])
        .chain((0..2000).map(|i| (i * 37) % 3000))
        .collect();
    let (one, other) = duplex();
    let mut child = fork(|| {
        for &len in &lengths {
            assert_eq!(receive(&other), pattern(len));
            send(&other, &pattern(len + 1));
        }
    });
    for &len in &lengths {
        send(&one, &pattern(len));
        assert_eq!(receive(&one), pattern(len + 1));
    }
    assert_eq!(child.wait(), Ended::WELL);
}

#[test]
fn a_pipe_in_the_place_of_another_is_empty_and_works() {
    let _watchdog = watchdog();
    in_own_process(|| {
        for round in 0..20 {
            let (one, other) = duplex();
            assert!(is_empty(&one) && is_empty(&other), "round {round}");
            for len in [1, 100, 20_000] {
                send(&one, &pattern(len));
                send(&other, &pattern(len + 1));
                assert_eq!(receive(&other), pattern(len));
                assert_eq!(receive(&one), pattern(len + 1));
            }
            // Unread, and whole frames everywhere, also at the beginning of both rings.
            for _ in 0..13 {
                send(&one, &pattern(10_000 + round));
                send(&other, &pattern(10_000 + round));
            }
        }
    });
}

#[test]
fn the_parts_of_a_message_are_put_together() {
    let _watchdog = watchdog();
    let (receiver, sender) = simplex();
    let whole = pattern(50_000);
    let parts: Vec<&[u8]> = vec![&[], &whole[..10], &whole[10..40_000], &[], &whole[40_000..], &[]];
    sender.send(RAW, &parts, &[], &mut Wait::forever()).unwrap();
    assert_eq!(receive(&receiver), whole);
}

#[test]
fn a_hundred_mebibytes_go_through() {
    let _watchdog = watchdog();
    let (receiver, sender) = simplex();
    let big: Vec<u8> = (0..100_u32 << 18).flat_map(u32::to_le_bytes).collect();
    let mut child = fork(|| send(&sender, &big));
    assert!(receive(&receiver) == big);
    assert_eq!(child.wait(), Ended::WELL);
}

#[test]
fn a_full_ring_makes_senders_wait_and_loses_nothing() {
    let _watchdog = watchdog();
    let (receiver, sender) = simplex();
    let mut sent = 0_u32;
    while sender.send(RAW, &[&sent.to_le_bytes()], &[], &mut Wait::now()).is_ok() {
        sent += 1;
    }
    assert!(sent > 1000, "{sent}");
    let short = &mut Wait::timeout(Duration::from_millis(20));
    let full = sender.send(RAW, &[b"x"], &[], short);
    assert!(matches!(full, Err(TransportFailure::GaveUp(GaveUp::TimedOut))));
    let mut child = fork(|| (sent..sent + 5000).for_each(|i| send(&sender, &i.to_le_bytes())));
    child.wait_until_asleep();
    for i in 0..sent + 5000 {
        assert_eq!(receive(&receiver), i.to_le_bytes());
    }
    assert_eq!(child.wait(), Ended::WELL);
    assert!(is_empty(&receiver));
}

#[test]
fn what_was_sent_is_received_before_the_end() {
    let _watchdog = watchdog();
    in_own_process(|| {
        let (receiver, sender) = simplex();
        assert!(is_empty(&receiver));
        assert!(!receiver.poll(&mut Wait::now()).unwrap());
        send(&sender, b"last words");
        drop(sender);
        assert!(receiver.poll(&mut Wait::now()).unwrap());
        assert_eq!(receive(&receiver), b"last words");
        assert!(is_at_end(&receiver) && is_at_end(&receiver));
        assert!(receiver.poll(&mut Wait::forever()).unwrap(), "the end is something to receive");
    });
}

/// A loop of short receives ends, too.
#[test]
fn the_end_is_seen_however_short_the_time() {
    let _watchdog = watchdog();
    in_own_process(|| {
        let (receiver, sender) = simplex();
        let over = || Wait::timeout(Duration::ZERO);
        let mut buffer = Vec::new();
        for wait in [over, Wait::now, Wait::attempt] {
            assert!(!receiver.poll(&mut wait()).unwrap());
            let empty = receiver.recv(&mut buffer, usize::MAX, &mut wait());
            assert!(matches!(empty, Err(TransportFailure::GaveUp(GaveUp::TimedOut))), "{empty:?}");
        }
        send(&sender, b"last words");
        drop(sender);
        for wait in [over, Wait::now, Wait::attempt] {
            assert!(receiver.poll(&mut wait()).unwrap());
        }
        receiver.recv(&mut buffer, usize::MAX, &mut over()).unwrap();
        assert_eq!(buffer, b"last words");
        for wait in [over, Wait::now, Wait::attempt] {
            assert!(receiver.poll(&mut wait()).unwrap(), "the end is something to receive");
            let end = receiver.recv(&mut buffer, usize::MAX, &mut wait());
            assert!(matches!(end, Err(TransportFailure::Disconnected(_))), "{end:?}");
        }
    });
}

#[test]
fn half_of_a_duplex_pipe_goes_on_after_the_other_end_was_closed() {
    let _watchdog = watchdog();
    in_own_process(|| {
        let (one, other) = duplex();
        send(&one, b"unread");
        send(&other, b"to be read");
        drop(other);
        let refused = one.send(RAW, &[b"x"], &[], &mut Wait::forever());
        assert!(matches!(refused, Err(TransportFailure::Disconnected(_))));
        assert_eq!(receive(&one), b"to be read");
        assert!(is_at_end(&one));
    });
}

#[test]
fn a_send_to_nobody_is_an_error_at_once() {
    let _watchdog = watchdog();
    in_own_process(|| {
        for _ in 0..1000 {
            let (receiver, sender) = simplex();
            send(&sender, b"x");
            drop(receiver);
            let refused = sender.send(RAW, &[b"x"], &[], &mut Wait::forever());
            assert!(matches!(refused, Err(TransportFailure::Disconnected(_))));
        }
    });
}

#[test]
fn copies_in_children_keep_an_end_open() {
    let _watchdog = watchdog();
    let (receiver, sender) = simplex();
    let stop = Words::new(1);
    let mut child = fork(|| {
        let _ = &sender;
        while !stop.told(0) {
            std::thread::sleep(Duration::from_millis(1));
        }
        send(&sender, b"from the child");
    });
    drop(sender);
    assert!(!receiver.poll(&mut Wait::timeout(Duration::from_millis(50))).unwrap());
    stop.tell(0);
    assert_eq!(receive(&receiver), b"from the child");
    assert_eq!(child.wait(), Ended::WELL);
    let mut buffer = Vec::new();
    let end = receiver.recv(&mut buffer, usize::MAX, &mut Wait::forever());
    assert!(matches!(end, Err(TransportFailure::Disconnected(_))));
}

#[test]
fn an_end_that_only_sends_does_not_receive() {
    let (receiver, sender) = simplex();
    assert!(receiver.is_readable() && !receiver.is_writable());
    assert!(!sender.is_readable() && sender.is_writable());
    assert!(matches!(try_receive(&sender), Err(TransportFailure::Failed(_))));
    let refused = receiver.send(RAW, &[b"x"], &[], &mut Wait::forever());
    assert!(matches!(refused, Err(TransportFailure::Failed(_))));
}

#[test]
fn a_message_beyond_the_limit_stays() {
    let _watchdog = watchdog();
    let (receiver, sender) = simplex();
    for len in [100, 50_000] {
        send(&sender, &pattern(len));
        let mut buffer = Vec::new();
        for _ in 0..2 {
            let refused = receiver.recv(&mut buffer, 99, &mut Wait::forever());
            assert!(
                matches!(refused, Err(TransportFailure::Failed(ref error)) if matches!(**error, tasuki::Error::Limit(_)))
            );
        }
        assert_eq!(receive(&receiver), pattern(len));
    }
}

#[test]
fn a_receive_that_gives_up_in_the_middle_is_continued_by_the_next() {
    let _watchdog = watchdog();
    let (receiver, sender) = simplex();
    let whole = pattern(1 << 20);
    let go = Words::new(1);
    let mut child = fork(|| {
        // Stopped by a full ring until the receiver takes some.
        send(&sender, &whole);
        while !go.told(0) {
            std::thread::sleep(Duration::from_millis(1));
        }
        send(&sender, b"next");
    });
    child.wait_until_asleep();
    child.signal(libc::SIGSTOP);
    let mut buffer = Vec::new();
    let short = &mut Wait::timeout(Duration::from_millis(50));
    let gave_up = receiver.recv(&mut buffer, usize::MAX, short);
    assert!(matches!(gave_up, Err(TransportFailure::GaveUp(GaveUp::TimedOut))), "{gave_up:?}");
    assert!(is_empty(&receiver));
    child.signal(libc::SIGCONT);
    assert!(receive(&receiver) == whole);
    go.tell(0);
    assert_eq!(receive(&receiver), b"next");
    assert_eq!(child.wait(), Ended::WELL);
}

#[test]
fn a_send_that_gives_up_in_the_middle_is_received_by_nobody() {
    let _watchdog = watchdog();
    let (receiver, sender) = simplex();
    let short = &mut Wait::timeout(Duration::from_millis(50));
    let gave_up = sender.send(RAW, &[&pattern(1 << 20)], &[], short);
    assert!(matches!(gave_up, Err(TransportFailure::GaveUp(GaveUp::TimedOut))));
    assert!(is_empty(&receiver), "the part is dropped");
    send(&sender, b"next");
    assert_eq!(receive(&receiver), b"next");
}

#[test]
fn several_senders_and_receivers_share_an_end() {
    let _watchdog = watchdog();
    const EACH: u64 = 20_000;
    let (receiver, sender) = simplex();
    let sums = Words::new(2);
    let mut senders: Vec<_> = (0..3)
        .map(|i| {
            fork(|| (0..EACH).for_each(|n| send(&sender, &[(i * EACH + n).to_le_bytes()].concat())))
        })
        .collect();
    let mut receivers: Vec<_> = (0..2)
        .map(|_| {
            let receiver = &receiver;
            let (sums, sender) = (&sums, &sender);
            fork(move || {
                let mut buffer = Vec::new();
                loop {
                    receiver.recv(&mut buffer, usize::MAX, &mut Wait::forever()).unwrap();
                    if buffer.is_empty() {
                        break;
                    }
                    let n = u64::from_le_bytes(buffer[..8].try_into().unwrap());
                    sums[0].fetch_add(n, std::sync::atomic::Ordering::SeqCst);
                    sums[1].fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                }
                let _ = sender;
            })
        })
        .collect();
    end_well(&mut senders);
    (0..2).for_each(|_| send(&sender, b""));
    end_well(&mut receivers);
    let count = 3 * EACH;
    assert_eq!(sums[1].load(std::sync::atomic::Ordering::SeqCst), count);
    assert_eq!(sums[0].load(std::sync::atomic::Ordering::SeqCst), count * (count - 1) / 2);
}

fn file_with(text: &str) -> OwnedFd {
    // SAFETY: a fresh memfd, owned by nobody else.
    #[allow(unsafe_code)]
    let file = unsafe {
        use std::os::fd::FromRawFd;
        std::fs::File::from_raw_fd(libc::memfd_create(c"t".as_ptr(), libc::MFD_CLOEXEC))
    };
    std::os::unix::fs::FileExt::write_all_at(&file, text.as_bytes(), 0).unwrap();
    file.into()
}

fn text_of(fd: &OwnedFd) -> String {
    std::fs::read_to_string(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap()
}

#[test]
fn descriptors_travel_with_their_message() {
    let _watchdog = watchdog();
    let (receiver, sender) = simplex();
    for round in 0..3 {
        for len in [0, 10, 40_000] {
            let fds: Vec<_> = (0..3).map(|i| file_with(&format!("{round} {len} {i}"))).collect();
            sender.send(RAW, &[&pattern(len)], &fds, &mut Wait::forever()).unwrap();
        }
        for len in [0, 10, 40_000] {
            let mut buffer = Vec::new();
            let received = receiver.recv(&mut buffer, usize::MAX, &mut Wait::forever()).unwrap();
            assert_eq!(buffer, pattern(len));
            let texts: Vec<_> = received.fds.iter().map(text_of).collect();
            let expected: Vec<_> = (0..3).map(|i| format!("{round} {len} {i}")).collect();
            assert_eq!(texts, expected);
        }
    }
}

#[test]
fn more_messages_with_descriptors_than_a_socket_holds_wait_for_room() {
    let _watchdog = watchdog();
    let (receiver, sender) = simplex();
    let mut child = fork(|| {
        let file = [file_with("x")];
        for i in 0..1000_u32 {
            sender.send(RAW, &[&i.to_le_bytes()], &file, &mut Wait::forever()).unwrap();
        }
    });
    child.wait_until_asleep();
    let mut buffer = Vec::new();
    for i in 0..1000_u32 {
        let received = receiver.recv(&mut buffer, usize::MAX, &mut Wait::forever()).unwrap();
        assert_eq!((&buffer[..], received.fds.len()), (&i.to_le_bytes()[..], 1));
    }
    assert_eq!(child.wait(), Ended::WELL);
}

#[test]
fn a_hundred_pipes_cost_four_descriptors_each_once_somebody_waits_and_leave_none() {
    let _watchdog = watchdog();
    in_own_process(|| {
        drop(duplex());
        let before = descriptor_count();
        let pipes: Vec<_> = (0..100).map(|_| duplex()).collect();
        for (i, (one, other)) in pipes.iter().enumerate() {
            send(one, &pattern(i));
            assert_eq!(receive(other), pattern(i));
        }
        // The memory that every 31 of them share.
        assert_eq!(descriptor_count(), before + 3);
        for (_, other) in &pipes {
            let nothing = other.poll(&mut Wait::timeout(Duration::from_millis(1)));
            assert!(matches!(nothing, Ok(false)));
        }
        // Two ends, and the eventfd of each direction, which both ends have.
        assert_eq!(descriptor_count(), before + 400 + 3);
        drop(pipes);
        assert_eq!(descriptor_count(), before);
    });
}

#[test]
fn the_descriptor_for_selectors_is_readable_exactly_if_there_is_something() {
    let _watchdog = watchdog();
    in_own_process(|| {
        for before in [0, 1, 3] {
            let (receiver, sender) = simplex();
            (0..before).for_each(|i| send(&sender, &pattern(i)));
            let fd = receiver.pollable().unwrap();
            assert_eq!(fd.as_raw_fd(), receiver.pollable().unwrap().as_raw_fd());
            for i in 0..before {
                assert!(is_readable(fd), "{i} of {before} from before");
                assert_eq!(receive(&receiver), pattern(i));
            }
            assert!(!is_readable(fd));
            for round in 0..3 {
                (0..5).for_each(|i| send(&sender, &pattern(i % 3 * 9_000)));
                for _ in 0..5 {
                    assert!(is_readable(fd), "round {round}");
                    receive(&receiver);
                }
                assert!(!is_readable(fd));
            }
            send(&sender, b"last");
            drop(sender);
            assert!(is_readable(fd));
            assert_eq!(receive(&receiver), b"last");
            assert!(is_readable(fd) && is_at_end(&receiver), "the end is readable");
        }
    });
}

#[test]
fn a_message_wakes_a_selector_in_another_process() {
    let _watchdog = watchdog();
    let (receiver, sender) = simplex();
    let mut child = fork(|| {
        let fd = receiver.pollable().unwrap();
        for i in 0..200 {
            let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            // SAFETY: one live entry.
            #[allow(unsafe_code)]
            let count = unsafe { libc::poll(&raw mut poll, 1, -1) };
            assert_eq!(count, 1);
            // It is readable a moment before the message is there.
            assert_eq!(receive(&receiver), pattern(i));
        }
        assert!(!is_readable(fd));
    });
    for i in 0..200 {
        if i % 20 == 0 {
            child.wait_until_asleep();
        }
        send(&sender, &pattern(i));
    }
    assert_eq!(child.wait(), Ended::WELL);
}

#[test]
fn an_armed_end_makes_its_descriptor_readable() {
    let _watchdog = watchdog();
    in_own_process(|| {
        let (receiver, sender) = simplex();
        for _ in 0..50 {
            let Armed::Sleep(fd, _) = receiver.arm().unwrap() else { panic!("nothing was sent") };
            assert!(!is_readable(fd));
            send(&sender, b"x");
            assert!(is_readable(fd));
            assert!(matches!(receiver.arm().unwrap(), Armed::Ready));
            assert_eq!(receive(&receiver), b"x");
        }
        drop(sender);
        assert!(matches!(receiver.arm().unwrap(), Armed::Ready));
    });
}

#[test]
fn an_end_travels_in_a_message_and_stays_open_on_its_way() {
    let _watchdog = watchdog();
    in_own_process(|| {
        let (carrier, hand) = simplex();
        let (receiver, sender) = simplex();
        let mut table = tasuki::protocol::transfer::Outgoing::default();
        let record = sender.record(&mut table).unwrap();
        let fds = table.into_descriptors();
        hand.send(RAW, &[&record], &fds, &mut Wait::forever()).unwrap();
        drop((fds, sender));
        // Only the message has the sending end now.
        assert!(!receiver.poll(&mut Wait::timeout(Duration::from_millis(20))).unwrap());
        let mut buffer = Vec::new();
        let received = carrier.recv(&mut buffer, usize::MAX, &mut Wait::forever()).unwrap();
        let mut fds: Vec<_> = received.fds.into_iter().map(Some).collect();
        let opened = tasuki::raw::RawHandle::open(&buffer, &mut |index| {
            Ok(fds[index as usize].take().expect("each is asked for once"))
        });
        let tasuki::raw::RawHandle::Connection(sender) = opened.unwrap() else { panic!() };
        send(&sender, b"from elsewhere");
        assert_eq!(receive(&receiver), b"from elsewhere");
        drop(sender);
        assert!(receiver.poll(&mut Wait::forever()).unwrap() && is_at_end(&receiver));
    });
}

/// A process that only polls, and never calls anything of the pipe after that: what the kernel tells it is right.
#[test]
fn a_descriptor_says_the_same_in_all_processes_whoever_takes_the_message() {
    let _watchdog = watchdog();
    for polled_before_fork in [true, false] {
        for sent_before in [true, false] {
            in_own_process(|| only_polls(polled_before_fork, sent_before));
        }
    }
}

fn only_polls(polled_before_fork: bool, sent_before: bool) {
    use std::sync::atomic::Ordering::SeqCst;
    let (receiver, sender) = simplex();
    if sent_before {
        send(&sender, b"from before");
    }
    if polled_before_fork {
        receiver.pollable().unwrap();
    }
    let (step, seen) = (Words::new(1), Words::new(8));
    let steps = 5;
    let mut child = fork(|| {
        // Before the first step it asks for the descriptor, which is all that it does with the pipe.
        let fd = receiver.pollable().unwrap();
        for number in 0..steps {
            seen[number].store(1 + u64::from(is_readable(fd)), SeqCst);
            support::until("the next step", || step[0].load(SeqCst) > number as u64);
        }
    });
    let look = |number: usize| {
        step[0].store(number as u64, SeqCst);
        support::until("the child has looked", || seen[number].load(SeqCst) != 0);
        seen[number].load(SeqCst) == 2
    };
    assert_eq!(look(0), sent_before);
    if !sent_before {
        send(&sender, b"from before");
    }
    assert!(look(1));
    assert_eq!(receive(&receiver), b"from before");
    assert!(!look(2), "the message was taken by another process");
    send(&sender, b"x");
    send(&sender, &pattern(50_000));
    assert_eq!(receive(&receiver), b"x");
    assert!(look(3));
    assert_eq!(receive(&receiver), pattern(50_000));
    assert!(!look(4));
    step[0].store(steps as u64, SeqCst);
    assert_eq!(child.wait(), Ended::WELL);
}

#[test]
fn a_forked_child_shares_the_descriptor_of_its_parent() {
    let _watchdog = watchdog();
    let mut child = fork(|| {
        let (receiver, sender) = simplex();
        send(&sender, b"from before");
        let fd = receiver.pollable().unwrap().as_raw_fd();
        let before = descriptor_count();
        in_own_process(|| {
            let own = receiver.pollable().unwrap();
            assert_eq!((own.as_raw_fd(), descriptor_count()), (fd, before));
            assert!(is_readable(own));
            assert_eq!(receive(&receiver), b"from before");
            assert!(!is_readable(own));
        });
        assert!(!is_readable(receiver.pollable().unwrap()));
        send(&sender, b"x");
        assert!(is_readable(receiver.pollable().unwrap()));
    });
    assert_eq!(child.wait(), Ended::WELL);
}

/// Senders, receivers and those who ask for the descriptor at once: afterwards it says what the ring does.
#[test]
fn when_all_calls_have_returned_the_descriptor_is_readable_exactly_if_there_is_a_message() {
    let _watchdog = watchdog_of(Duration::from_secs(600));
    let rounds = if support::soaking() { 20_000 } else { 400 };
    in_own_process(|| {
        for round in 0..rounds {
            let (receiver, sender) = simplex();
            let asker = receiver.clone();
            let left = round % 2; // so few that they fit
            std::thread::scope(|scope| {
                for id in 0..2 {
                    let sender = &sender;
                    let message = pattern([5, 30_000][(round / 2 + id) % 2]);
                    scope.spawn(move || (0..20).for_each(|_| send(sender, &message)));
                }
                for _ in 0..2 {
                    let receiver = &receiver;
                    scope.spawn(move || {
                        let mut buffer = Vec::new();
                        for _ in 0..20 - left {
                            receiver.recv(&mut buffer, usize::MAX, &mut Wait::forever()).unwrap();
                        }
                    });
                }
                scope.spawn(move || {
                    std::thread::sleep(Duration::from_micros((round as u64 * 7) % 400));
                    asker.pollable().unwrap();
                });
            });
            let fd = receiver.pollable().unwrap();
            for _ in 0..2 * left {
                assert!(is_readable(fd), "round {round}");
                try_receive(&receiver).unwrap();
            }
            assert!(!is_readable(fd), "round {round}");
        }
    });
}

#[test]
fn an_interrupted_receive_takes_nothing() {
    let _watchdog = watchdog();
    let (receiver, sender) = simplex();
    for round in 0..5 {
        let mut calls = 0;
        // A handler that makes true what is waited for, and raises.
        let mut handler = || {
            calls += 1;
            if calls == 1 {
                send(&sender, &pattern(round));
            }
            true
        };
        let mut buffer = Vec::new();
        let mut wait = Wait::forever().interruptible(&mut handler);
        let interrupted = receiver.recv(&mut buffer, usize::MAX, &mut wait);
        assert!(
            matches!(interrupted, Err(TransportFailure::GaveUp(GaveUp::Interrupted))),
            "{interrupted:?}"
        );
        assert_eq!(try_receive(&receiver).unwrap(), pattern(round));
    }
}

#[test]
fn a_call_from_inside_a_wait_that_would_wait_for_it_is_an_error() {
    let _watchdog = watchdog();
    in_own_process(|| {
        let (receiver, sender) = simplex();
        // A large message waits for room in the middle; a small one, and one with descriptors, at their begin.
        while sender.send(RAW, &[&pattern(1000)], &[], &mut Wait::now()).is_ok() {}
        for message in [pattern(1 << 20), pattern(2000)] {
            let mut refused = None;
            let mut handler = || {
                refused = Some(sender.send(RAW, &[b"status"], &[], &mut Wait::forever()));
                true
            };
            let mut wait = Wait::forever().interruptible(&mut handler);
            let sent = sender.send(RAW, &[&message], &[], &mut wait);
            assert!(matches!(sent, Err(TransportFailure::GaveUp(GaveUp::Interrupted))));
            let refused = refused.unwrap();
            assert!(
                matches!(refused, Err(TransportFailure::Failed(ref error)) if matches!(**error, tasuki::Error::Reentrant(_))),
                "{refused:?}"
            );
        }
        while try_receive(&receiver).is_ok() {}
        // The pipe is as before; a receiver in the middle of a message is the same.
        let mut busy = fork(|| send(&sender, &pattern(1 << 20)));
        busy.wait_until_asleep();
        busy.signal(libc::SIGSTOP);
        let mut refused = None;
        let mut handler = || {
            let mut buffer = Vec::new();
            refused = Some(receiver.recv(&mut buffer, usize::MAX, &mut Wait::forever()).map(drop));
            assert!(!receiver.poll(&mut Wait::now()).unwrap_or(false));
            true
        };
        let mut buffer = Vec::new();
        let mut wait = Wait::forever().interruptible(&mut handler);
        let interrupted = receiver.recv(&mut buffer, usize::MAX, &mut wait);
        assert!(matches!(interrupted, Err(TransportFailure::GaveUp(GaveUp::Interrupted))));
        let refused = refused.unwrap();
        assert!(
            matches!(refused, Err(TransportFailure::Failed(ref error)) if matches!(**error, tasuki::Error::Reentrant(_))),
            "{refused:?}"
        );
        busy.signal(libc::SIGCONT);
        assert_eq!(receive(&receiver), pattern(1 << 20));
        assert_eq!(busy.wait(), Ended::WELL);
    });
}

#[test]
fn a_thread_beside_one_that_sends_just_waits() {
    let _watchdog = watchdog();
    let (receiver, sender) = simplex();
    std::thread::scope(|scope| {
        let large = scope.spawn(|| send(&sender, &pattern(1 << 20)));
        support::until("the ring is full", || {
            matches!(
                sender.send(RAW, &[b"x"], &[], &mut Wait::now()),
                Err(TransportFailure::GaveUp(GaveUp::TimedOut))
            )
        });
        let small = scope.spawn(|| send(&sender, b"small"));
        let mut got = Vec::new();
        while got.len() < 2 {
            let message = receive(&receiver);
            if message != b"x" {
                got.push(message.len());
            }
        }
        assert!(got.contains(&(1 << 20)) && got.contains(&5), "{got:?}");
        large.join().unwrap();
        small.join().unwrap();
    });
}

/// As many messages as a pipe of the standard library takes, and as many bytes: programs that send first and receive
/// later rely on it.
#[test]
fn a_pipe_holds_what_one_of_the_standard_library_holds() {
    let _watchdog = watchdog();
    for (len, many) in [(0, 16_000), (4, 8_000), (10, 4_681), (1_000, 220), (219_136, 1)] {
        for (receiver, sender) in [simplex(), duplex()] {
            for number in 0..many {
                let sent = sender.send(RAW, &[&pattern(len)], &[], &mut Wait::now());
                assert!(sent.is_ok(), "message {number} of {len} bytes: {sent:?}");
            }
            for _ in 0..many {
                assert_eq!(try_receive(&receiver).unwrap(), pattern(len));
            }
        }
    }
}

#[test]
fn the_first_send_after_its_reader_was_joined_is_an_error() {
    let _watchdog = watchdog();
    in_own_process(|| {
        for _ in 0..50 {
            let (receiver, sender) = simplex();
            let mut reader = fork(|| while receive(&receiver) != b"end" {});
            drop(receiver);
            send(&sender, b"x");
            send(&sender, b"end");
            assert_eq!(reader.wait(), Ended::WELL);
            // The crate's own processes say it themselves.
            tasuki::raw::connection::note_joined();
            let refused = sender.send(RAW, &[b"x"], &[], &mut Wait::now());
            assert!(matches!(refused, Err(TransportFailure::Disconnected(_))), "{refused:?}");
        }
    });
}
