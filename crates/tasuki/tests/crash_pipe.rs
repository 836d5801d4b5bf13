//! A process is killed anywhere in a pipe's calls: messages before and after arrive whole and in order, and nobody
//! hangs.
#![cfg(feature = "kill-points")]

mod support;

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use support::memory::ObjectMemory;
use support::victims::{dies_at, goes_on, stopped_at};
use support::{Child, Dice, Ended, Words, fork, soaking, watchdog, watchdog_of};
use tasuki::kill_points::{KillPoint, arm, arm_stop};
use tasuki::raw::connection::Mode;
use tasuki::raw::{GaveUp, RawConnection, TransportFailure, Wait};

const RAW: u16 = 12;
const SMALL: usize = 24;
/// Four frames.
const LARGE: usize = 60_000;
const MARKER: &[u8] = b"the end of this test";

/// What becomes of the message that is being sent or received at the moment of the death.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Delivered,
    Gone,
    /// Whole or not at all: the readiness is set before the commit, and once more after it if it was cleared in
    /// between.
    Either,
}

/// What is special about the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    /// Each has a descriptor.
    Handles,
    /// A selector watches.
    Polled,
}

/// Whether somebody else has the sending end, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Others {
    Send,
    None,
}

fn simplex() -> (RawConnection, RawConnection) {
    RawConnection::pipe(Mode::Simplex).unwrap()
}

fn message(number: u64, len: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..len).map(|i| (i as u64 * 7 + number) as u8).collect();
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes
}

/// The number of a message, which must be whole.
fn number_of(bytes: &[u8]) -> u64 {
    let number = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    assert_eq!(bytes, message(number, bytes.len()), "torn");
    number
}

fn send(end: &RawConnection, bytes: &[u8], kind: Kind) {
    let fds: Vec<OwnedFd> = match kind {
        Kind::Handles => vec![std::fs::File::open("/dev/null").unwrap().into()],
        _ => Vec::new(),
    };
    end.send(RAW, &[bytes], &fds, &mut Wait::forever()).unwrap();
}

fn recv(end: &RawConnection, wait: &mut Wait<'_>) -> Result<(Vec<u8>, usize), TransportFailure> {
    let mut buffer = Vec::new();
    let received = end.recv(&mut buffer, usize::MAX, wait)?;
    Ok((buffer, received.fds.len()))
}

#[test]
fn a_killed_sender_leaves_whole_messages_and_wakes_who_sleeps() {
    use Fate::{Delivered, Either, Gone};
    let _watchdog = watchdog_of(Duration::from_secs(600));
    type Work = (Kind, usize, u32, Fate);
    let table: &[(KillPoint, &[Work])] = &[
        (
            KillPoint::PipeHalfWritten,
            &[
                (Kind::Plain, SMALL, 1, Gone),
                (Kind::Plain, SMALL, 5, Gone),
                (Kind::Plain, LARGE, 1, Gone),
                (Kind::Plain, LARGE, 7, Gone),
                (Kind::Handles, SMALL, 3, Gone),
                (Kind::Polled, SMALL, 3, Gone),
            ],
        ),
        (
            KillPoint::PipeHandlesSent,
            &[
                (Kind::Handles, SMALL, 1, Gone),
                (Kind::Handles, SMALL, 4, Gone),
                (Kind::Handles, LARGE, 2, Gone),
            ],
        ),
        // An eventfd that is readable for nothing is written once more by the next message, or not.
        (
            KillPoint::PipeReadinessSetting,
            &[
                (Kind::Polled, SMALL, 1, Gone),
                (Kind::Polled, LARGE, 2, Either),
                (Kind::Plain, SMALL, 1, Delivered),
                (Kind::Plain, SMALL, 3, Delivered),
            ],
        ),
        (
            KillPoint::PipeReadinessSet,
            &[(Kind::Polled, SMALL, 1, Gone), (Kind::Polled, SMALL, 3, Gone)],
        ),
        (
            KillPoint::PipeWritten,
            &[
                (Kind::Plain, SMALL, 1, Gone),
                (Kind::Plain, SMALL, 3, Gone),
                (Kind::Plain, LARGE, 6, Gone),
                (Kind::Handles, SMALL, 3, Gone),
                (Kind::Handles, LARGE, 3, Gone),
                (Kind::Polled, SMALL, 3, Gone),
            ],
        ),
        (
            KillPoint::PipeCommitted,
            &[
                (Kind::Plain, SMALL, 1, Delivered),
                (Kind::Plain, SMALL, 3, Delivered),
                (Kind::Plain, LARGE, 1, Gone),
                (Kind::Plain, LARGE, 7, Gone),
                (Kind::Plain, LARGE, 8, Delivered),
                (Kind::Handles, SMALL, 3, Delivered),
                (Kind::Handles, LARGE, 3, Gone),
                (Kind::Polled, SMALL, 3, Delivered),
            ],
        ),
        (
            KillPoint::PipeTailMoved,
            &[
                (Kind::Plain, SMALL, 1, Delivered),
                (Kind::Plain, LARGE, 3, Gone),
                (Kind::Plain, LARGE, 4, Delivered),
                (Kind::Handles, SMALL, 3, Delivered),
                (Kind::Polled, SMALL, 3, Delivered),
            ],
        ),
        (
            KillPoint::PipeSleepersTaken,
            &[(Kind::Plain, SMALL, 1, Delivered), (Kind::Plain, SMALL, 3, Delivered)],
        ),
    ];
    for (point, works) in table {
        for &(kind, len, nth, fate) in *works {
            for others in [Others::Send, Others::None] {
                eprintln!("{point:?}: {kind:?}, {len} bytes, {nth}, others: {others:?}");
                a_sender_dies(*point, kind, len, nth, fate, others);
            }
        }
    }
}

fn a_sender_dies(point: KillPoint, kind: Kind, len: usize, nth: u32, fate: Fate, others: Others) {
    let (receiver, sender) = simplex();
    let mut sender = Some(sender);
    if kind == Kind::Polled {
        receiver.pollable().unwrap();
    }
    let (sent, got) = (Words::new(1), Words::new(1));
    let handles = usize::from(kind == Kind::Handles);
    let mut reader = fork(|| {
        drop(sender.take()); // the end comes when the others have none
        loop {
            match recv(&receiver, &mut Wait::forever()) {
                Ok((bytes, _)) if bytes == MARKER => break,
                Ok((bytes, fds)) => {
                    assert_eq!(number_of(&bytes), got[0].fetch_add(1, SeqCst));
                    assert_eq!((bytes.len(), fds), (len, handles));
                }
                Err(TransportFailure::Disconnected(_)) => break,
                Err(other) => panic!("{other:?}"),
            }
        }
    });
    let mut victim = fork(|| {
        arm(point, nth);
        for number in 0.. {
            reader.wait_until_asleep();
            send(sender.as_ref().unwrap(), &message(number, len), kind);
            sent[0].fetch_add(1, SeqCst);
        }
    });
    if others == Others::None {
        drop(sender.take());
    }
    assert_eq!(victim.wait(), Ended::DEAD, "{point:?} was not reached");
    if let Some(sender) = &sender {
        send(sender, MARKER, kind);
    }
    assert_eq!(reader.wait(), Ended::WELL);
    let more = got[0].load(SeqCst) - sent[0].load(SeqCst);
    match fate {
        Fate::Delivered => assert_eq!(more, 1),
        Fate::Gone => assert_eq!(more, 0),
        Fate::Either => assert!(more <= 1, "{more} more came than were sent"),
    }
}

#[test]
fn a_killed_receiver_takes_one_message_along_at_most() {
    use Fate::{Delivered, Gone};
    let _watchdog = watchdog_of(Duration::from_secs(600));
    for (point, fate) in [(KillPoint::PipeCopied, Delivered), (KillPoint::PipeHeadMoved, Gone)] {
        for kind in [Kind::Plain, Kind::Handles, Kind::Polled] {
            for nth in [1, 4] {
                eprintln!("{point:?}: {kind:?}, {nth}");
                a_receiver_dies(point, kind, nth, fate);
            }
        }
    }
}

fn a_receiver_dies(point: KillPoint, kind: Kind, nth: u32, fate: Fate) {
    const ALL: u64 = 20;
    let (receiver, sender) = simplex();
    if kind == Kind::Polled {
        receiver.pollable().unwrap();
    }
    let received = Words::new(1);
    (0..ALL).for_each(|number| send(&sender, &message(number, SMALL), kind));
    let mut victim = fork(|| {
        arm(point, nth);
        loop {
            recv(&receiver, &mut Wait::forever()).unwrap();
            received[0].fetch_add(1, SeqCst);
        }
    });
    assert_eq!(victim.wait(), Ended::DEAD, "{point:?} was not reached");
    let first = received[0].load(SeqCst) + u64::from(fate == Fate::Gone);
    for number in first..ALL {
        let (bytes, fds) = recv(&receiver, &mut Wait::forever()).unwrap();
        assert_eq!(number_of(&bytes), number);
        assert_eq!(fds, usize::from(kind == Kind::Handles));
    }
    assert!(!receiver.poll(&mut Wait::now()).unwrap());
    assert!(!is_readable(&receiver), "nothing is left behind in the socket");
    send(&sender, MARKER, kind);
    assert_eq!(recv(&receiver, &mut Wait::forever()).unwrap().0, MARKER);
}

/// Whether the descriptor for selectors is readable.
fn is_readable(end: &RawConnection) -> bool {
    support::is_readable(end.pollable().unwrap())
}

#[test]
fn who_is_killed_asleep_concerns_nobody() {
    let _watchdog = watchdog();
    let (receiver, sender) = simplex();
    let mut victim = fork(|| {
        arm(KillPoint::PipeAsleep, 1);
        let _ = recv(&receiver, &mut Wait::forever());
    });
    assert_eq!(victim.wait(), Ended::DEAD);
    let mut victim = fork(|| {
        let _ = recv(&receiver, &mut Wait::forever());
    });
    victim.wait_until_asleep();
    victim.kill();
    assert_eq!(victim.wait(), Ended::DEAD);
    send(&sender, MARKER, Kind::Plain);
    assert_eq!(recv(&receiver, &mut Wait::forever()).unwrap().0, MARKER);

    let sent = Words::new(1);
    let mut victim = fork(|| {
        arm(KillPoint::PipeFull, 1);
        for number in 0.. {
            send(&sender, &message(number, SMALL), Kind::Plain);
            sent[0].fetch_add(1, SeqCst);
        }
    });
    assert_eq!(victim.wait(), Ended::DEAD);
    for number in 0..sent[0].load(SeqCst) {
        assert_eq!(number_of(&recv(&receiver, &mut Wait::forever()).unwrap().0), number);
    }
    assert!(matches!(
        recv(&receiver, &mut Wait::now()),
        Err(TransportFailure::GaveUp(GaveUp::TimedOut))
    ));
}

#[test]
fn who_is_killed_asleep_until_a_sender_gives_its_turn_back_concerns_nobody() {
    let _watchdog = watchdog();
    let (receiver, sender) = simplex();
    receiver.pollable().unwrap(); // from now on a sender sets it before it commits
    let busy = stopped_at(KillPoint::PipeReadinessSet, || send(&sender, MARKER, Kind::Plain));
    dies_at(KillPoint::PipeAsleepHere, 1, || drop(recv(&receiver, &mut Wait::forever())));
    goes_on(busy);
    assert_eq!(recv(&receiver, &mut Wait::forever()).unwrap().0, MARKER);
    assert!(!is_readable(&receiver));
}

#[test]
fn a_message_half_received_by_a_killed_process_is_passed_over() {
    let _watchdog = watchdog();
    let (receiver, sender) = simplex();
    let mut busy = fork(|| {
        send(&sender, &message(0, 1 << 20), Kind::Plain);
        send(&sender, MARKER, Kind::Plain);
    });
    busy.wait_until_asleep(); // the ring is full
    busy.signal(libc::SIGSTOP);
    let mut victim = fork(|| {
        arm(KillPoint::PipeMidway, 1);
        let _ = recv(&receiver, &mut Wait::forever());
    });
    assert_eq!(victim.wait(), Ended::DEAD);
    busy.signal(libc::SIGCONT);
    assert_eq!(recv(&receiver, &mut Wait::forever()).unwrap().0, MARKER);
    assert_eq!(busy.wait(), Ended::WELL);
}

#[test]
fn who_is_killed_while_it_asks_for_the_descriptor_leaves_the_pipe_whole() {
    use KillPoint::{
        PipePolled, PipePolledSet, PipeReadinessClear, PipeReadinessClearing, PipeReadinessSetting,
    };
    let _watchdog = watchdog();
    for point in
        [PipePolled, PipePolledSet, PipeReadinessSetting, PipeReadinessClearing, PipeReadinessClear]
    {
        let (receiver, sender) = simplex();
        let is_empty = matches!(point, PipeReadinessClearing | PipeReadinessClear);
        if !is_empty {
            send(&sender, &message(0, SMALL), Kind::Plain);
        }
        let mut victim = fork(|| {
            arm(point, 1);
            let _ = receiver.pollable();
        });
        assert_eq!(victim.wait(), Ended::DEAD, "{point:?} was not reached");
        if is_empty {
            send(&sender, &message(0, SMALL), Kind::Plain);
        }
        send(&sender, &message(1, SMALL), Kind::Plain);
        for number in 0..2 {
            assert!(is_readable(&receiver));
            assert_eq!(number_of(&recv(&receiver, &mut Wait::forever()).unwrap().0), number);
        }
        assert!(!is_readable(&receiver));
    }
}

/// Whatever is killed wherever: a selector that never calls anything is told of each message. Told for nothing it may
/// be until somebody looks.
#[test]
fn no_kill_leaves_the_descriptor_dark_with_a_message_in_the_pipe() {
    use KillPoint::*;
    let _watchdog = watchdog_of(Duration::from_secs(600));
    for point in [
        PipeHalfWritten,
        PipeHandlesSent,
        PipeReadinessSetting,
        PipeReadinessSet,
        PipeWritten,
        PipeCommitted,
        PipeTailMoved,
        PipeCopied,
        PipeHeadMoved,
        PipeReadinessClearing,
        PipeReadinessClear,
    ] {
        for nth in 1..4 {
            for kind in [Kind::Polled, Kind::Handles] {
                let (receiver, sender) = simplex();
                let fd = receiver.pollable().unwrap();
                let mut victim = fork(|| {
                    arm(point, nth);
                    for number in 0..4 {
                        send(&sender, &message(number, SMALL), kind);
                        recv(&receiver, &mut Wait::forever()).unwrap();
                        send(&sender, &message(number, SMALL), kind);
                        send(&sender, &message(number, SMALL), kind);
                        recv(&receiver, &mut Wait::forever()).unwrap();
                        recv(&receiver, &mut Wait::forever()).unwrap();
                    }
                });
                let ended = victim.wait();
                if kind == Kind::Polled && point == PipeHandlesSent {
                    assert_eq!(ended, Ended::WELL);
                    continue;
                }
                assert_eq!(ended, Ended::DEAD, "{point:?} was not reached");
                loop {
                    // Before anything is called that could mend it.
                    let told = support::is_readable(fd);
                    match recv(&receiver, &mut Wait::now()) {
                        Ok(_) => assert!(told, "{point:?}, {nth}"),
                        Err(TransportFailure::GaveUp(GaveUp::TimedOut)) => break,
                        Err(other) => panic!("{other:?}"),
                    }
                }
                assert!(!support::is_readable(fd), "{point:?}, {nth}: after a look it is exact");
                send(&sender, MARKER, kind);
                assert!(support::is_readable(fd), "{point:?}, {nth}");
                assert_eq!(recv(&receiver, &mut Wait::forever()).unwrap().0, MARKER);
                assert!(!support::is_readable(fd), "{point:?}, {nth}");
            }
        }
    }
}

/// A stopped process delays its own message and nobody's deadline; when it goes on, nothing is lost.
#[test]
fn a_stopped_sender_holds_up_no_call_with_a_deadline() {
    use KillPoint::*;
    let _watchdog = watchdog_of(Duration::from_secs(600));
    let points = [
        PipeHalfWritten,
        PipeHandlesSent,
        PipeReadinessSetting,
        PipeReadinessSet,
        PipeWritten,
        PipeCommitted,
        PipeTailMoved,
        PipeSleepersTaken,
    ];
    for point in points {
        for kind in [Kind::Plain, Kind::Polled, Kind::Handles] {
            for len in [SMALL, LARGE] {
                let (receiver, sender) = simplex();
                if kind != Kind::Plain {
                    receiver.pollable().unwrap();
                }
                let done = Words::new(1);
                let mut victim = fork(|| {
                    send(&sender, &message(0, len), kind);
                    support::until("the first one was taken", || done.told(0));
                    arm_stop(point, 1);
                    let _ = receiver.arm(); // it finds somebody to wake
                    send(&sender, &message(1, len), kind);
                    arm(point, u32::MAX);
                });
                recv(&receiver, &mut Wait::forever()).unwrap();
                done.tell(0);
                // Stopped, or at its end: not every kind comes by every point.
                support::until("it is stopped or has ended", || {
                    matches!(support::state_of(victim.pid()), Some('T' | 'Z'))
                });
                let soon = || Wait::timeout(Duration::from_millis(30));
                let mut got = 0;
                for _ in 0..2 {
                    let _ = receiver.poll(&mut Wait::now()).unwrap();
                    let _ = receiver.poll(&mut soon()).unwrap();
                    let _ = receiver.arm().unwrap();
                    receiver.pollable().unwrap();
                    match recv(&receiver, &mut soon()) {
                        Ok((bytes, _)) => got = number_of(&bytes),
                        Err(TransportFailure::GaveUp(GaveUp::TimedOut)) => {}
                        Err(other) => panic!("{point:?}: {other:?}"),
                    }
                }
                victim.signal(libc::SIGCONT);
                if got == 0 {
                    got = number_of(&recv(&receiver, &mut Wait::forever()).unwrap().0);
                }
                assert_eq!((got, victim.wait()), (1, Ended::WELL), "{point:?} {kind:?} {len}");
                assert!(!is_readable(&receiver), "{point:?} {kind:?} {len}");
            }
        }
    }
}

/// Each leaves a datagram that no message has, more of them than a socket holds.
#[test]
fn senders_killed_with_descriptors_on_their_way_leave_room_for_others() {
    let _watchdog = watchdog_of(Duration::from_secs(600));
    for asleep in [true, false] {
        let (receiver, sender) = simplex();
        for _ in 0..300 {
            let mut victim = fork(|| {
                arm(KillPoint::PipeHandlesSent, 1);
                let fds = [OwnedFd::from(std::fs::File::open("/dev/null").unwrap())];
                let _ =
                    sender.send(RAW, &[b"x"], &fds, &mut Wait::timeout(Duration::from_millis(1)));
            });
            match victim.wait() {
                Ended::DEAD => {}
                Ended::WELL => break, // full
                other => panic!("{other:?}"),
            }
        }
        let mut live = fork(|| send(&sender, MARKER, Kind::Handles));
        if !asleep {
            live.wait_until_asleep();
        }
        let (bytes, fds) = recv(&receiver, &mut Wait::forever()).unwrap();
        assert_eq!((&bytes[..], fds), (MARKER, 1));
        assert_eq!(live.wait(), Ended::WELL);
    }
}

#[test]
fn the_end_is_told_when_the_last_sender_is_killed_asleep_or_not() {
    let _watchdog = watchdog();
    for asleep in [true, false] {
        let (receiver, sender) = simplex();
        let mut sender = Some(sender);
        let mut senders: Vec<Child> =
            (0..3).map(|_| fork(|| std::thread::sleep(Duration::from_secs(1000)))).collect();
        drop(sender.take());
        let mut reader = fork(|| {
            let end = recv(&receiver, &mut Wait::forever());
            assert!(matches!(end, Err(TransportFailure::Disconnected(_))));
        });
        if asleep {
            reader.wait_until_asleep();
        }
        for sender in &mut senders {
            assert_eq!(reader.has_ended(), None);
            sender.kill();
            sender.wait();
        }
        assert_eq!(reader.wait(), Ended::WELL);
    }
}

#[test]
fn a_sender_that_waits_for_room_learns_that_the_last_receiver_was_killed() {
    let _watchdog = watchdog();
    let (receiver, sender) = simplex();
    let mut receiver = Some(receiver);
    let mut holder = fork(|| std::thread::sleep(Duration::from_secs(1000)));
    drop(receiver.take());
    let mut busy = fork(|| {
        loop {
            match sender.send(RAW, &[&[1; 5000]], &[], &mut Wait::forever()) {
                Ok(()) => {}
                Err(TransportFailure::Disconnected(_)) => break,
                Err(other) => panic!("{other:?}"),
            }
        }
    });
    busy.wait_until_asleep();
    holder.kill();
    holder.wait();
    assert_eq!(busy.wait(), Ended::WELL);
}

#[test]
fn random_kills_tear_no_message_and_stop_nobody() {
    let rounds = if soaking() { 1000 } else { 40 };
    let _watchdog = watchdog_of(Duration::from_secs(900));
    let mut dice = Dice::roll("pipe, random kills");
    let (receiver, sender) = simplex();
    let progress = Words::new(2);
    // Each sender has numbers of its own, which must come in order.
    let sending = |id: u64, counted: Option<usize>| {
        let mut number = 0;
        loop {
            let len = [SMALL, SMALL, 3000, LARGE][number as usize % 4];
            send(&sender, &message(id << 32 | number, len), Kind::Plain);
            number += 1;
            if let Some(word) = counted {
                progress[word].fetch_add(1, SeqCst);
            }
        }
    };
    let receiving = |counted: Option<usize>| {
        let mut last = std::collections::HashMap::new();
        loop {
            let number = number_of(&recv(&receiver, &mut Wait::forever()).unwrap().0);
            let before = last.insert(number >> 32, number);
            assert!(before.is_none_or(|before| before < number), "{before:?} {number}");
            if let Some(word) = counted {
                progress[word].fetch_add(1, SeqCst);
            }
        }
    };
    let survivors = [fork(|| sending(1, Some(0))), fork(|| receiving(Some(1)))];
    for round in 0..rounds {
        let mut victims = [fork(|| sending(round + 2, None)), fork(|| receiving(None))];
        std::thread::sleep(Duration::from_micros(dice.below(20_000)));
        for victim in &mut victims {
            victim.kill();
            assert_eq!(victim.wait(), Ended::DEAD);
        }
        let before = [progress[0].load(SeqCst), progress[1].load(SeqCst)];
        support::until("the survivors go on", || {
            (0..2).all(|i| progress[i].load(SeqCst) > before[i] + 5)
        });
    }
    drop(survivors);
}

/// Any value at all in any word, of locks, positions, frames: calls end, with errors perhaps.
#[test]
fn nonsense_in_the_memory_is_survived() {
    let seconds = if soaking() { 60 } else { 3 };
    let _watchdog = watchdog();
    let mut dice = Dice::roll("pipe, nonsense");
    let (receiver, sender) = simplex();
    let memory =
        ObjectMemory::in_slots_of(4096, |table| receiver.record(table), 4096 + (256 << 10));
    send(&sender, &message(1, LARGE / 2), Kind::Plain);
    recv(&receiver, &mut Wait::forever()).unwrap();
    let stop = Words::new(1);
    let mut corrupter = fork(|| {
        while !stop.told(0) {
            let word = match dice.below(3) {
                0 => dice.below(96) as usize,
                _ => 1024 + dice.below(64 << 10) as usize,
            };
            let near = memory.word(64 / 4 + 16).load(SeqCst);
            let value = match dice.below(4) {
                0 => dice.next() as u32,
                1 => (near / 16) | (1 << 31),
                2 => dice.below(1 << 15) as u32,
                _ => 0,
            };
            memory.write(word, value);
            if dice.below(8) == 0 {
                std::thread::sleep(Duration::from_micros(dice.below(200)));
            }
        }
    });
    let start = std::time::Instant::now();
    while start.elapsed() < Duration::from_secs(seconds) {
        let soon = || Wait::timeout(Duration::from_millis(2));
        let file: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
        let _ = sender.send(RAW, &[&[1; 100]], &[], &mut soon());
        let _ = sender.send(RAW, &[&[1; 40_000]], &[], &mut soon());
        let _ = sender.send(RAW, &[b"x"], &[file], &mut soon());
        for _ in 0..4 {
            let _ = recv(&receiver, &mut soon());
        }
        let _ = receiver.poll(&mut soon());
        let _ = receiver.arm();
    }
    stop.tell(0);
    assert_eq!(corrupter.wait(), Ended::WELL);
}
