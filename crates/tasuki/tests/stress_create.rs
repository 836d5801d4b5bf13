//! Ten thousand queues are made, used and dropped, alone and by turns with another process: descriptors and memory are
//! what they were.

mod support;

use support::{Ended, descriptor_count, fork, in_own_process, resident, watchdog};
use tasuki::Queue;

const QUEUES: usize = 10_000;
/// The allocator and the kernel keep some; a leak of even 64 bytes for each queue would be more.
const KEPT: u64 = 512 << 10;

/// What this process has: open descriptors, mappings, and resident bytes.
fn holdings() -> (usize, usize, u64) {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    (descriptor_count(), maps.lines().count(), resident())
}

fn no_growth(work: impl Fn(usize)) {
    // What is made once is made in the first rounds.
    (0..QUEUES / 10).for_each(&work);
    let (descriptors, mappings, memory) = holdings();
    (0..QUEUES).for_each(&work);
    let after = holdings();
    assert_eq!(after.0, descriptors, "descriptors");
    assert!(after.1 <= mappings + 2, "{mappings} mappings became {}", after.1);
    assert!(after.2 <= memory + KEPT, "{memory} resident bytes became {}", after.2);
}

#[test]
fn ten_thousand_queues_leave_nothing() {
    let _watchdog = watchdog();
    in_own_process(|| {
        no_growth(|number| {
            let queue = Queue::bounded(4).unwrap();
            let other = queue.clone();
            queue.put(number as u64).unwrap();
            assert_eq!(other.get().unwrap(), number as u64);
            if number % 2 == 0 {
                // Dropped with a message in it.
                queue.put(7).unwrap();
            }
        });
    });
}

#[test]
fn ten_thousand_queues_with_large_messages_leave_nothing() {
    let _watchdog = watchdog();
    in_own_process(|| {
        no_growth(|number| {
            let queue = Queue::unbounded().unwrap();
            queue.put(vec![number as u8; 20_000]).unwrap();
            if number % 2 == 0 {
                assert_eq!(queue.get().unwrap(), vec![number as u8; 20_000]);
            }
        });
    });
}

#[test]
fn ten_thousand_queues_that_travel_leave_nothing_on_either_side() {
    let _watchdog = watchdog();
    in_own_process(|| {
        // Back comes a message through each queue that was sent.
        let queues = Queue::<Queue<u64>>::bounded(8).unwrap();
        let mut other = fork(|| no_growth(|_| queues.get().unwrap().put(5).unwrap()));
        no_growth(|_| {
            let queue = Queue::unbounded().unwrap();
            queues.put(queue.clone()).unwrap();
            assert_eq!(queue.get().unwrap(), 5);
        });
        assert_eq!(other.wait(), Ended::WELL);
    });
}
