//! Recovery of a lock whose owner died, by the kernel's robust futexes.
//!
//! The kernel looks at one word per thread while that thread dies: `list_op_pending` of the list head that the C
//! library registered. If the word holds the thread's id, the kernel sets OWNER_DIED and wakes a waiter; if it is
//! free, it wakes a waiter, since the thread may have died between unlocking and waking. That one entry is
//! all that is used here: nothing is inserted in any list and no pointer lives in shared memory. The C
//! library writes the entry only inside its own robust mutexes, which are never called while one of ours is held.
#![allow(unsafe_code)] // reads and writes the C library's list head of the calling thread

use std::cell::{Cell, UnsafeCell};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering, compiler_fence};

use super::{fork, identity};

/// The kernel's `struct robust_list_head`.
#[repr(C)]
struct Head {
    list: *mut libc::c_void,
    futex_offset: libc::c_long,
    list_op_pending: *mut libc::c_void,
}

/// The calling thread, as a lock needs to know it: looked up once and again after a fork, for two words of its own
/// memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThisThread {
    /// The one that the C library registered, or [`UNREGISTERED`], at which nobody looks. It is not another thread's,
    /// since this type is not [`Send`].
    head: *mut Head,
    id: u32,
}

const NO_EPOCH: u64 = u64::MAX;

thread_local! {
    /// With the fork epoch that it is of.
    static KNOWN: Cell<(u64, ThisThread)> =
        const { Cell::new((NO_EPOCH, ThisThread { head: ptr::null_mut(), id: 0 })) };

    static UNREGISTERED: UnsafeCell<Head> = const {
        let (list, list_op_pending) = (ptr::null_mut(), ptr::null_mut());
        UnsafeCell::new(Head { list, futex_offset: 0, list_op_pending })
    };
}

/// See [`ThisThread`].
#[inline]
pub(crate) fn this_thread() -> ThisThread {
    match known_thread() {
        Some(known) => known,
        None => look_up(),
    }
}

/// As `this_thread`, if it was looked up before.
#[inline]
pub(crate) fn known_thread() -> Option<ThisThread> {
    let (of, known) = KNOWN.get();
    (of == fork::known_epoch()).then_some(known)
}

impl ThisThread {
    /// The kernel's number of it.
    #[inline]
    pub(crate) fn id(self) -> u32 {
        self.id
    }

    /// Tells the kernel to look at `word` if this thread dies. One word per thread at a time.
    #[inline]
    pub(crate) fn arm(self, word: &AtomicU32) {
        let head = self.head;
        // SAFETY: this thread's own list head, which lives as long as the thread; only this thread writes it. The
        // kernel adds `futex_offset` to the entry, so the entry need not be a readable address.
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
    pub(crate) fn disarm(self) {
        compiler_fence(Ordering::SeqCst);
        // SAFETY: as in `arm`.
        unsafe { ptr::write_volatile(&raw mut (*self.head).list_op_pending, ptr::null_mut()) };
    }

    /// Whether this thread has a word armed; for the rule that internal locks never nest.
    pub(crate) fn is_armed(self) -> bool {
        // SAFETY: as in `arm`.
        unsafe { !(*self.head).list_op_pending.is_null() }
    }
}

#[cold]
fn look_up() -> ThisThread {
    let epoch = fork::epoch();
    let (of, known) = KNOWN.get();
    if of == epoch {
        return known; // where no page says so that there was no fork
    }
    let id = identity::thread_id();
    let Some(head) = registered() else {
        // The slices in `sync` find a death by the thread's id instead. A list may be registered later.
        return ThisThread { head: UNREGISTERED.with(UnsafeCell::get), id };
    };
    let known = ThisThread { head, id };
    KNOWN.set((epoch, known));
    known
}

/// This thread's list head, if there is one.
fn registered() -> Option<*mut Head> {
    let mut head: *mut Head = ptr::null_mut();
    let mut len: libc::size_t = 0;
    // SAFETY: the call writes the two out-parameters and nothing else; 0 means the calling thread.
    let failed =
        unsafe { libc::syscall(libc::SYS_get_robust_list, 0, &raw mut head, &raw mut len) };
    (failed == 0 && len == size_of::<Head>() && !head.is_null()).then_some(head)
}
