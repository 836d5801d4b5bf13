//! Recovery of a lock whose owner died, by the kernel's robust futexes.
//!
//! The kernel looks at one word per thread while that thread dies: `list_op_pending` of the list head that the C
//! library registered. If the word holds the thread's id, the kernel sets OWNER_DIED and wakes a waiter; if it is
//! free, it wakes a waiter, since the thread may have died between unlocking and waking. That one entry is
//! all that is used here: nothing is inserted in any list and no pointer lives in shared memory. The C
//! library writes the entry only inside its own robust mutexes, which are never called while one of ours is held.
#![allow(unsafe_code)] // reads and writes the C library's list head of the calling thread

use std::cell::Cell;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering, compiler_fence};

/// The kernel's `struct robust_list_head`.
#[repr(C)]
struct Head {
    list: *mut libc::c_void,
    futex_offset: libc::c_long,
    list_op_pending: *mut libc::c_void,
}

thread_local! {
    static HEAD: Cell<*mut Head> = const { Cell::new(ptr::null_mut()) };
}

/// Tells the kernel to look at `word` if this thread dies. One word per thread at a time.
#[inline]
pub(crate) fn arm(word: &AtomicU32) {
    let head = head();
    if head.is_null() {
        return; // no list was registered: the slices in `sync` find the death by the thread's id instead
    }
    // SAFETY: `head` is this thread's own list head, which lives as long as the thread; only this thread writes
    // it. The kernel adds `futex_offset` to the entry, so the entry need not be a readable address.
    unsafe {
        let entry =
            ptr::from_ref(word).cast::<u8>().wrapping_offset(-((*head).futex_offset as isize));
        ptr::write_volatile(&raw mut (*head).list_op_pending, entry.cast_mut().cast());
    }
    // The kernel reads the entry in this thread's program order: only the compiler must be held back.
    compiler_fence(Ordering::SeqCst);
}

/// Tells the kernel that this thread holds and wants no lock of ours.
#[inline]
pub(crate) fn disarm() {
    compiler_fence(Ordering::SeqCst);
    let head = HEAD.get();
    if !head.is_null() {
        // SAFETY: as in `arm`.
        unsafe { ptr::write_volatile(&raw mut (*head).list_op_pending, ptr::null_mut()) };
    }
}

/// Whether this thread has a word armed; for the rule that internal locks never nest.
pub(crate) fn is_armed() -> bool {
    let head = HEAD.get();
    // SAFETY: as in `arm`.
    !head.is_null() && unsafe { !(*head).list_op_pending.is_null() }
}

#[inline]
fn head() -> *mut Head {
    let head = HEAD.get();
    if head.is_null() { look_up() } else { head }
}

#[cold]
fn look_up() -> *mut Head {
    let mut head: *mut Head = ptr::null_mut();
    let mut len: libc::size_t = 0;
    // SAFETY: the call writes the two out-parameters and nothing else; 0 means the calling thread.
    let failed =
        unsafe { libc::syscall(libc::SYS_get_robust_list, 0, &raw mut head, &raw mut len) };
    if failed != 0 || len != size_of::<Head>() {
        return ptr::null_mut();
    }
    HEAD.set(head);
    head
}
