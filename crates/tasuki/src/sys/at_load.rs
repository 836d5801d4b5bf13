//! Work that the loader runs, before `main` or when the library is loaded. At the first use it would be too late for
//! what happens around a fork: one by another thread during that use would give its child a lock that is held by
//! nobody.

use std::sync::atomic::{AtomicBool, Ordering};

/// Made by [`at_load!`].
pub(crate) struct AtLoad {
    is_done: AtomicBool,
    work: fn(),
}

impl AtLoad {
    pub(crate) const fn new(work: fn()) -> AtLoad {
        AtLoad { is_done: AtomicBool::new(false), work }
    }

    /// Does the work, if a linker left the loader's entry out. Before every use of what the work is for.
    #[inline]
    pub(crate) fn ensure(&self) {
        if !self.is_done.load(Ordering::Relaxed) {
            self.run();
        }
    }

    #[cold]
    fn run(&self) {
        if !self.is_done.swap(true, Ordering::SeqCst) {
            (self.work)();
        }
    }
}

/// `at_load!(HOOKS, || ...)`: a static of type [`AtLoad`] whose work the loader runs.
macro_rules! at_load {
    ($name:ident, $work:expr) => {
        static $name: $crate::sys::at_load::AtLoad = $crate::sys::at_load::AtLoad::new($work);
        const _: () = {
            extern "C" fn at_load() {
                $name.ensure();
            }
            // SAFETY: the section is a list of such functions, which the loader calls; this one is ready at any time.
            #[used]
            #[unsafe(link_section = ".init_array")]
            static ENTRY: extern "C" fn() = at_load;
        };
    };
}
pub(crate) use at_load;
