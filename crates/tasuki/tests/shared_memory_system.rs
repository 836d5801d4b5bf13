//! Memory with a name beside a system that does not give it: full, small, read-only and missing /dev/shm, signals,
//! kills.
#![allow(unsafe_code)] // namespaces, mounts and timers

mod support;

use std::ffi::CString;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use support::{Ended, Words, descriptor_count, end_well, fork, in_own_process, resident, watchdog};
use tasuki::raw::shared_memory::RawSharedMemory;
use tasuki::{Error, SharedMemory};

fn name(of: &str) -> String {
    format!("tasuki-test-{}-{of}", std::process::id())
}

fn refusal<T>(result: Result<T, Error>) -> (ErrorKind, String) {
    match result {
        Err(error) => match &error {
            Error::SharedMemory { source, .. } => (source.kind(), error.to_string()),
            _ => panic!("another error: {error}"),
        },
        Ok(_) => panic!("no error"),
    }
}

fn checked(what: &str, result: i32) {
    assert_eq!(result, 0, "{what}: {}", io::Error::last_os_error());
}

/// Leaves this process alone with its mounts, as root of a namespace of its own. False where that is not allowed.
fn own_mounts() -> bool {
    // SAFETY: plain system calls about this process, which has one thread.
    let (user, group) = unsafe { (libc::getuid(), libc::getgid()) };
    // SAFETY: as above.
    if unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS) } != 0 {
        return false;
    }
    let write = |file: &str, text: String| std::fs::write(format!("/proc/self/{file}"), text);
    let _ = write("setgroups", "deny".into());
    write("uid_map", format!("0 {user} 1")).is_ok()
        && write("gid_map", format!("0 {group} 1")).is_ok()
}

fn mount_tmpfs(at: &str, flags: libc::c_ulong, options: &str) {
    mount("tmpfs", at, flags, options);
}

fn mount(kind: &str, at: &str, flags: libc::c_ulong, options: &str) {
    let [kind, at, options] = [kind, at, options].map(|text| CString::new(text).unwrap());
    // SAFETY: all arguments are strings that live.
    let result = unsafe {
        libc::mount(c"none".as_ptr(), at.as_ptr(), kind.as_ptr(), flags, options.as_ptr().cast())
    };
    checked("mount", result);
}

#[test]
fn a_small_full_read_only_or_missing_place_is_an_error_and_no_sigbus() {
    let _watchdog = watchdog();
    in_own_process(|| {
        if !own_mounts() {
            // Without mounts of our own: more than there is, in the place that there is.
            eprintln!("no namespaces for tests here: trying with the system's own /dev/shm only");
            let (kind, text) = refusal(SharedMemory::new(1 << 50));
            assert!(
                kind == ErrorKind::StorageFull && text.contains("/dev/shm is too small"),
                "{text}"
            );
            return;
        }
        mount_tmpfs("/dev/shm", 0, "size=1m");
        let half = SharedMemory::new(512 << 10).unwrap();
        for len in [(512 << 10) + 1, 2 << 20, 1 << 40] {
            let (kind, text) = refusal(SharedMemory::new(len));
            assert!(kind == ErrorKind::StorageFull && text.contains("--shm-size"), "{text}");
        }
        assert_eq!(
            std::fs::read_dir("/dev/shm").unwrap().count(),
            1,
            "nothing is left of the refused"
        );
        let other_half = SharedMemory::new(512 << 10).unwrap();
        for memory in [&half, &other_half] {
            memory.write(0, &vec![1; memory.len()]).unwrap();
        }
        drop((half, other_half));
        SharedMemory::new(1 << 20).unwrap();

        mount_tmpfs("/dev/shm", 0, "size=0"); // without a limit
        let (kind, text) = refusal(SharedMemory::new(1 << 50));
        assert!(kind == ErrorKind::OutOfMemory && text.contains("cgroup"), "{text}");

        mount_tmpfs("/dev/shm", libc::MS_RDONLY, "size=1m");
        let (kind, text) = refusal(SharedMemory::new(1));
        assert!(kind == ErrorKind::ReadOnlyFilesystem && text.contains("read-only"), "{text}");

        mount_tmpfs("/dev", 0, "size=1m");
        for refused in [SharedMemory::new(1), SharedMemory::open("any")] {
            let (kind, text) = refusal(refused);
            assert!(kind == ErrorKind::NotFound && text.contains("there is no /dev/shm"), "{text}");
        }
    });
}

#[test]
fn a_place_that_reserves_nothing_and_one_without_proc_will_do() {
    let _watchdog = watchdog();
    let works = || {
        let memory = SharedMemory::new(300_000).unwrap();
        assert_eq!(
            std::fs::metadata(format!("/dev/shm/{}", memory.name())).unwrap().len(),
            300_000
        );
        let same = SharedMemory::open(memory.name()).unwrap();
        same.write(299_999, &[7]).unwrap();
        let name = memory.name().to_owned();
        assert_eq!(refusal(SharedMemory::create(&name, 1)).0, ErrorKind::AlreadyExists);
        drop(memory);
        assert_eq!(refusal(SharedMemory::open(&name)).0, ErrorKind::NotFound);
    };
    in_own_process(|| {
        works();
        if !own_mounts() {
            eprintln!("no namespaces for tests here: tried with the system's own /dev/shm only");
            return;
        }
        mount("ramfs", "/dev/shm", 0, "");
        works();
        // Then a file without a name cannot be given one.
        mount_tmpfs("/dev/shm", 0, "size=1m");
        mount_tmpfs("/proc", 0, "size=1m");
        works();
        let (kind, _) = refusal(SharedMemory::new(2 << 20));
        assert_eq!(kind, ErrorKind::StorageFull);
        assert_eq!(std::fs::read_dir("/dev/shm").unwrap().count(), 0);
    });
}

static SIGNALS: AtomicU64 = AtomicU64::new(0);

extern "C" fn count(_signal: i32) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

/// A signal in each such time from now on.
fn storm(microseconds: i64) {
    // SAFETY: the handler only adds to an atomic; all-zero is a valid sigaction.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = count as extern "C" fn(i32) as usize;
        checked("sigaction", libc::sigaction(libc::SIGALRM, &raw const action, ptr::null_mut()));
        let time = libc::timeval { tv_sec: 0, tv_usec: microseconds };
        let timer = libc::itimerval { it_interval: time, it_value: time };
        checked("setitimer", libc::setitimer(libc::ITIMER_REAL, &raw const timer, ptr::null_mut()));
    }
}

const LARGE: usize = 256 << 20;

#[test]
fn steady_signals_do_not_keep_a_large_reservation_from_ending() {
    let _watchdog = watchdog();
    in_own_process(|| {
        storm(50);
        let name = name("storm");
        let memory = RawSharedMemory::create(&name, LARGE, 0o600, &[], b"", &mut || Ok(()));
        let file = std::fs::metadata(format!("/dev/shm/{name}"));
        let _ = RawSharedMemory::unlink(&name);
        assert_eq!(memory.unwrap().len(), LARGE);
        let file = file.unwrap();
        assert_eq!((file.len(), file.blocks() * 512), (LARGE as u64, LARGE as u64));
        assert!(SIGNALS.load(Ordering::Relaxed) > 0, "there was no storm");
    });
}

#[test]
fn a_large_reservation_can_be_called_off_and_nothing_is_left() {
    let _watchdog = watchdog();
    let name = name("called-off");
    let mut asked = 0;
    let called_off = RawSharedMemory::create(&name, LARGE, 0o600, &[], b"", &mut || {
        asked += 1;
        if asked == 2 { Err(ErrorKind::Interrupted.into()) } else { Ok(()) }
    });
    assert_eq!(refusal(called_off).0, ErrorKind::Interrupted);
    assert_eq!(asked, 2);
    assert!(!RawSharedMemory::exists(&name));
}

#[test]
fn ten_thousand_creations_leave_no_descriptor_no_mapping_and_no_memory() {
    let _watchdog = watchdog();
    in_own_process(|| {
        let mappings = || std::fs::read_to_string("/proc/self/maps").unwrap().lines().count();
        let round = || {
            let memory = SharedMemory::new(10_000).unwrap();
            let same = SharedMemory::open(memory.name()).unwrap();
            same.write(0, &[1; 10_000]).unwrap();
        };
        (0..100).for_each(|_| round());
        let before = (descriptor_count(), mappings(), resident());
        (0..10_000).for_each(|_| round());
        assert_eq!((descriptor_count(), mappings()), (before.0, before.1));
        assert!(resident() < before.2 + (4 << 20));
    });
}

#[test]
fn live_memories_take_no_descriptors() {
    let _watchdog = watchdog();
    in_own_process(|| {
        let before = descriptor_count();
        let memories: Vec<SharedMemory> =
            (0..2000).map(|_| SharedMemory::new(1).unwrap()).collect();
        assert_eq!(descriptor_count(), before);
        drop(memories);
    });
}

#[test]
fn one_of_many_creators_of_a_name_gets_it_and_the_others_find_it_whole() {
    let _watchdog = watchdog();
    let name = name("race");
    let won = Words::new(1);
    for _ in 0..50 {
        won[0].store(0, Ordering::SeqCst);
        let contend = || match RawSharedMemory::create(
            &name,
            70_000,
            0o600,
            &[],
            &[7; 70_000],
            &mut || Ok(()),
        ) {
            Ok(_) => {
                won[0].fetch_add(1, Ordering::SeqCst);
            }
            Err(error) => {
                assert_eq!(refusal(Err::<(), _>(error)).0, ErrorKind::AlreadyExists);
                let memory = SharedMemory::open(&name).unwrap();
                let mut bytes = vec![0; memory.len()];
                memory.read(0, &mut bytes).unwrap();
                assert_eq!(bytes, [7; 70_000]);
            }
        };
        let mut children: Vec<_> = (0..4).map(|_| fork(contend)).collect();
        end_well(&mut children);
        assert_eq!(won[0].load(Ordering::SeqCst), 1);
        RawSharedMemory::unlink(&name).unwrap();
    }
}

#[cfg(feature = "kill-points")]
#[test]
fn a_creator_killed_before_the_name_leaves_nothing_and_after_it_something_whole() {
    use tasuki::kill_points::{KillPoint, arm};
    let _watchdog = watchdog();
    let name = name("killed");
    let dies_at = |point| {
        let mut victim = fork(|| {
            arm(point, 1);
            RawSharedMemory::create(&name, 5000, 0o600, &[], &[7; 5000], &mut || Ok(())).unwrap();
        });
        assert_eq!(victim.wait(), Ended::DEAD, "{point:?} was not reached");
    };
    dies_at(KillPoint::SharedMemoryFilled);
    assert!(!RawSharedMemory::exists(&name));
    dies_at(KillPoint::SharedMemoryNamed);
    let memory = SharedMemory::open(&name).unwrap();
    let mut bytes = [0; 5000];
    memory.read(0, &mut bytes).unwrap();
    assert_eq!(bytes, [7; 5000]);
    memory.unlink().unwrap();
}

#[test]
fn the_next_program_sweeps_what_a_killed_one_left_and_nobody_has_open() {
    let _watchdog = watchdog();
    let (name, kept) = (name("left"), name("kept"));
    let created = Words::new(1);
    let mut creator = fork(|| {
        let memory = SharedMemory::create(&name, 5000).unwrap();
        SharedMemory::create(&kept, 5000).unwrap().keep();
        created.tell(0);
        std::thread::sleep(support::NEVER);
        drop(memory);
    });
    support::until("the child makes it", || created.told(0));
    // What a process does before it makes its first memory with a name.
    let next = || drop(tasuki::raw::shared_memory::sweep());
    let same = SharedMemory::open(&name).unwrap();
    next();
    assert!(RawSharedMemory::exists(&name), "its creator lives");
    creator.kill();
    creator.wait();
    next();
    assert!(RawSharedMemory::exists(&name), "somebody has it");
    drop(same);
    next();
    assert!(!RawSharedMemory::exists(&name));
    RawSharedMemory::unlink(&kept).unwrap();
}

#[test]
fn a_killed_opener_takes_nothing_with_it() {
    let _watchdog = watchdog();
    let memory = SharedMemory::new(100).unwrap();
    let opened = Words::new(1);
    let mut opener = fork(|| {
        let same = SharedMemory::open(memory.name()).unwrap();
        same.write(0, b"seen").unwrap();
        opened.tell(0);
        std::thread::sleep(support::NEVER);
    });
    support::until("the child opens it", || opened.told(0));
    opener.kill();
    assert_eq!(opener.wait(), Ended::DEAD);
    let mut word = [0; 4];
    SharedMemory::open(memory.name()).unwrap().read(0, &mut word).unwrap();
    assert_eq!(&word, b"seen");
}
