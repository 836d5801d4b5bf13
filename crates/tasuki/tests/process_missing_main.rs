//! A program whose `main` lacks `#[tasuki::main]`, and that has no test harness: it must learn what
//! is missing, and must not start itself again and again.

use tasuki::{Process, ProcessError};

#[tasuki::task]
fn work() {}

fn main() {
    let error = Process::spawn(work, ()).unwrap_err();
    assert!(matches!(error, ProcessError::MissingMain), "{error}");
    let text = error.to_string();
    assert!(text.contains("#[tasuki::main]") && text.contains("enable_tests"), "{text}");
    assert!(tasuki::active_children().is_empty());

    // Programs with handles need no main of ours, on either side.
    let child = tasuki::Command::new("true").handle("n", &1).spawn().unwrap();
    assert!(child.wait().unwrap().success());
    assert!(tasuki::inherited::<u8>("n").is_err());
}
