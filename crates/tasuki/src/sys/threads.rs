//! The threads of this process: telling them apart for next to nothing, the names they show, and a fence that all of
//! them go through.
#![allow(unsafe_code)] // asks the processor or the C library who this is

use std::ffi::CString;
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::io::Errno;
use rustix::thread::{MembarrierCommand, MembarrierQuery, membarrier, membarrier_query};

/// Different for all threads that live at the same time, never 0 nor 1, and the same for the thread that forks and the
/// one that its child begins with. A thread that begins later may have the mark of one that has ended.
#[inline]
pub(crate) fn mark() -> usize {
    #[cfg(target_arch = "x86_64")]
    {
        let mark: usize;
        // SAFETY: reads the word at the beginning of the thread's own block, which is that block's address: so the ABI
        // says, for the sake of thread-local variables. It is what the function below returns, without the call.
        unsafe {
            std::arch::asm!("mov {}, fs:0", out(reg) mark, options(pure, readonly, nostack, preserves_flags));
        }
        mark
    }
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: it has no conditions.
    unsafe {
        libc::pthread_self() as usize
    }
}

/// Shows `name` (at most 15 bytes of it) as this thread's name in `ps` and `top`.
pub(crate) fn set_thread_name(name: &str) {
    if let Ok(name) = CString::new(name.replace('\0', "")) {
        // Only for the eye: a name that cannot be set is not set.
        let _ = rustix::thread::set_name(&name);
    }
}

/// Whether there is [`fence_all`].
#[doc(alias = "membarrier")]
pub(crate) fn can_fence_all() -> bool {
    const YES: u8 = 1;
    const NO: u8 = 2;
    static KNOWN: AtomicU8 = AtomicU8::new(0);
    match KNOWN.load(Ordering::Relaxed) {
        YES => true,
        NO => false,
        _ => {
            let can = membarrier_query().contains(MembarrierQuery::PRIVATE_EXPEDITED);
            KNOWN.store(if can { YES } else { NO }, Ordering::Relaxed);
            can
        }
    }
}

/// Makes every other thread of this process execute a full fence, wherever it is, and executes one here. So they need
/// none where the compiler's order is kept: of a store and a later load there, either the store is seen after this, or
/// the load sees what was stored before this. False: it was refused.
#[doc(alias = "membarrier")]
pub(crate) fn fence_all() -> bool {
    match membarrier(MembarrierCommand::PrivateExpedited) {
        Err(Errno::PERM) => {
            membarrier(MembarrierCommand::RegisterPrivateExpedited).is_ok()
                && membarrier(MembarrierCommand::PrivateExpedited).is_ok()
        }
        other => other.is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, compiler_fence};

    use super::*;

    /// Dekker's: of two threads that each say something and look at the other, one sees it, though only one of them
    /// fences.
    #[test]
    fn one_of_two_sees_the_other() {
        if !can_fence_all() {
            return;
        }
        let (round, here, there, done) =
            (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            let quick = scope.spawn(|| {
                for n in 1..=2000 {
                    while round.load(Ordering::Acquire) != n {
                        std::hint::spin_loop();
                        std::thread::yield_now();
                    }
                    here.store(n, Ordering::Relaxed);
                    compiler_fence(Ordering::SeqCst);
                    let saw = there.load(Ordering::Relaxed) == n;
                    done.store(n * 2 + usize::from(saw), Ordering::Release);
                }
            });
            for n in 1..=2000 {
                round.store(n, Ordering::Release);
                there.store(n, Ordering::Relaxed);
                assert!(fence_all());
                let saw = here.load(Ordering::Relaxed) == n;
                while done.load(Ordering::Acquire) / 2 != n {
                    std::thread::yield_now();
                }
                assert!(saw || done.load(Ordering::Relaxed) % 2 == 1, "neither saw the other");
            }
            quick.join().unwrap();
        });
        assert_ne!(mark(), std::thread::spawn(mark).join().unwrap());
    }
}
