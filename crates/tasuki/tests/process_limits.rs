//! What a process that may not have much can do: little address space, short files.
#![allow(unsafe_code)] // setrlimit and signal in forked children

mod support;

use std::time::Duration;

use support::{Ended, Words, fork, in_own_process, memory_of, until, watchdog_of};
use tasuki::Command;
use tasuki::raw::{QueueOptions, RawLock, RawQueue, RawValue, Wait};

const CODEC: u16 = 1;

/// Lowers a limit of this process, for good.
fn limit(resource: libc::__rlimit_resource_t, to: u64) {
    let limits = libc::rlimit { rlim_cur: to, rlim_max: to };
    // SAFETY: reads a live `rlimit`.
    assert_eq!(unsafe { libc::setrlimit(resource, &raw const limits) }, 0);
}

/// What this process has mapped, in bytes.
fn address_space() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').next().unwrap().parse::<u64>().unwrap() * 4096
}

fn put(queue: &RawQueue, len: usize) {
    queue.put(CODEC, &[&vec![7; len]], &[], &mut Wait::now()).unwrap();
}

fn got(queue: &RawQueue) -> usize {
    let mut bytes = Vec::new();
    let taken = queue.get(&mut bytes, &mut Wait::now()).unwrap();
    let bytes = taken.large.map_or(bytes, |large| large.to_vec());
    assert!(bytes.iter().all(|&byte| byte == 7));
    bytes.len()
}

fn queue() -> RawQueue {
    RawQueue::create(QueueOptions::default()).unwrap()
}

#[test]
fn there_can_be_as_many_queues_as_descriptors_for_them() {
    let _watchdog = watchdog_of(Duration::from_secs(120));
    in_own_process(|| {
        support::set_descriptor_limit(u64::MAX);
        let mut limits = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: writes into a live `rlimit`.
        unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limits) };
        let each = queue().descriptors().len() as u64;
        let count = ((limits.rlim_cur - 100) / each).min(10_000);
        let queues: Vec<RawQueue> = (0..count).map(|_| queue()).collect();
        queues.iter().for_each(|queue| put(queue, 100));
        assert!(queues.iter().all(|queue| got(queue) == 100));
    });
}

#[test]
fn queues_work_in_little_address_space() {
    let _watchdog = watchdog_of(Duration::from_secs(120));
    in_own_process(|| {
        limit(libc::RLIMIT_AS, address_space() + (256 << 20));
        let queues: Vec<RawQueue> = (0..64).map(|_| queue()).collect();
        for queue in &queues {
            put(queue, 100);
            put(queue, 100_000);
            assert_eq!((got(queue), got(queue)), (100, 100_000));
        }
        put(&queues[0], 16 << 20);
        assert_eq!(got(&queues[0]), 16 << 20);
        // What does not fit is an error, and everything else goes on.
        let message = vec![7; 40 << 20];
        let _more = vec![0_u8; 60 << 20];
        let refused = queues[1].put(CODEC, &[&message], &[], &mut Wait::now());
        assert!(refused.is_err());
        put(&queues[1], 100);
        assert_eq!(got(&queues[1]), 100);
    });
}

#[test]
fn a_child_that_has_less_address_space_than_its_parent_goes_on() {
    let _watchdog = watchdog_of(Duration::from_secs(120));
    let shared = queue();
    in_own_process(|| {
        limit(libc::RLIMIT_AS, address_space() + (64 << 20));
        put(&shared, 8 << 20);
        put(&queue(), 100);
    });
    assert_eq!(got(&shared), 8 << 20);
    // Without room to map it, a message stays where it is, for somebody who has.
    let was_put = Words::new(1);
    let mut child = fork(|| {
        limit(libc::RLIMIT_AS, address_space() + (32 << 20));
        until("the message is there", || was_put.told(0));
        assert!(shared.get(&mut Vec::new(), &mut Wait::now()).is_err());
    });
    put(&shared, 100 << 20);
    was_put.tell(0);
    assert_eq!(child.wait(), Ended::WELL);
    assert_eq!(got(&shared), 100 << 20);
}

#[test]
fn what_is_refused_for_want_of_address_space_keeps_no_memory() {
    let _watchdog = watchdog_of(Duration::from_secs(120));
    let shared = queue();
    in_own_process(|| {
        limit(libc::RLIMIT_AS, address_space() + (300 << 20));
        let message = vec![7; 200 << 20];
        let refused = shared.put(CODEC, &[&message], &[], &mut Wait::now());
        assert!(refused.is_err());
    });
    // 64 MiB are kept for the next message.
    assert!(memory_of(shared.descriptors()[0]) < 80 << 20);
    in_own_process(|| {
        put(&shared, 200 << 20);
        assert_eq!(got(&shared), 200 << 20);
    });
}

#[test]
fn a_start_that_needs_a_longer_file_than_is_allowed_is_an_error() {
    let _watchdog = watchdog_of(Duration::from_secs(120));
    in_own_process(|| {
        // SAFETY: the default is to end the process.
        unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_DFL) };
        limit(libc::RLIMIT_FSIZE, 1 << 20);
        let large = vec![u64::MAX; 1 << 19];
        let refused = Command::new("/bin/true").handle("large", &large).spawn();
        assert!(refused.is_err());
        let child = Command::new("/bin/true").handle("small", &7_u64).spawn().unwrap();
        assert!(child.wait().unwrap().success());
    });
}

#[test]
fn a_daemon_that_has_ended_before_it_is_bound_to_its_parent_was_started() {
    let _watchdog = watchdog_of(Duration::from_secs(120));
    in_own_process(|| {
        // SAFETY: then the kernel forgets children as they end.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        for _ in 0..300 {
            drop(Command::new("/bin/true").daemon(true).spawn().unwrap());
        }
    });
}

#[test]
fn short_files_are_enough_and_their_signal_ends_nobody() {
    let _watchdog = watchdog_of(Duration::from_secs(120));
    for longest in [1 << 20, 3 << 20, 20 << 20] {
        let mut child = fork(|| {
            // SAFETY: the default is to end the process.
            unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_DFL) };
            limit(libc::RLIMIT_FSIZE, longest);
            let joinable = QueueOptions { joinable: true, ..QueueOptions::default() };
            let queues: Vec<RawQueue> =
                (0..64).map(|_| RawQueue::create(joinable.clone()).unwrap()).collect();
            for queue in &queues {
                for len in [100, 100_000, 4000, 200_000] {
                    put(queue, len);
                }
                for len in [100, 100_000, 4000, 200_000] {
                    assert_eq!(got(queue), len);
                }
                queue.task_done(4, &mut Wait::now()).unwrap();
            }
            let locks: Vec<RawLock> = (0..5000).map(|_| RawLock::create(false).unwrap()).collect();
            assert!(locks.iter().all(RawLock::acquire_fast));
            let arrays: Vec<RawValue> =
                (0..200).map(|_| RawValue::create_array(0x24, 4, 2000).unwrap()).collect();
            assert!(arrays.iter().all(|array| array.lock().depth().is_ok()));
            // More than fits is an error that says why.
            let error = RawValue::create_array(0x24, 4, 100 << 20).unwrap_err().to_string();
            assert!(error.contains("RLIMIT_FSIZE"), "{error}");
        });
        assert_eq!(child.wait(), Ended::WELL, "files of {longest} bytes");
    }
}

#[test]
fn a_dump_of_a_process_has_no_shared_memory_in_it() {
    let queue = queue();
    put(&queue, 5 << 20);
    let value = RawValue::create_array(0x24, 4, 1 << 20).unwrap();
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let (mut segments, mut of_segment) = (0, false);
    for line in maps.lines() {
        // A mapping's first line has its addresses and its file, the last one its flags; "dd" is "do not dump".
        if let Some(flags) = line.strip_prefix("VmFlags:") {
            assert!(
                !of_segment || flags.split_ascii_whitespace().any(|flag| flag == "dd"),
                "{flags}"
            );
        } else if line.contains('-') && !line.contains("kB") {
            of_segment = line.contains("/memfd:tasuki:");
            segments += usize::from(of_segment);
        }
    }
    assert!(segments >= 3, "the queue's core, a piece of it, and the array's");
    drop(value);
}

#[test]
fn a_queue_that_no_file_can_hold_is_an_error() {
    in_own_process(|| {
        limit(libc::RLIMIT_FSIZE, 1 << 15);
        let error = RawQueue::create(QueueOptions::default()).unwrap_err().to_string();
        assert!(error.contains("RLIMIT_FSIZE"), "{error}");
    });
}
