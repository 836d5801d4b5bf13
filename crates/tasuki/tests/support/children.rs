//! Children made by `fork`: each is a copy of the test that runs one closure and ends. It is killed when its [`Child`]
//! is dropped, and by the watchdog, so nothing outlives a failed test.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use super::{state_of, until};

/// The children that are not waited for yet, so that the watchdog can kill them. No lock: a fork may happen
/// while another thread changes it.
static CHILDREN: [AtomicI32; 1024] = [const { AtomicI32::new(0) }; 1024];

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Exited(i32),
    Killed(i32),
}

impl Ended {
    /// Killed by SIGKILL, as a kill point does it.
    pub const DEAD: Ended = Ended::Killed(libc::SIGKILL);
    /// Ran to its end.
    pub const WELL: Ended = Ended::Exited(0);
}

/// A forked child; killed and waited for when dropped.
#[derive(Debug)]
pub struct Child {
    pid: i32,
    ended: Option<Ended>,
}

/// Forks; the child runs `work` and exits with 0, or with 101 after a panic.
pub fn fork(work: impl FnOnce()) -> Child {
    let parent = std::process::id();
    // Here and not in the child: it may not take a lock that another thread had while this one forked.
    static HOOK: Once = Once::new();
    HOOK.call_once(tell_panics_of_children);
    // SAFETY: the child of a program with several threads may only use what a fork leaves whole. `work` uses
    // atomics, futexes and memory, which the C library keeps whole, and no lock of another thread.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
    if pid == 0 {
        run_child(parent, work);
    }
    let free = CHILDREN
        .iter()
        .any(|slot| slot.compare_exchange(0, pid, Ordering::SeqCst, Ordering::SeqCst).is_ok());
    assert!(free, "more children than the watchdog can know");
    Child { pid, ended: None }
}

static IN_CHILD: AtomicBool = AtomicBool::new(false);

fn tell_panics_of_children() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !IN_CHILD.load(Ordering::Relaxed) {
            return usual(panic);
        }
        let text = format!("in child {}: {panic}\n", std::process::id());
        // SAFETY: writes a live buffer; straight to the descriptor, since the test harness captures the rest.
        unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
    }));
}

fn run_child(parent: u32, work: impl FnOnce()) -> ! {
    for slot in &CHILDREN {
        slot.store(0, Ordering::Relaxed); // the parent's, not ours
    }
    // SAFETY: plain system calls; the second one notices that the parent died before the first.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        if libc::getppid() as u32 != parent {
            libc::_exit(0);
        }
    }
    IN_CHILD.store(true, Ordering::Relaxed);
    let well = catch_unwind(AssertUnwindSafe(work)).is_ok();
    // SAFETY: ends the process at once, without the destructors that belong to the parent.
    unsafe { libc::_exit(if well { 0 } else { 101 }) }
}

impl Child {
    pub fn pid(&self) -> u32 {
        self.pid as u32
    }

    /// Sends SIGKILL, unless it ended already.
    pub fn kill(&self) {
        self.signal(libc::SIGKILL);
    }

    pub fn signal(&self, signal: i32) {
        if self.ended.is_none() {
            // SAFETY: the child is not waited for, so the number is still its own.
            unsafe { libc::kill(self.pid, signal) };
        }
    }

    /// Waits until it has ended.
    pub fn wait(&mut self) -> Ended {
        loop {
            if let Some(ended) = self.try_wait(0) {
                return ended;
            }
        }
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> Option<Ended> {
        self.try_wait(libc::WNOHANG)
    }

    fn try_wait(&mut self, flags: i32) -> Option<Ended> {
        if self.ended.is_some() {
            return self.ended;
        }
        let mut status = 0;
        // SAFETY: writes the status into a live integer.
        let pid = unsafe { libc::waitpid(self.pid, &raw mut status, flags) };
        if pid != self.pid {
            return None;
        }
        for slot in &CHILDREN {
            let _ = slot.compare_exchange(self.pid, 0, Ordering::SeqCst, Ordering::SeqCst);
        }
        self.ended = Some(if libc::WIFSIGNALED(status) {
            Ended::Killed(libc::WTERMSIG(status))
        } else {
            Ended::Exited(libc::WEXITSTATUS(status))
        });
        self.ended
    }

    /// Waits until its only thread sleeps in the kernel, on a futex for example.
    pub fn wait_until_asleep(&self) {
        wait_until_asleep(self.pid());
    }

    /// Waits until it is stopped, by `arm_stop` for example. [`Child::signal`] with SIGCONT lets it go on.
    pub fn wait_until_stopped(&self) {
        until(&format!("process {} is stopped", self.pid), || state_of(self.pid()) == Some('T'));
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
        self.wait();
    }
}

/// Waits for all of them, each of which is to come to its end.
pub fn end_well(children: &mut [Child]) {
    for child in children {
        assert_eq!(child.wait(), Ended::WELL, "process {}, see its message above", child.pid());
    }
}

/// Waits until the main thread of a process has slept for a while.
pub fn wait_until_asleep(pid: u32) {
    let mut asleep = 0;
    until(&format!("process {pid} sleeps"), || {
        asleep = if state_of(pid) == Some('S') { asleep + 1 } else { 0 };
        asleep >= 3
    });
}

/// Lets a stopped process go on.
pub fn continue_process(pid: u32) {
    // SAFETY: sends a signal to a process of this test.
    unsafe { libc::kill(pid as i32, libc::SIGCONT) };
}

/// Runs `work` in a child of its own, and fails when it fails: for what counts this process's descriptors,
/// changes its limits, or would be disturbed by other tests' threads.
pub fn in_own_process(work: impl FnOnce()) {
    assert_eq!(fork(work).wait(), Ended::WELL, "see the child's message above");
}

/// Does nothing until this process is killed.
pub fn park() -> ! {
    loop {
        std::thread::park();
    }
}

/// Ends this process as a kill from outside does.
pub fn die() -> ! {
    // SAFETY: a signal to this process, which does not survive it.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    park()
}

/// Kills all children that were not waited for.
pub(super) fn kill_all() {
    for slot in &CHILDREN {
        let pid = slot.load(Ordering::SeqCst);
        if pid > 0 {
            // SAFETY: the pid of a child that nobody waited for yet.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
    }
}
