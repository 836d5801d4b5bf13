//! What a process promises while its program lives: typed arguments and results, an error that says
//! why there is none, and a name under which it is found.

mod support;

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use serde_bytes::ByteBuf;
use support::watchdog;
use tasuki::{Process, ProcessError};

tasuki::enable_tests!();

// --- arguments and results -----------------------------------------------------------------------

#[tasuki::task]
fn add(a: u64, b: u64) -> u64 {
    a + b
}

#[test]
fn a_result_comes_back() {
    let _watchdog = watchdog();
    let process = Process::spawn(add, (2, 40)).unwrap();
    assert_eq!(process.join().unwrap(), 42);
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Shape {
    Point,
    Circle { radius: f64, tags: BTreeMap<String, Vec<u8>> },
}

#[tasuki::task]
fn echo(shapes: Vec<Shape>, swap: (u8, Option<String>)) -> (Option<String>, Vec<Shape>, u8) {
    (swap.1, shapes, swap.0)
}

#[test]
fn structured_values_arrive_as_they_were() {
    let _watchdog = watchdog();
    let tags = BTreeMap::from([("a".to_owned(), vec![1, 2, 3]), (String::new(), vec![])]);
    let shapes = vec![Shape::Point, Shape::Circle { radius: 1.5, tags }];
    let process = Process::spawn(echo, (shapes.clone(), (7, Some("é\0".to_owned())))).unwrap();
    assert_eq!(process.join().unwrap(), (Some("é\0".to_owned()), shapes, 7));
}

#[tasuki::task]
fn nothing() {}

#[tasuki::task]
fn fails(why: String) -> Result<u8, String> {
    Err(why)
}

#[test]
fn no_arguments_no_result_and_results_that_are_errors() {
    let _watchdog = watchdog();
    Process::spawn(nothing, ()).unwrap().join().unwrap();
    let failed = Process::spawn(fails, ("no".to_owned(),)).unwrap().join().unwrap();
    assert_eq!(failed, Err("no".to_owned()));
}

#[allow(clippy::too_many_arguments)]
#[tasuki::task]
fn twelve(
    a: u8,
    b: u8,
    c: u8,
    d: u8,
    e: u8,
    f: u8,
    g: u8,
    h: u8,
    i: u8,
    j: u8,
    k: u8,
    l: u8,
) -> [u8; 12] {
    [a, b, c, d, e, f, g, h, i, j, k, l]
}

#[test]
fn twelve_arguments_keep_their_order() {
    let _watchdog = watchdog();
    let process = Process::spawn(twelve, (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)).unwrap();
    assert_eq!(process.join().unwrap(), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
}

#[tasuki::task]
fn reversed(mut bytes: ByteBuf) -> ByteBuf {
    bytes.reverse();
    bytes
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8).collect()
}

#[test]
fn large_arguments_and_results_travel() {
    let _watchdog = watchdog();
    // Around the size that still fits into the socket, and far beyond it.
    for length in [65_000, 65_480, 65_536, 70_000, 100 << 20] {
        let sent = pattern(length);
        let process = Process::spawn(reversed, (ByteBuf::from(sent.clone()),)).unwrap();
        let mut received = process.join().unwrap().into_vec();
        received.reverse();
        assert!(received == sent, "{length} bytes came back different");
    }
}

#[tasuki::task]
fn large(length: usize) -> ByteBuf {
    ByteBuf::from(pattern(length))
}

#[test]
fn a_process_ends_although_nobody_reads_its_result() {
    let _watchdog = watchdog();
    let processes: Vec<_> =
        (0..4).map(|i| Process::spawn(large, (i * 3_000_000,)).unwrap()).collect();
    for process in &processes {
        assert!(process.wait().unwrap().success(), "ends before anybody took its result");
    }
    for (i, process) in processes.into_iter().enumerate() {
        assert!(process.join().unwrap().into_vec() == pattern(i * 3_000_000));
    }
}

/// Refuses to be written, or to be read, on demand.
#[derive(Debug, Clone, Copy)]
struct Stubborn(bool);

impl Serialize for Stubborn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 { Err(ser::Error::custom("I stay here")) } else { serializer.serialize_u8(0) }
    }
}

impl<'de> Deserialize<'de> for Stubborn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Stubborn, D::Error> {
        u8::deserialize(deserializer)?;
        Err(de::Error::custom("I stay away"))
    }
}

#[tasuki::task]
fn takes_stubborn(_one: Stubborn) {}

#[tasuki::task]
fn returns_stubborn(refuses: bool) -> Stubborn {
    Stubborn(refuses)
}

#[test]
fn values_that_cannot_travel_are_errors_and_not_hangs() {
    let _watchdog = watchdog();
    let error = Process::spawn(takes_stubborn, (Stubborn(true),)).unwrap_err();
    assert!(matches!(error, ProcessError::Arguments { .. }), "cannot be written: {error}");
    let error = Process::spawn(takes_stubborn, (Stubborn(false),)).unwrap().join().unwrap_err();
    assert!(matches!(error, ProcessError::Arguments { .. }), "cannot be read: {error}");
    let error = Process::spawn(returns_stubborn, (true,)).unwrap().join().unwrap_err();
    assert!(matches!(error, ProcessError::Result { .. }), "cannot be written: {error}");
    let error = Process::spawn(returns_stubborn, (false,)).unwrap().join().unwrap_err();
    assert!(matches!(error, ProcessError::Result { .. }), "cannot be read: {error}");
}

// --- ends ----------------------------------------------------------------------------------------

#[tasuki::task]
fn panics(message: String) {
    panic!("{message}");
}

#[test]
fn a_panic_is_an_error_with_message_and_place() {
    let _watchdog = watchdog();
    let process = Process::builder(panics, ("oh no".to_owned(),)).name("unlucky").spawn().unwrap();
    process.wait().unwrap();
    assert_eq!(process.exit_status().unwrap().code(), Some(101));
    let expected_pid = process.pid();
    let error = process.join().unwrap_err();
    let ProcessError::Panicked { pid, name, message, location: Some(location) } = &error else {
        panic!("{error}");
    };
    assert_eq!((*pid, &**name, &**message), (expected_pid, "unlucky", "oh no"));
    assert!(location.contains("process.rs:"), "{location}");
    let text = error.to_string();
    assert!(text.contains("unlucky") && text.contains("oh no") && text.contains(location));
}

#[tasuki::task]
fn panics_in_a_thread(rethrow: bool) -> String {
    match thread::spawn(|| panic!("in a thread")).join() {
        Err(panic) if rethrow => std::panic::resume_unwind(panic),
        Err(_) => "survived".to_owned(),
        Ok(()) => unreachable!(),
    }
}

#[test]
fn a_panic_of_another_thread_counts_only_when_it_reaches_the_task() {
    let _watchdog = watchdog();
    let process = Process::spawn(panics_in_a_thread, (false,)).unwrap();
    assert_eq!(process.join().unwrap(), "survived");
    let error = Process::spawn(panics_in_a_thread, (true,)).unwrap().join().unwrap_err();
    assert!(
        matches!(&error, ProcessError::Panicked { message, .. } if message == "in a thread"),
        "{error}"
    );
}

#[tasuki::task]
fn sleeps() {
    thread::sleep(Duration::from_secs(600));
}

#[test]
fn a_signal_is_an_error_that_names_it() {
    let _watchdog = watchdog();
    // Who runs the tests in the background may have SIGINT ignored, and children inherit that.
    // SAFETY: back to what a program has from the start.
    #[allow(unsafe_code)]
    unsafe {
        libc::signal(libc::SIGINT, libc::SIG_DFL)
    };
    for signal in [libc::SIGKILL, libc::SIGTERM, libc::SIGINT] {
        let process = Process::builder(sleeps, ()).name("victim").spawn().unwrap();
        match signal {
            libc::SIGKILL => process.kill().unwrap(),
            libc::SIGTERM => process.terminate().unwrap(),
            _ => process.interrupt().unwrap(),
        }
        let status = process.wait().unwrap();
        assert_eq!(status.signal(), Some(signal));
        assert_eq!(process.exit_status(), Some(status));
        process.kill().expect("a signal to an ended process goes nowhere");
        let error = process.join().unwrap_err();
        assert!(
            matches!(&error, ProcessError::Signaled { signal: s, name, .. }
                if *s == signal && name == "victim"),
            "{error}"
        );
        assert!(error.to_string().contains("SIG"), "{error}");
    }
}

#[tasuki::task]
fn aborts() {
    std::process::abort();
}

#[tasuki::task]
fn exits(code: i32) -> u8 {
    std::process::exit(code)
}

#[tasuki::task]
fn exits_from_a_thread(code: i32) {
    thread::spawn(move || std::process::exit(code));
    thread::sleep(Duration::from_secs(600));
}

#[test]
fn leaving_without_a_result_is_an_error() {
    let _watchdog = watchdog();
    let error = Process::spawn(aborts, ()).unwrap().join().unwrap_err();
    assert!(matches!(error, ProcessError::Signaled { signal: libc::SIGABRT, .. }), "{error}");
    for code in [0, 3, 255] {
        let error = Process::spawn(exits, (code,)).unwrap().join().unwrap_err();
        assert!(matches!(error, ProcessError::Exited { code: c, .. } if c == code), "{error}");
    }
    let error = Process::spawn(exits_from_a_thread, (4,)).unwrap().join().unwrap_err();
    assert!(matches!(error, ProcessError::Exited { code: 4, .. }), "{error}");
}

#[tasuki::task]
fn leaves_a_thread_behind() -> u8 {
    thread::spawn(|| thread::sleep(Duration::from_secs(600)));
    5
}

#[test]
fn a_process_does_not_wait_for_its_threads() {
    let _watchdog = watchdog();
    assert_eq!(Process::spawn(leaves_a_thread_behind, ()).unwrap().join().unwrap(), 5);
}

#[tasuki::task]
fn forks() -> u8 {
    // SAFETY: the process has one thread, so the child may go on as it likes.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        return 13;
    }
    let mut status = 0;
    // SAFETY: waits for the child just made, and `status` is ours.
    unsafe { libc::waitpid(pid, &mut status, 0) };
    7
}

#[test]
fn a_fork_of_a_task_does_not_answer_for_it() {
    let _watchdog = watchdog();
    assert_eq!(Process::spawn(forks, ()).unwrap().join().unwrap(), 7);
}

#[test]
fn join_timeout_gives_up_and_can_be_asked_again() {
    let _watchdog = watchdog();
    let process = Process::spawn(sleeps, ()).unwrap();
    assert!(process.join_timeout(Duration::ZERO).unwrap().is_none());
    assert!(process.join_timeout(Duration::from_millis(30)).unwrap().is_none());
    assert!(process.wait_timeout(Duration::from_millis(1)).unwrap().is_none());
    assert!(process.is_alive());
    assert!(process.exit_status().is_none());
    process.kill().unwrap();
    let error = process.join_timeout(Duration::from_secs(600)).unwrap_err();
    assert!(matches!(error, ProcessError::Signaled { .. }), "{error}");
    let again = process.join_timeout(Duration::MAX).unwrap_err();
    assert!(matches!(again, ProcessError::AlreadyTaken { .. }), "{again}");
}

#[test]
fn many_threads_may_wait_for_one_process() {
    let _watchdog = watchdog();
    let process = Process::spawn(add, (1, 1)).unwrap();
    thread::scope(|scope| {
        let waiters: Vec<_> = (0..8).map(|_| scope.spawn(|| process.wait().unwrap())).collect();
        assert!(waiters.into_iter().all(|waiter| waiter.join().unwrap().success()));
    });
    assert_eq!(process.join().unwrap(), 2);
}

#[test]
fn the_sentinel_is_readable_at_the_end() {
    let _watchdog = watchdog();
    let readable = |process: &Process<()>| {
        let mut fds = [rustix::event::PollFd::new(process, rustix::event::PollFlags::IN)];
        let none = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        rustix::event::poll(&mut fds, Some(&none)).unwrap() == 1
    };
    let process = Process::spawn(sleeps, ()).unwrap();
    assert!(!readable(&process));
    process.kill().unwrap();
    process.wait().unwrap();
    assert!(readable(&process));
    let _: std::os::fd::BorrowedFd<'_> = process.as_fd();
}

// --- what cannot start ---------------------------------------------------------------------------

fn not_a_task(n: u8) -> u8 {
    n
}

#[test]
fn a_function_that_is_no_task_is_refused_by_name() {
    let _watchdog = watchdog();
    let error = Process::spawn(not_a_task, (1,)).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, ProcessError::NotRegistered { .. }), "{text}");
    assert!(text.contains("process::not_a_task") && text.contains("#[tasuki::task]"), "{text}");
    let error = Process::spawn(|| 3_u8, ()).unwrap_err();
    assert!(matches!(error, ProcessError::NotRegistered { .. }), "a closure: {error}");
}

#[test]
fn two_tasks_of_one_name_are_refused() {
    let _watchdog = watchdog();
    let first = {
        #[tasuki::task]
        fn twin() {}
        Process::spawn(twin, ())
    };
    {
        #[tasuki::task]
        fn twin() {}
        twin();
    }
    let error = first.unwrap_err();
    assert!(matches!(error, ProcessError::Ambiguous { .. }), "{error}");
}

#[test]
fn a_task_may_stand_inside_a_function_or_module() {
    let _watchdog = watchdog();
    mod inner {
        #[tasuki::task]
        pub fn triple(n: u8) -> u8 {
            3 * n
        }
    }
    #[tasuki::task]
    fn double(n: u8) -> u8 {
        2 * n
    }
    assert_eq!(Process::spawn(double, (4,)).unwrap().join().unwrap(), 8);
    assert_eq!(Process::spawn(inner::triple, (4,)).unwrap().join().unwrap(), 12);
}

#[test]
fn executables_that_are_not_this_program_are_errors() {
    let _watchdog = watchdog();
    let start = |file: &str| Process::builder(nothing, ()).executable(file).spawn();
    let error = start("/nonexistent").unwrap_err();
    assert!(matches!(error, ProcessError::Os { .. }), "{error}");
    let error = start("/bin/true").unwrap().join().unwrap_err();
    assert!(matches!(error, ProcessError::NeverStarted { code: 0, .. }), "{error}");
    assert!(error.to_string().contains("#[tasuki::main]"), "{error}");
}

// --- who is who ----------------------------------------------------------------------------------

#[tasuki::task]
fn who() -> (String, u32, Option<u32>, bool) {
    let me = tasuki::current_process();
    (me.name().to_owned(), me.pid(), me.parent_pid(), me.is_daemon())
}

#[tasuki::task]
fn names_of_children() -> Vec<String> {
    (0..2).map(|_| Process::spawn(who, ()).unwrap().join().unwrap().0).collect()
}

#[test]
fn a_process_knows_its_name_and_its_parent() {
    let _watchdog = watchdog();
    let process = Process::builder(who, ()).name("scribe").daemon(true).spawn().unwrap();
    assert_eq!((process.name(), process.is_daemon()), ("scribe", true));
    let pid = process.pid();
    let expected = ("scribe".to_owned(), pid, Some(std::process::id()), true);
    assert_eq!(process.join().unwrap(), expected);

    let process = Process::spawn(names_of_children, ()).unwrap();
    let name = process.name().to_owned();
    assert!(!process.is_daemon());
    let number = name.strip_prefix("Process-").unwrap();
    number.parse::<u32>().unwrap();
    assert_eq!(process.join().unwrap(), [format!("{name}:1"), format!("{name}:2")]);
}

#[tasuki::task]
fn starts_both_kinds() -> (bool, String) {
    let inherited = Process::spawn(who, ()).unwrap().join().unwrap().3;
    let refused = Process::builder(who, ()).daemon(false).spawn().unwrap_err();
    (inherited, refused.to_string())
}

#[test]
fn a_daemon_starts_only_daemons() {
    let _watchdog = watchdog();
    let process = Process::builder(starts_both_kinds, ()).daemon(true).spawn().unwrap();
    let (inherited, refused) = process.join().unwrap();
    assert!(inherited, "a daemon's child is a daemon unless told otherwise");
    assert!(refused.contains("daemon"), "{refused}");
}

#[test]
fn active_children_are_those_that_run() {
    let _watchdog = watchdog();
    let find = |pid| tasuki::active_children().into_iter().find(|child| child.pid() == pid);
    let process = Process::builder(sleeps, ()).name("busy").spawn().unwrap();
    let pid = process.pid();
    assert_eq!(find(pid).expect("it runs").name(), "busy");
    drop(process);
    let child = find(pid).expect("it runs on when its handle is dropped");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(find(pid).is_none());
}

#[tasuki::task]
fn variable(name: String) -> Option<String> {
    std::env::var(name).ok()
}

#[test]
fn the_environment_can_be_added_to() {
    let _watchdog = watchdog();
    let name = "TASUKI_TEST_VARIABLE".to_owned();
    let process =
        Process::builder(variable, (name.clone(),)).env(&name, "a value").spawn().unwrap();
    assert_eq!(process.join().unwrap().as_deref(), Some("a value"));
    assert_eq!(Process::spawn(variable, (name,)).unwrap().join().unwrap(), None);
}

#[tasuki::task]
fn reads_input() -> usize {
    std::io::Read::read_to_end(&mut std::io::stdin(), &mut Vec::new()).unwrap()
}

#[test]
fn standard_input_is_empty() {
    let _watchdog = watchdog();
    assert_eq!(Process::spawn(reads_input, ()).unwrap().join().unwrap(), 0);
}

/// The descriptors open in this process, with what they are, but for the one that lists them.
fn open_descriptors() -> Vec<(u32, String)> {
    let mut open: Vec<_> = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| {
            let entry = entry.unwrap();
            let target = std::fs::read_link(entry.path()).ok()?;
            Some((entry.file_name().to_str()?.parse().ok()?, target.display().to_string()))
        })
        .filter(|(_, target)| !target.contains("/fd"))
        .collect();
    open.sort();
    open
}

#[tasuki::task]
fn descriptors() -> Vec<(u32, String)> {
    open_descriptors()
}

#[test]
fn nothing_is_inherited_but_the_bootstrap_socket() {
    let _watchdog = watchdog();
    // A descriptor that would survive exec, as careless libraries leave them.
    let (careless, _other) = std::io::pipe().unwrap();
    rustix::io::fcntl_setfd(&careless, rustix::io::FdFlags::empty()).unwrap();
    let processes: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> =
            (0..8).map(|_| scope.spawn(|| Process::spawn(descriptors, ()).unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for process in processes {
        let open = process.join().unwrap();
        let numbers: Vec<u32> = open.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [0, 1, 2, 3], "{open:?}");
        assert!(open[3].1.starts_with("socket:"), "{open:?}");
    }
    drop(careless);
}

#[test]
fn many_threads_start_processes_at_once() {
    let _watchdog = watchdog();
    thread::scope(|scope| {
        for thread in 0..8 {
            scope.spawn(move || {
                for i in 0..8 {
                    let process = Process::spawn(add, (thread * 100, i)).unwrap();
                    assert_eq!(process.join().unwrap(), thread * 100 + i);
                }
            });
        }
    });
}

// --- handles -------------------------------------------------------------------------------------

/// Any descriptor as a handle, as queues and locks carry theirs.
struct Carried(std::os::fd::OwnedFd);

impl Serialize for Carried {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let index =
            tasuki::protocol::transfer::attach(self.0.as_fd()).map_err(ser::Error::custom)?;
        index.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Carried {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Carried, D::Error> {
        let index = u32::deserialize(deserializer)?;
        tasuki::protocol::transfer::take(index).map(Carried).map_err(de::Error::custom)
    }
}

#[tasuki::task]
fn carries(files: Vec<Carried>, large: ByteBuf) -> Vec<Carried> {
    assert_eq!(large.len(), 1 << 20);
    files.into_iter().rev().collect()
}

#[test]
fn descriptors_travel_in_arguments_and_results_beyond_one_packet() {
    let _watchdog = watchdog();
    for count in [1, 253, 300, 600] {
        let files: Vec<_> = (0..count)
            .map(|i: usize| {
                let file = rustix::fs::memfd_create("t", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
                rustix::io::pwrite(&file, &i.to_le_bytes(), 0).unwrap();
                Carried(file)
            })
            .collect();
        let large = ByteBuf::from(vec![0; 1 << 20]);
        let back = Process::spawn(carries, (files, large)).unwrap().join().unwrap();
        assert_eq!(back.len(), count);
        for (i, Carried(file)) in back.into_iter().rev().enumerate() {
            let mut bytes = [0; size_of::<usize>()];
            rustix::io::pread(&file, &mut bytes, 0).unwrap();
            assert_eq!(usize::from_le_bytes(bytes), i);
        }
    }
}
