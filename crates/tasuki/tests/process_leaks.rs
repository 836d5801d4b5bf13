//! A thousand processes leave nothing behind: no descriptor, no zombie. Alone in its program,
//! because it counts what the whole program has open.

mod support;

use std::thread;
use std::time::Duration;

use tasuki::{Command, Process};

tasuki::enable_tests!();

#[tasuki::task]
fn echo(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

#[tasuki::task]
fn panics() {
    // A hundred of these shall not fill the screen.
    std::panic::set_hook(Box::new(|_| {}));
    panic!("as it should");
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// The children of this process that have ended and were not reaped, and those that still run.
fn children() -> (usize, usize) {
    let ourselves = std::process::id().to_string();
    let mut found = (0, 0);
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(status) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((_, rest)) = status.rsplit_once(')') else { continue };
        let mut fields = rest.split_whitespace();
        let (state, parent) = (fields.next(), fields.next());
        if parent == Some(&ourselves) {
            *if state == Some("Z") { &mut found.0 } else { &mut found.1 } += 1;
        }
    }
    found
}

#[test]
fn a_thousand_processes_leave_nothing() {
    let _watchdog = support::watchdog();
    // What is made once, such as a page for identity, is made now.
    assert_eq!(Process::spawn(echo, (vec![1],)).unwrap().join().unwrap(), [1]);
    let before = open_descriptors();

    for i in 0..1000 {
        let large = if i % 100 == 0 { 100_000 } else { 10 };
        match i % 10 {
            // Joined, with an error.
            0 => assert!(Process::spawn(panics, ()).unwrap().join().is_err()),
            // Waited for, its result left alone.
            1 => {
                assert!(Process::spawn(echo, (vec![0; large],)).unwrap().wait().unwrap().success())
            }
            // Dropped at once: reaped by a later start.
            2 => drop(Process::spawn(echo, (vec![0; large],)).unwrap()),
            3 => Process::spawn(echo, (vec![],)).unwrap().kill().unwrap(),
            4 => drop(Command::new("true").handle("x", &i).spawn().unwrap()),
            // Not started at all.
            5 => assert!(Command::new("/nonexistent").handle("x", &i).spawn().is_err()),
            6 => assert!(Process::builder(panics, ()).executable("/nonexistent").spawn().is_err()),
            _ => {
                let process = Process::spawn(echo, (vec![7; large],)).unwrap();
                assert_eq!(process.join().unwrap(), vec![7; large]);
            }
        }
    }

    while children().1 > 0 {
        thread::sleep(Duration::from_millis(2));
    }
    assert!(tasuki::active_children().is_empty());
    // Programs are reaped by the same look.
    assert_eq!(children(), (0, 0), "zombies");
    assert_eq!(open_descriptors(), before, "descriptors");
}
