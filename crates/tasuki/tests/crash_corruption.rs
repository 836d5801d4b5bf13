//! A broken process may write anything anywhere into the memory of a queue: the others get errors or garbage, in time,
//! and never crash or hang beyond their own timeouts.

mod support;

use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use support::messages::{CODEC, message};
use support::{Child, Dice, Ended, fork, soaking, watchdog_of};
use tasuki::raw::{Batch, LargeMessage, OutboundMessage, QueueOptions, RawQueue, Wait};

/// Where the queue's own part begins, behind header and roster: its control page.
const PAYLOAD: u64 = 0x8_1000;
/// Where the tables of the first chunks and blocks lie, behind that of tasks.
const TABLES: std::ops::Range<u64> = 0x10_2000..0x10_9000;

/// Bytes of the queue's memory that a broken process sees, all of them.
struct Mapping {
    base: *mut u8,
    len: u64,
}

impl Mapping {
    #[allow(unsafe_code)]
    fn new(fd: BorrowedFd<'_>) -> Mapping {
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let len = std::fs::metadata(path).unwrap().len();
        // SAFETY: a fresh mapping at an address that the kernel chooses.
        let base = unsafe {
            let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
            libc::mmap(std::ptr::null_mut(), len as usize, protection, flags, fd.as_raw_fd(), 0)
        };
        assert_ne!(base, libc::MAP_FAILED);
        Mapping { base: base.cast(), len }
    }

    #[allow(unsafe_code)]
    fn write(&self, at: u64, value: u64) {
        assert!(at + 8 <= self.len && at % 8 == 0);
        // SAFETY: inside the mapping and aligned; others read and write there with atomics, too.
        unsafe {
            (*self.base.add(at as usize).cast::<std::sync::atomic::AtomicU64>())
                .store(value, std::sync::atomic::Ordering::Relaxed)
        };
    }

    #[allow(unsafe_code)]
    fn read(&self, at: u64) -> u64 {
        assert!(at + 8 <= self.len && at % 8 == 0);
        // SAFETY: as in `write`.
        unsafe {
            (*self.base.add(at as usize).cast::<std::sync::atomic::AtomicU64>())
                .load(std::sync::atomic::Ordering::Relaxed)
        }
    }
}

impl Drop for Mapping {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: `new` mapped exactly this range.
        unsafe { libc::munmap(self.base.cast(), self.len as usize) };
    }
}

/// One piece of nonsense: a random value, a small one, a bit flipped, or one of the queue's own words elsewhere.
fn corrupt(memory: &Mapping, dice: &mut Dice) {
    let at = match dice.below(8) {
        0 => dice.below(4096),                     // the segment's header
        1 => 4096 + dice.below(4096),              // the first rows of the roster
        2..5 => PAYLOAD + dice.below(4096) % 1024, // the queue's control page
        5 => TABLES.start + dice.below(TABLES.end - TABLES.start),
        6 => {
            // A frame: chunks begin where the tail was at the beginning.
            memory.read(PAYLOAD + 32) % memory.len
        }
        _ => dice.below(memory.len - 7),
    } & !7;
    let value = match dice.below(6) {
        0 => dice.next(),
        1 => dice.below(300),
        2 => memory.read(at) ^ (1 << dice.below(64)),
        3 => memory.read((PAYLOAD + dice.below(1024)) & !7),
        4 => memory.read(at).wrapping_add(dice.below(17)).wrapping_sub(8),
        _ => 0,
    };
    memory.write(at, value);
}

fn look_at(large: &LargeMessage) {
    assert!(large.len() <= 64 << 30);
    // Garbage may claim to be huge; it is copied only by those who want that.
    if large.len() < 1 << 20 {
        drop(large.to_vec());
    }
}

/// Puts and gets with short timeouts; any answer is right as long as one comes.
fn use_for(queue: &RawQueue, dice: &mut Dice, rounds: u32) {
    for sequence in 0..rounds {
        let start = Instant::now();
        let wait = || Wait::timeout(Duration::from_millis(2));
        match dice.below(8) {
            0..3 => {
                let len = [24, 500, 4096, 5000, 70_000][dice.below(5) as usize];
                let _ = queue.put(CODEC, &[&message(1, sequence, len)], &[], &mut wait());
            }
            3..6 => {
                let mut bytes = Vec::new();
                if let Ok(taken) = queue.get(&mut bytes, &mut wait()) {
                    taken.large.into_iter().for_each(|large| look_at(&large));
                }
            }
            6 => {
                let bytes = message(2, sequence, 100);
                let parts = [&bytes[..]];
                let message = OutboundMessage { codec: CODEC, parts: &parts, fds: &[] };
                let _ = queue.put_many(&[message; 4], &mut wait());
            }
            _ => {
                let mut batch = Batch::new();
                let _ = queue.get_many(5, &mut batch, &mut wait());
                batch.drain().filter_map(|message| message.large).for_each(|large| look_at(&large));
                let _ = queue.task_done(1, &mut wait());
                let _ = queue.join(&mut wait());
            }
        }
        let _ = (queue.len(), queue.capacity(), queue.structured(), queue.unfinished());
        assert!(start.elapsed() < support::NEVER, "a call that does not keep its time");
    }
}

/// Makes a queue, fills it a little, overwrites it as `seed` says and uses it meanwhile, in this one process.
///
/// For the fuzzer as well, hence alone, and a function of its argument.
pub fn corrupt_and_use(seed: u64) {
    let mut dice = Dice(seed);
    let capacity = [None, Some(1), Some(10)][dice.below(3) as usize];
    let byte_limit = [None, Some(100_000)][dice.below(2) as usize];
    let joinable = dice.below(2) == 0;
    let options = QueueOptions { capacity, byte_limit, joinable, ..QueueOptions::default() };
    let queue = RawQueue::create(options).unwrap();
    let memory = Mapping::new(queue.descriptors()[0]);
    for _ in 0..20 {
        use_for(&queue, &mut dice, 5);
        for _ in 0..=dice.below(3) {
            corrupt(&memory, &mut dice);
        }
    }
}

#[test]
fn one_process_survives_what_it_finds() {
    let _watchdog = watchdog_of(Duration::from_secs(if soaking() { 900 } else { 120 }));
    let mut dice = Dice::roll("corruption, alone");
    let start = Instant::now();
    let time = Duration::from_secs(if soaking() { 150 } else { 5 });
    while start.elapsed() < time {
        let seed = dice.next();
        // In a child, so that a crash tells its seed.
        let mut child = fork(|| corrupt_and_use(seed));
        assert_eq!(child.wait(), Ended::WELL, "seed {seed}");
    }
}

#[test]
fn many_processes_survive_what_one_writes_at_the_same_time() {
    let _watchdog = watchdog_of(Duration::from_secs(if soaking() { 900 } else { 120 }));
    let mut dice = Dice::roll("corruption, together");
    let start = Instant::now();
    let time = Duration::from_secs(if soaking() { 150 } else { 5 });
    while start.elapsed() < time {
        let seed = dice.next();
        let mut dice = Dice(seed);
        let queue = RawQueue::create(QueueOptions::default()).unwrap();
        let corrupter = {
            let mut dice = dice.clone();
            let memory = Mapping::new(queue.descriptors()[0]);
            fork(move || {
                loop {
                    corrupt(&memory, &mut dice);
                    std::thread::sleep(Duration::from_micros(dice.below(500)));
                }
            })
        };
        let mut users: Vec<Child> = (0..3)
            .map(|_| {
                let mut dice = Dice(dice.next());
                let queue = &queue;
                fork(move || use_for(queue, &mut dice, 150))
            })
            .collect();
        for user in &mut users {
            assert_eq!(user.wait(), Ended::WELL, "seed {seed}");
        }
        drop(corrupter);
    }
}

#[test]
fn a_queue_that_was_overwritten_does_not_harm_another() {
    let queue = RawQueue::create(QueueOptions::default()).unwrap();
    let other = RawQueue::create(QueueOptions::default()).unwrap();
    let memory = Mapping::new(queue.descriptors()[0]);
    (0..0xa_0000 / 8).for_each(|word| memory.write(word * 8, u64::MAX));
    let mut dice = Dice(1);
    use_for(&queue, &mut dice, 20);
    other.put(CODEC, &[b"whole"], &[], &mut Wait::now()).unwrap();
    let mut bytes = Vec::new();
    other.get(&mut bytes, &mut Wait::now()).unwrap();
    assert_eq!(bytes, b"whole");
}

#[test]
fn a_large_message_that_claims_to_be_longer_than_its_memory_is_not_read() {
    let queue = RawQueue::create(QueueOptions::default()).unwrap();
    queue.put(CODEC, &[&[7; 9000]], &[], &mut Wait::now()).unwrap();
    let memory = Mapping::new(queue.descriptors()[0]);
    // The consumers' first mark says where the frame is, which has a header, the number of its block, and a length.
    let frame = memory.read(PAYLOAD + 64 + 32);
    assert_eq!(memory.read(frame + 24), 9000);
    memory.write(frame + 24, 16_000);
    let error = queue.get(&mut Vec::new(), &mut Wait::now()).unwrap_err();
    assert!(format!("{error:?}").contains("overwritten"), "{error:?}");
    memory.write(frame + 24, 9000);
    let taken = queue.get(&mut Vec::new(), &mut Wait::now()).unwrap();
    assert_eq!(taken.large.unwrap().to_vec(), [7; 9000]);
}
