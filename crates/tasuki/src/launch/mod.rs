//! Starting processes and hearing from them: the bootstrap protocol, the table of tasks, both sides
//! of a start, and the table of running children. README.md beside this file has the protocol, its
//! states and the feared races. Called by the fronts `process`, `context` and `command`; what is
//! public here is for the code that the macros write, and for the Python module.

mod call;
mod child;
pub(crate) mod children;
mod current;
pub(crate) mod delay;
pub(crate) mod inherited;
mod message;
pub(crate) mod parent;
mod registry;
mod socket;
mod task;

pub use call::Call;
pub use child::{before_tests, enter, run};
pub use current::{CurrentProcess, current_process};
pub use delay::Canceller;
pub use inventory;
pub use registry::{Entry, name_of, signature_of};
pub use task::{Task, Transferable};

pub use crate::ending::Exit;

/// Lets processes be started from the tests of a crate; write it once in each test's file, or under
/// `#[cfg(test)]` in a library.
///
/// A test's program has no `main` of yours that `#[tasuki::main]` could stand on: the harness
/// writes it. So this adds a function that the program runs before the harness. In a process that
/// was started to run a task, it runs the task and ends the process; in all others it does nothing.
///
/// ```text
/// #[cfg(test)]
/// mod tests {
///     tasuki::enable_tests!();
///
///     #[tasuki::task]
///     fn double(n: u32) -> u32 {
///         2 * n
///     }
///
///     #[test]
///     fn doubles() {
///         assert_eq!(tasuki::Process::spawn(double, (21,)).unwrap().join().unwrap(), 42);
///     }
/// }
/// ```
///
/// Unlike `#[tasuki::main]`, nothing is waited for at the end: join what a test starts. In a
/// process that runs a task, code has the standard library's own set-up only as far as it does not
/// depend on `main` having begun; a stack overflow there shows as SIGSEGV without a message.
#[macro_export]
macro_rules! enable_tests {
    () => {
        #[allow(unsafe_code)] // An initializer, and the initializers after it.
        const _: () = {
            type Initializer = unsafe extern "C" fn(
                ::std::ffi::c_int,
                *const *const ::std::ffi::c_char,
                *const *const ::std::ffi::c_char,
            );

            #[used]
            #[unsafe(link_section = ".init_array")]
            static INITIALIZER: Initializer = initializer;

            unsafe extern "C" {
                // The linker's own name for the end of the array of this program.
                static __init_array_end: Initializer;
            }

            unsafe extern "C" fn initializer(
                count: ::std::ffi::c_int,
                arguments: *const *const ::std::ffi::c_char,
                environment: *const *const ::std::ffi::c_char,
            ) {
                // A child's task begins here and never comes back, so whatever other initializers
                // are still to come, among them those that register tasks, must run first.
                $crate::launch::before_tests(|| {
                    let mut next = &raw const INITIALIZER;
                    // SAFETY: our own entry lies in the array before that end, so every
                    // address up to the end is an entry of it. The C library calls each of them
                    // with these arguments, and never comes to do it in this process.
                    unsafe {
                        next = next.add(1);
                        while next < &raw const __init_array_end {
                            (*next)(count, arguments, environment);
                            next = next.add(1);
                        }
                    }
                });
            }
        };
    };
}
