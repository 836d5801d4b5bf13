//! A process is killed at a channel, wherever: the other end learns it, and nothing is torn, doubled or lost.

mod support;

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use support::messages::{CODEC, Ledger, message};
use support::{Child, Dice, Ended, Words, fork, park, soaking, until, watchdog, watchdog_of};
use tasuki::raw::{QueueOptions, RawReceiver, RawSender, TransportFailure, Wait};
use tasuki::{Queue, Sender, bounded, channel};

fn sleep_for_ever() -> ! {
    park()
}

#[test]
fn the_last_senders_kill_ends_a_receiver_that_waits() {
    let _watchdog = watchdog();
    for round in 0..6 {
        let (sender, receiver) = channel::<u64>().unwrap();
        let ready = Words::new(1);
        let senders: Vec<Child> = (0..2)
            .map(|_| {
                fork(|| {
                    sender.send(round).unwrap();
                    ready[0].fetch_add(1, SeqCst);
                    sleep_for_ever();
                })
            })
            .collect();
        drop(sender);
        until("both have sent", || ready[0].load(SeqCst) == 2);
        let killer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(40 * round));
            drop(senders); // kills and waits
        });
        // First what they sent, then the end.
        assert_eq!(receiver.iter().collect::<Vec<_>>(), [round, round]);
        assert!(receiver.recv().unwrap_err().is_disconnected());
        killer.join().unwrap();
    }
}

#[test]
fn the_last_receivers_kill_ends_a_sender_full_or_not() {
    let _watchdog = watchdog();
    for capacity in [1, 1 << 40] {
        let (sender, receiver) = bounded::<u64>(capacity).unwrap();
        let ready = Words::new(1);
        let mut taker = fork(|| {
            receiver.recv().unwrap();
            ready[0].store(1, SeqCst);
            sleep_for_ever();
        });
        drop(receiver);
        let pid = taker.pid();
        sender.send(0).unwrap();
        until("it receives", || ready[0].load(SeqCst) == 1);
        let killer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(30));
            taker.kill();
            taker.wait();
        });
        let refused = (1..).find_map(|n| sender.send(n).err()).unwrap();
        assert!(refused.is_disconnected(), "{refused}");
        // The kernel closes a dying process's descriptors a moment before it says that it is dead.
        until("the error names it", || {
            sender.send(0).unwrap_err().to_string().ends_with(&format!("left: process {pid} died"))
        });
        killer.join().unwrap();
    }
}

#[test]
fn an_end_that_another_process_still_has_keeps_the_channel() {
    let _watchdog = watchdog();
    let (sender, receiver) = channel::<u64>().unwrap();
    let mut victim = fork(|| sleep_for_ever());
    let mut keeper = fork(|| {
        std::thread::sleep(Duration::from_millis(700)); // more than a slice
        sender.send(5).unwrap();
    });
    drop(sender);
    victim.kill();
    assert_eq!(victim.wait(), Ended::DEAD);
    assert_eq!(receiver.recv().unwrap(), 5);
    assert_eq!(keeper.wait(), Ended::WELL);
    assert!(receiver.recv().unwrap_err().is_disconnected());
}

/// A server dies with requests unread: a client that waits for an answer learns that nobody can give it.
#[test]
fn a_server_that_is_killed_leaves_no_client_waiting() {
    let _watchdog = watchdog();
    for taken in [false, true] {
        let (requests, server) = channel::<Sender<u64>>().unwrap();
        let ready = Words::new(1);
        let mut dying = fork(|| {
            let request = taken.then(|| server.recv().unwrap());
            ready[0].store(1, SeqCst);
            let _request = request;
            sleep_for_ever();
        });
        drop(server);
        let (answer, answers) = channel().unwrap();
        requests.send(answer).unwrap();
        until("it is at work", || ready[0].load(SeqCst) == 1);
        dying.kill();
        assert_eq!(dying.wait(), Ended::DEAD);
        assert!(answers.recv().unwrap_err().is_disconnected());
    }
}

#[test]
fn a_message_of_a_killed_sender_arrives_with_its_handles() {
    let _watchdog = watchdog();
    for _ in 0..20 {
        let (sender, receiver) = channel::<Queue<u64>>().unwrap();
        let mut victim = fork(|| {
            let queue = Queue::unbounded().unwrap();
            queue.put(9).unwrap();
            sender.send(queue).unwrap();
            std::process::abort();
        });
        drop(sender);
        victim.wait();
        assert_eq!(receiver.recv().unwrap().get().unwrap(), 9);
        assert!(receiver.recv().unwrap_err().is_disconnected());
    }
}

fn send(sender: &RawSender, bytes: &[u8]) {
    sender.send(CODEC, &[bytes], &[], &mut Wait::forever()).expect("send");
}

/// The next message; `None` at the end.
fn recv(receiver: &RawReceiver) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    match receiver.recv(&mut bytes, &mut Wait::forever()) {
        Ok(taken) => Some(taken.large.map_or(bytes, |large| large.to_vec())),
        Err(TransportFailure::Disconnected(_)) => None,
        Err(other) => panic!("recv: {other:?}"),
    }
}

/// Three senders, each killed and replaced at random moments, one receiver: it ends exactly when the last one has gone,
/// and has all that was acknowledged.
#[test]
fn kills_at_random_lose_nothing_and_the_end_comes_once() {
    let rounds = if soaking() { 100 } else { 6 };
    let _watchdog = watchdog_of(Duration::from_secs(900));
    let mut dice = Dice::roll("channel, random kills");
    for _ in 0..rounds {
        let options = QueueOptions { capacity: Some(16), ..QueueOptions::default() };
        let (sender, receiver) = tasuki::raw::channel(options).unwrap();
        const LIVES: u32 = 12;
        let ledger = Ledger::new(LIVES as usize, 1 << 20);
        let ended = Words::new(1);
        let mut taker = fork(|| {
            while let Some(bytes) = recv(&receiver) {
                ledger.take(&bytes);
            }
            ended.tell(0);
        });
        // The copies of senders that a fork inherits would keep the channel: the receiver's process was forked first
        // and has the parent's; so it ends when the parent's and its own are gone.
        drop(receiver);
        let mut lives = 0..LIVES;
        let start = |id: u32| {
            let (sender, ledger) = (&sender, &ledger);
            fork(move || {
                for sequence in 0..1 << 20 {
                    send(sender, &message(id, sequence, 24 + (sequence as usize * 37) % 9000));
                    ledger.acknowledge(id, sequence);
                }
            })
        };
        let mut alive: Vec<Child> = lives.by_ref().take(3).map(start).collect();
        while !alive.is_empty() {
            std::thread::sleep(Duration::from_millis(1 + dice.below(8)));
            let victim = dice.below(alive.len() as u64) as usize;
            drop(alive.swap_remove(victim));
            alive.extend(lives.next().map(start));
        }
        assert_eq!(ended[0].load(SeqCst), 0, "the parent's sender is still there");
        // All that was acknowledged is received while the channel lives.
        until("all is received", || ledger.lost().is_empty());
        taker.kill();
        assert_eq!(taker.wait(), Ended::DEAD);
        let refused = sender.send(CODEC, &[b"x"], &[], &mut Wait::forever());
        // A killed receiver is noticed within a tenth of a second.
        if refused.is_ok() {
            until("the kill is noticed", || {
                sender.send(CODEC, &[b"x"], &[], &mut Wait::timeout(Duration::ZERO)).is_err()
            });
        }
        assert!(sender.is_disconnected());
    }
}

#[cfg(feature = "kill-points")]
mod kill_points {
    use super::*;
    use tasuki::kill_points::{KillPoint, arm};

    /// Killed while it closes its end: those at the other end notice all the same.
    #[test]
    fn who_is_killed_while_closing_is_gone() {
        let _watchdog = watchdog();
        for point in [KillPoint::EndClosed, KillPoint::EndCounted, KillPoint::EndHalfNotified] {
            let (sender, receiver) = channel::<u64>().unwrap();
            let (full, drain) = bounded::<u64>(1).unwrap();
            full.send(1).unwrap();
            let ready = Words::new(1);
            let victims = [(Some(sender), None), (None, Some(drain))].map(|(sender, drain)| {
                let mut held = (sender, drain);
                let held = &mut held;
                let ready = &ready;
                fork(move || {
                    until("both wait", || ready[0].load(SeqCst) == 1);
                    arm(point, 1);
                    *held = (None, None);
                })
            });
            std::thread::scope(|scope| {
                let end = scope.spawn(|| receiver.recv().unwrap_err());
                let refused = scope.spawn(|| full.send(2).unwrap_err());
                std::thread::sleep(Duration::from_millis(20));
                ready[0].store(1, SeqCst);
                assert!(end.join().unwrap().is_disconnected());
                assert!(refused.join().unwrap().is_disconnected());
            });
            for mut victim in victims {
                assert_eq!(victim.wait(), Ended::DEAD, "{point:?} was not reached");
            }
        }
    }

    /// Senders that die after they sent descriptors and before the message is whole fill the socket; the receiver that
    /// waits empties it.
    #[test]
    fn descriptors_of_messages_that_never_came_do_not_block_the_channel() {
        let _watchdog = watchdog_of(Duration::from_secs(300));
        let (sender, receiver) = channel::<Queue<u64>>().unwrap();
        let queue = Queue::unbounded().unwrap();
        for _ in 0..300 {
            let mut victim = fork(|| {
                arm(KillPoint::PutHandlesSent, 1);
                let _ = sender.try_send(queue.clone());
            });
            if victim.wait() == Ended::WELL {
                break; // the socket is full, so it did not come that far
            }
        }
        assert!(sender.try_send(queue.clone()).is_err_and(|error| error.is_full()));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| receiver.recv().unwrap());
            sender.send(queue.clone()).unwrap();
            let same = waiting.join().unwrap();
            same.put(3).unwrap();
            assert_eq!(queue.get().unwrap(), 3);
        });
    }
}
