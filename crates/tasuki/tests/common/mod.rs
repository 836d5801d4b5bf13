//! What the tests of processes share: a watchdog for everything that could hang.

#![allow(dead_code)] // Each test's file is a program of its own and uses a part of this.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Ends the whole program, with a message, unless dropped in time.
#[must_use]
pub struct Watchdog(#[allow(unused)] mpsc::Sender<()>);

/// Watches over the rest of a test.
pub fn watchdog() -> Watchdog {
    let (alive, dropped) = mpsc::channel::<()>();
    let test = thread::current().name().unwrap_or("a test").to_owned();
    thread::spawn(move || {
        if dropped.recv_timeout(Duration::from_secs(600)) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("watchdog: {test} hangs");
            std::process::abort();
        }
    });
    Watchdog(alive)
}
