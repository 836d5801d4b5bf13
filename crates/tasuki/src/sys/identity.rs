//! Who a process is: a pid alone is not an identity, since pids are used again within seconds.
//!
//! A process is named by pid, start time and, on Linux 6.9 and later, the inode of its pidfd, which no other process of
//! this boot ever has. Where pidfds are refused (before Linux 5.3, by a sandbox), number, start time and state must do;
//! without /proc as well, the number, and what a parent is told of its child.

use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags};

use super::fork;

/// What names one process of this boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) pid: u32,
    /// When it began; 0 when unknown.
    pub(crate) start: StartTime,
    /// Inode of the pidfd; 0 when the kernel gives none that is unique.
    pub(crate) pidfd_inode: u64,
}

/// The calling process.
pub(crate) fn current() -> Identity {
    identity_of(rustix::process::getpid())
}

/// The process that has this pid now, if there is one.
pub(crate) fn of(pid: u32) -> Option<Identity> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw)?;
    thread_exists(raw(pid)).then(|| identity_of(pid))
}

fn identity_of(pid: Pid) -> Identity {
    let pidfd_inode = rustix::process::pidfd_open(pid, PidfdFlags::empty())
        .ok()
        .and_then(|fd| unique_inode(&fd))
        .unwrap_or(0);
    Identity { pid: raw(pid), start: start_time(raw(pid)).unwrap_or(0), pidfd_inode }
}

/// Whether that very process still runs. A zombie is dead; a stopped process is alive.
pub(crate) fn is_alive(who: &Identity) -> bool {
    let Some(pid) = i32::try_from(who.pid).ok().and_then(Pid::from_raw) else {
        return false;
    };
    let pidfd = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => pidfd,
        // No such process, or the number is now a mere thread's.
        Err(rustix::io::Errno::SRCH | rustix::io::Errno::INVAL) => return false,
        // Refused, or out of descriptors.
        Err(_) => return is_alive_by_number(who, pid),
    };
    let same = match unique_inode(&pidfd) {
        Some(inode) if who.pidfd_inode != 0 => inode == who.pidfd_inode,
        // It had no descriptor left to learn who it is: its pid must do, since calling it dead would rob it.
        _ if who.start == 0 => true,
        // An unreadable one counts as alive for the same reason.
        _ => start_time(who.pid).is_none_or(|start| may_be_same(start, who.start)),
    };
    same && !has_ended(&pidfd)
}

/// As `is_alive`, without a pidfd. What cannot be known counts as alive: calling it dead would rob it.
fn is_alive_by_number(who: &Identity, pid: Pid) -> bool {
    if !thread_exists(who.pid) {
        return false;
    }
    match Stat::of(&format!("/proc/{}/stat", who.pid)) {
        Some(stat) if who.start != 0 && !may_be_same(stat.start, who.start) => false,
        // A main thread that left looks as a process that ended does, while others run.
        Some(stat) => !stat.has_ended() || has_other_threads(who.pid),
        // No /proc, or one that hides others. A child that ended is told to its parent, and to nobody else.
        None => !is_ended_child(pid),
    }
}

/// Whether a process has a thread that still runs.
fn has_other_threads(pid: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    threads.flatten().any(|thread| {
        let stat = thread.path().join("stat");
        stat.to_str().and_then(Stat::of).is_some_and(|stat| !stat.has_ended())
    })
}

/// Whether this is a child of this process that ended; nothing is taken from who waits for it.
fn is_ended_child(pid: Pid) -> bool {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    matches!(waitid(WaitId::Pid(pid), look), Ok(Some(_)))
}

/// The pid namespace of this process; owners of locks are recognised only inside one. A process stays in its own, so it
/// is asked for once, and again after a fork.
pub(crate) fn pid_namespace() -> u64 {
    static OF: AtomicU64 = AtomicU64::new(0);
    static CACHED: AtomicU64 = AtomicU64::new(0);
    let epoch = fork::epoch();
    // SYNC: Acquire, with the store below.
    if OF.load(Ordering::Acquire) == epoch {
        return CACHED.load(Ordering::Relaxed);
    }
    let Ok(stat) = rustix::fs::stat("/proc/self/ns/pid") else { return 0 };
    CACHED.store(stat.st_ino, Ordering::Relaxed);
    // SYNC: Release: who sees the epoch sees the namespace.
    OF.store(epoch, Ordering::Release);
    stat.st_ino
}

/// Whether this process's parent is in another pid namespace.
pub(crate) fn has_parent_outside() -> bool {
    rustix::process::getppid().is_none()
}

/// The kernel's id of the calling thread, asked for once per thread and again after a fork.
#[inline]
pub(crate) fn thread_id() -> u32 {
    thread_local! {
        static CACHED: Cell<(u64, u32)> = const { Cell::new((0, 0)) };
    }
    let epoch = fork::epoch();
    let (of, id) = CACHED.get();
    if of == epoch {
        return id;
    }
    let id = raw(rustix::thread::gettid());
    CACHED.set((epoch, id));
    id
}

/// Whether the calling thread is the one that its process began with, or was forked from.
pub(crate) fn is_first_thread() -> bool {
    thread_local! {
        static CACHED: Cell<(u64, bool)> = const { Cell::new((0, false)) };
    }
    let epoch = fork::epoch();
    let (of, known) = CACHED.get();
    if of == epoch {
        return known;
    }
    let is_first = thread_id() == raw(rustix::process::getpid());
    CACHED.set((epoch, is_first));
    is_first
}

/// Whether a thread or process with this id exists at all, zombies included.
pub(crate) fn thread_exists(id: u32) -> bool {
    let Some(pid) = i32::try_from(id).ok().and_then(Pid::from_raw) else {
        return false;
    };
    !matches!(rustix::process::test_kill_process(pid), Err(rustix::io::Errno::SRCH))
}

/// Whether the thread with this id will ever run another instruction: a zombie, whose parent has not asked for it yet,
/// will not. Without /proc a zombie counts as running.
pub(crate) fn thread_runs(id: u32) -> bool {
    match Stat::of(&format!("/proc/{id}/stat")) {
        Some(stat) => !stat.has_ended(),
        None => thread_exists(id),
    }
}

fn raw(pid: Pid) -> u32 {
    pid.as_raw_nonzero().get().unsigned_abs()
}

fn has_ended(pidfd: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    matches!(rustix::event::poll(&mut fds, Some(&rustix::time::Timespec::default())), Ok(1..))
}

fn unique_inode(pidfd: &OwnedFd) -> Option<u64> {
    const PIDFS_MAGIC: u64 = 0x5049_4446; // "PIDF": pidfds with inodes of their own, Linux 6.9
    let on_pidfs = rustix::fs::fstatfs(pidfd).is_ok_and(|fs| fs.f_type as u64 == PIDFS_MAGIC);
    if !on_pidfs {
        return None;
    }
    rustix::fs::fstat(pidfd).ok().map(|stat| stat.st_ino)
}

/// Clock ticks since boot, field 22 of /proc/PID/stat, and above them from which time namespace they were read: each
/// has a boot of its own to count from.
type StartTime = u64;

/// Enough ticks for three hundred years.
const TICKS: u32 = 40;

fn start_time(pid: u32) -> Option<StartTime> {
    Stat::of(&format!("/proc/{pid}/stat")).map(|stat| stat.start)
}

/// Whether both can be of one process: what was read in two time namespaces cannot be compared.
fn may_be_same(one: StartTime, other: StartTime) -> bool {
    one == other || one >> TICKS != other >> TICKS
}

/// Tells the time namespace of this process from others; 0 where the kernel has none.
fn time_namespace() -> u64 {
    thread_local! {
        static CACHED: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
    }
    // A process stays in one, but for a moment while it replaces its program.
    let epoch = fork::epoch();
    let (of, known) = CACHED.get();
    if of == epoch {
        return known;
    }
    let number =
        rustix::fs::stat("/proc/self/ns/time").map_or(0, |stat| stat.st_ino) & (u64::MAX >> TICKS);
    CACHED.set((epoch, number));
    number
}

/// What /proc says of a process or thread.
struct Stat {
    state: u8,
    start: StartTime,
}

impl Stat {
    fn of(path: &str) -> Option<Stat> {
        let stat = std::fs::read_to_string(path).ok()?;
        // The second field is the command in parentheses and may hold anything, parentheses too.
        let mut rest = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
        let state = *rest.next()?.as_bytes().first()?;
        let ticks: u64 = rest.nth(18)?.parse().ok()?;
        Some(Stat { state, start: ticks | time_namespace() << TICKS })
    }

    /// A zombie will not run another instruction.
    fn has_ended(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }
}

/// Ends this process as a kill would: no handler, no destructor, not another instruction.
#[cfg(feature = "kill-points")]
pub(crate) fn die() -> ! {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    std::process::abort()
}

/// Stops this process until somebody continues it.
#[cfg(feature = "kill-points")]
pub(crate) fn stop() {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP);
}
