//! Nothing is left behind, however the processes ended: no memory, no name, no socket, no descriptor.

mod support;

use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

use serde::{Deserialize, Serialize};
use support::{Ended, Words, descriptor_count, fork, in_own_process, until, watchdog};
use tasuki::{Lock, Process, Queue, Value};

tasuki::enable_tests!();

/// The processes that have a segment of this label mapped or open, as far as this one may look.
fn who_has(label: &str) -> Vec<u32> {
    let name = format!("memfd:tasuki:queue:{label}");
    let pids = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
        let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten();
        maps.contains(&name)
            || fds.flatten().any(|fd| {
                std::fs::read_link(fd.path())
                    .is_ok_and(|target| target.to_string_lossy().contains(&name))
            })
    })
    .collect()
}

/// The unix sockets of this kernel that are still there, of these inodes.
fn sockets_of(inodes: &BTreeSet<u64>) -> Vec<u64> {
    // Columns: number, references, protocol, flags, type, state, inode, path.
    let table = std::fs::read_to_string("/proc/net/unix").unwrap();
    let inode = |line: &str| line.split_ascii_whitespace().nth(6)?.parse().ok();
    table.lines().filter_map(inode).filter(|inode| inodes.contains(inode)).collect()
}

/// Adds the inodes of this process's sockets to the list that the parent reads.
fn tell_sockets(list: &[AtomicU64]) {
    for fd in support::descriptors() {
        let link = std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap_or_default();
        let link = link.to_string_lossy();
        let inode = link.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
        let Some(inode) = inode.and_then(|inode| inode.parse::<u64>().ok()) else { continue };
        for place in list {
            let before = place.compare_exchange(0, inode, SeqCst, SeqCst).unwrap_or_else(|it| it);
            if before == 0 || before == inode {
                break;
            }
        }
    }
}

fn shared_memory_files() -> BTreeSet<String> {
    let files = std::fs::read_dir("/dev/shm").into_iter().flatten().flatten();
    let names = files.map(|file| file.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.contains("tasuki")).collect()
}

type Everything = (Queue<u64>, Lock<u64>, Value<f64>);

/// A queue that travels in itself: it would keep itself alive, were it not for the kernel's collector.
#[derive(Serialize, Deserialize)]
struct Snake(Queue<Snake>);

/// Makes objects, holds locks, and puts handles into flight, of the queue that they travel in, too.
fn make_a_mess(label: &str, sockets: &[AtomicU64]) -> impl Sized {
    let queue = Queue::<Option<Everything>>::builder().label(label).create().unwrap();
    let snake = Queue::<Snake>::builder().label(label).create().unwrap();
    let pair = Queue::<Snake>::builder().label(label).create().unwrap();
    for n in 0..20 {
        let inner = Queue::builder().label(label).create().unwrap();
        tell_sockets(sockets);
        inner.put(n).unwrap();
        let lock = Lock::new(n).unwrap();
        std::mem::forget(lock.lock());
        queue.put(Some((inner, lock, Value::new(0.5).unwrap()))).unwrap();
        queue.put(None).unwrap();
        snake.put(Snake(snake.clone())).unwrap();
    }
    snake.put(Snake(pair.clone())).unwrap();
    pair.put(Snake(snake.clone())).unwrap();
    tell_sockets(sockets);
    (queue, snake, pair)
}

fn nothing_is_left(label: &str, sockets: &Words) {
    let inodes: BTreeSet<u64> =
        sockets.iter().map(|inode| inode.load(SeqCst)).filter(|&inode| inode != 0).collect();
    assert!(inodes.len() >= 20, "{inodes:?}");
    // Dead processes give back their memory at the kernel's leisure; what went round in circles is collected when the
    // next socket closes.
    until("no process has its memory", || who_has(label).is_empty());
    until("no socket is left", || {
        drop(Queue::<u8>::unbounded());
        sockets_of(&inodes).is_empty()
    });
    assert_eq!(shared_memory_files(), BTreeSet::new());
}

/// Sends SIGKILL to a whole group of processes.
fn kill_group(leader: u32) {
    // SAFETY: a group that this test made.
    #[allow(unsafe_code)]
    let failed = unsafe { libc::kill(-(leader as i32), libc::SIGKILL) };
    assert_eq!(failed, 0);
}

#[test]
fn nothing_is_left_of_a_group_of_processes_that_was_killed() {
    let _watchdog = watchdog();
    let label = format!("killed-{}", std::process::id());
    let (sockets, ready) = (Words::new(1000), Words::new(1));
    let mut leader = fork(|| {
        // SAFETY: makes this child the leader of a group.
        #[allow(unsafe_code)]
        unsafe {
            libc::setpgid(0, 0)
        };
        let objects = make_a_mess(&label, &sockets);
        let _others: Vec<_> = (0..3)
            .map(|_| {
                fork(|| {
                    let own = make_a_mess(&label, &sockets);
                    ready[0].fetch_add(1, SeqCst);
                    loop {
                        std::hint::black_box((&objects, &own));
                        std::thread::park();
                    }
                })
            })
            .collect();
        support::park()
    });
    until("all are ready", || ready[0].load(SeqCst) == 3);
    assert!(who_has(&label).len() >= 4);
    kill_group(leader.pid());
    assert_eq!(leader.wait(), Ended::DEAD);
    nothing_is_left(&label, &sockets);
}

#[tasuki::task]
fn be_killed_with(handles: Queue<Everything>) {
    let (queue, lock, _value) = handles.get().unwrap();
    let _guard = lock.lock();
    queue.get().unwrap();
    std::process::abort();
}

#[test]
fn nothing_is_left_of_started_processes_either() {
    let _watchdog = watchdog();
    let label = format!("started-{}", std::process::id());
    let handles = Queue::builder().label(&label).create().unwrap();
    for n in 0..5 {
        let queue = Queue::builder().label(&label).create().unwrap();
        queue.put(n).unwrap();
        let lock = Lock::new(n).unwrap();
        handles.put((queue, lock, Value::new(1.0).unwrap())).unwrap();
        Process::spawn(be_killed_with, (handles.clone(),)).unwrap().join().unwrap_err();
    }
    drop(handles);
    until("no process has its memory", || who_has(&label).is_empty());
}

#[test]
fn nothing_is_left_of_a_process_that_drops_everything() {
    let _watchdog = watchdog();
    let label = format!("dropped-{}", std::process::id());
    let sockets = Words::new(1000);
    in_own_process(|| {
        drop(Queue::<u8>::unbounded());
        drop(Lock::new(0_u8));
        let before = descriptor_count();
        drop(make_a_mess(&label, &sockets));
        // An arena stays for the next small object, and one per lock that is held stays as long as that is.
        assert!(descriptor_count() <= before + 2, "{} and {before}", descriptor_count());
        nothing_is_left(&label, &sockets);
    });
}
