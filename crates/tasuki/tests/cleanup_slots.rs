//! Ten thousand objects cost a handful of descriptors, come and go without a trace, and those of the killed are used
//! again.

mod support;

use std::collections::BTreeSet;

use support::{
    Child, Ended, descriptor_count, fork, in_own_process, resident, set_descriptor_limit, until,
    watchdog,
};
use tasuki::raw::{RawLock, RawValue, Wait, element};
use tasuki::{Array, Lock, Queue, Value};

#[test]
fn ten_thousand_creations_and_drops_leave_no_descriptor_and_no_memory() {
    let _watchdog = watchdog();
    in_own_process(|| {
        let all = || {
            drop(Queue::<u8>::unbounded().unwrap());
            drop(Lock::new(1_u64).unwrap());
            drop(Value::new(1.5_f64).unwrap());
            drop(Lock::new([1_u8; 300]).unwrap());
        };
        (0..200).for_each(|_| all());
        let (descriptors, memory) = (descriptor_count(), resident());
        (0..10_000).for_each(|_| all());
        assert_eq!(descriptor_count(), descriptors);
        let grown = resident().saturating_sub(memory);
        assert!(grown < 8 << 20, "{grown} bytes more");
    });
}

#[test]
fn large_values_come_and_go_as_well() {
    let _watchdog = watchdog();
    in_own_process(|| {
        let before = descriptor_count();
        for round in 0..500 {
            let value = RawValue::create(element::OPAQUE, 1 << 20).unwrap();
            // SAFETY: one byte of the megabyte, and nobody else has it.
            #[allow(unsafe_code)]
            unsafe {
                value.address().as_ptr().add(round).write(1)
            };
        }
        assert!(descriptor_count() <= before + 1);
    });
}

#[test]
fn two_thousand_arrays_of_some_pages_cost_two_descriptors_and_give_their_memory_back() {
    let _watchdog = watchdog();
    in_own_process(|| {
        let before = descriptor_count();
        let make = |n: u64| Array::from_slice(&[n; 1000]).unwrap();
        let arrays: Vec<Array<u64>> = (0..2000).map(make).collect();
        assert!((0..).zip(&arrays).all(|(n, array)| array.to_vec() == [n; 1000]));
        let cost = descriptor_count() - before;
        assert!(cost <= 3, "{cost} descriptors");
        let full = resident();
        drop(arrays);
        let given_back = full.saturating_sub(resident());
        assert!(given_back > 8 << 20, "{given_back} bytes");
        let again: Vec<Array<u64>> = (0..2000).map(|_| Array::new(1000).unwrap()).collect();
        assert!(again.iter().all(|array| array.to_vec() == [0; 1000]), "zero again");
    });
}

#[test]
fn ten_thousand_locks_live_within_a_thousand_descriptors() {
    let _watchdog = watchdog();
    in_own_process(|| {
        set_descriptor_limit(1024);
        let before = descriptor_count();
        let locks: Vec<RawLock> = (0..10_000).map(|_| RawLock::create(false).unwrap()).collect();
        let cost = descriptor_count() - before;
        assert!(cost <= 4, "{cost} descriptors");
        assert!(locks.iter().all(|lock| lock.acquire(&mut Wait::now()).is_ok()));
        let places: BTreeSet<_> = locks.iter().map(RawLock::key).collect();
        assert_eq!(places.len(), locks.len(), "each has a place of its own");
        assert!(locks.iter().all(RawLock::release));
        drop(locks);
        assert!(descriptor_count() <= before + 1);
    });
}

#[test]
fn ten_thousand_locks_travel_in_one_message() {
    let _watchdog = watchdog();
    in_own_process(|| {
        set_descriptor_limit(1024);
        let queue = Queue::unbounded().unwrap();
        let locks: Vec<Lock<u32>> = (0..10_000).map(|n| Lock::new(n).unwrap()).collect();
        queue.put(locks).unwrap(); // the sender has none any more
        let mut receiver = fork(|| {
            let locks = queue.get().unwrap();
            for (n, lock) in (0..10_000).zip(&locks) {
                assert_eq!(*lock.lock().unwrap(), n);
            }
        });
        assert_eq!(receiver.wait(), Ended::WELL);
    });
}

#[test]
fn objects_of_killed_processes_are_used_again() {
    let _watchdog = watchdog();
    in_own_process(|| {
        let ours = Lock::new(5_u64).unwrap(); // the arena that the children know, too
        let before = descriptor_count();
        for round in 0..10 {
            let mut children: Vec<Child> = (0..4)
                .map(|_| {
                    fork(|| {
                        let locks: Vec<RawLock> =
                            (0..900).map(|_| RawLock::create(false).unwrap()).collect();
                        locks.iter().for_each(|lock| drop(lock.acquire(&mut Wait::now())));
                        support::die();
                    })
                })
                .collect();
            assert!(children.iter_mut().all(|child| child.wait() == Ended::DEAD), "round {round}");
            // 3600 of 4096 places are the dead's now.
            let locks: Vec<Lock<u64>> = (0..2000).map(|n| Lock::new(n).unwrap()).collect();
            assert!(
                (0..).zip(&locks).all(|(n, lock)| *lock.lock().unwrap() == n),
                "fresh and free"
            );
            // Fewer, when the lease has ended that the fork of this process needed.
            let arenas = descriptor_count().saturating_sub(before);
            assert!(arenas <= 2, "{arenas} more arenas in round {round}");
        }
        assert_eq!(*ours.lock().unwrap(), 5);
    });
}

#[test]
fn more_processes_than_a_roster_has_rows_may_come_and_go() {
    let _watchdog = watchdog();
    let queue = Queue::unbounded().unwrap();
    let lock = Lock::new(0_u64).unwrap();
    for batch in 0..43 {
        let mut children: Vec<Child> = (0..100)
            .map(|n| {
                let (queue, lock) = (&queue, &lock);
                fork(move || {
                    *lock.lock().unwrap() += 1;
                    queue.put(batch * 100 + n).unwrap();
                    // Without a farewell: the row stays as it is.
                    support::die();
                })
            })
            .collect();
        assert!(children.iter_mut().all(|child| child.wait() == Ended::DEAD));
    }
    assert_eq!(*lock.lock().unwrap(), 4300);
    until("all messages are there", || queue.len() == 4300);
}

#[test]
fn what_a_child_inherited_without_a_row_for_it_becomes_nobody_elses() {
    let _watchdog = watchdog();
    in_own_process(|| {
        // Where files may not be long, there are few rows; older arenas have more.
        let short = libc::rlimit { rlim_cur: 160 << 10, rlim_max: 160 << 10 };
        // SAFETY: reads a live `rlimit`.
        #[allow(unsafe_code)]
        unsafe {
            libc::setrlimit(libc::RLIMIT_FSIZE, &raw const short)
        };
        let _locks: Vec<RawLock> = (0..5000).map(|_| RawLock::create(false).unwrap()).collect();
        let words = support::Words::new(3);
        // Enough to take all rows but this process's.
        let sleepers: Vec<Child> =
            (0..64).map(|_| fork(|| until("the end", || words.told(2)))).collect();
        // A fork is over when the child has taken its row.
        sleepers.iter().for_each(Child::wait_until_asleep);
        let victim = RawLock::create(false).unwrap();
        let mut child = fork(|| {
            assert!(victim.acquire(&mut Wait::now()).is_err(), "there is no row left for it");
            words.tell(0);
            until("another lock is held", || words.told(1));
            assert!(!victim.is_locked(), "its lock is another one by now");
        });
        until("the child has looked", || words.told(0));
        let place = victim.key();
        drop(victim);
        let others: Vec<RawLock> = (0..50).map(|_| RawLock::create(false).unwrap()).collect();
        assert!(others.iter().all(|lock| lock.acquire(&mut Wait::now()).is_ok()));
        assert!(others.iter().all(|lock| lock.key() != place));
        words.tell(1);
        assert_eq!(child.wait(), Ended::WELL);
        words.tell(2);
    });
}

#[cfg(feature = "kill-points")]
#[test]
fn nobody_waits_for_one_who_is_stopped_while_it_makes_or_drops_an_object() {
    use tasuki::kill_points::{KillPoint, arm_stop};
    let _watchdog = watchdog();
    in_own_process(|| {
        for point in [KillPoint::SlotTaken, KillPoint::SlotHeld, KillPoint::SlotDropped] {
            let mut kept: Vec<_> = (0..100).map(|_| RawLock::create(false).unwrap()).collect();
            let descriptors = descriptor_count();
            let mut stopped = fork(|| {
                arm_stop(point, 1);
                drop(RawLock::create(false).unwrap());
            });
            stopped.wait_until_stopped();
            // Drops and makes, in the arena that the stopped one is inside of.
            drop(kept.drain(..50));
            kept.extend((0..200).map(|_| RawLock::create(false).unwrap()));
            for lock in &kept {
                let _ = lock.acquire(&mut Wait::now()).unwrap();
                assert!(lock.release());
            }
            stopped.signal(libc::SIGCONT);
            assert_eq!(stopped.wait(), Ended::WELL);
            drop(kept);
            // What could not be left meanwhile was left with the next one.
            let again: Vec<_> = (0..4000).map(|_| RawLock::create(false).unwrap()).collect();
            assert!(descriptor_count() <= descriptors + 2, "slots were lost");
            drop(again);
        }
    });
}

/// Bytes of memory of the arenas that middle-sized objects share, as far as this process has them.
#[cfg(feature = "kill-points")]
fn memory_of_pages() -> u64 {
    use std::os::unix::fs::MetadataExt;
    let is_one = |path: &std::path::PathBuf| {
        let name = std::fs::read_link(path).unwrap_or_default();
        name.to_string_lossy().contains("tasuki:arena:medium")
    };
    let all = std::fs::read_dir("/proc/self/fd").unwrap();
    let arenas = all.map(|entry| entry.unwrap().path()).filter(is_one);
    arenas.map(|path| std::fs::metadata(path).unwrap().blocks() * 512).sum()
}

#[cfg(feature = "kill-points")]
#[test]
fn whoever_is_killed_while_pages_come_and_go_leaves_them_to_the_next_one_and_to_the_kernel() {
    use tasuki::kill_points::{KillPoint, arm};
    const PAGES: usize = 60;
    /// What free slots may keep.
    const KEPT: u64 = 256 * 4096;
    let _watchdog = watchdog();
    let fill = |count: usize| -> Vec<Array<u64>> {
        (0..count).map(|_| Array::from_slice(&[u64::MAX; PAGES * 500]).unwrap()).collect()
    };
    in_own_process(|| {
        for point in [
            KillPoint::SlotAsked,
            KillPoint::SlotBacked,
            KillPoint::SlotTaken,
            KillPoint::SlotHeld,
            KillPoint::SlotDropped,
            KillPoint::SlotHeadFreed,
            KillPoint::SlotBare,
        ] {
            let ours = fill(1); // the arena that the children know, too
            let before = memory_of_pages();
            for nth in [1, 2, 5, 9] {
                let mut victim = fork(|| {
                    arm(point, nth);
                    drop((fill(20), fill(20)));
                });
                assert_eq!(victim.wait(), Ended::DEAD, "{point:?} {nth}");
                let fresh: Vec<Array<u64>> =
                    (0..20).map(|_| Array::new(PAGES * 500).unwrap()).collect();
                assert!(fresh.iter().all(|array| array.to_vec().iter().all(|&word| word == 0)));
            }
            // Fills the arena, so that those of the dead are looked for, which is done once a second at most.
            std::thread::sleep(std::time::Duration::from_millis(1100));
            drop(fill(4096 / PAGES + 1));
            let left = memory_of_pages().saturating_sub(before);
            assert!(left <= KEPT, "{point:?}: {left} bytes more");
            assert!(ours[0].to_vec().iter().all(|&word| word == u64::MAX));
        }
    });
}

#[cfg(feature = "kill-points")]
#[test]
fn no_more_pages_are_kept_than_may_be_however_objects_come_and_go() {
    use tasuki::kill_points::{KillPoint, arm};
    const PAGES: usize = 60;
    /// What free slots may keep.
    const KEPT: u64 = 256 * 4096;
    let _watchdog = watchdog();
    let make = || Array::from_slice(&[u64::MAX; PAGES * 512 - 100]).unwrap();
    in_own_process(|| {
        drop(make()); // the arena that the victim knows, too, without having anything in it
        let words = support::Words::new(1);
        let mut victim = fork(|| {
            until("its turn", || words.told(0));
            arm(KillPoint::SlotReady, 1);
            drop(make());
        });
        victim.wait_until_asleep();
        // The arena's own tables, with the rows of both.
        let tables = memory_of_pages() - (PAGES * 4096) as u64 + (16 << 10);
        let mut arrays: Vec<_> = (0..30).map(|_| make()).collect();
        let check = |alive: usize, what: &str| {
            let (memory, most) = (memory_of_pages(), (alive * PAGES * 4096) as u64 + KEPT + tables);
            assert!(memory <= most, "{what}: {memory} bytes, which should be {most} at most");
        };
        // As many are kept as may be, and the next one is killed while it takes some of them.
        arrays.drain(..4);
        words.tell(0);
        assert_eq!(victim.wait(), Ended::DEAD);
        arrays.drain(..1);
        check(25, "killed");
        // The next ones find pages that are kept, and then go where there are none.
        for _ in 0..6 {
            arrays.drain(..4);
            arrays.extend((0..4).map(|_| make()));
            check(25, "come and go");
        }
    });
}
