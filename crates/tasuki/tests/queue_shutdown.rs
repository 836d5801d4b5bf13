//! After a shutdown nothing goes in, what was in comes out or is thrown away, and nobody waits for ever.

mod support;

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use support::messages::{get, message, put};
use support::queues::queue_of;
use support::{Child, Ended, descriptor_count, end_well, fork, memory_of, watchdog};
use tasuki::Queue;
use tasuki::queues::Shutdown;
use tasuki::raw::{RawQueue, TransportFailure, Wait};

const BOTH: [Shutdown; 2] = [Shutdown::Drain, Shutdown::Immediate];

fn assert_over(queue: &RawQueue) {
    for _ in 0..2 {
        for wait in [Wait::now, Wait::forever] {
            let got = queue.get(&mut Vec::new(), &mut wait());
            assert!(matches!(got, Err(TransportFailure::ShutDown)), "{got:?}");
            let refused = queue.put(1, &[b"x"], &[], &mut wait());
            assert!(matches!(refused, Err(TransportFailure::ShutDown)), "{refused:?}");
            let refused = queue.put(1, &[&[7; 100_000]], &[], &mut wait());
            assert!(matches!(refused, Err(TransportFailure::ShutDown)), "{refused:?}");
        }
    }
    assert!(queue.is_shut_down() && queue.is_empty());
}

#[test]
fn what_was_put_before_can_still_be_taken() {
    let queue = queue_of(None);
    let lens = [24, 3000, 20_000, 3 << 20];
    for (number, len) in (0..).zip(lens) {
        put(&queue, &message(0, number, len), &[]);
    }
    assert!(!queue.is_shut_down());
    queue.shutdown(Shutdown::Drain).unwrap();
    for (number, len) in (0..).zip(lens) {
        let (bytes, _) = get(&queue, &mut Wait::forever()).unwrap();
        assert_eq!(bytes, message(0, number, len));
    }
    assert_over(&queue);
}

#[test]
fn what_waits_is_thrown_away_at_once() {
    let queue = queue_of(None);
    let held: OwnedFd = File::open("/dev/null").unwrap().into();
    let before = descriptor_count();
    for number in 0..20 {
        put(&queue, &message(0, number, 24), &[]);
        put(&queue, &message(0, number, 1 << 20), &[held.as_fd().try_clone_to_owned().unwrap()]);
    }
    queue.shutdown(Shutdown::Immediate).unwrap();
    assert_over(&queue);
    assert_eq!(descriptor_count(), before);
}

#[test]
fn memory_of_what_is_thrown_away_is_given_back() {
    let queue = queue_of(None);
    (0..100).for_each(|number| put(&queue, &message(0, number, 2 << 20), &[]));
    (0..20_000).for_each(|number| put(&queue, &message(0, number, 3000), &[]));
    assert!(memory_of(queue.descriptors()[0]) > 250 << 20);
    queue.shutdown(Shutdown::Immediate).unwrap();
    // What a queue keeps for later: 64 MiB of blocks and 4 MiB of chunks.
    assert!(memory_of(queue.descriptors()[0]) < 80 << 20);
}

#[test]
fn it_can_be_said_again_and_be_made_immediate() {
    let queue = queue_of(None);
    (0..3).for_each(|number| put(&queue, &message(0, number, 24), &[]));
    queue.shutdown(Shutdown::Drain).unwrap();
    queue.shutdown(Shutdown::Drain).unwrap();
    assert_eq!(queue.len(), 3);
    queue.shutdown(Shutdown::Immediate).unwrap();
    assert_over(&queue);
    queue.shutdown(Shutdown::Drain).unwrap();
    assert_over(&queue);
}

#[test]
fn everybody_who_waits_is_woken() {
    let _watchdog = watchdog();
    for how in BOTH {
        let (empty, full) = (queue_of(None), queue_of(Some(1)));
        put(&full, &message(0, 0, 24), &[]);
        let get = || {
            let got = empty.get(&mut Vec::new(), &mut Wait::forever());
            assert!(matches!(got, Err(TransportFailure::ShutDown)));
        };
        let put = || {
            let refused = full.put(1, &[b"x"], &[], &mut Wait::forever());
            assert!(matches!(refused, Err(TransportFailure::ShutDown)));
        };
        let mut sleepers: Vec<Child> = (0..3).flat_map(|_| [fork(get), fork(put)]).collect();
        sleepers.iter().for_each(Child::wait_until_asleep);
        empty.shutdown(how).unwrap();
        full.shutdown(how).unwrap();
        end_well(&mut sleepers);
        assert_eq!(full.len(), u64::from(how == Shutdown::Drain));
    }
}

/// Whoever's put returned, its message is taken, if it is not to be thrown away; whoever's failed, it is not.
#[test]
fn a_message_is_in_or_refused_while_others_shut_down() {
    let _watchdog = watchdog();
    for _ in 0..50 {
        let queue = queue_of(None);
        let producer = || {
            for number in 0.. {
                match queue.put(1, &[&message(0, number, 24)], &[], &mut Wait::forever()) {
                    Ok(()) => {}
                    Err(TransportFailure::ShutDown) => return number,
                    Err(other) => panic!("{other:?}"),
                }
            }
            unreachable!()
        };
        let taken = std::thread::scope(|scope| {
            let consumer = scope.spawn(|| {
                let mut taken = 0;
                let mut bytes = Vec::new();
                loop {
                    match queue.get(&mut bytes, &mut Wait::forever()) {
                        Ok(_) => taken += 1,
                        Err(TransportFailure::ShutDown) => return taken,
                        Err(other) => panic!("{other:?}"),
                    }
                }
            });
            let producer = scope.spawn(producer);
            std::thread::sleep(std::time::Duration::from_micros(300));
            queue.shutdown(Shutdown::Drain).unwrap();
            (consumer.join().unwrap(), producer.join().unwrap())
        });
        assert_eq!(taken.0, taken.1);
    }
}

#[test]
fn the_errors_say_so_and_give_the_value_back() {
    let queue = Queue::<String>::bounded(1).unwrap();
    queue.put("a".into()).unwrap();
    assert!(queue.is_full() && !queue.is_shut_down());
    queue.shutdown(Shutdown::Drain).unwrap();
    let refused = queue.try_put("b".into()).unwrap_err();
    assert!(refused.is_shut_down() && !refused.is_full() && !refused.is_disconnected());
    assert_eq!(refused.to_string(), "the queue was shut down");
    assert_eq!(refused.into_inner(), "b");
    assert_eq!(queue.get().unwrap(), "a");
    let over = queue.try_get().unwrap_err();
    assert!(over.is_shut_down() && !over.is_empty());
    assert_eq!(over.to_string(), "the queue was shut down");
}

#[test]
fn another_handle_in_another_process_learns_it() {
    let _watchdog = watchdog();
    let queue = queue_of(None);
    assert_eq!(fork(|| queue.shutdown(Shutdown::Drain).unwrap()).wait(), Ended::WELL);
    assert_over(&queue);
}
