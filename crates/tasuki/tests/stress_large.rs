//! A message of 3 GiB, longer than any 32-bit length, arrives whole in another process.
//!
//! It is written once, copied into shared memory and out of it. Where the machine has not so much memory to spare, the
//! test says so and sends what fits. The ordinary suite sends 300 MiB; `TASUKI_SOAK=1` (`make soak`) sends the 3 GiB.

mod support;

use std::sync::Mutex;
use std::time::Duration;

use support::{Ended, fork, memory_of, soaking, watchdog_of};
use tasuki::Queue;
use tasuki::raw::{QueueOptions, RawQueue, Wait};

const PAGE: usize = 4096;

/// Two at a time would need twice the memory.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Bytes that this process may still use, as the kernel and the cgroups see it.
fn available() -> usize {
    let number = |text: &str| text.trim().parse::<usize>().ok();
    let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let meminfo = file("/proc/meminfo");
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let machine =
        line.and_then(|line| number(line.trim_end_matches("kB"))).map_or(0, |kib| kib << 10);
    let (most, used) = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current");
    match (number(&file(most)), number(&file(used))) {
        (Some(most), Some(used)) => machine.min(most.saturating_sub(used)),
        _ => machine,
    }
}

/// How long the message can be: three copies of it are there at a time.
fn length() -> usize {
    let wanted: usize = if soaking() { 3 << 30 } else { 300 << 20 };
    let spare = available() / 4;
    if spare < wanted {
        println!("{spare} bytes instead of {wanted}: this machine has no more to spare");
    }
    (wanted.min(spare) / PAGE + 1) * PAGE + 5
}

/// Each page has its number at its begin.
fn stamped(len: usize) -> Vec<u8> {
    let mut message = vec![0xa5; len];
    for (number, page) in message.chunks_exact_mut(PAGE).enumerate() {
        page[..8].copy_from_slice(&(number as u64).to_le_bytes());
    }
    message
}

fn check(message: &[u8], len: usize) {
    assert_eq!(message.len(), len);
    let pages = message.chunks_exact(PAGE);
    assert_eq!(pages.remainder(), [0xa5; 5]);
    for (number, page) in pages.enumerate() {
        assert_eq!(page[..8], (number as u64).to_le_bytes(), "page {number}");
        assert_eq!(page[8], 0xa5);
        assert_eq!(page[PAGE - 1], 0xa5);
    }
}

#[test]
fn a_huge_message_arrives_whole_and_its_memory_comes_back() {
    let _watchdog = watchdog_of(Duration::from_secs(600));
    let _alone = ONE_AT_A_TIME.lock();
    let len = length();
    let queue = Queue::<Vec<u8>>::unbounded().unwrap();
    let mut producer = fork(|| {
        queue.put(stamped(len)).unwrap();
        // And the queue goes on as before.
        queue.put(b"small".to_vec()).unwrap();
    });
    check(&queue.get().unwrap(), len);
    assert_eq!(queue.get().unwrap(), b"small");
    assert_eq!(producer.wait(), Ended::WELL);
    assert!(queue.is_empty());
}

#[test]
fn a_huge_message_leaves_no_memory_behind_when_its_producer_is_killed_at_it() {
    let _watchdog = watchdog_of(Duration::from_secs(600));
    let _alone = ONE_AT_A_TIME.lock();
    let len = length();
    let queue = RawQueue::create(QueueOptions::default()).unwrap();
    for delay in [1, 20, 100] {
        let producer = fork(|| {
            let message = vec![1; len];
            let _ = queue.put(1, &[&message], &[], &mut Wait::forever());
        });
        std::thread::sleep(Duration::from_millis(delay));
        producer.kill();
        drop(producer);
        // Whole, or not at all.
        let mut bytes = Vec::new();
        if let Ok(taken) = queue.get(&mut bytes, &mut Wait::now()) {
            assert_eq!(taken.large.expect("a block").len(), len);
        }
    }
    // The next message of that size finds the dead one's memory, or new memory after that was given back.
    queue.put(1, &[&vec![2; 50 << 20]], &[], &mut Wait::forever()).unwrap();
    let mut bytes = Vec::new();
    let taken = queue.get(&mut bytes, &mut Wait::now()).unwrap();
    drop(taken);
    let left = memory_of(queue.descriptors()[0]);
    println!("{len} bytes sent; {left} bytes behind the queue");
    assert!(left < len as u64 + (200 << 20), "{left} bytes behind an empty queue");
}
