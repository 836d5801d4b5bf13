//! What a channel promises: order, once each, the value back, and an end that is neither missed nor too early.
//!
//! Nothing here starts a process: until it has begun, one that is being started has copies of the ends.

mod support;

use std::thread;
use std::time::Duration;

use support::{NEVER, until, watchdog};
use tasuki::protocol::{Message, StructuredCodec, codec, transfer};
use tasuki::raw::{QueueOptions, Wait};
use tasuki::{Lock, Queue, Receiver, Sender, bounded, channel};

const SHORT: Duration = Duration::from_millis(20);

#[test]
fn messages_come_out_in_the_order_in_which_they_went_in() {
    let _watchdog = watchdog();
    let (sender, receiver) = channel().unwrap();
    for n in 0..10_000_u64 {
        sender.send(n).unwrap();
    }
    assert_eq!(receiver.len(), 10_000);
    drop(sender);
    assert_eq!(receiver.into_iter().collect::<Vec<_>>(), (0..10_000).collect::<Vec<_>>());
}

#[test]
fn each_message_goes_to_one_receiver_and_those_of_a_sender_in_order() {
    let _watchdog = watchdog();
    for capacity in [1, 3, 1000] {
        let (sender, receiver) = bounded(capacity).unwrap();
        let received: Vec<Vec<(u32, u32)>> = thread::scope(|scope| {
            for id in 0..4_u32 {
                let sender = sender.clone();
                scope.spawn(move || (0..2000_u32).for_each(|n| sender.send((id, n)).unwrap()));
            }
            drop(sender);
            let takers: Vec<_> = (0..3)
                .map(|_| {
                    let receiver = receiver.clone();
                    scope.spawn(move || receiver.iter().collect())
                })
                .collect();
            takers.into_iter().map(|taker| taker.join().unwrap()).collect()
        });
        for taken in &received {
            for id in 0..4 {
                let own: Vec<u32> = taken.iter().filter(|m| m.0 == id).map(|m| m.1).collect();
                assert!(own.is_sorted());
            }
        }
        let mut all: Vec<_> = received.concat();
        all.sort_unstable();
        assert_eq!(all.len(), 8000);
        all.dedup();
        assert_eq!(all.len(), 8000);
    }
}

#[test]
fn a_full_channel_gives_the_value_back() {
    let (sender, receiver) = bounded(2).unwrap();
    assert_eq!(sender.capacity(), Some(2));
    sender.send("one".to_owned()).unwrap();
    assert!(!sender.is_full());
    sender.try_send("two".to_owned()).unwrap();
    assert!(sender.is_full());
    let full = sender.try_send("three".to_owned()).unwrap_err();
    assert!(full.is_full() && !full.is_disconnected());
    assert_eq!(full.to_string(), "the channel is full");
    let full = sender.send_timeout(full.into_inner(), SHORT).unwrap_err();
    assert!(full.is_full());
    assert_eq!(receiver.recv().unwrap(), "one");
    sender.send(full.into_inner()).unwrap();
    assert_eq!(receiver.try_iter().collect::<Vec<_>>(), ["two", "three"]);
    assert!(receiver.try_recv().unwrap_err().is_empty());
    assert!(receiver.recv_timeout(SHORT).unwrap_err().is_empty());
}

#[test]
fn a_capacity_of_zero_is_refused() {
    let error = bounded::<u8>(0).unwrap_err().to_string();
    assert!(error.contains("a channel of capacity 0 could never hold a message"), "{error}");
}

#[test]
fn what_was_sent_is_received_before_the_end_is_told() {
    let (sender, receiver) = channel().unwrap();
    (0..3).for_each(|n: i64| sender.send(n).unwrap());
    assert!(!receiver.is_disconnected());
    drop(sender);
    assert!(receiver.is_disconnected());
    assert_eq!(receiver.recv().unwrap(), 0);
    assert_eq!(receiver.try_recv().unwrap(), 1);
    assert_eq!(receiver.recv_timeout(SHORT).unwrap(), 2);
    for _ in 0..3 {
        assert!(receiver.try_recv().unwrap_err().is_disconnected());
        assert!(receiver.recv_timeout(NEVER).unwrap_err().is_disconnected());
        let error = receiver.recv().unwrap_err();
        assert!(error.is_disconnected() && !error.is_empty());
        assert_eq!(error.to_string(), "the channel is empty and no sender of it is left");
    }
}

#[test]
fn a_send_that_nobody_can_receive_fails_at_once_and_gives_the_value_back() {
    let (sender, receiver) = channel().unwrap();
    let twin = receiver.clone();
    sender.send(vec![1]).unwrap();
    drop(receiver);
    sender.send(vec![2]).unwrap();
    drop(twin);
    for error in [
        sender.send(vec![3]).unwrap_err(),
        sender.try_send(vec![3]).unwrap_err(),
        sender.send_timeout(vec![3], NEVER).unwrap_err(),
    ] {
        assert!(error.is_disconnected() && !error.is_full());
        assert_eq!(error.to_string(), "no receiver of this channel is left");
        assert_eq!(error.into_inner(), [3]);
    }
    assert!(sender.is_disconnected());
    let (full, receiver) = bounded(1).unwrap();
    full.send(()).unwrap();
    drop(receiver);
    assert!(full.try_send(()).unwrap_err().is_disconnected());
    assert!(full.send(()).unwrap_err().is_disconnected());
}

/// Somebody who missed the end would notice within half a second by himself: so there are too many rounds for that.
#[test]
fn the_last_sender_wakes_who_waits_for_a_message() {
    let _watchdog = watchdog();
    for round in 0..1000_u64 {
        let (sender, receiver) = channel::<u64>().unwrap();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| receiver.recv().unwrap_err().is_disconnected());
            let twin = sender.clone();
            thread::sleep(Duration::from_micros(round % 150));
            drop(sender);
            drop(twin);
            assert!(waiting.join().unwrap());
        });
    }
}

#[test]
fn the_last_receiver_wakes_who_waits_for_room() {
    let _watchdog = watchdog();
    for round in 0..1000_u64 {
        let (sender, receiver) = bounded(1).unwrap();
        sender.send(round).unwrap();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| sender.send(7).unwrap_err());
            thread::sleep(Duration::from_micros(round % 150));
            drop(receiver);
            let error = waiting.join().unwrap();
            assert!(error.is_disconnected());
            assert_eq!(error.into_inner(), 7);
        });
    }
}

#[test]
fn a_message_before_the_last_drop_is_never_missed() {
    let _watchdog = watchdog();
    for round in 0..3000_u64 {
        let (sender, receiver) = channel().unwrap();
        thread::scope(|scope| {
            scope.spawn(move || {
                for _ in 0..round % 50 {
                    std::hint::spin_loop();
                }
                sender.send(round).unwrap();
            });
            assert_eq!(receiver.recv().unwrap(), round);
            assert!(receiver.recv().unwrap_err().is_disconnected());
        });
    }
}

#[test]
fn an_end_in_a_message_is_one_that_exists() {
    let _watchdog = watchdog();
    let post = Queue::unbounded().unwrap();
    let (sender, receiver) = channel::<u64>().unwrap();
    sender.send(1).unwrap();
    post.put(sender).unwrap();
    assert_eq!(receiver.recv().unwrap(), 1);
    assert!(receiver.recv_timeout(SHORT).unwrap_err().is_empty());
    let sender: Sender<u64> = post.get().unwrap();
    sender.send(2).unwrap();
    drop(sender);
    assert_eq!(receiver.iter().collect::<Vec<_>>(), [2]);

    let post = Queue::unbounded().unwrap();
    let (sender, receiver) = channel::<u64>().unwrap();
    post.put(receiver).unwrap();
    sender.send(3).unwrap();
    drop(post);
    // Nobody dropped it, the kernel closed it: that is noticed within a tenth of a second.
    until("it is refused", || sender.send(4).is_err_and(|error| error.is_disconnected()));
}

/// The answer to a request that nobody can take any more: its sender lies in a channel without receivers.
#[test]
fn a_sender_in_a_channel_without_receivers_is_gone() {
    let _watchdog = watchdog();
    let (requests, server) = channel::<(u64, Sender<u64>)>().unwrap();
    let (answer, answers) = channel().unwrap();
    requests.send((1, answer)).unwrap();
    assert!(answers.try_recv().unwrap_err().is_empty());
    let waiting = thread::spawn(move || answers.recv().unwrap_err().is_disconnected());
    drop(server);
    assert!(waiting.join().unwrap());
    assert!(requests.is_disconnected());
}

#[test]
fn handles_travel_through_channels_and_channels_through_queues() {
    let _watchdog = watchdog();
    let (sender, receiver) = channel::<(Queue<u64>, Lock<u64>, Receiver<String>)>().unwrap();
    let (words, reader) = channel().unwrap();
    for n in 0..500 {
        let queue = Queue::unbounded().unwrap();
        queue.put(n).unwrap();
        sender.send((queue, Lock::new(n).unwrap(), reader.clone())).unwrap();
        let (queue, lock, reader) = receiver.recv().unwrap();
        assert_eq!((queue.get().unwrap(), *lock.lock().unwrap()), (n, n));
        words.send(format!("{n}")).unwrap();
        assert_eq!(reader.recv().unwrap(), format!("{n}"));
    }
}

#[test]
fn descriptors_of_waiting_messages_fill_the_channel_and_hurt_nobody() {
    let _watchdog = watchdog();
    let (sender, receiver) = channel::<Queue<u64>>().unwrap();
    let queue = Queue::unbounded().unwrap();
    let sent = (0..)
        .find(|_| match sender.try_send(queue.clone()) {
            Ok(()) => false,
            Err(error) => error.is_full(),
        })
        .unwrap();
    assert!(sent > 100, "{sent}");
    thread::scope(|scope| {
        scope.spawn(|| (0..sent).for_each(|_| sender.send(queue.clone()).unwrap()));
        for n in 0..2 * sent {
            let same = receiver.recv().unwrap();
            same.put(n).unwrap();
            assert_eq!(queue.get().unwrap(), n);
        }
    });
    assert!(receiver.is_empty());
}

#[test]
fn a_message_of_another_type_is_an_error_and_the_channel_goes_on() {
    let (sender, receiver) = tasuki::raw::channel(QueueOptions::default()).unwrap();
    let mut buffer = Vec::new();
    sender.send(1, &[b"ab", b"", b"c"], &[], &mut Wait::now()).unwrap();
    let taken = receiver.recv(&mut buffer, &mut Wait::now()).unwrap();
    assert_eq!((taken.codec, buffer.as_slice()), (1, &b"abc"[..]));
    assert!(sender.send(u16::MAX, &[b"x"], &[], &mut Wait::now()).is_err());
    // The bytes of one end, read as another handle.
    let (sender, receiver) = channel::<u8>().unwrap();
    let text = read_as::<Receiver<u8>>(&sender);
    assert!(
        text.contains("a channel's receiver was expected and a channel's sender came"),
        "{text}"
    );
    let text = read_as::<Queue<u8>>(&receiver);
    assert!(text.contains("a queue was expected and a channel's receiver came"), "{text}");
    let text = read_as::<Sender<u8>>(&Queue::<u8>::unbounded().unwrap());
    assert!(text.contains("a channel's sender was expected and a queue came"), "{text}");
    drop(sender);
    assert!(receiver.recv().unwrap_err().is_disconnected());
}

/// What is said when a handle is read as one of another type.
fn read_as<T: Message>(handle: &impl Message) -> String {
    let mut bytes = Vec::new();
    let (codec, outgoing) =
        transfer::collect(|| codec::encode(handle, StructuredCodec::default(), &mut bytes));
    let tag = codec.unwrap().tag();
    match transfer::provide(outgoing.into(), || codec::decode::<T>(tag, &bytes)) {
        Ok(_) => panic!("it was opened"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn large_messages_pass_and_do_not_keep_the_end() {
    let _watchdog = watchdog();
    let (sender, receiver) = bounded::<Vec<u8>>(2).unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            for n in 0..20_u8 {
                sender.send(vec![n; usize::from(n) << 17]).unwrap();
            }
        });
        for n in 0..20_u8 {
            assert_eq!(receiver.recv().unwrap(), vec![n; usize::from(n) << 17]);
        }
        assert!(receiver.recv().unwrap_err().is_disconnected());
    });
}
