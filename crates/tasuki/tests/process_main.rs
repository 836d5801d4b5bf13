//! What a program promises as a whole: how its processes end with it, that it can be moved or
//! deleted while it runs, and that another build of it is refused. Has no test harness, because the
//! harness has no `#[tasuki::main]`: this program starts itself again, as the scenario named in a
//! variable, and looks at it from outside.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use tasuki::{Process, ProcessError};

const SCENARIO: &str = "TASUKI_TEST_SCENARIO";
const GATE: &str = "TASUKI_TEST_GATE";

#[tasuki::main]
fn main() -> Result<(), String> {
    if let Ok(name) = std::env::var(SCENARIO) {
        let (_, scenario) =
            SCENARIOS.iter().find(|scenario| scenario.0 == name).expect("a scenario");
        return scenario();
    }
    let wanted = Wanted::from_command_line();
    for (name, test) in TESTS.iter().filter(|(name, _)| wanted.includes(name)) {
        if wanted.list {
            println!("{name}: test");
        } else {
            let _watchdog = support::watchdog();
            print!("test {name} ... ");
            let _ = std::io::stdout().flush();
            test();
            println!("ok");
        }
    }
    Ok(())
}

/// As much of the test harness's command line as its callers rely on.
#[derive(Default)]
struct Wanted {
    list: bool,
    exact: bool,
    /// Only tests that are ignored by default, of which there are none here.
    ignored: bool,
    names: Vec<String>,
    not: Vec<String>,
}

impl Wanted {
    fn from_command_line() -> Wanted {
        let mut wanted = Wanted::default();
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match &*argument {
                "--list" => wanted.list = true,
                "--exact" => wanted.exact = true,
                "--ignored" => wanted.ignored = true,
                "--skip" => wanted.not.extend(arguments.next()),
                "--test-threads" | "--color" | "--format" | "--logfile" => {
                    arguments.next();
                }
                option if option.starts_with('-') => {}
                _ => wanted.names.push(argument),
            }
        }
        wanted
    }

    fn includes(&self, test: &str) -> bool {
        let matches =
            |name: &String| if self.exact { name == test } else { test.contains(&**name) };
        !self.ignored
            && (self.names.is_empty() || self.names.iter().any(matches))
            && !self.not.iter().any(matches)
    }
}

// --- tasks ---------------------------------------------------------------------------------------

#[tasuki::task]
fn sleeps(milliseconds: u64) {
    thread::sleep(Duration::from_millis(milliseconds));
}

/// Runs until the test opens the gate, or has failed and takes it away.
#[tasuki::task]
fn waits_at(gate: PathBuf) {
    while !gate.exists() && gate.parent().unwrap().exists() {
        thread::sleep(Duration::from_millis(2));
    }
}

#[tasuki::task]
fn ignores_sigterm() {
    // SAFETY: ignoring a signal installs no handler.
    unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
    println!("{}", std::process::id());
    thread::sleep(Duration::from_secs(600));
}

#[tasuki::task]
fn starts_a_daemon_and_sleeps() {
    let process = Process::builder(sleeps, (FOREVER,)).daemon(true).spawn().unwrap();
    println!("{}", process.pid());
    thread::sleep(Duration::from_millis(FOREVER));
}

#[tasuki::task]
fn starts_another_and_returns() {
    let process = Process::spawn(sleeps, (200,)).unwrap();
    println!("{}", process.pid());
}

#[tasuki::task]
fn speaks() {
    println!("to stdout");
    eprintln!("to stderr");
    print!("without an end of line");
}

#[tasuki::task]
fn exits() {
    std::process::exit(0);
}

#[tasuki::task]
fn answer() -> u32 {
    42
}

/// In the other build, this has another name.
#[tasuki::task]
fn decoy_called_aaaa() {}

const FOREVER: u64 = 600_000;

// --- scenarios: what this program does when a test starts it
// --------------------------------------

type Scenario = fn() -> Result<(), String>;

const SCENARIOS: &[(&str, Scenario)] = &[
    ("returns", || start_both()),
    ("fails", || start_both().and(Err("the reason".to_owned()))),
    ("panics", || start_both().map(|()| panic!("at the end of main"))),
    ("exits", || start_both().and_then(|()| std::process::exit(7))),
    ("waits to be killed", || start_both().map(|()| thread::sleep(Duration::from_secs(600)))),
    ("kills itself at once", || {
        for _ in 0..20 {
            let process = Process::builder(sleeps, (FOREVER,)).daemon(true).spawn().unwrap();
            println!("{}", process.pid());
        }
        // SAFETY: ends this process.
        unsafe { libc::raise(libc::SIGKILL) };
        Ok(())
    }),
    ("kills itself before the other began", || {
        drop(Process::spawn(speaks, ()).unwrap());
        // SAFETY: ends this process.
        unsafe { libc::raise(libc::SIGKILL) };
        Ok(())
    }),
    ("has a stubborn daemon", || {
        drop(Process::builder(ignores_sigterm, ()).daemon(true).spawn().unwrap());
        std::io::stdin().read_line(&mut String::new()).unwrap();
        Ok(())
    }),
    ("daemons in a row", || {
        let process =
            Process::builder(starts_a_daemon_and_sleeps, ()).daemon(true).spawn().unwrap();
        println!("{}", process.pid());
        thread::sleep(Duration::from_secs(600));
        Ok(())
    }),
    ("others in a row", || {
        println!("{}", Process::spawn(starts_another_and_returns, ()).unwrap().pid());
        Ok(())
    }),
    ("speaks", || Process::spawn(speaks, ()).unwrap().join().map_err(|error| error.to_string())),
    ("leaves threads", || {
        let say = |what| println!("{what}");
        let other = || thread::sleep(Duration::from_millis(200));
        let late = move || tasuki::thread::Process::spawn(say, ("late",)).map(drop).unwrap();
        tasuki::thread::Process::spawn(move || (other(), late()), ()).unwrap();
        let forever = || thread::sleep(Duration::from_secs(600));
        tasuki::thread::Process::builder(forever, ()).daemon(true).spawn().unwrap();
        Err("early".to_owned())
    }),
    ("starts when told", || {
        println!("ready");
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).unwrap();
        let answer = Process::spawn(answer, ()).and_then(Process::join);
        println!("{answer:?}");
        Ok(())
    }),
    ("forks", || {
        let process = Process::spawn(sleeps, (FOREVER,)).unwrap();
        // SAFETY: this program has one thread, so the child may do whatever it likes.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            println!("{}", process.wait().unwrap_err());
            println!("{} {}", process.is_alive(), tasuki::active_children().len());
            println!("{:?}", Process::spawn(answer, ()).unwrap().join());
            // SAFETY: ends this process; the work at the end of main is its parent's.
            unsafe { libc::_exit(0) };
        }
        // SAFETY: waits for the child just made and wants no status.
        unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
        process.kill().unwrap();
        println!("{}", process.join().unwrap_err());
        Ok(())
    }),
    ("ignores its children's ends", || {
        // SAFETY: ignoring a signal installs no handler.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        let process = Process::spawn(answer, ()).unwrap();
        println!("{}", process.wait().unwrap_err());
        println!("{:?}", process.join());
        println!("{}", Process::spawn(exits, ()).unwrap().join().unwrap_err());
        Ok(())
    }),
    ("takes what it inherits", || {
        let (number, text): (u64, String) =
            tasuki::inherited("pair").map_err(|error| error.to_string())?;
        println!("{number} {text} {:?}", tasuki::command::inherited_names());
        println!("{}", tasuki::inherited::<u8>("nothing").unwrap_err());
        println!("{}", tasuki::inherited::<u8>("pair").unwrap_err());
        println!("{:?}", tasuki::current_process().parent_pid());
        let queue: tasuki::Queue<String> =
            tasuki::inherited("queue").map_err(|error| error.to_string())?;
        let again: tasuki::Queue<String> =
            tasuki::inherited("queue").map_err(|error| error.to_string())?;
        let got = queue.get_timeout(Duration::from_secs(60)).map_err(|error| error.to_string())?;
        again.put(format!("{got} and back")).map_err(|error| error.to_string())?;
        // A program with handles can have processes of its own.
        println!("{}", Process::spawn(answer, ()).unwrap().join().unwrap());
        Ok(())
    }),
    ("sleeps", || {
        thread::sleep(Duration::from_secs(600));
        Ok(())
    }),
    ("starts a daemon program", || {
        // A program that knows nothing of tasuki.
        let child = tasuki::Command::new("sleep").arg("600").daemon(true).spawn().unwrap();
        println!("{}", child.pid());
        thread::sleep(Duration::from_secs(600));
        Ok(())
    }),
];

/// Starts a daemon and another process, from a thread that then ends, and prints their pids.
fn start_both() -> Result<(), String> {
    let pids = thread::spawn(|| {
        let daemon = Process::builder(sleeps, (FOREVER,)).daemon(true).spawn().unwrap();
        let gate = std::env::var_os(GATE).unwrap().into();
        let other = Process::spawn(waits_at, (gate,)).unwrap();
        [daemon.pid(), other.pid()]
    });
    for pid in pids.join().unwrap() {
        println!("{pid}");
    }
    Ok(())
}

/// Starts this program as a scenario.
fn start(scenario: &str) -> Child {
    start_as(&std::env::current_exe().unwrap(), scenario)
}

fn start_as(program: &Path, scenario: &str) -> Child {
    scenario_command(program, scenario).spawn().unwrap()
}

fn scenario_command(program: &Path, scenario: &str) -> Command {
    let mut command = Command::new(program);
    command.env(SCENARIO, scenario);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Starts a scenario that starts a daemon and another process; gives their pids.
fn start_with_both(scenario: &str) -> (Child, u32, u32, Gate) {
    let gate = Gate(TemporaryFolder::new("gate"));
    let mut command = scenario_command(&std::env::current_exe().unwrap(), scenario);
    let mut child = command.env(GATE, gate.file()).spawn().unwrap();
    let [daemon, other] = pids(&mut child, 2)[..] else { unreachable!() };
    assert!(runs(other), "it waits at the gate");
    (child, daemon, other, gate)
}

/// Holds a scenario's other process until it is opened.
struct Gate(TemporaryFolder);

impl Gate {
    fn file(&self) -> PathBuf {
        self.0.0.join("open")
    }

    fn open(&self) {
        std::fs::write(self.file(), "").unwrap();
    }
}

/// The next `count` pids that a scenario prints.
fn pids(child: &mut Child, count: usize) -> Vec<u32> {
    let mut output = BufReader::with_capacity(1, child.stdout.as_mut().unwrap());
    let mut next = || {
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        line.trim().parse().expect("a pid")
    };
    (0..count).map(|_| next()).collect()
}

/// Everything a scenario still prints, and how it ends.
fn rest(mut child: Child) -> (ExitStatus, String, String) {
    let mut texts = [String::new(), String::new()];
    child.stdout.as_mut().unwrap().read_to_string(&mut texts[0]).unwrap();
    child.stderr.as_mut().unwrap().read_to_string(&mut texts[1]).unwrap();
    let [output, errors] = texts;
    (child.wait().unwrap(), output, errors)
}

/// Whether a process runs. One that has ended and that nobody reaps is gone.
fn runs(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = status.rsplit(')').next().unwrap_or_default().trim_start().chars().next();
    state.is_some_and(|state| state != 'Z' && state != 'X')
}

fn wait_until_gone(pid: u32) {
    while runs(pid) {
        thread::sleep(Duration::from_millis(2));
    }
}

// --- tests ---------------------------------------------------------------------------------------

const TESTS: &[(&str, fn())] = &[
    ("at_the_end_of_main_daemons_are_ended_and_others_joined", || {
        let (mut child, daemon, other, gate) = start_with_both("returns");
        wait_until_gone(daemon);
        assert!(child.try_wait().unwrap().is_none() && runs(other), "the program waits for it");
        gate.open();
        assert!(child.wait().unwrap().success());
        assert!(!runs(other));
    }),
    ("a_main_that_fails_says_so_at_once_and_then_waits", || {
        let (mut child, daemon, other, gate) = start_with_both("fails");
        let mut line = String::new();
        BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("the reason"), "{line}");
        assert!(runs(other), "the error came before the wait");
        gate.open();
        assert_eq!(child.wait().unwrap().code(), Some(1));
        assert!(!runs(daemon) && !runs(other));
    }),
    ("a_main_that_panics_cleans_up_too", || {
        let (mut child, daemon, other, gate) = start_with_both("panics");
        wait_until_gone(daemon);
        assert!(child.try_wait().unwrap().is_none() && runs(other), "the program waits for it");
        gate.open();
        assert_eq!(child.wait().unwrap().code(), Some(101));
        assert!(!runs(other));
    }),
    ("threads_are_waited_for_unless_they_are_daemons", || {
        let (status, output, errors) = rest(start("leaves threads"));
        assert_eq!((status.code(), &*output), (Some(1), "late\n"));
        assert!(errors.contains("early"));
    }),
    ("exit_ends_daemons_and_waits_for_nobody", || {
        let (mut child, daemon, other, gate) = start_with_both("exits");
        assert_eq!(child.wait().unwrap().code(), Some(7));
        wait_until_gone(daemon);
        assert!(runs(other));
        gate.open();
        wait_until_gone(other);
    }),
    ("a_killed_parent_takes_its_daemons_along_and_nobody_else", || {
        let (mut child, daemon, other, gate) = start_with_both("waits to be killed");
        // The thread that started them has ended; that alone must not end the daemon.
        thread::sleep(Duration::from_millis(100));
        assert!(runs(daemon) && runs(other));
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
        wait_until_gone(daemon);
        assert!(runs(other));
        gate.open();
        wait_until_gone(other);
    }),
    ("another_process_outlives_a_killed_parent", || {
        // It has the arguments, though the parent was gone before it could read them.
        let (status, output, errors) = rest(start("kills itself before the other began"));
        assert_eq!(status.signal(), Some(libc::SIGKILL));
        assert_eq!((&*output, &*errors), ("to stdout\nwithout an end of line", "to stderr\n"));
    }),
    ("daemons_die_with_a_parent_killed_before_they_began", || {
        for _ in 0..5 {
            let mut child = start("kills itself at once");
            for pid in pids(&mut child, 20) {
                wait_until_gone(pid);
            }
            child.wait().unwrap();
        }
    }),
    ("daemons_of_daemons_die_too", || {
        let mut child = start("daemons in a row");
        let [first, second] = pids(&mut child, 2)[..] else { unreachable!() };
        assert!(runs(first) && runs(second));
        child.kill().unwrap();
        child.wait().unwrap();
        wait_until_gone(first);
        wait_until_gone(second);
    }),
    ("a_process_joins_its_own_children", || {
        let mut child = start("others in a row");
        let [first, second] = pids(&mut child, 2)[..] else { unreachable!() };
        assert!(child.wait().unwrap().success());
        assert!(!runs(first) && !runs(second));
    }),
    ("a_daemon_that_ignores_sigterm_is_killed", || {
        let mut child = start("has a stubborn daemon");
        let [daemon] = pids(&mut child, 1)[..] else { unreachable!() };
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        assert!(child.wait().unwrap().success());
        assert!(!runs(daemon));
    }),
    ("output_and_errors_go_where_the_parents_go", || {
        let (status, output, errors) = rest(start("speaks"));
        assert!(status.success());
        assert_eq!((&*output, &*errors), ("to stdout\nwithout an end of line", "to stderr\n"));
    }),
    ("a_program_may_be_moved_or_deleted_while_it_runs", || {
        let folder = TemporaryFolder::new("moved");
        for deleted in [false, true] {
            let program = folder.0.join("program");
            std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
            let mut child = start_as(&program, "starts when told");
            let mut ready = [0; 6];
            child.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
            if deleted {
                std::fs::remove_file(&program).unwrap();
            } else {
                std::fs::rename(&program, folder.0.join("elsewhere")).unwrap();
            }
            child.stdin.take().unwrap().write_all(b"go\n").unwrap();
            let (_, output, errors) = rest(child);
            assert_eq!(output, "Ok(42)\n", "deleted: {deleted}; {errors}");
        }
    }),
    ("another_build_is_refused_with_the_difference", || {
        let folder = TemporaryFolder::new("build");
        let other = folder.0.join("other");
        let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        std::fs::write(&other, replaced(program, b"decoy_called_aaaa", b"decoy_called_bbbb"))
            .unwrap();
        std::fs::set_permissions(&other, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
        let process = Process::builder(answer, ()).executable(&other).spawn().unwrap();
        let error = process.join().unwrap_err();
        let text = error.to_string();
        let ProcessError::TableMismatch { only_here, only_there, .. } = error else {
            panic!("{text}");
        };
        assert_eq!(only_here, ["process_main::decoy_called_aaaa() -> ()"]);
        assert_eq!(only_there, ["process_main::decoy_called_bbbb() -> ()"]);
        assert!(text.contains("same build"), "{text}");
    }),
    ("a_program_gets_its_handles_by_name", || {
        let queue = tasuki::Queue::<String>::unbounded().unwrap();
        queue.put("there".to_owned()).unwrap();
        let mut child = tasuki::Command::new(std::env::current_exe().unwrap())
            .env(SCENARIO, "takes what it inherits")
            .handle("pair", &(1_u64, "old"))
            .handle("queue", &queue)
            .handle("pair", &(u64::MAX, "é"))
            .stdout(tasuki::command::Stdio::Piped)
            .spawn()
            .unwrap();
        let mut output = String::new();
        child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
        assert!(child.wait().unwrap().success());
        let lines: Vec<_> = output.lines().collect();
        assert_eq!(lines[0], format!("{} é [\"queue\", \"pair\"]", u64::MAX));
        assert!(lines[1].contains("nothing") && lines[1].contains("queue, pair"), "{output}");
        assert!(lines[2].contains("cannot be read"), "{output}");
        assert_eq!(lines[3], format!("Some({})", std::process::id()));
        assert_eq!(lines[4], "42");
        assert_eq!(queue.get().unwrap(), "there and back");
    }),
    ("a_fork_has_no_children_and_may_start_its_own", || {
        let (status, output, errors) = rest(start("forks"));
        assert!(status.success(), "{errors}");
        let lines: Vec<_> = output.lines().collect();
        assert!(lines[0].contains("by another process"), "{output}");
        assert_eq!(lines[1..3], ["true 0", "Ok(42)"]);
        assert!(lines[3].contains("SIGKILL"), "{output}");
    }),
    ("results_come_also_when_exit_statuses_are_lost", || {
        let (status, output, errors) = rest(start("ignores its children's ends"));
        assert!(status.success(), "{errors}");
        let lines: Vec<_> = output.lines().collect();
        assert!(lines[0].contains("SIGCHLD") && lines[2].contains("SIGCHLD"), "{output}");
        assert_eq!(lines[1], "Ok(42)");
    }),
    ("a_program_without_handles_says_so", || {
        let (status, _, errors) = rest(start("takes what it inherits"));
        assert_eq!(status.code(), Some(1));
        assert!(errors.contains("not started with handles"), "{errors}");
    }),
    ("a_stale_variable_is_not_believed", || {
        for stale in ["3:1", "0:1", "99:12345", "-1:0", "x", "", "3:99999999999999999999"] {
            let child = Command::new(std::env::current_exe().unwrap())
                .env(SCENARIO, "speaks")
                .env("TASUKI_BOOTSTRAP", stale)
                .output()
                .unwrap();
            assert!(child.status.success(), "{stale}");
            assert_eq!(child.stdout, b"to stdout\nwithout an end of line", "{stale}");
        }
    }),
    ("programs_are_no_active_children_and_are_not_waited_for", || {
        let child = tasuki::Command::new("sleep").arg("600").spawn().unwrap();
        assert_eq!(child.name(), "sleep");
        assert!(tasuki::active_children().iter().all(|active| active.pid() != child.pid()));
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
    }),
    ("a_daemon_program_dies_with_a_killed_parent", || {
        let mut child = start("starts a daemon program");
        let [daemon] = pids(&mut child, 1)[..] else { unreachable!() };
        assert!(runs(daemon));
        child.kill().unwrap();
        child.wait().unwrap();
        wait_until_gone(daemon);
    }),
    ("programs_have_folder_environment_and_streams", || {
        let mut child = tasuki::Command::new("sh")
            .args(["-c", "read line; pwd; echo \"$A,$HOME,$line\"; echo oops >&2; exit 5"])
            .current_dir("/")
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("A", "b")
            .stdin(tasuki::command::Stdio::Piped)
            .stdout(tasuki::command::Stdio::Piped)
            .stderr(tasuki::command::Stdio::Piped)
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(b"told\n").unwrap();
        let mut texts = [String::new(), String::new()];
        child.stdout.take().unwrap().read_to_string(&mut texts[0]).unwrap();
        child.stderr.take().unwrap().read_to_string(&mut texts[1]).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(5));
        assert_eq!(texts, ["/\nb,,told\n", "oops\n"]);
    }),
    ("a_program_that_is_not_there_is_an_error_that_names_it", || {
        for program in ["tasuki-no-such-program", "/nonexistent/program", "/"] {
            let error = tasuki::Command::new(program).spawn().unwrap_err();
            assert!(error.to_string().contains(program), "{error}");
        }
        let error = tasuki::Command::new("true").handle("f", &Unwritable).spawn().unwrap_err();
        assert!(error.to_string().contains("\"f\""), "{error}");
    }),
];

struct Unwritable;

impl serde::Serialize for Unwritable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("no"))
    }
}

/// The program with every occurrence of one name changed into another as long.
fn replaced(mut program: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let places: Vec<_> =
        (0..program.len() - from.len()).filter(|&i| program[i..].starts_with(from)).collect();
    assert!(!places.is_empty());
    for place in places {
        program[place..place + to.len()].copy_from_slice(to);
    }
    program
}

/// A folder that is gone at the end.
struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    fn new(name: &str) -> TemporaryFolder {
        let name = format!("tasuki-test-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        TemporaryFolder(folder)
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
