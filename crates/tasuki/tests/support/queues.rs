//! Queues as tests make them.

use tasuki::raw::{QueueOptions, RawQueue};

use super::messages::put;

pub fn queue_of(capacity: Option<u64>) -> RawQueue {
    RawQueue::create(QueueOptions { capacity, ..QueueOptions::default() }).unwrap()
}

/// One whose messages are tasks.
pub fn joinable() -> RawQueue {
    RawQueue::create(QueueOptions { joinable: true, ..QueueOptions::default() }).unwrap()
}

pub fn put_tasks(queue: &RawQueue, count: u64) {
    (0..count).for_each(|_| put(queue, b"task", &[]));
}
