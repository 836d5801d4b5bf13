//! A list in shared memory is the standard library's, to the byte; what does not fit, or was overwritten, is an error.

mod support;

use proptest::prelude::*;
use support::{Ended, fork, watchdog};
use tasuki::shared_memory::{Item, ListError};
use tasuki::{ShareableList, SharedMemory};

fn bytes_of(memory: &SharedMemory) -> Vec<u8> {
    let mut bytes = vec![0; memory.len()];
    memory.read(0, &mut bytes).unwrap();
    bytes
}

fn some_of_each() -> Vec<Item> {
    vec![
        Item::from("襷"),
        Item::from(&b"ab"[..]),
        Item::from(-2),
        Item::from(0.5),
        Item::from(true),
        Item::None,
    ]
}

/// What CPython 3.13 has in memory for `ShareableList(["襷", b"ab", -2, 0.5, True, None])`.
fn as_cpython_has_it() -> Vec<u8> {
    let mut bytes: Vec<u8> =
        [6_u64, 0, 8, 16, 24, 32, 40, 48].iter().flat_map(|number| number.to_le_bytes()).collect();
    bytes.extend("襷\0\0\0\0\0ab\0\0\0\0\0\0".as_bytes());
    bytes.extend((-2_i64).to_le_bytes());
    bytes.extend(0.5_f64.to_le_bytes());
    bytes.extend([0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend(b"8s\0\0\0\0\0\08s\0\0\0\0\0\0q\0\0\0\0\0\0\0d\0\0\0\0\0\0\0xxxxxxx?xxxxxx?x");
    bytes.extend([1, 2, 0, 0, 0, 3]);
    bytes
}

#[test]
fn the_bytes_are_those_of_the_standard_library() {
    let list = ShareableList::new(some_of_each()).unwrap();
    assert_eq!(bytes_of(list.memory()), as_cpython_has_it());
}

#[test]
fn a_list_of_the_standard_library_is_read_and_written() {
    let bytes = as_cpython_has_it();
    let memory = SharedMemory::new(bytes.len()).unwrap();
    memory.write(0, &bytes).unwrap();
    let list = ShareableList::open(memory.name()).unwrap();
    assert_eq!(list.to_vec().unwrap(), some_of_each());
    list.set(1, "text").unwrap();
    list.set(2, Item::None).unwrap();
    list.set(5, i64::MIN).unwrap();
    let expected = [
        Item::from("襷"),
        Item::from("text"),
        Item::None,
        Item::from(0.5),
        Item::from(true),
        Item::Int(i64::MIN),
    ];
    assert_eq!(list.to_vec().unwrap(), expected);
}

#[test]
fn every_item_can_take_every_kind_of_value() {
    let _watchdog = watchdog();
    let list = ShareableList::new(some_of_each()).unwrap();
    let other = || {
        let same = ShareableList::open(list.memory().name()).unwrap();
        for index in 0..6 {
            for item in some_of_each() {
                same.set(index, item.clone()).unwrap();
                assert_eq!(same.get(index).unwrap(), item);
            }
        }
    };
    assert_eq!(fork(other).wait(), Ended::WELL);
    assert_eq!(list.to_vec().unwrap(), vec![Item::None; 6]);
}

#[test]
fn nuls_at_the_end_are_kept() {
    let items = [&b"a\0"[..], b"\0", b"", b"1234567\0", b"\0\0\0\0\0\0\0\0", b"\0a"];
    let list = ShareableList::new(items).unwrap();
    for (index, item) in items.into_iter().enumerate() {
        assert_eq!(list.get(index).unwrap(), Item::from(item));
    }
    list.set(0, "x\0\0").unwrap();
    assert_eq!(list.get(0).unwrap(), Item::from("x\0\0"));
    list.set(0, "x").unwrap();
    assert_eq!(list.get(0).unwrap(), Item::from("x"));
    // What the standard library makes of the format when it writes there.
    list.set(0, "x\0\0").unwrap();
    let formats = list.memory().len() - 6 - 6 * 8;
    list.memory().write(formats, b"8s\0\0\0\0\0\0").unwrap();
    assert_eq!(list.get(0).unwrap(), Item::from("x"));
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let list = ShareableList::new(["12345678", "encodés"]).unwrap();
    assert_eq!(list.set(0, "1".repeat(17)), Err(ListError::TooLong { len: 17, room: 16 }));
    assert_eq!(list.set(1, "encodées"), Err(ListError::TooLong { len: 9, room: 8 }));
    assert_eq!(list.set(2, 1), Err(ListError::OutOfRange { index: 2, len: 2 }));
    assert_eq!(list.get(usize::MAX), Err(ListError::OutOfRange { index: usize::MAX, len: 2 }));
    assert_eq!(list.to_vec().unwrap(), [Item::from("12345678"), Item::from("encodés")]);
}

#[test]
fn there_are_limits_to_what_a_list_can_describe() {
    let longest = vec![1; 9_999_991];
    let list = ShareableList::new([longest.clone()]).unwrap();
    assert_eq!(list.get(0).unwrap(), Item::Bytes(longest));
    let mut ends_in_nul = vec![0; 999_999];
    list.set(0, ends_in_nul.clone()).unwrap();
    assert_eq!(list.get(0).unwrap(), Item::Bytes(ends_in_nul.clone()));
    ends_in_nul.push(0);
    assert_eq!(list.set(0, ends_in_nul.clone()), Err(ListError::EndsInNul { len: 1_000_000 }));
    assert!(ShareableList::new([ends_in_nul]).is_err());
    assert!(ShareableList::new([vec![1; 9_999_992]]).is_err());
}

#[test]
fn an_empty_list_is_a_list() {
    let list = ShareableList::new(Vec::<Item>::new()).unwrap();
    assert_eq!(ShareableList::open(list.memory().name()).unwrap().len(), Ok(0));
}

#[test]
fn memory_without_a_list_is_not_opened_as_one() {
    let memory = SharedMemory::new(7).unwrap();
    assert!(ShareableList::open(memory.name()).is_err());
    let memory = SharedMemory::new(4096).unwrap();
    memory.write(0, &u64::MAX.to_ne_bytes()).unwrap();
    assert!(ShareableList::open(memory.name()).is_err());
    memory.write(0, &500_u64.to_ne_bytes()).unwrap();
    assert!(ShareableList::open(memory.name()).is_err());
}

proptest! {
    /// A peer writes anything anywhere: reading and writing give answers or errors, and touch nothing outside.
    #[test]
    fn garbage_is_an_error_at_worst(
        overwrites in prop::collection::vec((0_usize..200, prop_oneof![any::<u64>(), 0_u64..300]), 1..8),
        letters in prop::collection::vec((0_usize..200, prop_oneof![any::<u8>(), Just(b's'), Just(b'9')]), 0..8),
    ) {
        let list = ShareableList::new(some_of_each()).unwrap();
        let memory = list.memory();
        for (offset, number) in overwrites {
            let _ = memory.write(offset / 8 * 8, &number.to_ne_bytes());
        }
        for (offset, letter) in letters {
            let _ = memory.write(offset, &[letter]);
        }
        for index in 0..8 {
            let _ = list.get(index);
            for item in some_of_each() {
                let _ = list.set(index, item);
                let _ = list.get(index);
            }
        }
        let _ = list.len();
        let _ = list.to_vec();
    }
}
