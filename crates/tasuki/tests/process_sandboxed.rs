//! Where a sandbox refuses what newer kernels have, or /proc: the dead are known all the same.
#![allow(unsafe_code)] // seccomp, namespaces and chroot in forked children

mod support;

use std::ffi::CString;
use std::time::Duration;

use support::{Child, Ended, Words, fork, in_own_process, until, watchdog_of};
use tasuki::raw::{Acquired, QueueOptions, RawLock, RawQueue, RawValue, Wait};

/// Lets the program decide on each system call of this process from now on, and of its children.
fn filter_calls(program: &mut [libc::sock_filter]) {
    let filter =
        libc::sock_fprog { len: program.len() as libc::c_ushort, filter: program.as_mut_ptr() };
    // SAFETY: the filter lives through the call that copies it.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(
            libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter),
            0
        );
    }
}

/// Makes a system call fail with EPERM in this process from now on, and in its children.
fn refuse(call: libc::c_long) {
    let instruction = |code: u32, jump_true, jump_false, k| libc::sock_filter {
        code: code as u16,
        jt: jump_true,
        jf: jump_false,
        k,
    };
    let errno = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    let mut program = [
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, call as u32),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, errno),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    filter_calls(&mut program);
}

/// Makes the kernel refuse memory from now on when it is asked for a single page of a file.
fn refuse_single_pages() {
    let instruction = |code: u32, jump_false, k| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: jump_false,
        k,
    };
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let is = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let give = libc::BPF_RET | libc::BPF_K;
    // The number of the call, and the low half of its fourth argument, a length.
    let length = if cfg!(target_endian = "little") { 16 + 3 * 8 } else { 16 + 3 * 8 + 4 };
    let mut program = [
        instruction(load, 0, 0),
        instruction(is, 3, libc::SYS_fallocate as u32),
        instruction(load, 0, length),
        instruction(is, 1, 4096),
        instruction(give, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSPC as u32),
        instruction(give, 0, libc::SECCOMP_RET_ALLOW),
    ];
    filter_calls(&mut program);
}

#[test]
fn an_object_that_gets_no_memory_leaves_none_behind() {
    let _watchdog = watchdog_of(Duration::from_secs(120));
    support::in_own_process(|| {
        let arenas = || {
            let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
            maps.lines().filter(|line| line.contains("tasuki:arena")).count()
        };
        let before = (support::descriptor_count(), arenas());
        // The arena gets its memory, and this process none to say in it what it holds.
        refuse_single_pages();
        for size in [1, 9000, 1 << 20] {
            let error = RawValue::create(tasuki::raw::element::OPAQUE, size).unwrap_err();
            assert!(error.to_string().contains("memory"), "{error}");
            assert_eq!((support::descriptor_count(), arenas()), before, "{size} bytes");
        }
    });
}

/// Takes /proc and everything else away; false where the system does not let a user do that.
fn live_in_an_empty_folder() -> bool {
    let folder = std::env::temp_dir().join(format!("tasuki-empty-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let path = CString::new(folder.to_str().unwrap()).unwrap();
    // SAFETY: C strings that live through the calls; this process has one thread.
    let moved = unsafe {
        (libc::geteuid() == 0 || libc::unshare(libc::CLONE_NEWUSER) == 0)
            && libc::chdir(path.as_ptr()) == 0
            // Removed while it is entered: nothing is left of it, however this process ends.
            && libc::rmdir(path.as_ptr()) == 0
            && libc::chroot(c".".as_ptr()) == 0
    };
    let _ = std::fs::remove_dir(&folder);
    moved
}

/// A child that holds the lock and is killed. Waited for, or left as a zombie.
fn killed_with(lock: &RawLock, is_waited_for: bool) -> Child {
    let held = Words::new(1);
    let mut child = fork(|| {
        let _ = lock.acquire(&mut Wait::now()).unwrap();
        held.tell(0);
        std::thread::sleep(Duration::from_secs(600));
    });
    until("the lock is held", || held.told(0));
    child.kill();
    if is_waited_for {
        assert_eq!(child.wait(), Ended::DEAD);
    }
    child
}

fn the_dead_are_known_and_the_living_are_not_robbed() {
    for is_waited_for in [true, false] {
        let lock = RawLock::create(false).unwrap();
        let dead = killed_with(&lock, is_waited_for);
        match lock.acquire(&mut Wait::timeout(support::NEVER)) {
            Ok(Acquired::OwnerDied(death)) => assert_eq!(death.pid(), dead.pid()),
            other => panic!("waited for: {is_waited_for}: {other:?}"),
        }
    }
    let lock = RawLock::create(false).unwrap();
    let words = Words::new(2);
    let mut owner = fork(|| {
        let _ = lock.acquire(&mut Wait::now()).unwrap();
        words.tell(0);
        until("the end", || words.told(1));
    });
    until("the lock is held", || words.told(0));
    assert!(lock.acquire(&mut Wait::timeout(Duration::from_millis(1200))).is_err());
    words.tell(1);
    assert_eq!(owner.wait(), Ended::WELL);
}

#[test]
fn without_pidfds() {
    let _watchdog = watchdog_of(Duration::from_secs(120));
    in_own_process(|| {
        refuse(libc::SYS_pidfd_open);
        the_dead_are_known_and_the_living_are_not_robbed();
    });
}

#[test]
fn tasks_of_the_dead_are_known_without_pidfds() {
    let _watchdog = watchdog_of(Duration::from_secs(120));
    in_own_process(|| {
        refuse(libc::SYS_pidfd_open);
        let queue =
            RawQueue::create(QueueOptions { joinable: true, ..QueueOptions::default() }).unwrap();
        queue.put(1, &[b"task"], &[], &mut Wait::now()).unwrap();
        let mut taker = fork(|| {
            drop(queue.get(&mut Vec::new(), &mut Wait::now()).unwrap());
            support::die();
        });
        assert_eq!(taker.wait(), Ended::DEAD);
        let lost = queue.join(&mut Wait::timeout(support::NEVER)).unwrap_err();
        assert!(format!("{lost:?}").contains("Lost"), "{lost:?}");
    });
}

#[test]
fn without_proc() {
    let _watchdog = watchdog_of(Duration::from_secs(120));
    in_own_process(|| {
        if !live_in_an_empty_folder() {
            eprintln!("not tried: this system lets nobody leave its files");
            return;
        }
        // With pidfds, and without them.
        the_dead_are_known_and_the_living_are_not_robbed();
        refuse(libc::SYS_pidfd_open);
        the_dead_are_known_and_the_living_are_not_robbed();
        // Everything can be made, used and handed over.
        let queue = RawQueue::create(QueueOptions::default()).unwrap();
        queue.put(1, &[b"text"], &[], &mut Wait::now()).unwrap();
        // Without /proc a message on its way keeps nothing alive: its sender does.
        let array = RawValue::create_array(0x24, 4, 10).unwrap();
        let mut table = tasuki::protocol::transfer::Outgoing::default();
        let records = [queue.record(&mut table).unwrap(), array.record(&mut table).unwrap()];
        let fds = table.into_descriptors();
        for record in &records {
            let descriptor =
                &mut |index: u32| Ok(fds[index as usize].try_clone().expect("a descriptor more"));
            tasuki::raw::RawHandle::open(record, descriptor).unwrap();
        }
    });
}

#[test]
fn a_child_in_another_pid_namespace_neither_robs_nor_is_robbed() {
    let _watchdog = watchdog_of(Duration::from_secs(120));
    in_own_process(|| {
        let (lock, queue) =
            (RawLock::create(false).unwrap(), RawQueue::create(QueueOptions::default()).unwrap());
        let _ = lock.acquire(&mut Wait::now()).unwrap();
        assert!(lock.release());
        queue.put(1, &[b"text"], &[], &mut Wait::now()).unwrap();
        let space = libc::CLONE_NEWPID;
        // SAFETY: the next child will be in another namespace; this process has one thread.
        let moved =
            unsafe { libc::unshare(space) == 0 || libc::unshare(libc::CLONE_NEWUSER | space) == 0 };
        if !moved {
            eprintln!("not tried: this system lets nobody make a pid namespace");
            return;
        }
        let mut stranger = fork(|| {
            let refused = lock.acquire(&mut Wait::timeout(support::NEVER)).unwrap_err();
            assert!(format!("{refused:?}").contains("ForeignNamespace"), "{refused:?}");
            let refused = queue.put(1, &[b"more"], &[], &mut Wait::now()).unwrap_err();
            assert!(format!("{refused:?}").contains("ForeignNamespace"), "{refused:?}");
            let refused = queue.get(&mut Vec::new(), &mut Wait::now()).unwrap_err();
            assert!(format!("{refused:?}").contains("ForeignNamespace"), "{refused:?}");
            // What it makes itself is its own.
            let own = RawLock::create(false).unwrap();
            let _ = own.acquire(&mut Wait::now()).unwrap();
            let own = RawQueue::create(QueueOptions::default()).unwrap();
            own.put(1, &[b"text"], &[], &mut Wait::now()).unwrap();
            own.get(&mut Vec::new(), &mut Wait::now()).unwrap();
        });
        assert_eq!(stranger.wait(), Ended::WELL);
        assert!(matches!(lock.acquire(&mut Wait::now()), Ok(Acquired::Clean)));
        queue.get(&mut Vec::new(), &mut Wait::now()).unwrap();
    });
}

#[test]
fn the_living_in_another_time_namespace_are_not_robbed() {
    let _watchdog = watchdog_of(Duration::from_secs(120));
    in_own_process(|| {
        refuse(libc::SYS_pidfd_open);
        let (ours, theirs) = (RawLock::create(false).unwrap(), RawLock::create(false).unwrap());
        let _ = ours.acquire(&mut Wait::now()).unwrap();
        // SAFETY: the next child will be in another namespace; this process has one thread.
        let moved = unsafe { libc::unshare(libc::CLONE_NEWTIME) == 0 }
            && std::fs::write("/proc/self/timens_offsets", "boottime 100000 0").is_ok();
        if !moved {
            eprintln!("not tried: this system lets nobody make a time namespace");
            return;
        }
        let words = Words::new(2);
        let mut stranger = fork(|| {
            assert!(ours.acquire(&mut Wait::timeout(Duration::from_millis(1200))).is_err());
            let _ = theirs.acquire(&mut Wait::now()).unwrap();
            words.tell(0);
            until("the end", || words.told(1));
            // In one namespace the dead are known.
            the_dead_are_known_and_the_living_are_not_robbed();
        });
        until("the lock is held", || words.told(0));
        assert!(theirs.acquire(&mut Wait::timeout(Duration::from_millis(1200))).is_err());
        words.tell(1);
        assert_eq!(stranger.wait(), Ended::WELL);
        // Across namespaces a process that is gone is one.
        assert!(matches!(
            theirs.acquire(&mut Wait::timeout(support::NEVER)),
            Ok(Acquired::OwnerDied(_))
        ));
    });
}

#[test]
fn without_the_calls_for_limits_and_random_bytes() {
    let _watchdog = watchdog_of(Duration::from_secs(120));
    in_own_process(|| {
        refuse(libc::SYS_prlimit64);
        refuse(libc::SYS_getrandom);
        let queue = RawQueue::create(QueueOptions::default()).unwrap();
        queue.put(1, &[&[7; 1 << 20]], &[], &mut Wait::now()).unwrap();
        let taken = queue.get(&mut Vec::new(), &mut Wait::now()).unwrap();
        assert_eq!(taken.large.unwrap().to_vec(), [7; 1 << 20]);
        RawValue::create_array(0x24, 4, 10).unwrap();
    });
}
