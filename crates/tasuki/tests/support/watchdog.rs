//! The end of a test that hangs.

use std::io::Write as _;
use std::sync::mpsc;
use std::time::Duration;

use super::children::kill_all;

/// How long a test may take at least before it counts as one that hangs: several times [`NEVER`](super::NEVER).
const HANGS: Duration = Duration::from_secs(600);

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
            kill_all();
            let _ = writeln!(std::io::stderr(), "watchdog: {test} hangs");
            std::process::abort();
        }
    });
    Watchdog(alive)
}
