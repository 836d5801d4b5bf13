//! What a process promises: typed arguments and results, and an error that says why there is none.

mod common;

use common::watchdog;
use tasuki::{Process, ProcessError};

tasuki::enable_tests!();

#[tasuki::task]
fn add(a: u64, b: u64) -> u64 {
    a + b
}

#[test]
fn a_result_comes_back() {
    let _watchdog = watchdog();
    let process = Process::spawn(add, (2, 40)).unwrap();
    assert_eq!(process.join().unwrap(), 42);
}

#[tasuki::task]
fn panics(message: String) {
    panic!("{message}");
}

#[test]
fn a_panic_is_an_error_with_message_and_place() {
    let _watchdog = watchdog();
    let process = Process::builder(panics, ("oh no".to_owned(),)).name("unlucky").spawn().unwrap();
    let expected_pid = process.pid();
    let error = process.join().unwrap_err();
    let ProcessError::Panicked { pid, name, message, location: Some(location) } = &error else {
        panic!("{error}");
    };
    assert_eq!((*pid, &**name, &**message), (expected_pid, "unlucky", "oh no"));
    assert!(location.contains("process.rs:"), "{location}");
}
