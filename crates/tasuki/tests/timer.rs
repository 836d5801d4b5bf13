//! A timer calls its function once, not before its time, and not after somebody cancelled it.

mod support;

use std::os::unix::process::ExitStatusExt;
use std::thread;
use std::time::{Duration, Instant};

use support::watchdog;
use tasuki::timer::Canceller;
use tasuki::{Process, ProcessError, Queue, Timer};

tasuki::enable_tests!();

/// Such a timer must be cancelled, or killed.
const NEVER: Duration = Duration::MAX;
const NOW: Duration = Duration::ZERO;

#[tasuki::task]
fn add(a: u64, b: u64) -> u64 {
    a + b
}

#[tasuki::task]
fn announce_and_wait(begun: Queue<u32>, proceed: Queue<()>) -> String {
    begun.put(std::process::id()).unwrap();
    proceed.get().unwrap();
    tasuki::current_process().name().to_owned()
}

#[tasuki::task]
fn panics() {
    panic!("no time");
}

#[tasuki::task]
fn cancels(canceller: Canceller) -> bool {
    canceller.cancel()
}

#[test]
fn it_calls_its_function_and_not_before_its_time() {
    let _watchdog = watchdog();
    let before = Instant::now();
    let timer = Timer::start(Duration::from_millis(200), add, (2, 40)).unwrap();
    assert_eq!(timer.join().unwrap(), Some(42));
    assert!(before.elapsed() >= Duration::from_millis(200));
}

#[test]
fn a_cancelled_timer_calls_nothing_and_ends() {
    let _watchdog = watchdog();
    let timer = Timer::start(NEVER, panics, ()).unwrap();
    assert!(timer.is_alive());
    assert!(timer.cancel());
    assert!(!timer.cancel());
    assert!(timer.wait().unwrap().success());
    assert!(!timer.cancel());
    assert_eq!(timer.join().unwrap(), None);
}

#[test]
fn cancel_does_nothing_once_the_function_has_begun() {
    let _watchdog = watchdog();
    let (begun, proceed) = (Queue::unbounded().unwrap(), Queue::unbounded().unwrap());
    let timer = Process::builder(announce_and_wait, (begun.clone(), proceed.clone()))
        .name("egg")
        .start_after(NOW)
        .unwrap();
    assert_eq!((timer.name(), begun.get().unwrap()), ("egg", timer.pid()));
    assert!(!timer.cancel());
    assert_eq!(timer.join_timeout(Duration::from_millis(10)).unwrap(), None);
    proceed.put(()).unwrap();
    assert_eq!(timer.join().unwrap(), Some("egg".to_owned()));
}

#[test]
fn another_process_cancels_and_only_one_does() {
    let _watchdog = watchdog();
    let timer = Timer::start(NEVER, panics, ()).unwrap();
    let other = Process::spawn(cancels, (timer.canceller(),)).unwrap();
    assert!(other.join().unwrap());
    assert!(!timer.canceller().cancel());
    assert_eq!(timer.join().unwrap(), None);
}

#[test]
fn in_a_race_the_timer_or_one_canceller_wins() {
    let _watchdog = watchdog();
    for round in 0..40 {
        let timer = Timer::start(Duration::from_millis(round % 4), add, (1, 1)).unwrap();
        let cancelled = thread::scope(|scope| {
            let threads: Vec<_> = (0..3)
                .map(|_| {
                    scope.spawn(|| {
                        thread::sleep(Duration::from_micros(round * 100));
                        timer.cancel()
                    })
                })
                .collect();
            threads.into_iter().map(|one| one.join().unwrap()).filter(|won| *won).count()
        });
        let result = timer.join().unwrap();
        assert_eq!((cancelled, result), if cancelled == 0 { (0, Some(2)) } else { (1, None) });
    }
}

#[test]
fn errors_are_those_of_a_process() {
    let _watchdog = watchdog();
    let timer = Timer::start(NOW, panics, ()).unwrap();
    let error = timer.join().unwrap_err();
    assert!(matches!(&error, ProcessError::Panicked { message, .. } if message == "no time"));

    let timer = Timer::start(NEVER, panics, ()).unwrap();
    timer.kill().unwrap();
    assert_eq!(timer.wait().unwrap().signal(), Some(9));
    assert!(timer.cancel(), "nobody called the function, and now nobody will");
    assert!(matches!(timer.join(), Err(ProcessError::Signaled { signal: 9, .. })));
}

#[test]
fn a_timer_is_a_child_like_others() {
    let _watchdog = watchdog();
    let timer = Process::builder(panics, ()).name("tea").daemon(true).start_after(NEVER).unwrap();
    assert!(timer.is_daemon());
    let active = tasuki::active_children();
    assert!(active.iter().any(|child| child.pid() == timer.pid() && child.name() == "tea"));
    timer.as_child().terminate().unwrap();
    assert_eq!(timer.wait().unwrap().signal(), Some(15));
}

#[test]
fn a_waiting_timer_uses_no_processor() {
    let _watchdog = watchdog();
    let timer = Timer::start(NEVER, panics, ()).unwrap();
    // It comes to rest as soon as it has come up.
    until(|| {
        let before = ticks(timer.pid());
        thread::sleep(Duration::from_secs(1));
        ticks(timer.pid()) - before <= 1
    });
    timer.cancel();
}

#[tasuki::task]
fn starts_a_daemon(pids: Queue<u32>) {
    let timer = Process::builder(panics, ()).daemon(true).start_after(NEVER).unwrap();
    pids.put(timer.pid()).unwrap();
    thread::sleep(Duration::from_secs(1000));
}

#[test]
fn a_waiting_daemon_does_not_outlive_a_killed_parent() {
    let _watchdog = watchdog();
    let pids = Queue::unbounded().unwrap();
    let parent = Process::spawn(starts_a_daemon, (pids.clone(),)).unwrap();
    let pid = pids.get().unwrap();
    parent.kill().unwrap();
    until(|| matches!(state(pid), None | Some('Z')));
}

/// Waits; the watchdog ends what lasts too long.
fn until(condition: impl Fn() -> bool) {
    while !condition() {
        thread::sleep(Duration::from_millis(5));
    }
}

/// The fields of /proc/PID/stat behind the name; nothing of a process that is gone.
fn stat(pid: u32) -> Vec<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = text.rsplit_once(')').map_or("", |(_, fields)| fields);
    fields.split_whitespace().map(str::to_owned).collect()
}

fn state(pid: u32) -> Option<char> {
    stat(pid).first().and_then(|state| state.chars().next())
}

/// The processor time it has used, in the kernel's hundredths of a second.
fn ticks(pid: u32) -> u64 {
    stat(pid)[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}
