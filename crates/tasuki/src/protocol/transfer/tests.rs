//! What the tables promise, one test a promise.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{MemfdFlags, fstat, memfd_create};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::*;

fn file(name: &str) -> OwnedFd {
    memfd_create(name, MemfdFlags::CLOEXEC).unwrap()
}

fn inode(fd: &impl AsFd) -> u64 {
    fstat(fd).unwrap().st_ino
}

/// How many descriptors of this process lead to the file: what leaks is counted here.
fn open_on(fd: &OwnedFd) -> usize {
    let wanted = inode(fd);
    let numbers: Vec<i32> = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .collect();
    let memfd = |n: &&i32| {
        std::fs::metadata(format!("/proc/self/fd/{n}"))
            .is_ok_and(|m| std::os::unix::fs::MetadataExt::ino(&m) == wanted)
    };
    numbers.iter().filter(memfd).count()
}

#[test]
fn what_was_attached_can_be_taken_in_the_same_order() {
    let (a, b) = (file("a"), file("b"));
    let (indices, outgoing) = collect(|| [attach(a.as_fd()).unwrap(), attach(b.as_fd()).unwrap()]);
    assert_eq!(indices, [0, 1]);
    assert_eq!(outgoing.len(), 2);
    provide(outgoing.into(), || {
        assert_eq!(inode(&take(1).unwrap()), inode(&b));
        assert_eq!(inode(&take(0).unwrap()), inode(&a));
    });
}

#[test]
fn one_descriptor_attached_twice_is_sent_once() {
    let a = file("a");
    let (indices, outgoing) = collect(|| [attach(a.as_fd()).unwrap(), attach(a.as_fd()).unwrap()]);
    assert_eq!((indices, outgoing.len()), ([0, 0], 1));
}

#[test]
fn a_number_that_was_given_to_another_file_is_another_descriptor() {
    let ((first, second), outgoing) = collect(|| {
        let a = file("a");
        let number = a.as_raw_fd();
        let first = attach(a.as_fd()).unwrap();
        let b = file("b");
        // The same number now means another file, whatever other threads do meanwhile.
        let mut a = a;
        rustix::io::dup2(&b, &mut a).unwrap();
        assert_eq!(a.as_raw_fd(), number);
        (first, attach(a.as_fd()).unwrap())
    });
    assert_ne!(first, second);
    let sent: Vec<u64> = outgoing.descriptors().iter().map(inode).collect();
    assert_ne!(sent[0], sent[1]);
}

#[test]
fn descriptors_that_cannot_be_compared_are_never_confused() {
    let a = eventfd(1, EventfdFlags::CLOEXEC).unwrap();
    let b = eventfd(2, EventfdFlags::CLOEXEC).unwrap();
    let (indices, outgoing) = collect(|| [attach(a.as_fd()).unwrap(), attach(b.as_fd()).unwrap()]);
    assert_eq!(indices, [0, 1]);
    provide(outgoing.into(), || {
        let mut count = [0; 8];
        rustix::io::read(take(1).unwrap(), &mut count).unwrap();
        assert_eq!(u64::from_ne_bytes(count), 2);
    });
}

#[test]
fn what_was_attached_may_be_closed_before_it_is_sent() {
    let (ino, outgoing) = collect(|| {
        let a = file("a");
        attach(a.as_fd()).unwrap();
        inode(&a)
    });
    assert_eq!(inode(&outgoing.into_descriptors()[0]), ino);
}

#[test]
fn an_index_can_be_taken_again() {
    let a = file("a");
    let (_, outgoing) = collect(|| attach(a.as_fd()).unwrap());
    provide(outgoing.into(), || {
        let (one, two) = (take(0).unwrap(), take(0).unwrap());
        assert_ne!(one.as_raw_fd(), two.as_raw_fd());
        assert_eq!(inode(&one), inode(&two));
    });
}

#[test]
fn taken_descriptors_are_closed_by_exec() {
    let a = file("a");
    let (_, outgoing) = collect(|| attach(a.as_fd()).unwrap());
    let taken = provide(outgoing.into(), || take(0).unwrap());
    let flags = rustix::io::fcntl_getfd(&taken).unwrap();
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
}

#[test]
fn what_nobody_takes_is_closed() {
    let a = file("a");
    let (_, outgoing) = collect(|| attach(a.as_fd()).unwrap());
    assert_eq!(open_on(&a), 2);
    provide(outgoing.into(), || ());
    assert_eq!(open_on(&a), 1);
}

#[test]
fn a_descriptor_of_a_message_that_failed_does_not_ride_with_the_next_one() {
    let a = file("a");
    let (failed, outgoing) = collect(|| {
        attach(a.as_fd()).unwrap();
        Err::<(), _>("half way")
    });
    assert!(failed.is_err());
    drop(outgoing);
    let (_, next) = collect(|| ());
    assert!(next.is_empty());
    assert_eq!(open_on(&a), 1);
}

#[test]
fn a_panic_closes_the_table_and_what_is_in_it() {
    let a = file("a");
    let collected = catch_unwind(AssertUnwindSafe(|| {
        collect(|| {
            attach(a.as_fd()).unwrap();
            panic!("in the middle of a serialize");
        })
    }));
    assert!(collected.is_err());
    assert!(!is_collecting());
    let provided = catch_unwind(AssertUnwindSafe(|| {
        provide(vec![a.try_clone().unwrap()].into(), || panic!("in the middle of a deserialize"))
    }));
    assert!(provided.is_err());
    assert!(!is_providing());
    assert_eq!(open_on(&a), 1);
}

#[test]
fn nested_tables_are_apart() {
    let (a, b, c) = (file("a"), file("b"), file("c"));
    let (inner, outer) = collect(|| {
        attach(a.as_fd()).unwrap();
        let (_, inner) = collect(|| attach(b.as_fd()).unwrap());
        attach(c.as_fd()).unwrap();
        inner
    });
    assert_eq!(inner.descriptors().iter().map(inode).collect::<Vec<_>>(), [inode(&b)]);
    assert_eq!(outer.descriptors().iter().map(inode).collect::<Vec<_>>(), [inode(&a), inode(&c)]);
    provide(outer.into(), || {
        provide(inner.into(), || assert_eq!(inode(&take(0).unwrap()), inode(&b)));
        assert_eq!(inode(&take(1).unwrap()), inode(&c));
    });
}

#[test]
fn a_message_may_be_written_while_another_is_read() {
    let (a, b) = (file("a"), file("b"));
    provide(vec![a.try_clone().unwrap()].into(), || {
        let (taken, outgoing) = collect(|| {
            attach(b.as_fd()).unwrap();
            take(0).unwrap()
        });
        assert_eq!(inode(&taken), inode(&a));
        assert_eq!(inode(&outgoing.into_descriptors()[0]), inode(&b));
    });
}

#[test]
fn a_table_belongs_to_its_thread() {
    collect(|| {
        std::thread::scope(|scope| {
            scope.spawn(|| assert!(!is_collecting())).join().unwrap();
        });
        assert!(is_collecting());
    });
}

#[test]
fn outside_a_carrier_the_error_says_where_handles_can_travel() {
    let error = attach(file("a").as_fd()).unwrap_err();
    assert!(error.is_no_carrier());
    assert_eq!(error.to_string(), NO_CARRIER);
    assert!(take(0).unwrap_err().is_no_carrier());
}

#[test]
fn an_index_that_did_not_come_is_named() {
    let error = provide(vec![file("a")].into(), || take(7)).unwrap_err();
    assert!(error.is_missing());
    assert_eq!(error.to_string(), "the message names descriptor 7, but 1 came with it");
}

/// A handle like the real ones: a record and a descriptor.
#[derive(Debug, PartialEq)]
struct Handle(Vec<u8>);

impl Serialize for Handle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_record(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for Handle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Handle, D::Error> {
        deserialize_record(deserializer).map(Handle)
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Job {
    name: String,
    reply: Option<Handle>,
    more: Vec<(u8, Handle)>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u64),
    Handle(Handle),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    Job { reply: Handle },
}

fn job() -> Job {
    Job {
        name: "a".into(),
        reply: Some(Handle(vec![1; 40])),
        more: vec![(7, Handle(vec![])), (8, Handle(vec![3; 300]))],
    }
}

#[test]
fn records_travel_in_messagepack_as_an_extension() {
    let bytes = collect(|| rmp_serde::to_vec(&Handle(vec![9, 8])).unwrap()).0;
    assert_eq!(bytes, [0xd5, 0x54, 9, 8]); // fixext 2, type, data
    let bytes = collect(|| rmp_serde::to_vec_named(&job()).unwrap()).0;
    assert_eq!(rmp_serde::from_slice::<Job>(&bytes).unwrap(), job());
}

#[test]
fn records_travel_in_postcard_as_a_pair() {
    let bytes = collect(|| postcard::to_stdvec(&Handle(vec![9, 8])).unwrap()).0;
    assert_eq!(bytes, [0x54, 2, 9, 8]);
    let bytes = collect(|| postcard::to_stdvec(&job()).unwrap()).0;
    assert_eq!(postcard::from_bytes::<Job>(&bytes).unwrap(), job());
}

#[test]
fn records_survive_the_enums_that_serde_buffers() {
    let untagged = Untagged::Handle(Handle(vec![1, 2, 3]));
    let bytes = collect(|| rmp_serde::to_vec_named(&untagged).unwrap()).0;
    assert_eq!(rmp_serde::from_slice::<Untagged>(&bytes).unwrap(), untagged);
    let tagged = Tagged::Job { reply: Handle(vec![1, 2, 3]) };
    let bytes = collect(|| rmp_serde::to_vec_named(&tagged).unwrap()).0;
    assert_eq!(rmp_serde::from_slice::<Tagged>(&bytes).unwrap(), tagged);
}

#[test]
fn a_handle_serialised_outside_a_carrier_is_refused_with_the_same_words() {
    let error = rmp_serde::to_vec(&job()).unwrap_err();
    assert!(error.to_string().contains(NO_CARRIER), "{error}");
    assert!(postcard::to_stdvec(&job()).is_err());
}

#[test]
fn what_is_not_a_record_is_not_read_as_one() {
    let of_another_type = [0xd5, 0x01, 9, 8];
    let error = rmp_serde::from_slice::<Handle>(&of_another_type).unwrap_err();
    assert!(error.to_string().contains("type 1 is not a tasuki handle"), "{error}");
    for no_extension in [&[0x05][..], &[0x92, 0x54, 0x01], &[0xc0], &[0xa1, b'x'], &[0xd5, 0x54]] {
        assert!(rmp_serde::from_slice::<Handle>(no_extension).is_err());
    }
}
