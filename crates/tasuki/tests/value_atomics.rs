//! Atomic operations lose nothing, take no lock, and do with numbers what `std::sync::atomic` does.

mod support;

use support::{Child, Ended, end_well, fork, watchdog};
use tasuki::{Array, Value};

#[test]
fn operations_of_many_processes_are_all_counted() {
    let _watchdog = watchdog();
    let (total, float, votes) =
        (Value::new(0_i64).unwrap(), Value::new(0_f64).unwrap(), Array::<u8>::new(3).unwrap());
    let bits = Value::new(0_u64).unwrap();
    let work = |who: u32| {
        for n in 0..20_000 {
            total.fetch_add(3);
            total.fetch_sub(1);
            float.fetch_add(0.5);
            votes.fetch_add(n % 3, 1);
            bits.fetch_xor(1 << who);
        }
        bits.fetch_or(1 << who);
    };
    let mut children: Vec<Child> = (0..4).map(|who| fork(move || work(who))).collect();
    work(4);
    end_well(&mut children);
    assert_eq!(total.load(), 5 * 20_000 * 2);
    assert_eq!(float.load().to_bits(), 50_000_f64.to_bits());
    // Bytes wrap; 20000 is 6667 + 6667 + 6666.
    assert_eq!(votes.to_vec(), [6667_u32, 6667, 6666].map(|n| (n * 5 % 256) as u8));
    assert_eq!(bits.load(), 0b11111);
}

#[test]
fn each_operation_returns_what_was_there() {
    macro_rules! integers {
        ($($integer:ty)*) => { $(
            let value = Value::new(<$integer>::MAX).unwrap();
            assert_eq!(value.fetch_add(1), <$integer>::MAX);
            assert_eq!(value.fetch_sub(1), <$integer>::MIN);
            assert_eq!(value.swap(12), <$integer>::MAX);
            assert_eq!(value.fetch_and(6), 12);
            assert_eq!(value.fetch_or(3), 4);
            assert_eq!(value.fetch_xor(5), 7);
            assert_eq!(value.compare_exchange(2, 9), Ok(2));
            assert_eq!(value.compare_exchange(2, 1), Err(9));
            value.store(<$integer>::MIN);
            assert_eq!((value.load(), value.get()), (<$integer>::MIN, <$integer>::MIN));
        )* };
    }
    integers!(i8 i16 i32 i64 isize u8 u16 u32 u64 usize);
}

#[test]
fn an_operation_on_an_element_leaves_its_neighbours_alone() {
    macro_rules! integers {
        ($($integer:ty)*) => { $(
            let array = Array::from_slice(&[1 as $integer, 2, 3]).unwrap();
            assert_eq!(array.fetch_sub(1, 3), 2);
            assert_eq!(array.to_vec(), [1, (2 as $integer).wrapping_sub(3), 3]);
            assert_eq!(array.swap(1, 8), (2 as $integer).wrapping_sub(3));
            assert_eq!(array.fetch_or(1, 1), 8);
            assert_eq!(array.fetch_and(1, 1), 9);
            assert_eq!(array.fetch_xor(1, 3), 1);
            assert_eq!(array.compare_exchange(1, 2, 4), Ok(2));
            array.store(2, 0);
            assert_eq!(array.to_vec(), [1, 4, 0]);
            assert_eq!(array.load(0), 1);
        )* };
    }
    integers!(i8 i16 i32 i64 u8 u16 u32 u64);
}

#[test]
#[allow(clippy::float_cmp)]
fn floats_are_added_and_compared_by_their_bits() {
    let value = Value::new(1.5_f32).unwrap();
    assert_eq!(value.fetch_add(0.25), 1.5);
    assert_eq!(value.fetch_sub(2.0), 1.75);
    assert_eq!(value.compare_exchange(-0.25, 0.0), Ok(-0.25));
    assert!(value.compare_exchange(-0.0, 1.0).is_err());
    let array = Array::from_slice(&[f64::NAN, 1.0]).unwrap();
    assert!(array.compare_exchange(0, f64::NAN, 4.0).unwrap().is_nan());
    assert_eq!(array.fetch_add(0, 1.0), 4.0);
    assert_eq!(array.to_vec(), [5.0, 1.0]);
}

#[test]
fn they_wait_for_nobody() {
    let _watchdog = watchdog();
    let value = Value::new(1_u32).unwrap();
    let guard = value.lock().unwrap();
    assert_eq!(fork(|| assert_eq!(value.fetch_add(1), 1)).wait(), Ended::WELL);
    drop(guard); // unchanged, so it is not written back
    assert_eq!(value.load(), 2);
    let mut owner = fork(|| std::mem::forget(value.lock()));
    assert_eq!(owner.wait(), Ended::WELL);
    assert_eq!(value.fetch_add(1), 2);
}
