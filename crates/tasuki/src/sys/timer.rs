//! A descriptor that is readable when a time is over.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// Makes one that does not run yet.
pub(crate) fn create() -> io::Result<OwnedFd> {
    let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
    Ok(timerfd_create(TimerfdClockId::Monotonic, flags)?)
}

/// Makes it readable after `time`, and not before.
pub(crate) fn start(timer: impl AsFd, time: Duration) -> io::Result<()> {
    let never = Timespec { tv_sec: 0, tv_nsec: 0 };
    let it_value = Timespec::try_from(time).unwrap_or(Timespec { tv_sec: i64::MAX, ..never });
    let times = Itimerspec { it_interval: never, it_value };
    timerfd_settime(timer, TimerfdTimerFlags::empty(), &times)?;
    Ok(())
}
