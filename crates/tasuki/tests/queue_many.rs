//! Typed messages, many at a time, and large ones where they lie; and queues of tasks.

mod support;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use support::{Ended, fork, memory_of, park, until, watchdog};
use tasuki::queues::View;
use tasuki::raw::{QueueOptions, RawQueue};
use tasuki::{JoinableQueue, Queue};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Task {
    number: u32,
    text: String,
}

fn tasks(count: u32) -> Vec<Task> {
    (0..count).map(|number| Task { number, text: "x".repeat(number as usize % 5000) }).collect()
}

#[test]
fn values_of_every_kind_come_back_in_order() {
    fn check<T: tasuki::Message + Clone + PartialEq>(values: &[T]) {
        let queue = Queue::unbounded().unwrap();
        queue.put_many(values.to_vec()).unwrap();
        assert_eq!(queue.len(), values.len());
        let mut received = Vec::new();
        while received.len() < values.len() {
            for value in queue.get_many(100).unwrap() {
                received.push(value.unwrap());
            }
        }
        assert!(received == values);
    }
    let _watchdog = watchdog();
    check(&(0..5000_u64).collect::<Vec<_>>());
    check(&tasks(300));
    check(&(0..300).map(|n| vec![n as u8; n * 100]).collect::<Vec<_>>());
    check(&["", "a", "襷"].map(String::from));
    check(&[(); 3]);
    check::<u8>(&[]);
}

#[test]
fn handles_travel_in_many_messages() {
    let _watchdog = watchdog();
    let outer: Queue<Queue<u32>> = Queue::unbounded().unwrap();
    let inner: Vec<Queue<u32>> = (0..10).map(|_| Queue::unbounded().unwrap()).collect();
    outer.put_many(inner.clone()).unwrap();
    let mut received: Vec<Queue<u32>> = Vec::new();
    while received.len() < 10 {
        received.extend(outer.get_many(10).unwrap().map(Result::unwrap));
    }
    assert_eq!(received, inner);
}

#[test]
fn what_finds_no_room_is_given_back() {
    let _watchdog = watchdog();
    let queue = Queue::bounded(3).unwrap();
    let refused = queue.try_put_many(tasks(5)).unwrap_err();
    assert!(refused.is_full());
    assert!(refused.to_string().starts_with("2 of the messages were not put"), "{refused}");
    assert_eq!(refused.into_inner(), tasks(5)[3..]);
    let refused = queue.put_many_timeout(tasks(2), Duration::from_millis(10)).unwrap_err();
    assert_eq!(refused.into_inner(), tasks(2));
    assert_eq!(queue.len(), 3);
    assert_eq!(queue.try_get_many(10).unwrap().len(), 3);
    assert!(queue.try_get_many(10).unwrap_err().is_empty());
    assert!(queue.get_many_timeout(10, Duration::from_millis(10)).unwrap_err().is_empty());
}

#[test]
fn a_value_that_cannot_be_encoded_stops_the_rest_and_not_what_was_before_it() {
    let _watchdog = watchdog();
    let queue: Queue<u128> = Queue::unbounded().unwrap();
    let refused = queue.put_many([1, 2, u128::MAX, 3]).unwrap_err();
    assert!(!refused.is_full());
    assert_eq!(refused.into_inner(), [u128::MAX, 3]);
    let received: Vec<u128> = queue.get_many(9).unwrap().map(Result::unwrap).collect();
    assert_eq!(received, [1, 2]);
}

/// A value that is written as any number and read as an even one only.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "u32")]
struct Even(u32);

impl TryFrom<u32> for Even {
    type Error = String;
    fn try_from(number: u32) -> Result<Even, String> {
        if number % 2 == 0 { Ok(Even(number)) } else { Err(format!("{number} is odd")) }
    }
}

#[test]
fn a_message_that_cannot_be_read_is_an_error_in_its_place() {
    let _watchdog = watchdog();
    let queue = Queue::unbounded().unwrap();
    queue.put_many((0..4).map(Even)).unwrap();
    let mut received = queue.get_many(9).unwrap();
    assert_eq!(received.len(), 4);
    assert_eq!(received.next().unwrap().unwrap(), Even(0));
    assert!(received.next().unwrap().unwrap_err().decode_error().is_some());
    assert_eq!(received.next().unwrap().unwrap(), Even(2));
    assert!(received.next().unwrap().is_err());
    assert!(received.next().is_none());
}

#[test]
fn a_view_shows_the_bytes_of_small_and_large_messages() {
    let _watchdog = watchdog();
    let queue = Queue::unbounded().unwrap();
    for len in [0, 1, 4096, 4097, 1 << 20, (1 << 20) + 17] {
        let sent: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
        queue.put(sent.clone()).unwrap();
        let view = queue.get_view().unwrap();
        assert_eq!((view.len(), view.is_empty()), (len, len == 0));
        assert_eq!(view.is_shared(), len > 4096);
        assert!(view.is_held() && view.to_vec() == sent);
        #[allow(unsafe_code)]
        // SAFETY: nobody but this test has the queue.
        let slice = unsafe { view.as_slice() };
        assert!(slice == sent);
        let mut part = [0; 100];
        let from = len.saturating_sub(60);
        let count = view.read_at(&mut part, from);
        assert_eq!((count, &part[..count]), (len - from, &sent[from..]));
        assert_eq!(view.read_at(&mut part, usize::MAX), 0);
        if len > 4096 {
            assert_eq!(view.as_ptr() as usize % 64, 0, "as aligned as computing with it needs");
        }
    }
    assert!(queue.try_get_view().unwrap_err().is_empty());
    assert!(queue.get_view_timeout(Duration::from_millis(5)).unwrap_err().is_empty());
}

#[test]
fn a_view_keeps_its_bytes_whatever_happens_to_the_queue() {
    let _watchdog = watchdog();
    let queue = Queue::unbounded().unwrap();
    queue.put(vec![1; 1 << 20]).unwrap();
    let view = queue.get_view().unwrap();
    let thread = std::thread::spawn({
        let (view, queue) = (view.clone(), queue.clone());
        move || {
            for n in 0..20 {
                queue.put(vec![n; 1 << 20]).unwrap();
                drop(queue.get_view().unwrap());
            }
            drop(view);
        }
    });
    thread.join().unwrap();
    drop(queue);
    assert!(view.to_vec() == vec![1; 1 << 20]);
}

#[test]
fn memory_of_views_is_used_again_when_they_are_dropped_or_their_holder_is_killed() {
    let _watchdog = watchdog();
    let raw = RawQueue::create(QueueOptions::default()).unwrap();
    let put = || {
        raw.put(1, &[&vec![7; 3 << 20]], &[], &mut tasuki::raw::Wait::forever()).unwrap();
    };
    let take = || {
        let mut small = Vec::new();
        raw.get(&mut small, &mut tasuki::raw::Wait::now()).unwrap().large.unwrap()
    };
    let round = || {
        put();
        let held = take();
        put();
        drop(take());
        drop(held);
        put();
        let mut holder = fork(|| {
            let held = take();
            assert!(held.is_held());
            std::process::abort();
        });
        assert!(matches!(holder.wait(), Ended::Killed(_)));
    };
    (0..5).for_each(|_| round());
    let before = memory_of(raw.descriptors()[0]);
    (0..20).for_each(|_| round());
    let after = memory_of(raw.descriptors()[0]);
    assert!(after <= before + (1 << 20), "{before} bytes grew to {after}");
}

#[test]
fn a_forked_child_does_not_hold_its_parents_view_and_does_not_give_it_back() {
    let _watchdog = watchdog();
    let queue = Queue::unbounded().unwrap();
    queue.put(vec![1; 1 << 20]).unwrap();
    let view = queue.get_view().unwrap();
    let mut child = fork(|| {
        assert!(!view.is_held());
        #[allow(unsafe_code)]
        // SAFETY: the child's copy is not used after this; the parent's is another one.
        drop(unsafe { std::ptr::read(&raw const view) });
        // What the child puts goes elsewhere.
        queue.put(vec![2; 1 << 20]).unwrap();
    });
    assert_eq!(child.wait(), Ended::WELL);
    queue.put(vec![3; 1 << 20]).unwrap();
    assert!(view.is_held() && view.to_vec() == vec![1; 1 << 20]);
    assert!(queue.get().unwrap() == vec![2; 1 << 20]);
}

#[test]
fn views_may_be_used_by_any_thread() {
    fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<View>();
}

#[test]
fn a_joinable_queue_is_a_queue_whose_tasks_are_counted() {
    let _watchdog = watchdog();
    let queue: JoinableQueue<Task> = JoinableQueue::bounded(64).unwrap();
    let mut workers: Vec<_> = (0..3)
        .map(|_| {
            fork(|| {
                loop {
                    let task = queue.get().unwrap();
                    if task.number == u32::MAX {
                        return queue.task_done().unwrap();
                    }
                    queue.task_done().unwrap();
                }
            })
        })
        .collect();
    queue.put_many(tasks(500)).unwrap();
    queue.join().unwrap();
    assert_eq!((queue.len(), queue.unfinished()), (0, 0));
    assert!(queue.task_done().unwrap_err().is_too_many());
    queue.put_many((0..3).map(|_| Task { number: u32::MAX, text: String::new() })).unwrap();
    queue.join_timeout(support::NEVER).unwrap();
    workers.iter_mut().for_each(|worker| assert_eq!(worker.wait(), Ended::WELL));
    queue.put_many(tasks(2)).unwrap();
    assert!(queue.join_timeout(Duration::from_millis(10)).unwrap_err().is_timeout());
    queue.tasks_done(2).unwrap();
    queue.join().unwrap();
}

#[test]
fn a_join_error_says_who_was_killed_with_how_many_tasks() {
    let _watchdog = watchdog();
    let queue: JoinableQueue<u32> = JoinableQueue::unbounded().unwrap();
    queue.put_many(0..10).unwrap();
    let worker = fork(|| {
        tasuki::raw::set_process_name("Worker-7");
        drop(queue.get_many(3).unwrap());
        park()
    });
    until("it has them", || queue.len() == 7);
    worker.kill();
    let error = queue.join().unwrap_err();
    let lost = error.lost_tasks().unwrap();
    assert_eq!((lost.count(), lost.death().pid()), (3, worker.pid()));
    let expected = format!("process {} (Worker-7) died with 3 unfinished tasks", worker.pid());
    assert_eq!(error.to_string(), expected);
    assert_eq!(queue.unfinished(), 7);
}

#[test]
fn handles_to_joinable_queues_travel_and_plain_queues_are_refused_in_their_place() {
    let _watchdog = watchdog();
    let tasks: JoinableQueue<u32> = JoinableQueue::unbounded().unwrap();
    tasks.put(1).unwrap();
    let carrier: Queue<JoinableQueue<u32>> = Queue::unbounded().unwrap();
    carrier.put(tasks.clone()).unwrap();
    let received = carrier.get().unwrap();
    assert!(received == tasks);
    received.task_done().unwrap();
    tasks.join().unwrap();

    let plain: Queue<ReadAsJoinable> = Queue::unbounded().unwrap();
    plain.put(ReadAsJoinable::Written(Queue::unbounded().unwrap())).unwrap();
    let refused = plain.get().unwrap_err();
    assert!(refused.to_string().contains("a joinable queue was expected"), "{refused}");
}

/// Written as a handle to a queue, and read as one to a joinable queue.
#[derive(Debug)]
enum ReadAsJoinable {
    Written(Queue<u32>),
    Read(JoinableQueue<u32>),
}

impl Serialize for ReadAsJoinable {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            ReadAsJoinable::Written(queue) => queue.serialize(serializer),
            ReadAsJoinable::Read(queue) => queue.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for ReadAsJoinable {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        JoinableQueue::deserialize(deserializer).map(ReadAsJoinable::Read)
    }
}
