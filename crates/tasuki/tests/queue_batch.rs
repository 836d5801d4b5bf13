//! Many messages at a time: the same messages in the same order as one by one, within the same limits, seen all at
//! once.

mod support;

use std::os::fd::OwnedFd;
use std::time::Duration;

use support::messages::{CODEC, Ledger, get, message, put};
use support::queues::queue_of;
use support::{
    Child, Ended, Words, fork, is_readable, is_writable, poll, until, watchdog, watchdog_of,
};
use tasuki::raw::{
    Batch, GaveUp, OutboundMessage, QueueOptions, RawQueue, Shutdown, TransportFailure, Wait,
};

const LENGTHS: [usize; 6] = [24, 100, 4096, 4097, 20_000, 300_000];

fn put_many(
    queue: &RawQueue,
    messages: &[Vec<u8>],
    wait: &mut Wait<'_>,
) -> (usize, Result<(), TransportFailure>) {
    let parts: Vec<[&[u8]; 1]> = messages.iter().map(|bytes| [&bytes[..]]).collect();
    let outbound: Vec<_> =
        parts.iter().map(|parts| OutboundMessage { codec: CODEC, parts, fds: &[] }).collect();
    queue.put_many(&outbound, wait)
}

fn put_all(queue: &RawQueue, messages: &[Vec<u8>]) {
    let (put, result) = put_many(queue, messages, &mut Wait::forever());
    result.unwrap();
    assert_eq!(put, messages.len());
}

fn get_many(queue: &RawQueue, max: usize, wait: &mut Wait<'_>) -> Vec<Vec<u8>> {
    let mut batch = Batch::new();
    match queue.get_many(max, &mut batch, wait) {
        Ok(()) => {}
        Err(TransportFailure::GaveUp(GaveUp::TimedOut)) => return Vec::new(),
        Err(other) => panic!("{other:?}"),
    }
    assert!(batch.len() <= max && !batch.is_empty());
    let messages = batch.drain().map(|message| {
        assert_eq!(message.codec, CODEC);
        match message.large {
            Some(large) => large.to_vec(),
            None => message.bytes.to_vec(),
        }
    });
    messages.collect()
}

fn timed_out<T>(result: &Result<T, TransportFailure>) -> bool {
    matches!(result, Err(TransportFailure::GaveUp(GaveUp::TimedOut)))
}

fn messages(count: u32) -> Vec<Vec<u8>> {
    (0..count).map(|n| message(0, n, LENGTHS[n as usize % LENGTHS.len()])).collect()
}

#[test]
fn what_is_put_together_comes_in_order_one_by_one_and_together() {
    let _watchdog = watchdog();
    let queue = queue_of(None);
    for count in [0, 1, 2, 3, 4, 7, 64, 301] {
        let sent = messages(count);
        put_all(&queue, &sent);
        assert_eq!(queue.len(), u64::from(count));
        let single = (0..count / 3).map(|_| get(&queue, &mut Wait::now()).unwrap().0);
        let mut received: Vec<_> = single.collect();
        while received.len() < sent.len() {
            received.extend(get_many(&queue, 10, &mut Wait::now()));
        }
        assert!(received == sent, "{count} messages");
        assert!(get_many(&queue, 10, &mut Wait::now()).is_empty());
    }
}

#[test]
fn a_batch_takes_what_is_there_and_waits_only_for_the_first() {
    let _watchdog = watchdog();
    let queue = queue_of(None);
    put_all(&queue, &messages(3));
    assert_eq!(get_many(&queue, 2, &mut Wait::forever()).len(), 2);
    assert_eq!(get_many(&queue, 2, &mut Wait::forever()).len(), 1);
    let sleeper = fork(|| assert_eq!(get_many(&queue, 100, &mut Wait::forever()).len(), 1));
    sleeper.wait_until_asleep();
    put(&queue, &message(0, 0, 24), &[]);
    until("it is taken", || queue.is_empty());
    queue.get_many(0, &mut Batch::new(), &mut Wait::forever()).unwrap(); // asks for nothing
}

#[test]
fn many_that_are_put_at_once_wake_as_many_as_wait() {
    let _watchdog = watchdog();
    let queue = queue_of(None);
    let mut sleepers: Vec<Child> =
        (0..5).map(|_| fork(|| drop(get(&queue, &mut Wait::forever())))).collect();
    sleepers.iter().for_each(Child::wait_until_asleep);
    put_all(&queue, &messages(5));
    sleepers.iter_mut().for_each(|sleeper| assert_eq!(sleeper.wait(), Ended::WELL));
}

#[test]
fn a_full_queue_takes_what_fits_and_the_rest_waits() {
    let _watchdog = watchdog();
    let queue = queue_of(Some(4));
    let (put, result) = put_many(&queue, &messages(10), &mut Wait::now());
    assert!(put == 4 && timed_out(&result), "{result:?}");
    let (put, result) =
        put_many(&queue, &messages(10), &mut Wait::timeout(Duration::from_millis(20)));
    assert!(put == 0 && timed_out(&result), "{result:?}");
    let mut rest = fork(|| put_all(&queue, &messages(10)[4..]));
    rest.wait_until_asleep();
    assert_eq!(queue.len(), 4);
    let mut received = Vec::new();
    while received.len() < 10 {
        received.extend(get_many(&queue, 3, &mut Wait::forever()));
        assert!(queue.len() <= 4, "never more than the capacity");
    }
    assert!(received == messages(10));
    assert_eq!(rest.wait(), Ended::WELL);
}

#[test]
fn a_limit_of_bytes_holds_for_many_as_for_one() {
    let _watchdog = watchdog();
    let options = QueueOptions { byte_limit: Some(10_000), ..QueueOptions::default() };
    let queue = RawQueue::create(options).unwrap();
    let sent: Vec<_> = (0..10).map(|n| message(0, n, 3000)).collect();
    let (put, result) = put_many(&queue, &sent, &mut Wait::now());
    assert!(put == 3 && timed_out(&result), "{result:?}");
    // One that never fits: those before it are put, and then it is said.
    assert_eq!(get_many(&queue, 3, &mut Wait::now()).len(), 3);
    let (put, result) =
        put_many(&queue, &[sent[3].clone(), message(0, 4, 10_001)], &mut Wait::forever());
    assert!(put == 1 && matches!(result, Err(TransportFailure::Failed(_))), "{result:?}");
}

#[test]
fn many_are_more_than_one_part_and_come_whole() {
    let _watchdog = watchdog();
    let queue = queue_of(None);
    // Several times what is put or taken under one lock, in small ones and in blocks.
    for (count, len) in [(100_000, 24), (700, 4000), (100, 1 << 20)] {
        let sent: Vec<_> = (0..count).map(|n| message(1, n, len)).collect();
        put_all(&queue, &sent);
        let mut received = Vec::new();
        while received.len() < sent.len() {
            received.extend(get_many(&queue, usize::MAX, &mut Wait::now()));
        }
        assert!(received == sent, "{count} messages of {len} bytes");
    }
}

#[test]
fn descriptors_arrive_with_their_messages() {
    let _watchdog = watchdog();
    let queue = queue_of(None);
    let open = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
    let fds: Vec<Vec<OwnedFd>> =
        (0..20_usize).map(|n| (0..n % 3).map(|_| open()).collect()).collect();
    let sent = messages(20);
    let parts: Vec<[&[u8]; 1]> = sent.iter().map(|bytes| [&bytes[..]]).collect();
    let outbound: Vec<_> = parts
        .iter()
        .zip(&fds)
        .map(|(parts, fds)| OutboundMessage { codec: CODEC, parts, fds })
        .collect();
    let (put, result) = queue.put_many(&outbound, &mut Wait::forever());
    result.unwrap();
    assert_eq!(put, 20);
    let (mut batch, mut index) = (Batch::new(), 0);
    while index < 20 {
        queue.get_many(100, &mut batch, &mut Wait::now()).unwrap();
        for message in batch.drain() {
            let bytes = message.large.map_or(message.bytes.to_vec(), |large| large.to_vec());
            assert!(bytes == sent[index]);
            assert_eq!(message.fds.len(), index % 3, "message {index}");
            index += 1;
        }
    }
}

#[test]
fn more_messages_with_descriptors_than_the_kernel_keeps_wait_for_room() {
    let _watchdog = watchdog();
    let queue = queue_of(None);
    let fds: Vec<OwnedFd> = vec![std::fs::File::open("/dev/null").unwrap().into()];
    let bytes = message(0, 0, 24);
    let parts = [&bytes[..]];
    let outbound = vec![OutboundMessage { codec: CODEC, parts: &parts, fds: &fds }; 1000];
    let (put, result) = queue.put_many(&outbound, &mut Wait::now());
    assert!((1..1000).contains(&put) && timed_out(&result), "{put}: {result:?}");
    let mut rest = fork(|| queue.put_many(&outbound[put..], &mut Wait::forever()).1.unwrap());
    let (mut batch, mut received) = (Batch::new(), 0);
    while received < 1000 {
        queue.get_many(100, &mut batch, &mut Wait::forever()).unwrap();
        received += batch.drain().map(|message| message.fds.len()).sum::<usize>();
    }
    assert_eq!(rest.wait(), Ended::WELL);
}

#[test]
fn blocks_of_a_batch_are_given_back() {
    let _watchdog = watchdog();
    let queue = queue_of(None);
    let sent: Vec<_> = (0..20).map(|n| message(0, n, 300_000)).collect();
    let round = || {
        put_all(&queue, &sent);
        let mut received = 0;
        while received < sent.len() {
            received += get_many(&queue, 100, &mut Wait::now()).len();
        }
    };
    (0..5).for_each(|_| round());
    let before = support::memory_of(queue.descriptors()[0]);
    (0..30).for_each(|_| round());
    let after = support::memory_of(queue.descriptors()[0]);
    assert!(after <= before + (1 << 20), "{before} bytes grew to {after}");
}

#[test]
fn a_shut_down_queue_refuses_many_and_hands_out_the_rest() {
    let _watchdog = watchdog();
    let queue = queue_of(Some(3));
    let mut producer = fork(|| {
        let (put, result) = put_many(&queue, &messages(9), &mut Wait::forever());
        assert!(put == 3 && matches!(result, Err(TransportFailure::ShutDown)), "{put}: {result:?}");
    });
    producer.wait_until_asleep();
    queue.shutdown(Shutdown::Drain).unwrap();
    assert_eq!(producer.wait(), Ended::WELL);
    assert_eq!(get_many(&queue, 9, &mut Wait::forever()).len(), 3);
    let ended = queue.get_many(9, &mut Batch::new(), &mut Wait::forever());
    assert!(matches!(ended, Err(TransportFailure::ShutDown)), "{ended:?}");
}

#[test]
fn producers_and_consumers_of_many_and_of_one_account_for_every_message() {
    const EACH: u32 = 30_000;
    let _watchdog = watchdog_of(Duration::from_secs(240));
    let queue = queue_of(Some(500));
    let ledger = Ledger::new(4, EACH as usize);
    let words = Words::new(1);
    let mut producers: Vec<Child> = (0..4)
        .map(|producer| {
            let (queue, ledger) = (&queue, &ledger);
            fork(move || {
                let len = |n: u32| if n % 50 == 0 { 10_000 } else { 24 + n as usize % 200 };
                let mut next = 0;
                while next < EACH {
                    let end = (next + 1 + next * producer % 97).min(EACH);
                    let some: Vec<_> = (next..end).map(|n| message(producer, n, len(n))).collect();
                    if producer == 3 {
                        some.iter().for_each(|bytes| put(queue, bytes, &[]));
                    } else {
                        put_all(queue, &some);
                    }
                    ledger.acknowledge(producer, end - 1);
                    next = end;
                }
            })
        })
        .collect();
    let mut consumers: Vec<Child> = (0..4)
        .map(|index| {
            let (queue, ledger, words) = (&queue, &ledger, &words);
            fork(move || {
                let mut last = [None; 4];
                while !words.told(0) || !queue.is_empty() {
                    let wait = &mut Wait::timeout(Duration::from_millis(50));
                    let some = match index {
                        0 => get(queue, wait).into_iter().map(|(bytes, _)| bytes).collect(),
                        _ => get_many(queue, 1 + index * 60, wait),
                    };
                    for bytes in some {
                        let (producer, sequence) = ledger.take(&bytes);
                        let last = &mut last[producer as usize];
                        assert!(*last < Some(sequence), "out of order");
                        *last = Some(sequence);
                    }
                }
            })
        })
        .collect();
    producers.iter_mut().for_each(|producer| assert_eq!(producer.wait(), Ended::WELL));
    words.tell(0);
    consumers.iter_mut().for_each(|consumer| assert_eq!(consumer.wait(), Ended::WELL));
    assert_eq!(ledger.lost(), []);
    (0..4).for_each(|producer| assert_eq!(ledger.taken(producer, EACH), EACH));
}

#[test]
fn who_polls_sees_many_come_and_go() {
    let _watchdog = watchdog();
    let queue = queue_of(Some(4));
    let (readable, writable) = (queue.pollable().unwrap(), queue.pollable_for_put().unwrap());
    let state = || (is_readable(readable), is_writable(writable));
    for _ in 0..3 {
        assert_eq!(state(), (false, true));
        put_all(&queue, &messages(2));
        assert_eq!(state(), (true, true));
        assert_eq!(put_many(&queue, &messages(5), &mut Wait::now()).0, 2);
        assert_eq!(state(), (true, false));
        assert_eq!(get_many(&queue, 3, &mut Wait::now()).len(), 3);
        assert_eq!(state(), (true, true));
        assert_eq!(get_many(&queue, 3, &mut Wait::now()).len(), 1);
    }
}

#[test]
fn many_producers_of_many_lose_no_poller() {
    const EACH: u32 = 5000;
    let _watchdog = watchdog_of(Duration::from_secs(240));
    let queue = queue_of(Some(50));
    let readable = queue.pollable().unwrap();
    let mut producers: Vec<Child> = (0..2)
        .map(|producer| {
            let queue = &queue;
            fork(move || {
                for first in (0..EACH).step_by(10) {
                    let count = 1 + first / 10 % 10;
                    let some: Vec<_> = (0..10).map(|n| message(producer, first + n, 24)).collect();
                    put_all(queue, &some[..count as usize]);
                    put_all(queue, &some[count as usize..]);
                }
            })
        })
        .collect();
    let mut received = 0;
    while received < 2 * EACH as usize {
        poll(readable, libc::POLLIN, None);
        received += get_many(&queue, 1 + received % 20, &mut Wait::now()).len();
    }
    assert!(!is_readable(readable));
    producers.iter_mut().for_each(|producer| assert_eq!(producer.wait(), Ended::WELL));
}
