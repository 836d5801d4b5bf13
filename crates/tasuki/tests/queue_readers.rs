//! A producer of a full queue learns that nobody is left who could take anything out; and is not told so while somebody
//! may still come.

mod support;

use std::time::Duration;

use support::messages::{CODEC, get, message, put};
use support::{Child, Ended, Words, fork, in_own_process, park, until, watchdog};
use tasuki::Queue;
use tasuki::raw::{
    Death, GaveUp, QueueOptions, RawQueue, TransportFailure, Wait, set_process_name,
};

/// Longer than it takes to be told, so that a test which expects not to be told is not fooled.
const LONG: Duration = Duration::from_secs(8);

fn full_queue() -> RawQueue {
    let queue =
        RawQueue::create(QueueOptions { capacity: Some(2), ..QueueOptions::default() }).unwrap();
    (0..2).for_each(|number| put(&queue, &message(0, number, 24), &[]));
    queue
}

fn put_within(queue: &RawQueue, wait: &mut Wait<'_>) -> Result<(), TransportFailure> {
    queue.put(CODEC, &[&message(0, 9, 24)], &[], wait)
}

/// A child that takes a message, and then sleeps.
fn reader(queue: &RawQueue) -> Child {
    let took = Words::new(1);
    let reader = fork(|| {
        set_process_name("the reader");
        assert!(get(queue, &mut Wait::forever()).is_some());
        took.tell(0);
        park()
    });
    until("it has taken one", || {
        let _ = put_within(queue, &mut Wait::now());
        took.told(0)
    });
    reader.wait_until_asleep();
    // Full again.
    while put_within(queue, &mut Wait::now()).is_ok() {}
    reader
}

fn told(result: Result<(), TransportFailure>) -> Option<Box<Death>> {
    match result {
        Err(TransportFailure::Disconnected(death)) => death,
        other => panic!("{other:?}"),
    }
}

fn assert_waits(result: Result<(), TransportFailure>) {
    assert!(matches!(result, Err(TransportFailure::GaveUp(GaveUp::TimedOut))), "{result:?}");
}

#[test]
fn the_last_readers_death_is_told_with_its_name() {
    let _watchdog = watchdog();
    in_own_process(|| {
        let queue = RawQueue::create(QueueOptions { capacity: Some(1), ..Default::default() });
        let queue = queue.unwrap();
        let reader = reader(&queue);
        reader.kill();
        let pid = reader.pid();
        drop(reader);
        let death = told(put_within(&queue, &mut Wait::forever())).expect("it is known who");
        assert_eq!((death.pid(), death.name(), death.left_normally()), (pid, "the reader", false));
        // The messages are still there, and whoever comes now may have them.
        assert!(get(&queue, &mut Wait::now()).is_some());
        put_within(&queue, &mut Wait::now()).unwrap();
    });
}

#[test]
fn a_reader_that_was_killed_while_it_waited_for_its_first_message_was_one() {
    let _watchdog = watchdog();
    in_own_process(|| {
        let queue = RawQueue::create(QueueOptions { capacity: Some(2), ..Default::default() });
        let queue = queue.unwrap();
        let reader = fork(|| drop(get(&queue, &mut Wait::forever())));
        reader.wait_until_asleep();
        reader.kill();
        drop(reader);
        (0..2).for_each(|number| put(&queue, &message(0, number, 24), &[]));
        told(put_within(&queue, &mut Wait::forever()));
    });
}

#[test]
fn the_error_says_who_and_gives_the_value_back() {
    let _watchdog = watchdog();
    in_own_process(|| {
        let queue = Queue::<u32>::bounded(1).unwrap();
        let mut reader = fork(|| {
            set_process_name("the reader");
            queue.get().unwrap();
        });
        queue.put(1).unwrap();
        assert_eq!(reader.wait(), Ended::WELL);
        queue.put(2).unwrap();
        let error = queue.put(3).unwrap_err();
        assert!(error.is_disconnected() && !error.is_full() && !error.is_shut_down());
        let text = error.to_string();
        let start = "the queue is full and nobody gets from it any more: process ";
        assert!(text.starts_with(start) && text.contains("(the reader)"), "{text}");
        assert_eq!(error.into_inner(), 3);
    });
}

#[test]
fn nobody_is_told_while_another_reader_lives() {
    let _watchdog = watchdog();
    in_own_process(|| {
        let queue = full_queue();
        let readers = [reader(&queue), reader(&queue)];
        readers[1].kill();
        assert_waits(put_within(&queue, &mut Wait::timeout(LONG)));
        readers[0].kill();
        told(put_within(&queue, &mut Wait::forever()));
    });
}

#[test]
fn a_child_that_is_still_starting_is_waited_for() {
    let _watchdog = watchdog();
    in_own_process(|| {
        let queue = full_queue();
        let first = reader(&queue);
        let second = fork(|| {
            // It does not touch the queue in this time, but it has it.
            std::thread::sleep(LONG);
            assert!(get(&queue, &mut Wait::forever()).is_some());
        });
        first.kill();
        drop(first);
        put_within(&queue, &mut Wait::forever()).unwrap();
        drop(second);
    });
}

#[test]
fn a_queue_that_nobody_ever_read_is_waited_for() {
    let _watchdog = watchdog();
    in_own_process(|| {
        let queue = full_queue();
        assert_waits(put_within(&queue, &mut Wait::timeout(LONG)));
    });
}

#[test]
fn a_process_that_read_itself_may_do_so_again() {
    let _watchdog = watchdog();
    in_own_process(|| {
        let queue = full_queue();
        reader(&queue).kill();
        assert!(get(&queue, &mut Wait::now()).is_some());
        put(&queue, &message(0, 4, 24), &[]);
        assert_waits(put_within(&queue, &mut Wait::timeout(LONG)));
    });
}
