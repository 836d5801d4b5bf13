//! A value is one place that all its holders see, of the type it was made as.

mod support;

use support::{Child, Ended, end_well, fork, watchdog};
use tasuki::raw::{RawValue, element};
use tasuki::synchronize::LockError;
use tasuki::{Process, Queue, Value};

tasuki::enable_tests!();

#[test]
fn updates_of_many_processes_are_all_counted() {
    let _watchdog = watchdog();
    let total = Value::new(0_i64).unwrap();
    let work = || (0..3000).for_each(|n| total.update(|sum| *sum += n % 2).unwrap());
    let mut children: Vec<Child> = (0..4).map(|_| fork(work)).collect();
    work();
    end_well(&mut children);
    assert_eq!(total.get(), 5 * 1500);
}

#[test]
fn a_value_of_up_to_eight_bytes_is_never_seen_half_written() {
    let _watchdog = watchdog();
    let value = Value::new(0_u64).unwrap();
    let writer = fork(|| {
        loop {
            value.set(0).unwrap();
            value.set(u64::MAX).unwrap();
        }
    });
    for _ in 0..300_000 {
        let seen = value.get();
        assert!(seen == 0 || seen == u64::MAX, "{seen:x}");
    }
    drop(writer);
}

#[test]
fn a_longer_value_is_whole_under_its_lock() {
    let _watchdog = watchdog();
    let value = Value::new([0_u32; 500]).unwrap();
    let mut writers: Vec<Child> = (1..4)
        .map(|n| {
            let value = &value;
            fork(move || (0..500).for_each(|_| value.set([n; 500]).unwrap()))
        })
        .collect();
    for _ in 0..500 {
        let guard = value.lock().unwrap();
        assert!(guard.iter().all(|&word| word == guard[0]));
    }
    end_well(&mut writers);
}

#[test]
fn every_plain_type_keeps_its_bits() {
    macro_rules! same {
        ($($value:expr),* $(,)?) => { $(
            let value = Value::new($value).unwrap();
            assert_eq!(value.get(), $value);
            let mut other = fork(|| assert_eq!(value.get(), $value));
            assert_eq!(other.wait(), Ended::WELL);
        )* };
    }
    same!(
        i8::MIN,
        u8::MAX,
        i16::MIN,
        u16::MAX,
        i32::MIN,
        u32::MAX,
        i64::MIN,
        u64::MAX,
        i128::MIN,
        -0.5_f32,
        f64::MIN_POSITIVE,
        [1_u8; 3],
        [7_u16; 1000],
        [0.25_f64; 9],
    );
}

#[test]
fn an_update_is_refused_after_a_death_inside_until_the_value_is_declared_whole() {
    let _watchdog = watchdog();
    let value = Value::new(4_u64).unwrap();
    let mut owner = fork(|| std::mem::forget(value.lock()));
    assert_eq!(owner.wait(), Ended::WELL);
    let Err(LockError::Poisoned(poisoned)) = value.update(|value| *value += 1) else { panic!() };
    assert_eq!(poisoned.pid(), owner.pid());
    assert_eq!(value.get(), 4);
    value.set(6).unwrap(); // replaces it whole, so it may
    assert!(value.is_poisoned());
    value.clear_poison();
    value.update(|value| *value += 1).unwrap();
    assert_eq!(value.get(), 7);
}

#[test]
fn a_value_larger_than_memory_is_refused_and_the_next_one_is_made() {
    let _watchdog = watchdog();
    for len in [1 << 40, 1 << 50, usize::MAX / 2, usize::MAX - 4096, usize::MAX] {
        let refused = RawValue::create(element::OPAQUE, len).unwrap_err();
        assert!(matches!(refused, tasuki::Error::Limit(_)), "{refused}");
    }
    assert_eq!(Value::new(5_u8).unwrap().get(), 5);
}

#[tasuki::task]
fn double(values: Queue<Value<i32>>) -> Vec<Value<i32>> {
    let mut all = Vec::new();
    while let Ok(value) = values.try_get() {
        value.update(|value| *value *= 2).unwrap();
        all.push(value);
    }
    all
}

#[test]
fn values_go_to_a_started_process_and_come_back_as_the_same_ones() {
    let _watchdog = watchdog();
    let queue = Queue::unbounded().unwrap();
    let values: Vec<Value<i32>> = (0..50).map(|n| Value::new(n).unwrap()).collect();
    values.iter().for_each(|value| queue.put(value.clone()).unwrap());
    let back = Process::spawn(double, (queue,)).unwrap().join().unwrap();
    for (n, (value, back)) in (0..).zip(values.iter().zip(&back)) {
        assert_eq!((value.get(), back.get()), (2 * n, 2 * n));
        back.set(-1).unwrap();
        assert_eq!(value.get(), -1);
    }
}
