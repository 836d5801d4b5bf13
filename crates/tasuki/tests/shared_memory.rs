//! Memory with a name is there for all who know the name, goes with its creator unless it is kept, and is reserved or
//! refused.

mod support;

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use support::{Child, Ended, end_well, fork, watchdog};
use tasuki::shared_memory::{OutOfBounds, unlink};
use tasuki::{Error, SharedMemory};

/// A name of this test's own, with or without anything behind it.
fn name(of: &str) -> String {
    format!("tasuki-test-{}-{of}", std::process::id())
}

fn file(name: &str) -> String {
    format!("/dev/shm/{name}")
}

fn kind<T>(result: Result<T, Error>) -> ErrorKind {
    match result {
        Err(Error::SharedMemory { source, .. }) => source.kind(),
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("no error"),
    }
}

#[test]
fn what_one_process_writes_another_reads_by_the_name() {
    let _watchdog = watchdog();
    let memory = SharedMemory::new(5000).unwrap();
    assert_eq!(memory.len(), 5000);
    let mut bytes = [1; 5000];
    memory.read(0, &mut bytes).unwrap();
    assert_eq!(bytes, [0; 5000]);
    let other = || {
        let same = SharedMemory::open(memory.name()).unwrap();
        assert_eq!(same.len(), 5000);
        same.write(4993, b"sash").unwrap();
    };
    assert_eq!(fork(other).wait(), Ended::WELL);
    let mut word = [0; 4];
    memory.read(4993, &mut word).unwrap();
    assert_eq!(&word, b"sash");
}

#[test]
fn the_file_is_the_bytes_and_nothing_else_and_only_for_its_user() {
    let memory = SharedMemory::new(10).unwrap();
    memory.write(0, b"0123456789").unwrap();
    let path = file(memory.name());
    assert_eq!(fs::read(&path).unwrap(), b"0123456789");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
}

#[test]
fn names_are_taken_with_a_slash_in_front_or_without() {
    let plain = name("slash");
    let memory = SharedMemory::create(&format!("/{plain}"), 1).unwrap();
    assert_eq!(memory.name(), plain);
    assert_eq!(SharedMemory::open(&plain).unwrap().name(), plain);
    assert_eq!(kind(SharedMemory::create(&plain, 1)), ErrorKind::AlreadyExists);
}

#[test]
fn what_cannot_be_a_name_is_refused_with_the_reason() {
    let long = "n".repeat(256);
    let bad = [
        ("", "empty"),
        ("/", "empty"),
        ("a/b", "slash"),
        ("a\0b", "NUL"),
        ("..", "folder"),
        (&long, "255 bytes"),
    ];
    for (name, reason) in bad {
        for refused in [SharedMemory::create(name, 1), SharedMemory::open(name)] {
            let error = refused.unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        assert!(unlink(name).is_err());
    }
    let longest = format!("{:n<255}", name(""));
    assert_eq!(SharedMemory::create(&longest, 1).unwrap().name(), longest);
}

#[test]
fn no_bytes_and_too_many_bytes_are_refused() {
    let name = name("size");
    assert!(SharedMemory::create(&name, 0).is_err());
    for len in [1 << 50, isize::MAX as usize, usize::MAX] {
        assert!(SharedMemory::create(&name, len).is_err());
    }
    assert_eq!(kind(SharedMemory::open(&name)), ErrorKind::NotFound);
}

#[test]
fn the_name_goes_with_its_creator_and_the_memory_with_the_last_who_has_it() {
    let memory = SharedMemory::new(8).unwrap();
    let name = memory.name().to_owned();
    let same = SharedMemory::open(&name).unwrap();
    drop(SharedMemory::open(&name).unwrap()); // opening and closing destroys nothing
    memory.write(0, b"relay").unwrap();
    drop(memory);
    assert_eq!(kind(SharedMemory::open(&name)), ErrorKind::NotFound);
    let mut word = [0; 5];
    same.read(0, &mut word).unwrap();
    assert_eq!(&word, b"relay");
}

#[test]
fn a_kept_name_stays_until_it_is_unlinked() {
    let memory = SharedMemory::new(8).unwrap();
    let name = memory.name().to_owned();
    memory.keep();
    drop(memory);
    let same = SharedMemory::open(&name).unwrap();
    same.unlink().unwrap();
    assert_eq!(kind(same.unlink()), ErrorKind::NotFound);
    assert_eq!(kind(unlink(&name)), ErrorKind::NotFound);
}

#[test]
fn a_creator_leaves_a_name_alone_that_is_somebody_elses_by_now() {
    let first = SharedMemory::new(8).unwrap();
    let name = first.name().to_owned();
    unlink(&name).unwrap();
    let second = SharedMemory::create(&name, 16).unwrap();
    drop(first);
    assert_eq!(SharedMemory::open(&name).unwrap().len(), 16);
    drop(second);
}

#[test]
fn a_forked_child_does_not_unlink_what_its_parent_made() {
    let _watchdog = watchdog();
    let memory = SharedMemory::new(8).unwrap();
    let name = memory.name().to_owned();
    let mut memory = Some(memory);
    assert_eq!(fork(|| drop(memory.take())).wait(), Ended::WELL);
    assert!(SharedMemory::open(&name).is_ok());
}

#[test]
fn what_does_not_lie_inside_is_an_error_and_changes_nothing() {
    let memory = SharedMemory::new(10).unwrap();
    memory.write(10, &[]).unwrap();
    for (offset, len) in [(0, 11), (10, 1), (7, 4), (usize::MAX, 1), (usize::MAX, 0), (11, 0)] {
        let expected = OutOfBounds { offset, len, align: 1, size: 10 };
        assert_eq!(memory.write(offset, &vec![9; len]), Err(expected));
        assert_eq!(memory.read(offset, &mut vec![9; len]), Err(expected));
    }
    let mut all = [1; 10];
    memory.read(0, &mut all).unwrap();
    assert_eq!(all, [0; 10]);
    assert!(memory.atomic::<AtomicU64>(8).is_err(), "half of it lies outside");
    assert!(memory.atomic::<AtomicU64>(1).is_err(), "not aligned");
    assert!(memory.atomic::<AtomicU8>(9).is_ok());
    assert!(memory.atomic::<AtomicU8>(10).is_err());
}

#[test]
fn atomics_are_the_same_in_every_process() {
    let _watchdog = watchdog();
    let memory = SharedMemory::new(64).unwrap();
    let add = || {
        let same = SharedMemory::open(memory.name()).unwrap();
        let counter = same.atomic::<AtomicU64>(56).unwrap();
        (0..10_000).for_each(|_| {
            counter.fetch_add(1, Ordering::Relaxed);
        });
    };
    let mut children: Vec<Child> = (0..4).map(|_| fork(add)).collect();
    end_well(&mut children);
    assert_eq!(memory.atomic::<AtomicU64>(56).unwrap().load(Ordering::Relaxed), 40_000);
}

#[test]
#[allow(unsafe_code)]
fn slices_are_the_memory_itself() {
    let mut memory = SharedMemory::new(100).unwrap();
    // SAFETY: nobody else knows the name.
    let bytes = unsafe { memory.as_mut_slice() };
    bytes[99] = 7;
    let same = SharedMemory::open(memory.name()).unwrap();
    // SAFETY: nobody writes any more.
    assert_eq!(unsafe { same.as_slice() }[98..], [0, 7]);
}

#[test]
fn all_of_it_is_reserved_at_once() {
    let memory = SharedMemory::new(300_000).unwrap();
    assert!(fs::metadata(file(memory.name())).unwrap().blocks() * 512 >= 300_000);
}

#[test]
fn what_is_no_memory_is_not_opened() {
    let name = name("other");
    fs::write(file(&name), b"").unwrap();
    let error = SharedMemory::open(&name).unwrap_err();
    assert!(matches!(error, Error::Invalid(_)) && error.to_string().contains("empty"), "{error}");
    unlink(&name).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", file(&name)).unwrap();
    assert!(SharedMemory::open(&name).is_err());
    assert_eq!(kind(SharedMemory::create(&name, 1)), ErrorKind::AlreadyExists);
    unlink(&name).unwrap();
    fs::create_dir(file(&name)).unwrap();
    assert!(SharedMemory::open(&name).is_err());
    fs::remove_dir(file(&name)).unwrap();
}
