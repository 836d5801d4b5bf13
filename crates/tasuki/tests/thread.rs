//! What a thread promises in the shape of a process: the same calls, results and errors.

mod support;

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread as std_thread;
use std::time::{Duration, Instant};

use support::watchdog;
use tasuki::thread::{self, Timer};
use tasuki::{Lock, ProcessError, Queue, Value};

tasuki::enable_tests!();

const NEVER: Duration = Duration::MAX;

// --- the same program with processes and with threads --------------------------------------------

#[tasuki::task]
fn add(a: u64, b: u64) -> u64 {
    a + b
}

#[tasuki::task]
fn count(jobs: Queue<Option<u64>>, counter: Lock<u64>, total: Value<u64>) -> String {
    while let Some(job) = jobs.get().unwrap() {
        *counter.lock().unwrap() += 1;
        total.update(|total| *total += job).unwrap();
    }
    let me = tasuki::current_process();
    assert_eq!(me.pid(), std::process::id());
    me.name().to_owned()
}

#[tasuki::task]
fn panics(text: String) {
    panic!("{text}");
}

#[tasuki::task]
fn leaves_threads(lines: Queue<String>) {
    let late = lines.clone();
    let child = move || {
        std_thread::sleep(Duration::from_millis(200));
        late.put("late".to_owned()).unwrap();
    };
    thread::Process::spawn(child, ()).unwrap();
    let forever = || std_thread::sleep(Duration::from_secs(600));
    thread::Process::builder(forever, ()).daemon(true).spawn().unwrap();
    lines.put("early".to_owned()).unwrap();
}

/// Nothing but the line on top of it tells the two apart.
macro_rules! the_same_program {
    ($test:ident, $($process:ident)::+) => {
        #[test]
        fn $test() {
            use $($process)::+::Process;

            let _watchdog = watchdog();
            let jobs = Queue::unbounded().unwrap();
            let (counter, total) = (Lock::new(0).unwrap(), Value::new(0).unwrap());
            let workers: Vec<_> = (0..3)
                .map(|i| {
                    let arguments = (jobs.clone(), counter.clone(), total.clone());
                    Process::builder(count, arguments).name(format!("worker {i}")).spawn().unwrap()
                })
                .collect();
            for (i, worker) in workers.iter().enumerate() {
                assert_eq!(worker.name(), format!("worker {i}"));
                assert!(worker.is_alive() && !worker.is_daemon());
                assert!(worker.exit_status().is_none());
                assert!(worker.wait_timeout(Duration::from_millis(1)).unwrap().is_none());
            }
            for job in 1..=100 {
                jobs.put(Some(job)).unwrap();
            }
            for _ in &workers {
                jobs.put(None).unwrap();
            }
            for worker in workers {
                assert!(worker.wait().unwrap().success());
                assert!(!worker.is_alive());
                worker.join().unwrap();
            }
            assert_eq!((*counter.lock().unwrap(), total.get()), (100, 5050));

            let adding = Process::spawn(add, (2, 40)).unwrap();
            while adding.is_alive() {
                std_thread::sleep(Duration::from_millis(1));
            }
            assert_eq!(adding.join_timeout(Duration::ZERO).unwrap(), Some(42));
            let again = adding.join_timeout(Duration::ZERO).unwrap_err();
            assert!(matches!(again, ProcessError::AlreadyTaken { .. }));

            let failing = Process::builder(panics, ("on purpose".to_owned(),));
            let failing = failing.name("egg").spawn().unwrap();
            assert_eq!(failing.wait().unwrap().code(), Some(101));
            let ProcessError::Panicked { pid, name, message, .. } = &failing.join_timeout(NEVER).unwrap_err()
            else {
                panic!("another error")
            };
            assert_eq!((*pid, &**name, &**message), (failing.pid(), "egg", "on purpose"));
        }
    };
}

the_same_program!(with_processes, tasuki);
the_same_program!(with_threads, tasuki::thread);

// --- what threads have beyond that ---------------------------------------------------------------

#[test]
fn closures_run_and_values_are_moved_not_copied() {
    let _watchdog = watchdog();
    struct NoSerde(Vec<u32>);
    let text = String::from("moved");
    let thread = thread::Process::spawn(
        move |mut list: NoSerde| (text, list.0.pop()),
        (NoSerde(vec![1, 2]),),
    );
    assert_eq!(thread.unwrap().join().unwrap(), ("moved".to_owned(), Some(2)));
}

thread_local! {
    static VISITS: Cell<u32> = const { Cell::new(0) };
}

#[test]
fn each_thread_has_its_own_locals() {
    let _watchdog = watchdog();
    VISITS.set(7);
    let visit = || {
        VISITS.set(VISITS.get() + 1);
        VISITS.get()
    };
    let threads: Vec<_> = (0..3).map(|_| thread::Process::spawn(visit, ()).unwrap()).collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), 1);
    }
    assert_eq!(VISITS.get(), 7);
}

struct Slow(Arc<AtomicBool>);

impl Drop for Slow {
    fn drop(&mut self) {
        std_thread::sleep(Duration::from_millis(100));
        self.0.store(true, Ordering::SeqCst);
    }
}

thread_local! {
    static SLOW: RefCell<Option<Slow>> = const { RefCell::new(None) };
}

#[test]
fn join_comes_back_after_the_last_destructor() {
    let _watchdog = watchdog();
    let dropped = Arc::new(AtomicBool::new(false));
    let slow = Slow(Arc::clone(&dropped));
    thread::Process::spawn(|| SLOW.set(Some(slow)), ()).unwrap().join().unwrap();
    assert!(dropped.load(Ordering::SeqCst));
}

/// Runs the check in a thread of its own, whose children are only its own.
fn alone(check: impl FnOnce() + Send + 'static) {
    thread::Process::builder(check, ()).name("parent").spawn().unwrap().join().unwrap();
}

#[test]
fn threads_know_who_they_are_and_whom_they_started() {
    let _watchdog = watchdog();
    alone(|| {
        let me = thread::current_thread();
        assert_eq!((me.name(), me.is_daemon()), ("parent", false));
        assert_eq!(me, thread::current_process());
        let (go, wait) = mpsc::channel::<()>();
        let child = move || {
            let _ = wait.recv();
            thread::current_thread()
        };
        let child = thread::Process::builder(child, ()).name("child").daemon(true).spawn().unwrap();
        assert!(child.is_daemon() && child.pid() != me.pid());
        let names = |children: Vec<thread::ChildThread>| {
            children.iter().map(|child| child.name().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(thread::active_children()), ["child"]);
        let all = thread::enumerate();
        assert!(thread::active_count() >= 3);
        assert_eq!((all[0].name(), all[0].pid()), ("MainThread", std::process::id()));
        assert!(all.contains(&me) && all.iter().any(|thread| thread.pid() == child.pid()));
        let pids: HashSet<_> = all.iter().map(thread::Thread::pid).collect();
        assert_eq!(pids.len(), all.len());

        let other = child.as_child().clone();
        drop(go);
        let seen = child.join().unwrap();
        assert_eq!(
            (seen.name(), seen.parent_pid(), seen.is_daemon()),
            ("child", Some(me.pid()), true)
        );
        assert!(other.wait().unwrap().success() && other.exit_status().is_some());
        assert!(thread::active_children().is_empty());
    });
    let foreign = std_thread::Builder::new().name("foreign".to_owned());
    let foreign = foreign.spawn(|| thread::current_thread().name().to_owned()).unwrap();
    assert_eq!(foreign.join().unwrap(), "foreign");
}

#[test]
fn default_names_are_numbered_and_odd_ones_are_kept() {
    let _watchdog = watchdog();
    let first = thread::Process::spawn(|| (), ()).unwrap();
    let number: u32 = first.name().strip_prefix("Thread-").unwrap().parse().unwrap();
    assert!(number > 0);
    let odd = thread::Process::builder(|| thread::current_thread().name().len(), ());
    assert_eq!(odd.name("zero\0byte").spawn().unwrap().join().unwrap(), 9);
}

#[test]
fn daemons_start_daemons() {
    let _watchdog = watchdog();
    let check = || {
        let child = thread::Process::spawn(|| (), ()).unwrap();
        assert!(child.is_daemon());
        let refused = thread::Process::builder(|| (), ()).daemon(false).spawn();
        assert!(matches!(refused, Err(ProcessError::ChildOfDaemon)));
    };
    thread::Process::builder(check, ()).daemon(true).spawn().unwrap().join().unwrap();
}

#[test]
fn a_process_waits_for_its_threads_but_not_for_daemons() {
    let _watchdog = watchdog();
    let lines = Queue::unbounded().unwrap();
    tasuki::Process::spawn(leaves_threads, (lines.clone(),)).unwrap().join().unwrap();
    assert_eq!(lines.try_get().unwrap(), "early");
    assert_eq!(lines.try_get().unwrap(), "late");
}

#[test]
fn a_payload_that_panics_when_dropped_harms_nobody() {
    let _watchdog = watchdog();
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("the payload too");
        }
    }
    let thread = thread::Process::spawn(|| std::panic::panic_any(Bomb), ()).unwrap();
    let error = thread.join().unwrap_err();
    assert!(error.to_string().contains("whose payload is no text"), "{error}");
}

// --- timers --------------------------------------------------------------------------------------

#[test]
fn a_timer_calls_its_function_and_not_before_its_time() {
    let _watchdog = watchdog();
    let before = Instant::now();
    let timer = Timer::start(Duration::from_millis(50), add, (2, 40)).unwrap();
    assert_eq!(timer.join().unwrap(), Some(42));
    assert!(before.elapsed() >= Duration::from_millis(50));
}

#[test]
fn a_cancelled_timer_calls_nothing() {
    let _watchdog = watchdog();
    let timer = thread::Process::builder(panics, ("called".to_owned(),));
    let timer = timer.name("egg").daemon(true).start_after(NEVER).unwrap();
    assert_eq!((timer.name(), timer.is_daemon(), timer.is_alive()), ("egg", true, true));
    assert_eq!(timer.join_timeout(Duration::from_millis(10)).unwrap(), None);
    let canceller = timer.canceller();
    let cancel = thread::Process::spawn(move || canceller.cancel(), ()).unwrap();
    assert!(cancel.join().unwrap());
    assert!(!timer.cancel());
    assert_eq!(timer.join().unwrap(), None);
}

#[test]
fn cancel_does_nothing_once_the_function_has_begun() {
    let _watchdog = watchdog();
    let (begun, proceed) = (Queue::unbounded().unwrap(), Queue::<()>::unbounded().unwrap());
    let (tell, wait) = (begun.clone(), proceed.clone());
    let work = move || {
        tell.put(()).unwrap();
        wait.get().unwrap();
    };
    let timer = Timer::start(Duration::ZERO, work, ()).unwrap();
    begun.get().unwrap();
    assert!(!timer.cancel());
    proceed.put(()).unwrap();
    assert_eq!(timer.join().unwrap(), Some(()));
}

#[test]
fn in_a_race_the_timer_or_one_canceller_wins() {
    let _watchdog = watchdog();
    for round in 0..200 {
        let timer = Timer::start(Duration::from_micros(round), add, (1, 1)).unwrap();
        let others = [0, 1].map(|_| {
            let canceller = timer.canceller();
            thread::Process::spawn(move || canceller.cancel(), ()).unwrap()
        });
        let won = others.into_iter().map(|other| other.join().unwrap());
        let cancelled = won.filter(|won| *won).count();
        let result = timer.join().unwrap();
        assert_eq!((cancelled, result), if cancelled == 0 { (0, Some(2)) } else { (1, None) });
    }
}
