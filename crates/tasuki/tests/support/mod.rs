//! What the tests of crashes share: children made by `fork`, memory to keep count in, and a watchdog.
//!
//! A child made here is a copy of the test that runs one closure and ends; it is killed when its [`Child`] is
//! dropped, and by the watchdog, so nothing outlives a failed test.
#![allow(dead_code)] // Each test's file is a program of its own and uses a part of this.
#![allow(unsafe_code)] // fork, kill, waitpid and mmap

use std::io::Write as _;
use std::ops::Deref;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Once, mpsc};
use std::time::{Duration, Instant};

pub mod memory;
pub mod messages;

/// How long something may take before it counts as "never": far beyond any promise, since no test judges speed.
pub const NEVER: Duration = Duration::from_secs(120);

/// How long a test may take at least before it counts as one that hangs: several times [`NEVER`].
const HANGS: Duration = Duration::from_secs(600);

/// The children that are not waited for yet, so that the watchdog can kill them. No lock: a fork may happen
/// while another thread changes it.
static CHILDREN: [AtomicI32; 1024] = [const { AtomicI32::new(0) }; 1024];

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Exited(i32),
    Killed(i32),
}

impl Ended {
    /// Killed by SIGKILL, as a kill point does it.
    pub const DEAD: Ended = Ended::Killed(libc::SIGKILL);
    /// Ran to its end.
    pub const WELL: Ended = Ended::Exited(0);
}

/// A forked child; killed and waited for when dropped.
#[derive(Debug)]
pub struct Child {
    pid: i32,
    ended: Option<Ended>,
}

/// Forks; the child runs `work` and exits with 0, or with 101 after a panic.
pub fn fork(work: impl FnOnce()) -> Child {
    let parent = std::process::id();
    // Here and not in the child: it may not take a lock that another thread had while this one forked.
    static HOOK: Once = Once::new();
    HOOK.call_once(tell_panics_of_children);
    // SAFETY: the child of a program with several threads may only use what a fork leaves whole. `work` uses
    // atomics, futexes and memory, which the C library keeps whole, and no lock of another thread.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
    if pid == 0 {
        run_child(parent, work);
    }
    let free = CHILDREN
        .iter()
        .any(|slot| slot.compare_exchange(0, pid, Ordering::SeqCst, Ordering::SeqCst).is_ok());
    assert!(free, "more children than the watchdog can know");
    Child { pid, ended: None }
}

static IN_CHILD: AtomicBool = AtomicBool::new(false);

fn tell_panics_of_children() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !IN_CHILD.load(Ordering::Relaxed) {
            return usual(panic);
        }
        let text = format!("in child {}: {panic}\n", std::process::id());
        // SAFETY: writes a live buffer; straight to the descriptor, since the test harness captures the rest.
        unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
    }));
}

fn run_child(parent: u32, work: impl FnOnce()) -> ! {
    for slot in &CHILDREN {
        slot.store(0, Ordering::Relaxed); // the parent's, not ours
    }
    // SAFETY: plain system calls; the second one notices that the parent died before the first.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        if libc::getppid() as u32 != parent {
            libc::_exit(0);
        }
    }
    IN_CHILD.store(true, Ordering::Relaxed);
    let well = catch_unwind(AssertUnwindSafe(work)).is_ok();
    // SAFETY: ends the process at once, without the destructors that belong to the parent.
    unsafe { libc::_exit(if well { 0 } else { 101 }) }
}

impl Child {
    pub fn pid(&self) -> u32 {
        self.pid as u32
    }

    /// Sends SIGKILL, unless it ended already.
    pub fn kill(&self) {
        self.signal(libc::SIGKILL);
    }

    pub fn signal(&self, signal: i32) {
        if self.ended.is_none() {
            // SAFETY: the child is not waited for, so the number is still its own.
            unsafe { libc::kill(self.pid, signal) };
        }
    }

    /// Waits until it has ended.
    pub fn wait(&mut self) -> Ended {
        loop {
            if let Some(ended) = self.try_wait(0) {
                return ended;
            }
        }
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> Option<Ended> {
        self.try_wait(libc::WNOHANG)
    }

    fn try_wait(&mut self, flags: i32) -> Option<Ended> {
        if self.ended.is_some() {
            return self.ended;
        }
        let mut status = 0;
        // SAFETY: writes the status into a live integer.
        let pid = unsafe { libc::waitpid(self.pid, &raw mut status, flags) };
        if pid != self.pid {
            return None;
        }
        for slot in &CHILDREN {
            let _ = slot.compare_exchange(self.pid, 0, Ordering::SeqCst, Ordering::SeqCst);
        }
        self.ended = Some(if libc::WIFSIGNALED(status) {
            Ended::Killed(libc::WTERMSIG(status))
        } else {
            Ended::Exited(libc::WEXITSTATUS(status))
        });
        self.ended
    }

    /// Waits until its only thread sleeps in the kernel, on a futex for example.
    pub fn wait_until_asleep(&self) {
        wait_until_asleep(self.pid());
    }

    /// Waits until it is stopped, by `arm_stop` for example. [`Child::signal`] with SIGCONT lets it go on.
    pub fn wait_until_stopped(&self) {
        until(&format!("process {} is stopped", self.pid), || state_of(self.pid()) == Some('T'));
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
        self.wait();
    }
}

/// Waits until the main thread of a process has slept for a while.
pub fn wait_until_asleep(pid: u32) {
    let mut asleep = 0;
    until(&format!("process {pid} sleeps"), || {
        asleep = if state_of(pid) == Some('S') { asleep + 1 } else { 0 };
        asleep >= 3
    });
}

/// Lets a stopped process go on.
pub fn continue_process(pid: u32) {
    // SAFETY: sends a signal to a process of this test.
    unsafe { libc::kill(pid as i32, libc::SIGCONT) };
}

/// The state of a process as the kernel's letter: S sleeps, T is stopped, Z is a zombie.
pub fn state_of(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().unwrap_or("").trim_start().chars().next()
}

/// Waits until `done`, looking every millisecond; fails the test when that takes for ever.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < NEVER, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Polls a descriptor for `events`, for ever or at once; says which of them are.
pub fn poll(fd: BorrowedFd<'_>, events: i16, time: Option<Duration>) -> i16 {
    let timeout = time.map_or(-1, |time| i32::try_from(time.as_millis()).unwrap());
    let mut entry = libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 };
    // SAFETY: one live entry.
    while unsafe { libc::poll(&raw mut entry, 1, timeout) } < 0 {
        assert_eq!(std::io::Error::last_os_error().kind(), std::io::ErrorKind::Interrupted);
    }
    entry.revents & events
}

/// Whether there is something to read, at this moment.
pub fn is_readable(fd: BorrowedFd<'_>) -> bool {
    poll(fd, libc::POLLIN, Some(Duration::ZERO)) != 0
}

/// Whether there is room to write, at this moment.
pub fn is_writable(fd: BorrowedFd<'_>) -> bool {
    poll(fd, libc::POLLOUT, Some(Duration::ZERO)) != 0
}

/// Runs `work` in a child of its own, and fails when it fails: for what counts this process's descriptors,
/// changes its limits, or would be disturbed by other tests' threads.
pub fn in_own_process(work: impl FnOnce()) {
    assert_eq!(fork(work).wait(), Ended::WELL, "see the child's message above");
}

/// Ends the whole program and its children, with a message, unless dropped in time.
#[must_use]
pub struct Watchdog(#[allow(unused)] mpsc::Sender<()>);

/// Watches over the rest of a test.
pub fn watchdog() -> Watchdog {
    watchdog_of(HANGS)
}

/// Watches over the rest of a test that may take longer, if that is longer than others have.
pub fn watchdog_of(time: Duration) -> Watchdog {
    let (alive, dropped) = mpsc::channel::<()>();
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    std::thread::spawn(move || {
        if dropped.recv_timeout(time.max(HANGS)) == Err(mpsc::RecvTimeoutError::Timeout) {
            for slot in &CHILDREN {
                let pid = slot.load(Ordering::SeqCst);
                if pid > 0 {
                    // SAFETY: the pid of a child that nobody waited for yet.
                    unsafe { libc::kill(pid, libc::SIGKILL) };
                }
            }
            let _ = writeln!(std::io::stderr(), "watchdog: {test} hangs");
            std::process::abort();
        }
    });
    Watchdog(alive)
}

/// Zeroed 64-bit words that this process shares with the children it forks from now on.
#[derive(Debug)]
pub struct Words {
    base: *const AtomicU64,
    count: usize,
}

// SAFETY: the words are atomics in a mapping that lives as long as the value.
unsafe impl Send for Words {}
// SAFETY: as above.
unsafe impl Sync for Words {}

impl Words {
    pub fn new(count: usize) -> Words {
        // SAFETY: a fresh anonymous mapping at an address that the kernel chooses.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                count * 8,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        assert_ne!(base, libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
        Words { base: base.cast(), count }
    }
}

impl Deref for Words {
    type Target = [AtomicU64];
    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: the mapping has `count` zeroed or atomically written words and is page-aligned.
        unsafe { std::slice::from_raw_parts(self.base, self.count) }
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        // SAFETY: `new` mapped exactly this range, and nobody unmaps it but this.
        unsafe { libc::munmap(self.base.cast_mut().cast(), self.count * 8) };
    }
}

/// Repeatable random numbers (splitmix64).
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    /// From the environment's TASUKI_SEED or the clock; printed, so that a failure can be repeated.
    pub fn roll(what: &str) -> Dice {
        let seed = match std::env::var("TASUKI_SEED") {
            Ok(seed) => seed.parse().expect("TASUKI_SEED is a number"),
            Err(_) => std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_nanos() as u64,
        };
        println!("{what}: TASUKI_SEED={seed}");
        Dice(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// Whether `make soak` asks for the long version.
pub fn soaking() -> bool {
    std::env::var_os("TASUKI_SOAK").is_some_and(|value| value == "1")
}

/// The memory behind a memfd, in bytes.
pub fn memory_of(fd: BorrowedFd<'_>) -> u64 {
    // SAFETY: all-zero is a valid `stat`, whose fields are plain numbers.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: writes into a live `stat`.
    assert_eq!(unsafe { libc::fstat(fd.as_raw_fd(), &raw mut stat) }, 0);
    stat.st_blocks as u64 * 512
}

/// The numbers of this process's open descriptors, found without opening one.
pub fn descriptors() -> Vec<i32> {
    // SAFETY: asks about a number, whatever it is.
    (0..20_000).filter(|&fd| unsafe { libc::fcntl(fd, libc::F_GETFD) } >= 0).collect()
}

/// How many descriptors this process has open.
pub fn descriptor_count() -> usize {
    descriptors().len()
}

/// Lets this process open `free` more descriptors than it has, in a child that runs alone.
pub fn limit_descriptors(free: usize) {
    let highest = descriptors().last().copied().unwrap_or(0);
    // Fill the gaps, or they would be free, too.
    loop {
        // SAFETY: makes a descriptor, kept open on purpose.
        let fd = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
        assert!(fd >= 0);
        if fd > highest {
            // SAFETY: closes what was just opened.
            unsafe { libc::close(fd) };
            break;
        }
    }
    set_descriptor_limit(highest as u64 + 1 + free as u64);
}

/// Sets the soft limit of descriptors.
pub fn set_descriptor_limit(limit: u64) {
    let mut limits = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: reads into and from a live `rlimit`.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limits), 0);
        limits.rlim_cur = limit.min(limits.rlim_max);
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limits), 0);
    }
}

/// This process's resident memory in bytes.
pub fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("/proc");
    let pages: u64 = statm.split(' ').nth(1).expect("a second field").parse().expect("a number");
    pages * 4096
}

/// The processor time that a process has used, to a hundredth of a second.
pub fn processor_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a running process");
    let fields: Vec<&str> =
        stat.rsplit(')').next().unwrap_or("").split_ascii_whitespace().collect();
    let ticks = |field: usize| fields[field].parse::<u64>().expect("a number");
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}
