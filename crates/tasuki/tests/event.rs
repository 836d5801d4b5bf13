//! An event releases everybody who waits for it, is what it is in every process, and costs those who wait nothing.

mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use support::{
    Child, Ended, Words, descriptor_count, end_well, fork, in_own_process, until, watchdog,
};
use tasuki::{Event, Lock, Process, Queue};

tasuki::enable_tests!();

#[test]
fn it_is_set_until_it_is_cleared() {
    let event = Event::new().unwrap();
    assert!(!event.is_set());
    event.clear();
    assert!(!event.is_set());
    for _ in 0..2 {
        event.set();
        event.set();
        assert!(event.is_set());
        event.wait();
        assert!(event.wait_timeout(Duration::ZERO));
        assert!(format!("{event:?}").contains("set: true"));
        event.clear();
        assert!(!event.is_set());
    }
}

#[test]
fn a_wait_keeps_its_time() {
    let _watchdog = watchdog();
    let event = Event::new().unwrap();
    for time in [Duration::ZERO, Duration::from_millis(30), Duration::from_millis(700)] {
        let start = Instant::now();
        assert!(!event.wait_timeout(time));
        assert!(start.elapsed() >= time);
        let start = Instant::now();
        assert!(!event.wait_deadline(start + time));
        assert!(start.elapsed() >= time);
    }
    event.set();
    assert!(event.wait_deadline(Instant::now()));
    assert!(event.wait_deadline(Instant::now().checked_sub(Duration::from_secs(1)).unwrap()));
}

#[test]
fn one_set_releases_all_processes_and_threads() {
    let _watchdog = watchdog();
    let event = Event::new().unwrap();
    let mut children: Vec<Child> = (0..5).map(|_| fork(|| event.wait())).collect();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(|| event.wait())).collect();
        children.iter().for_each(Child::wait_until_asleep);
        assert!(threads.iter().all(|thread| !thread.is_finished()));
        event.set();
    });
    end_well(&mut children);
}

#[test]
fn who_waited_is_released_even_if_it_is_cleared_at_once() {
    let _watchdog = watchdog();
    let event = Event::new().unwrap();
    for _ in 0..20 {
        let mut children: Vec<Child> = (0..4).map(|_| fork(|| event.wait())).collect();
        children.iter().for_each(Child::wait_until_asleep);
        event.set();
        event.clear();
        end_well(&mut children);
        assert!(!event.wait_timeout(Duration::ZERO), "that set was before this wait");
    }
}

#[test]
fn what_was_written_before_it_was_set_is_seen_by_those_it_released() {
    let _watchdog = watchdog();
    let (there, back) = (Event::new().unwrap(), Event::new().unwrap());
    let words = Words::new(2);
    let rounds = 20_000;
    let mut other = fork(|| {
        for round in 1..=rounds {
            there.wait();
            there.clear();
            assert_eq!(words[0].load(std::sync::atomic::Ordering::Relaxed), round);
            words[1].store(round, std::sync::atomic::Ordering::Relaxed);
            back.set();
        }
    });
    for round in 1..=rounds {
        words[0].store(round, std::sync::atomic::Ordering::Relaxed);
        there.set();
        back.wait();
        back.clear();
        assert_eq!(words[1].load(std::sync::atomic::Ordering::Relaxed), round);
    }
    assert_eq!(other.wait(), Ended::WELL);
}

/// Everybody waits for each of many sets; a lost wake-up stops all.
#[test]
fn no_wake_up_is_lost_among_64_processes() {
    let _watchdog = support::watchdog_of(Duration::from_secs(900));
    let rounds: u64 = if support::soaking() { 5_000 } else { 60 };
    let events: Vec<Event> = (0..2).map(|_| Event::new().unwrap()).collect();
    let words = Words::new(2);
    let mut children: Vec<Child> = (0..64)
        .map(|_| {
            fork(|| {
                for round in 0..rounds {
                    events[(round % 2) as usize].wait();
                    words[0].fetch_add(1, SeqCst);
                }
            })
        })
        .collect();
    for round in 0..rounds {
        until("everybody has the last one", || words[0].load(SeqCst) == 64 * round);
        events[((round + 1) % 2) as usize].clear();
        events[(round % 2) as usize].set();
    }
    end_well(&mut children);
    assert_eq!(words[0].load(SeqCst), 64 * rounds);
}

#[test]
fn those_who_wait_use_no_processor() {
    let _watchdog = watchdog();
    let event = Event::new().unwrap();
    let children: Vec<Child> = (0..8).map(|_| fork(|| event.wait())).collect();
    children.iter().for_each(Child::wait_until_asleep);
    let used =
        || children.iter().map(|child| support::processor_time(child.pid())).sum::<Duration>();
    let before = used();
    std::thread::sleep(Duration::from_secs(3));
    let spent = used() - before;
    assert!(spent < Duration::from_millis(500), "eight sleepers used {spent:?} in three seconds");
    event.set();
}

#[tasuki::task]
fn answer(asked: Event, answered: Event) -> bool {
    let in_time = asked.wait_timeout(support::NEVER);
    answered.set();
    in_time
}

#[test]
fn a_started_process_gets_the_same_event() {
    let _watchdog = watchdog();
    let (asked, answered) = (Event::new().unwrap(), Event::new().unwrap());
    let process = Process::spawn(answer, (asked.clone(), answered.clone())).unwrap();
    asked.set();
    answered.wait();
    assert!(process.join().unwrap());
}

#[test]
fn it_travels_in_messages_and_outlives_its_sender() {
    let _watchdog = watchdog();
    let queue = Queue::<(Event, Vec<Event>)>::unbounded().unwrap();
    let mut sender = fork(|| {
        let events: Vec<Event> = (0..3).map(|_| Event::new().unwrap()).collect();
        events[1].set();
        queue.put((events[1].clone(), events)).unwrap();
    });
    assert_eq!(sender.wait(), Ended::WELL);
    // Were a slot free now, these would come to lie in it.
    let _others: Vec<Event> = (0..50).map(|_| Event::new().unwrap()).collect();
    let (one, all) = queue.get().unwrap();
    assert_eq!(all.iter().map(Event::is_set).collect::<Vec<_>>(), [false, true, false]);
    one.clear();
    assert!(!all[1].is_set(), "two handles to one event");
}

/// Writes a lock and reads an event.
struct Lie;

impl Serialize for Lie {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Lock::new(1_u8).unwrap().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Lie {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Lie, D::Error> {
        Event::deserialize(deserializer).map(|_| Lie)
    }
}

#[test]
fn a_handle_to_something_else_is_refused() {
    let _watchdog = watchdog();
    let queue = Queue::unbounded().unwrap();
    queue.put(Lie).unwrap();
    let error = queue.get().map(|_: Lie| ()).unwrap_err().to_string();
    assert!(error.contains("an event was expected"), "{error}");
}

#[test]
fn ten_thousand_cost_a_few_descriptors_and_leave_nothing() {
    let _watchdog = watchdog();
    in_own_process(|| {
        let round = || {
            let events: Vec<Event> = (0..1000).map(|_| Event::new().unwrap()).collect();
            events.iter().for_each(Event::set);
            assert!(events.iter().all(Event::is_set));
        };
        round();
        let before = (descriptor_count(), support::resident());
        (0..10).for_each(|_| round());
        let alive: Vec<Event> = (0..10_000).map(|_| Event::new().unwrap()).collect();
        assert!(alive.iter().all(|event| !event.is_set()), "fresh, wherever they lie");
        assert!(descriptor_count() <= before.0 + 3);
        drop(alive);
        assert!(descriptor_count() <= before.0);
        assert!(support::resident() < before.1 + (8 << 20));
    });
}

#[test]
fn setting_and_clearing_from_everywhere_leaves_it_whole() {
    let _watchdog = watchdog();
    let event = Event::new().unwrap();
    let (stop, released) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(SeqCst) {
                    event.set();
                    event.clear();
                }
            });
            scope.spawn(|| {
                for _ in 0..2000 {
                    event.wait();
                    released.fetch_add(1, SeqCst);
                }
            });
        }
        until("all waits have ended", || released.load(SeqCst) == 4000);
        stop.store(true, SeqCst);
    });
    assert!(!event.is_set());
}
