//! An array is one place that all its holders see, of the type and length it was made with, whole under its lock.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use support::{Child, Ended, descriptor_count, end_well, fork, in_own_process, resident, watchdog};
use tasuki::protocol::{StructuredCodec, codec, transfer};
use tasuki::raw::{RawValue, element};
use tasuki::synchronize::LockError;
use tasuki::{Array, Process, Queue, Value};

tasuki::enable_tests!();

fn panics<R>(work: impl FnOnce() -> R) -> String {
    let payload = catch_unwind(AssertUnwindSafe(work)).err().expect("a panic");
    payload.downcast_ref::<String>().cloned().unwrap_or_default()
}

#[test]
fn a_new_array_is_zero_and_keeps_what_is_set() {
    let _watchdog = watchdog();
    let array: Array<i32> = Array::new(1000).unwrap();
    assert_eq!((array.len(), array.is_empty()), (1000, false));
    assert_eq!(array.to_vec(), [0; 1000]);
    array.set(999, -7).unwrap();
    array.update(999, |element| *element *= 2).unwrap();
    assert_eq!(fork(|| assert_eq!(array.get(999), -14)).wait(), Ended::WELL);
    let empty: Array<f64> = Array::new(0).unwrap();
    assert!(
        empty.is_empty() && empty.to_vec().is_empty() && empty.lock().unwrap().read(..).is_empty()
    );
}

#[test]
fn every_plain_type_keeps_its_bits() {
    macro_rules! same {
        ($($element:expr),* $(,)?) => { $(
            let elements = [$element; 3];
            let array = Array::from_slice(&elements).unwrap();
            assert_eq!(array.to_vec(), elements);
            let mut other = fork(|| assert_eq!(array.lock().unwrap().read(..), elements));
            assert_eq!(other.wait(), Ended::WELL);
        )* };
    }
    same!(
        i8::MIN,
        u8::MAX,
        i16::MIN,
        u32::MAX,
        i64::MIN,
        u128::MAX,
        -0.5_f32,
        1e300,
        [1_u8; 3],
        [7_u16; 999]
    );
}

#[test]
fn what_is_outside_is_a_panic_that_says_so_and_frees_the_lock() {
    let _watchdog = watchdog();
    let array = Array::from_slice(&[1_u16, 2, 3]).unwrap();
    for index in [3, usize::MAX, usize::MAX / 2 + 1] {
        assert!(panics(|| array.get(index)).ends_with("is outside an array of 3"));
        assert!(panics(|| array.set(index, 1)).ends_with("is outside an array of 3"));
        assert!(panics(|| array.fetch_add(index, 1)).ends_with("is outside an array of 3"));
        assert!(
            panics(|| array.compare_exchange(index, 1, 1)).ends_with("is outside an array of 3")
        );
    }
    assert!(!array.is_poisoned(), "an index is checked before the lock is taken");
    assert!(
        panics(|| array.lock().unwrap().read(1..4)).contains("1..4 is not inside an array of 3")
    );
    array.clear_poison();
    assert!(panics(|| array.lock().unwrap().write(2, &[0, 0])).contains("are not inside"));
    array.clear_poison();
    assert!(panics(|| array.lock().unwrap().read_into(4, &mut [])).contains("are not inside"));
    array.clear_poison();
    assert!(array.try_lock().is_ok());
    assert_eq!(array.to_vec(), [1, 2, 3]);
}

#[test]
fn a_guard_reads_and_writes_ranges() {
    let _watchdog = watchdog();
    let array: Array<[u32; 5]> = Array::new(4).unwrap();
    let mut guard = array.lock().unwrap();
    guard.fill([9; 5]);
    guard.write(1, &[[1; 5], [2; 5]]);
    assert_eq!(guard.read(..=1), [[9; 5], [1; 5]]);
    assert_eq!(guard.read(4..), [[0; 5]; 0]);
    guard.for_each_mut(|index, element| element[0] += index as u32);
    assert_eq!(guard.iter().map(|element| element[0]).collect::<Vec<_>>(), [9, 2, 4, 12]);
    let mut some = [[0; 5]; 2];
    guard.read_into(2, &mut some);
    assert_eq!(some, [[4, 2, 2, 2, 2], [12, 9, 9, 9, 9]]);
    // SAFETY: nobody else has the array.
    #[allow(unsafe_code)]
    unsafe {
        guard.as_mut_slice()[3][4] = 7;
        assert_eq!(guard.as_slice()[3], [12, 9, 9, 9, 7]);
    }
}

#[test]
fn changes_under_the_lock_exclude_each_other() {
    let _watchdog = watchdog();
    let array: Array<[u64; 4]> = Array::new(50).unwrap();
    let mut writers: Vec<Child> = (0..4)
        .map(|_| {
            let array = &array;
            fork(move || {
                for _ in 0..300 {
                    let mut guard = array.lock().unwrap();
                    let first = guard.get(0);
                    assert!(guard.iter().all(|element| element == first), "whole");
                    guard.for_each_mut(|_, element| *element = first.map(|n| n + 1));
                }
            })
        })
        .collect();
    end_well(&mut writers);
    assert_eq!(array.to_vec(), [[1200; 4]; 50]);
}

#[test]
fn the_death_of_a_holder_is_told_to_the_next_one() {
    let _watchdog = watchdog();
    let array = Array::from_slice(&[1_u8, 2]).unwrap();
    let mut owner = fork(|| std::mem::forget(array.lock()));
    assert_eq!(owner.wait(), Ended::WELL);
    let Err(LockError::Poisoned(poisoned)) = array.lock() else { panic!() };
    assert_eq!(poisoned.pid(), owner.pid());
    drop(poisoned);
    assert!(array.update(0, |element| *element += 1).is_err());
    array.set(1, 5).unwrap(); // replaces it whole, so it may
    assert!(array.is_poisoned());
    array.clear_poison();
    array.update(0, |element| *element += 1).unwrap();
    assert_eq!(array.to_vec(), [2, 5]);
}

#[test]
fn a_held_lock_is_waited_for_as_long_as_one_says() {
    let _watchdog = watchdog();
    let array: Array<u8> = Array::new(1).unwrap();
    let guard = array.lock().unwrap();
    let mut other = fork(|| {
        assert!(array.try_lock().is_err_and(|error| error.is_timed_out()));
        let waited = array.lock_timeout(Duration::from_millis(20));
        assert!(waited.is_err_and(|error| error.is_timed_out()));
        let waited = array.lock_deadline(Instant::now() + Duration::from_millis(20));
        assert!(waited.is_err_and(|error| error.is_timed_out()));
    });
    assert_eq!(other.wait(), Ended::WELL);
    drop(guard);
    assert!(array.try_lock().is_ok());
}

#[tasuki::task]
fn double(arrays: Queue<Array<i32>>) -> Vec<Array<i32>> {
    let mut all = Vec::new();
    while let Ok(array) = arrays.try_get() {
        array.lock().unwrap().for_each_mut(|_, element| *element *= 2);
        all.push(array);
    }
    all
}

#[test]
fn arrays_go_to_a_started_process_and_come_back_as_the_same_ones() {
    let _watchdog = watchdog();
    let queue = Queue::unbounded().unwrap();
    let lengths = [0, 1, 5, 1000, 100_000];
    let arrays: Vec<Array<i32>> =
        lengths.map(|len| Array::from_slice(&vec![3; len]).unwrap()).into();
    arrays.iter().for_each(|array| queue.put(array.clone()).unwrap());
    let back = Process::spawn(double, (queue,)).unwrap().join().unwrap();
    for (array, back) in arrays.iter().zip(&back) {
        assert_eq!(array.to_vec(), vec![6; array.len()]);
        assert_eq!(back.len(), array.len());
        if !back.is_empty() {
            back.set(0, -1).unwrap();
            assert_eq!(array.get(0), -1);
        }
    }
}

#[test]
fn an_array_is_opened_as_what_it_is_or_as_bytes() {
    let _watchdog = watchdog();
    macro_rules! sent {
        ($object:expr => $type:ty) => {{
            let mut bytes = Vec::new();
            let messagepack = StructuredCodec::MessagePack;
            let (codec, handles) =
                transfer::collect(|| codec::encode(&$object, messagepack, &mut bytes));
            let tag = codec.unwrap().tag();
            transfer::provide(handles.into(), || {
                codec::decode::<$type>(tag, &bytes).map_err(|error| error.to_string())
            })
        }};
    }
    let numbers = Array::from_slice(&[1_i32]).unwrap();
    assert_eq!(sent!(numbers => Array<i32>).unwrap().to_vec(), [1]);
    let bytes = sent!(numbers => Array<u8>).unwrap();
    assert_eq!(bytes.lock().unwrap().read(..), [1, 0, 0, 0]);
    bytes.set(1, 1).unwrap();
    assert_eq!(sent!(bytes => Array<i32>).unwrap().to_vec(), [257], "it stays what it was made as");
    for refused in [
        sent!(numbers => Array<u32>).unwrap_err(),
        sent!(numbers => Array<f32>).unwrap_err(),
        sent!(numbers => Array<i64>).unwrap_err(),
        sent!(numbers => Array<[u8; 4]>).unwrap_err(),
    ] {
        assert!(refused.contains("elements of another type than"), "{refused}");
    }
    let refused = sent!(numbers => Value<i32>).unwrap_err();
    assert!(refused.contains("a shared value was expected and an array came"), "{refused}");
    let refused = sent!(Value::new(1_i32).unwrap() => Array<i32>).unwrap_err();
    assert!(refused.contains("a shared array was expected and a value came"), "{refused}");
}

#[test]
fn an_array_larger_than_memory_is_refused_and_the_next_one_is_made() {
    let _watchdog = watchdog();
    for len in [1 << 40, 1 << 57, usize::MAX / 8, usize::MAX / 2, usize::MAX] {
        let refused = Array::<u64>::new(len).unwrap_err();
        assert!(matches!(refused, tasuki::Error::Limit(_)), "{refused}");
        assert!(refused.to_string().contains("does not fit in memory"), "{refused}");
    }
    assert!(RawValue::create_array(element::OPAQUE, 0, 5).is_err());
    assert_eq!(Array::<u8>::new(3).unwrap().to_vec(), [0; 3]);
}

#[test]
fn the_memory_of_a_large_array_is_there_from_the_start_and_gone_at_its_end() {
    let _watchdog = watchdog();
    in_own_process(|| {
        let before = descriptor_count();
        for _ in 0..20 {
            let array: Array<u64> = Array::new(1 << 20).unwrap();
            assert_eq!(array.get((1 << 20) - 1), 0);
            array.lock().unwrap().write((1 << 20) - 2, &[1, 2]);
        }
        assert!(descriptor_count() <= before + 1);
    });
}

#[test]
fn ten_thousand_creations_and_drops_leave_no_descriptor_and_no_memory() {
    let _watchdog = watchdog();
    in_own_process(|| {
        let all = || {
            drop(Array::<u8>::new(10).unwrap());
            drop(Array::from_slice(&[0.5_f64; 200]).unwrap());
            drop(Array::<u8>::new(5000).unwrap());
        };
        (0..200).for_each(|_| all());
        let (descriptors, memory) = (descriptor_count(), resident());
        (0..10_000).for_each(|_| all());
        (0..300).for_each(|_| drop(Array::<u8>::new(500_000).unwrap())); // a segment each
        assert_eq!(descriptor_count(), descriptors);
        let grown = resident().saturating_sub(memory);
        assert!(grown < 8 << 20, "{grown} bytes more");
    });
}
