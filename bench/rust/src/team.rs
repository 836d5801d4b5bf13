//! Workers that begin together, as forked processes or as threads of one process, so that both are timed alike.

use std::mem::size_of;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// One worker's work; what it returns is summed up over all workers.
pub type Worker<'a> = Box<dyn FnOnce() -> u64 + Send + 'a>;

/// A worker that has something to open first, where it will work: the work it returns begins when all have opened, and
/// what it opened is closed when all have ended.
pub type Opener<'a> = Box<dyn FnOnce() -> Opened<'a> + Send + 'a>;

/// Called once.
pub type Opened<'a> = Box<dyn FnMut() -> u64 + 'a>;

/// What a team did together.
pub struct Outcome {
    /// From the moment the first worker began to the moment the last one was done.
    pub time: Duration,
    /// The wrapping sum of what the workers returned.
    pub sum: u64,
}

const MOST: usize = 16;
const WATCHDOG: u32 = 100;

/// Shared by the workers, processes too.
#[repr(C)]
struct Board {
    ready: AtomicU64,
    done: AtomicU64,
    rows: [Row; MOST],
}

#[repr(C)]
struct Row {
    began: AtomicU64,
    ended: AtomicU64,
    result: AtomicU64,
}

/// The process is killed by SIGALRM if it takes much longer than any run should.
pub fn die_in_time() {
    // SAFETY: sets the timer of this process.
    unsafe { libc::alarm(WATCHDOG) };
}

/// Runs each worker in a process that is forked from this one.
pub fn processes(workers: Vec<Worker<'_>>) -> Outcome {
    opening_processes(workers.into_iter().map(nothing_to_open).collect())
}

/// The same, for workers that open something first.
pub fn opening_processes(workers: Vec<Opener<'_>>) -> Outcome {
    let board = board();
    let count = workers.len();
    let mut children = Vec::new();
    let mut workers = workers.into_iter().enumerate();
    while let Some((index, worker)) = workers.next() {
        // SAFETY: this process has one thread.
        match unsafe { libc::fork() } {
            -1 => panic!("fork: {}", std::io::Error::last_os_error()),
            0 => {
                // SAFETY: plain system calls; a worker neither outlives its parent nor hangs.
                unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
                die_in_time();
                // What the others have, this process shall not keep open.
                drop(workers);
                let done = catch_unwind(AssertUnwindSafe(|| work(board, count, index, worker)));
                // SAFETY: leaves without running what the parent will run.
                unsafe { libc::_exit(if done.is_ok() { 0 } else { 101 }) };
            }
            child => children.push(child),
        }
    }
    for _ in 0..children.len() {
        let mut status = 0;
        // SAFETY: waits for any of our children.
        let child = unsafe { libc::waitpid(-1, &raw mut status, 0) };
        if status != 0 {
            for other in children.iter().filter(|&&other| other != child) {
                // SAFETY: children of ours; those that are gone were not waited for twice.
                unsafe { libc::kill(*other, libc::SIGKILL) };
            }
            panic!("a worker ended with status {status}");
        }
    }
    outcome(board, count)
}

/// Runs each worker in a thread.
pub fn threads(workers: Vec<Worker<'_>>) -> Outcome {
    opening_threads(workers.into_iter().map(nothing_to_open).collect())
}

/// The same, for workers that open something first.
pub fn opening_threads(workers: Vec<Opener<'_>>) -> Outcome {
    let board = board();
    let count = workers.len();
    std::thread::scope(|scope| {
        for (index, worker) in workers.into_iter().enumerate() {
            scope.spawn(move || work(board, count, index, worker));
        }
    });
    outcome(board, count)
}

fn nothing_to_open(worker: Worker<'_>) -> Opener<'_> {
    let mut worker = Some(worker);
    Box::new(move || Box::new(move || worker.take().expect("called once")()))
}

fn work(board: &Board, count: usize, index: usize, open: Opener<'_>) {
    let mut worker = open();
    board.ready.fetch_add(1, Ordering::SeqCst);
    while board.ready.load(Ordering::SeqCst) < count as u64 {
        std::thread::yield_now();
    }
    let row = &board.rows[index];
    row.began.store(now(), Ordering::SeqCst);
    row.result.store(worker(), Ordering::SeqCst);
    row.ended.store(now(), Ordering::SeqCst);
    board.done.fetch_add(1, Ordering::SeqCst);
    // Asleep, so that it takes no time from those who still work.
    while board.done.load(Ordering::SeqCst) < count as u64 {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn outcome(board: &Board, count: usize) -> Outcome {
    let rows = &board.rows[..count];
    let began = rows.iter().map(|row| row.began.load(Ordering::SeqCst)).min().unwrap();
    let ended = rows.iter().map(|row| row.ended.load(Ordering::SeqCst)).max().unwrap();
    assert!(rows.iter().all(|row| row.ended.load(Ordering::SeqCst) != 0), "all workers were done");
    let sum =
        rows.iter().fold(0, |sum: u64, row| sum.wrapping_add(row.result.load(Ordering::SeqCst)));
    Outcome { time: Duration::from_nanos(ended - began), sum }
}

fn board() -> &'static Board {
    shared()
}

/// A value in zeroed memory that children share, for as long as the process lives.
pub fn shared<T>() -> &'static T {
    // SAFETY: fresh shared memory of sufficient size, page-aligned, never unmapped; used for atomics only, for which
    // zero is a valid value.
    unsafe {
        let memory = libc::mmap(
            std::ptr::null_mut(),
            size_of::<T>(),
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        assert_ne!(memory, libc::MAP_FAILED, "a page of memory");
        &*memory.cast::<T>()
    }
}

/// The monotonic clock, which all processes of the machine share, in nanoseconds.
pub fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: fills `time`.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
