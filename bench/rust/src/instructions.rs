//! How many instructions does a call take that meets nobody? Counted, not timed: the same on a busy machine as on an
//! idle one.
//!
//! `count` names its sides and does one so often; `bench/instructions.py` runs it under callgrind, which counts what
//! happens inside of `measured` and nowhere else.

use std::hint::black_box;

/// What is counted, and the function that does it so often, inside of `measured`.
pub const COUNTED: &[(&str, fn(u64))] = &[
    ("Queue<u64>::put", put),
    ("Queue<u64>::get", get),
    ("crossbeam bounded send", send),
    ("crossbeam bounded recv", recv),
    ("Lock, lock and unlock", lock),
    ("Semaphore, acquire and give back", semaphore),
    ("Event::is_set", is_set),
];

/// The calls, one after the other. A function of its own, since callgrind counts between its beginning and its end.
#[inline(never)]
fn measured(times: u64, call: impl FnMut(u64)) {
    (0..times).for_each(call);
}

fn queue(times: u64) -> tasuki::Queue<u64> {
    let queue = tasuki::Queue::bounded(times as usize + 1).unwrap();
    // What only the first calls do.
    queue.put(0).unwrap();
    assert_eq!(queue.get().unwrap(), 0);
    queue
}

fn put(times: u64) {
    let queue = queue(times);
    measured(times, |number| black_box(&queue).put(number).unwrap());
    (0..times).for_each(|number| assert_eq!(queue.get().unwrap(), number));
}

fn get(times: u64) {
    let queue = queue(times);
    (0..times).for_each(|number| queue.put(number).unwrap());
    let mut sum = 0;
    measured(times, |_| sum += black_box(&queue).get().unwrap());
    assert_eq!(sum, (0..times).sum::<u64>());
}

fn send(times: u64) {
    let (sender, receiver) = crossbeam_channel::bounded(times as usize);
    measured(times, |number| black_box(&sender).send(number).unwrap());
    (0..times).for_each(|number| assert_eq!(receiver.recv().unwrap(), number));
}

fn recv(times: u64) {
    let (sender, receiver) = crossbeam_channel::bounded(times as usize);
    (0..times).for_each(|number| sender.send(number).unwrap());
    let mut sum = 0;
    measured(times, |_| sum += black_box(&receiver).recv().unwrap());
    assert_eq!(sum, (0..times).sum::<u64>());
}

fn lock(times: u64) {
    let lock = tasuki::Lock::new(0).unwrap();
    *lock.lock().unwrap() = 0;
    measured(times, |_| *black_box(&lock).lock().unwrap() += 1);
    assert_eq!(*lock.lock().unwrap(), times);
}

fn semaphore(times: u64) {
    let semaphore = tasuki::Semaphore::new(1).unwrap();
    drop(semaphore.acquire().unwrap());
    measured(times, |_| drop(black_box(&semaphore).acquire().unwrap()));
    assert_eq!(semaphore.value(), 1);
}

fn is_set(times: u64) {
    let event = tasuki::Event::new().unwrap();
    event.set();
    let mut seen = 0;
    measured(times, |_| seen += u64::from(black_box(&event).is_set()));
    assert_eq!(seen, times);
}
