//! A reader or writer is killed or stopped anywhere inside its calls: the others go on, nobody is forgotten, and a
//! death is told if the dead process was writing.
#![cfg(feature = "kill-points")]

mod support;

use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use support::victims::{goes_on, stopped_at, victim};
use support::{Child, Dice, Ended, Words, end_well, fork, soaking, until, watchdog_of};
use tasuki::RwLock;
use tasuki::kill_points::KillPoint;
use tasuki::synchronize::LockError;

/// Whether the death is told.
type Told = bool;

/// The table: what the victim does, among others who read and write.
const TABLE: &[(KillPoint, Work, Told)] = &[
    (KillPoint::ReaderCounted, Work::Read, false),
    (KillPoint::ReaderPlaced, Work::Read, false),
    (KillPoint::ReaderLeft, Work::Read, false),
    (KillPoint::UserLockTaken, Work::Read, false),
    (KillPoint::UserLockTaken, Work::Write, false),
    (KillPoint::WriterWaits, Work::Write, false),
    (KillPoint::WriterIn, Work::Write, true),
    (KillPoint::WriterOut, Work::Write, false),
];

#[derive(Clone, Copy, Debug)]
enum Work {
    Read,
    Write,
}

/// What is guarded: all words are the same.
type Data = [u64; 9];

fn read(lock: &RwLock<Data>) -> bool {
    let (guard, told) = match lock.read() {
        Ok(guard) => (guard, false),
        Err(LockError::Poisoned(poisoned)) => (poisoned.into_inner(), true),
        Err(error) => panic!("{error:?}"),
    };
    assert!(told || guard.iter().all(|word| *word == guard[0]), "half written: {:?}", *guard);
    // Longer than those who wait look.
    std::thread::sleep(Duration::from_micros(100));
    told
}

fn write(lock: &RwLock<Data>) -> bool {
    let (mut guard, told) = match lock.write() {
        Ok(guard) => (guard, false),
        Err(LockError::Poisoned(poisoned)) => (poisoned.into_inner(), true),
        Err(error) => panic!("{error:?}"),
    };
    let next = guard[0] + 1;
    guard.fill(next);
    told
}

#[test]
fn the_others_go_on_and_are_told_what_they_need() {
    let _watchdog = watchdog_of(Duration::from_secs(300));
    for &(point, work, told) in TABLE {
        for nth in [1, 2] {
            eprintln!("{point:?}: {work:?}, {nth}");
            one_of_a_crowd_dies(point, nth, work, told);
        }
    }
}

fn one_of_a_crowd_dies(point: KillPoint, nth: u32, work: Work, told: Told) {
    let lock = RwLock::new([0_u64; 9]).unwrap();
    let words = Words::new(3);
    let (stop, reads, writes) = (&words[0], &words[1], &words[2]);
    let others = |is_reader: bool| {
        while stop.load(SeqCst) == 0 {
            if is_reader {
                read(&lock);
                reads.fetch_add(1, SeqCst);
            } else {
                write(&lock);
                writes.fetch_add(1, SeqCst);
                std::thread::sleep(Duration::from_micros(200));
            }
        }
    };
    let mut crowd: Vec<Child> =
        [true, true, false].map(|is_reader| fork(|| others(is_reader))).into();
    let mut dead = victim(point, nth, || {
        loop {
            match work {
                Work::Read => read(&lock),
                Work::Write => write(&lock),
            };
        }
    });
    assert_eq!(dead.wait(), Ended::DEAD);
    let (read_before, written_before) = (reads.load(SeqCst), writes.load(SeqCst));
    until("the others go on", || {
        reads.load(SeqCst) > read_before + 20 && writes.load(SeqCst) > written_before + 5
    });
    assert_eq!(lock.is_poisoned(), told, "{point:?}");
    stop.store(1, SeqCst);
    end_well(&mut crowd);
    assert_eq!(write(&lock), told);
    lock.clear_poison();
    assert!(!write(&lock) && !read(&lock));
}

#[test]
fn one_who_dies_while_it_notes_a_death_changes_nothing() {
    let _watchdog = watchdog_of(Duration::from_secs(60));
    let lock = RwLock::new([0_u64; 9]).unwrap();
    let mut writer = victim(KillPoint::WriterIn, 1, || _ = write(&lock));
    assert_eq!(writer.wait(), Ended::DEAD);
    for work in [read, write] {
        let mut heir = victim(KillPoint::WriterPoisoned, 1, || _ = work(&lock));
        let ended = heir.wait();
        // The first one notes it.
        assert!(ended == Ended::DEAD || lock.is_poisoned(), "{ended:?}");
        assert!(lock.is_poisoned());
    }
    assert!(read(&lock) && write(&lock));
}

#[test]
fn one_who_is_stopped_costs_others_their_timeouts_only() {
    let _watchdog = watchdog_of(Duration::from_secs(60));
    let moment = Duration::from_millis(30);
    for (point, work) in [
        (KillPoint::ReaderCounted, Work::Read),
        (KillPoint::WriterIn, Work::Write),
        (KillPoint::WriterOut, Work::Write),
        (KillPoint::UserLockTaken, Work::Write),
    ] {
        let lock = RwLock::new([0_u64; 9]).unwrap();
        let stopped = stopped_at(point, || {
            match work {
                Work::Read => read(&lock),
                Work::Write => write(&lock),
            };
        });
        let start = Instant::now();
        assert!(lock.write_timeout(moment).unwrap_err().is_timed_out(), "{point:?}");
        let read_in_time = lock.read_timeout(moment);
        assert_eq!(read_in_time.is_ok(), matches!(work, Work::Read), "{point:?}");
        drop(read_in_time);
        assert!(start.elapsed() >= moment);
        goes_on(stopped);
        assert!(!write(&lock) && !read(&lock));
    }
}

#[test]
fn killed_at_any_moment() {
    let _watchdog = watchdog_of(Duration::from_secs(if soaking() { 600 } else { 100 }));
    let mut dice = Dice::roll("killed_at_any_moment");
    for _ in 0..if soaking() { 400 } else { 20 } {
        let lock = RwLock::new([0_u64; 9]).unwrap();
        let words = Words::new(2);
        let work = |is_reader: bool| {
            while words[0].load(SeqCst) == 0 {
                if is_reader {
                    read(&lock)
                } else {
                    write(&lock)
                };
                words[1].fetch_add(1, SeqCst);
            }
        };
        let mut crowd: Vec<Child> = (0..5).map(|at| fork(|| work(at % 2 == 0))).collect();
        for _ in 0..3 {
            std::thread::sleep(Duration::from_micros(dice.below(2000)));
            crowd.swap_remove(dice.below(crowd.len() as u64) as usize).kill();
        }
        let before = words[1].load(SeqCst);
        until("those who are left go on", || words[1].load(SeqCst) > before + 20);
        words[0].store(1, SeqCst);
        end_well(&mut crowd);
        write(&lock);
    }
}
