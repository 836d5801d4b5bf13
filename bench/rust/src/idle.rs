//! What does waiting cost: how much processor time, and how many wake-ups, of a process that waits for a message which
//! comes after a second or more?

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::links::{self, End, Link};
use crate::team::{Opener, shared};
use crate::{Question, idle_side};

/// What a process used while it waited.
pub struct Idle {
    pub waited: Duration,
    pub processor: Duration,
    pub wake_ups: u64,
}

pub fn questions() -> Vec<Question> {
    vec![Question {
        name: "idle-receive",
        what: "waiting for a message",
        sides: vec![
            idle_side("tasuki Queue", run::<links::tasuki::Queues>, Some(0.001)),
            idle_side("tasuki pipe", run::<links::tasuki::Pipe>, Some(0.001)),
            idle_side("tasuki channel", run::<links::tasuki::Channels>, Some(0.001)),
            idle_side("ipc-channel", run::<links::ipc::Channels>, None),
            idle_side("iceoryx2, events", run::<links::iceoryx::Events>, None),
            idle_side("bare futex", run::<links::bare::Futex>, None),
        ],
    }]
}

#[derive(Default)]
#[repr(C)]
struct Used {
    waited: AtomicU64,
    processor: AtomicU64,
    wake_ups: AtomicU64,
}

fn run<L: Link>(milliseconds: u64) -> Idle {
    let used: &Used = shared();
    // Whoever has the first half sends first.
    let [there, here] = L::halves();
    let waiter: Opener = Box::new(move || {
        let mut end = L::open(here);
        Box::new(move || {
            let start = spent();
            let number = end.receive();
            let end = spent();
            used.waited.store(end.clock - start.clock, Ordering::SeqCst);
            used.processor.store(end.processor - start.processor, Ordering::SeqCst);
            used.wake_ups.store(end.switches - start.switches, Ordering::SeqCst);
            number
        })
    });
    let sender: Opener = Box::new(move || {
        let mut end = L::open(there);
        Box::new(move || {
            std::thread::sleep(Duration::from_millis(milliseconds));
            end.send(milliseconds);
            0
        })
    });
    assert_eq!(L::run(vec![waiter, sender]).sum, milliseconds, "the message came");
    let nanoseconds = |word: &AtomicU64| Duration::from_nanos(word.load(Ordering::SeqCst));
    let waited = nanoseconds(&used.waited);
    assert!(waited >= Duration::from_millis(milliseconds / 2), "it did wait: {waited:?}");
    Idle {
        waited,
        processor: nanoseconds(&used.processor),
        wake_ups: used.wake_ups.load(Ordering::SeqCst),
    }
}

struct Spent {
    clock: u64,
    processor: u64,
    switches: u64,
}

/// Of this whole process, helper threads included.
fn spent() -> Spent {
    let clock = |which| {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: fills `time`.
        unsafe { libc::clock_gettime(which, &raw mut time) };
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    };
    // SAFETY: all-zero is a valid `rusage`, whose fields are plain numbers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: fills `usage`.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) };
    Spent {
        clock: clock(libc::CLOCK_MONOTONIC),
        processor: clock(libc::CLOCK_PROCESS_CPUTIME_ID),
        switches: usage.ru_nvcsw as u64,
    }
}
