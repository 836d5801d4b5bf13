//! What is no end of a channel is refused with a clear error, and a damaged record opens nothing and leaks nothing.

mod support;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use support::handles::{Sent, sent, try_damaged};
use support::{in_own_process, watchdog};
use tasuki::raw::{QueueOptions, RawHandle, RawQueue, channel};

/// Both ends of a bounded channel, whose records have all descriptors that there can be.
fn ends() -> [Sent; 2] {
    let options = QueueOptions { capacity: Some(3), ..QueueOptions::default() };
    let (sender, receiver) = channel(options).unwrap();
    [sent(|table| sender.record(table)), sent(|table| receiver.record(table))]
}

#[test]
fn what_was_sent_opens() {
    let [sender, receiver] = ends();
    assert!(matches!(sender.open(), Ok(RawHandle::Sender(_))));
    assert!(matches!(receiver.open(), Ok(RawHandle::Receiver(_))));
}

#[test]
fn another_socket_is_not_the_channels() {
    let queue = RawQueue::create(QueueOptions::default()).unwrap();
    let mut queue = sent(|table| queue.record(table));
    for end in 0..2 {
        let others: Vec<OwnedFd> = vec![
            File::open("/dev/null").unwrap().into(),
            UnixStream::pair().unwrap().0.into(),
            queue.fds[1].try_clone().unwrap(),
        ];
        for other in others {
            let mut wrong = ends();
            wrong[end].fds[1] = other;
            let refusal = wrong[end].refusal();
            assert!(refusal.contains("is not its socket"), "{refusal}");
        }
    }
    // And the channel's is not a queue's.
    queue.fds[1] = ends()[0].fds[1].try_clone().unwrap();
    assert!(queue.refusal().contains("is not its socket"), "{}", queue.refusal());
}

#[test]
fn a_truncated_or_lengthened_record_is_refused() {
    for whole in ends() {
        for len in 0..whole.record.len() {
            let fds = whole.fds.iter().map(|fd| fd.try_clone().unwrap()).collect();
            let cut = Sent { record: whole.record[..len].to_vec(), fds };
            assert!(cut.open().is_err(), "{len} of {} bytes", whole.record.len());
        }
        let mut longer = whole;
        longer.record.push(0);
        assert!(longer.refusal().contains("malformed"), "{}", longer.refusal());
    }
}

#[test]
fn records_of_random_bytes_open_nothing_and_leak_nothing() {
    let _watchdog = watchdog();
    in_own_process(|| try_damaged("random records of channels", &ends(), 10_000, 3));
}
