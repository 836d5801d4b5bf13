//! Noticing that this process is a fork's child: everything cached about "me" is void then.
#![allow(unsafe_code)] // a page with MADV_WIPEONFORK, and pthread_atfork

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use rustix::mm::Advice;

use super::memory::PAGE;

/// The page, which this library has from the start: asking for one could be refused when a child is born poor.
#[repr(C, align(4096))]
struct Page(AtomicU64, [u8; PAGE - size_of::<AtomicU64>()]);

static MARKED: Page = Page(AtomicU64::new(0), [0; PAGE - size_of::<AtomicU64>()]);
/// What is known of the page.
static STATE: AtomicU8 = AtomicU8::new(UNASKED);
static LAST: AtomicU64 = AtomicU64::new(0);

const UNASKED: u8 = 0;
/// The kernel zeroes it in every forked child.
const WIPED: u8 = 1;
/// It does not: a kernel before 4.14, larger pages than ours, a loader that has the page in a file.
const KEPT: u8 = 2;

/// A number that is constant in one process and differs in every child that was forked from it, never 0.
///
/// It costs one load: the kernel zeroes the page it is read from in every forked child, raw `clone` included.
#[inline]
pub(crate) fn epoch() -> u64 {
    match known_epoch() {
        0 => slow(),
        epoch => epoch,
    }
}

/// The epoch, or 0: where nobody asked in this process, or no page can say it.
#[inline]
pub(crate) fn known_epoch() -> u64 {
    // Relaxed, and without a look at the state: a page that the kernel does not wipe is marked by nobody.
    MARKED.0.load(Ordering::Relaxed)
}

#[cold]
fn slow() -> u64 {
    let mut state = STATE.load(Ordering::Acquire);
    if state == UNASKED {
        // SAFETY: the page is this file's alone, and nothing is in it before the state says that it is wiped.
        let asked = unsafe {
            let page = (&raw const MARKED).cast_mut().cast();
            rustix::mm::madvise(page, PAGE, Advice::LinuxWipeOnFork)
        };
        state = if asked.is_ok() { WIPED } else { KEPT };
        STATE.store(state, Ordering::Release);
    }
    if state == KEPT {
        return by_pid();
    }
    let fresh = LAST.fetch_add(1, Ordering::Relaxed) + 1;
    match MARKED.0.compare_exchange(0, fresh, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => fresh,
        Err(other) => other,
    }
}

/// The epoch by asking the kernel who this is. A pid that comes back in a line of forks is taken for another process
/// only if every one between them asked nothing; then nothing of theirs is remembered, either.
fn by_pid() -> u64 {
    static OF: AtomicU64 = AtomicU64::new(0);
    let pid = rustix::process::getpid().as_raw_nonzero().get().unsigned_abs();
    loop {
        // Low half: the pid; high half: the epoch it has.
        let of = OF.load(Ordering::Acquire);
        if of as u32 == pid {
            return of >> 32;
        }
        let fresh = (of >> 32) + 1;
        let ours = fresh << 32 | u64::from(pid);
        if OF.compare_exchange(of, ours, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            return fresh;
        }
    }
}

/// Runs the three functions around every `fork()` of this process from now on, as `pthread_atfork` does.
///
/// `posix_spawn` and `vfork` do not run them, and need not: their children only exec.
pub(crate) fn around_fork(
    prepare: extern "C" fn(),
    parent: extern "C" fn(),
    child: extern "C" fn(),
) {
    // SAFETY: the functions are `'static` and take no arguments; what they do is safe code.
    let failed = unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) };
    assert_eq!(failed, 0, "pthread_atfork: out of memory at start-up");
}
