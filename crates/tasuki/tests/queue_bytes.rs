//! Messages of any length arrive as they were, and a queue uses memory for what is in it only.

mod support;

use std::time::Duration;

use support::messages::{get, message, put, read};
use support::{Dice, Ended, end_well, fork, in_own_process, memory_of, watchdog};
use tasuki::Queue;
use tasuki::raw::{QueueOptions, RawQueue, Wait};

const MIB: u64 = 1 << 20;

fn unbounded() -> RawQueue {
    RawQueue::create(QueueOptions::default()).unwrap()
}

/// Every length near a border: between frame and block, of a chunk, of the blocks' sizes, of pages.
fn lengths() -> Vec<usize> {
    let mut lengths: Vec<usize> = (0..70).collect();
    for border in [128, 4096, 8 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10, 1 << 20] {
        lengths.extend(border - 40..border + 40);
    }
    lengths.extend((0..70 << 10).step_by(509));
    lengths
}

#[test]
fn bytes_of_every_length_come_back_the_same() {
    let _watchdog = watchdog();
    let queue = Queue::<Vec<u8>>::unbounded().unwrap();
    for len in lengths() {
        let bytes: Vec<u8> = (0..len).map(|at| (at * 7 + len) as u8).collect();
        queue.put(bytes.clone()).unwrap();
        assert_eq!(queue.get().unwrap(), bytes);
    }
}

#[test]
fn bytes_of_every_length_pass_between_processes_one_after_the_other() {
    let _watchdog = watchdog();
    let queue = Queue::<Vec<u8>>::bounded(50).unwrap();
    let mut producer = fork(|| {
        lengths().into_iter().for_each(|len| queue.put(vec![len as u8; len]).unwrap());
    });
    for len in lengths() {
        assert_eq!(queue.get().unwrap(), vec![len as u8; len]);
    }
    assert_eq!(producer.wait(), Ended::WELL);
}

#[test]
fn parts_are_joined() {
    let queue = unbounded();
    let (a, b, c) = (vec![1; 3000], vec![2; 1096], vec![3; 5000]);
    for parts in [&[][..], &[&a[..]], &[&a, &b], &[&a, &[], &b, &c]] {
        queue.put(1, parts, &[], &mut Wait::now()).unwrap();
        let (bytes, _) = get(&queue, &mut Wait::now()).unwrap();
        assert_eq!(bytes, parts.concat());
    }
}

#[test]
fn a_hundred_mebibytes_are_one_message() {
    let _watchdog = watchdog();
    let queue = unbounded();
    let mut producer = fork(|| put(&queue, &message(1, 2, 100 << 20), &[]));
    let (bytes, _) = get(&queue, &mut Wait::timeout(support::NEVER)).unwrap();
    assert_eq!(producer.wait(), Ended::WELL);
    assert_eq!(bytes.len(), 100 << 20);
    assert_eq!(read(&bytes), (1, 2));
    // So much is not kept for the next one.
    assert!(memory_of(queue.descriptors()[0]) < 80 * MIB);
}

#[test]
fn a_message_larger_than_the_queue_can_ever_hold_is_refused_and_given_back() {
    let queue = unbounded();
    // A thousand times the same part: far more than the queue, in little memory.
    let part = vec![0; 256 << 20];
    let parts: Vec<&[u8]> = std::iter::repeat_n(&part[..], 1000).collect();
    let refused = queue.put(1, &parts, &[], &mut Wait::now()).unwrap_err();
    assert!(format!("{refused:?}").contains("does not fit"), "{refused:?}");
    assert!(queue.is_empty());
}

/// Puts `bytes` in messages of `len`, then takes them; says how much memory there was before, at the height, after.
fn burst(len: usize, bytes: usize) -> [u64; 3] {
    let queue = unbounded();
    let count = (bytes / len) as u32;
    let memory = || memory_of(queue.descriptors()[0]);
    let before = memory();
    for sequence in 0..count {
        put(&queue, &message(0, sequence, len), &[]);
    }
    let height = memory();
    assert_eq!(queue.len(), u64::from(count));
    for sequence in 0..count {
        let (bytes, _) = get(&queue, &mut Wait::now()).expect("all are there");
        assert_eq!(read(&bytes), (0, sequence));
    }
    assert!(queue.is_empty());
    [before, height, memory()]
}

#[test]
fn an_unbounded_queue_grows_with_what_is_put_and_gives_the_memory_back() {
    let _watchdog = watchdog();
    for (len, bytes, kept) in [
        (1000, 200 << 20, 8 * MIB),
        (6 << 10, 100 << 20, 80 * MIB),
        (60 << 10, 200 << 20, 80 * MIB),
        (300 << 10, 200 << 20, 80 * MIB),
    ] {
        let [before, height, after] = burst(len, bytes);
        assert!(before < MIB, "an empty queue has {before} bytes");
        assert!(height >= (bytes - len) as u64, "{height}");
        assert!(height < bytes as u64 * 2, "{height} bytes of memory for {bytes} of messages");
        assert!(after < kept, "{after} bytes kept after messages of {len}");
    }
}

#[test]
fn a_queue_that_stays_short_stays_small_however_much_passes_through() {
    let _watchdog = watchdog();
    let queue = unbounded();
    let mut dice = Dice::roll("short queue");
    let mut passed = 0;
    for sequence in 0..20_000 {
        let len = [24, 1000, 5000, 30_000, 100_000][dice.below(5) as usize] + dice.below(1000);
        put(&queue, &message(0, sequence, len as usize), &[]);
        passed += len;
        if dice.below(8) == 0 {
            while get(&queue, &mut Wait::now()).is_some() {}
        }
    }
    while get(&queue, &mut Wait::now()).is_some() {}
    let memory = memory_of(queue.descriptors()[0]);
    assert!(passed > 300 * MIB && memory < 32 * MIB, "{memory} bytes after {passed} passed");
}

#[test]
fn several_processes_fill_and_empty_one_queue_and_the_memory_is_given_back() {
    let _watchdog = watchdog();
    let queue = unbounded();
    let fill = |producer: u32| {
        for sequence in 0..4000 {
            put(&queue, &message(producer, sequence, 8000 + sequence as usize * 4), &[]);
        }
    };
    let empty = || while get(&queue, &mut Wait::timeout(Duration::from_secs(2))).is_some() {};
    let mut children = [fork(|| fill(0)), fork(|| fill(1)), fork(|| fill(2))];
    end_well(&mut children);
    let mut children = [fork(empty), fork(empty), fork(empty)];
    end_well(&mut children);
    assert!(queue.is_empty());
    let memory = memory_of(queue.descriptors()[0]);
    assert!(memory < 80 * MIB, "{memory}");
}

#[test]
fn the_reader_needs_no_memory_of_its_own_beyond_the_message() {
    let _watchdog = watchdog();
    in_own_process(|| {
        let queue = unbounded();
        let before = support::resident();
        for sequence in 0..200 {
            put(&queue, &message(0, sequence, 1 << 20), &[]);
            drop(get(&queue, &mut Wait::now()));
        }
        let grown = support::resident().saturating_sub(before);
        assert!(grown < 64 * MIB, "{grown}");
    });
}

/// Memory is asked for in steps of 64 MiB, and those before a refusal are taken back.
#[test]
#[allow(unsafe_code)]
fn a_refusal_takes_back_no_memory_that_a_block_had_before() {
    use std::os::fd::AsRawFd;

    let limit_files = |most| {
        let limit = libc::rlimit { rlim_cur: most, rlim_max: libc::RLIM_INFINITY };
        // SAFETY: sets a limit of this process, which is one of the test's own; the pointer is to a local.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) }, 0);
    };
    let _watchdog = watchdog();
    in_own_process(|| {
        let queue = unbounded();
        // A free block that has memory, and that is too short for what comes.
        put(&queue, &message(0, 0, 10 << 20), &[]);
        assert!(get(&queue, &mut Wait::now()).is_some());
        let memory = queue.descriptors()[0];
        assert!(memory_of(memory) >= 10 * MIB);
        let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
        limit_files(std::fs::metadata(path).unwrap().len() + MIB);
        let large = vec![7; 12 << 20];
        assert!(queue.put(1, &[&large], &[], &mut Wait::forever()).is_err());
        limit_files(libc::RLIM_INFINITY);
        // All of it or nothing: never a block with a hole that it does not know of.
        let left = memory_of(memory);
        assert!(!(2 * MIB..10 * MIB).contains(&left), "{} KiB are left", left >> 10);
        put(&queue, &message(0, 1, 10 << 20), &[]);
        assert!(memory_of(memory) >= 10 * MIB);
        assert!(get(&queue, &mut Wait::now()).is_some());
    });
}
