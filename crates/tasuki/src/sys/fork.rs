//! Noticing that this process is a fork's child: everything cached about "me" is void then.
#![allow(unsafe_code)] // a page with MADV_WIPEONFORK and pthread_atfork

use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use rustix::mm::{Advice, MapFlags, ProtFlags};

use super::memory::PAGE;

static MARK: AtomicPtr<AtomicU64> = AtomicPtr::new(ptr::null_mut());
static LAST: AtomicU64 = AtomicU64::new(0);

/// A number that is constant in one process and differs in every child that was forked from it, never 0.
///
/// It costs one load: the kernel zeroes the page it is read from in every forked child, raw `clone` included.
#[inline]
pub(crate) fn epoch() -> u64 {
    let mark = MARK.load(Ordering::Acquire);
    if !mark.is_null() {
        // SAFETY: a non-null mark points to the page that `slow` mapped and that is never unmapped.
        let epoch = unsafe { (*mark).load(Ordering::Relaxed) };
        if epoch != 0 {
            return epoch;
        }
    }
    slow()
}

#[cold]
fn slow() -> u64 {
    let mut mark = MARK.load(Ordering::Acquire);
    if mark.is_null() {
        mark = map_mark();
        if let Err(first) =
            MARK.compare_exchange(ptr::null_mut(), mark, Ordering::AcqRel, Ordering::Acquire)
        {
            mark = first; // another thread was faster; one stray page per such race at start-up
        }
    }
    let fresh = LAST.fetch_add(1, Ordering::Relaxed) + 1;
    // SAFETY: as in `epoch`.
    match unsafe { (*mark).compare_exchange(0, fresh, Ordering::AcqRel, Ordering::Acquire) } {
        Ok(_) => fresh,
        Err(other) => other,
    }
}

fn map_mark() -> *mut AtomicU64 {
    // SAFETY: an anonymous private page that nobody else knows of.
    let page = unsafe {
        rustix::mm::mmap_anonymous(
            ptr::null_mut(),
            PAGE,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::PRIVATE,
        )
    }
    .expect("one page of memory");
    // SAFETY: the advice changes only what a forked child sees in this page.
    unsafe { rustix::mm::madvise(page, PAGE, Advice::LinuxWipeOnFork) }
        .expect("MADV_WIPEONFORK, in Linux since 4.14");
    page.cast()
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
