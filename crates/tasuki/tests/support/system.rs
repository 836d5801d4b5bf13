//! What the system says of a process, a descriptor and a piece of memory.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// The state of a process as the kernel's letter: S sleeps, T is stopped, Z is a zombie.
pub fn state_of(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().unwrap_or("").trim_start().chars().next()
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
