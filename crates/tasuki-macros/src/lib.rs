//! The attribute macros of the crate `tasuki`; use them from there.

use proc_macro::TokenStream;

mod main_fn;
mod task;

/// Lets processes of this program be started: put it on `fn main`.
///
/// `Process::spawn` starts the same program again. In the new process, what this attribute adds
/// runs the task and ends the process before the body of `main`; in the first process it runs the
/// body, and at its end, or when it panics, waits for the threads of `tasuki::thread` that are no
/// daemons, ends the processes that are daemons and waits for all other processes.
///
/// The function may return whatever a `main` may. An error it returns is printed before the waiting
/// begins. An asynchronous `main` needs its runtime's attribute below this one:
///
/// ```text
/// #[tasuki::main]
/// #[tokio::main]
/// async fn main() {}
/// ```
///
/// Only what stands in `main` is kept from running in the new process: code that runs before
/// `main`, in initializers, runs there too.
#[proc_macro_attribute]
pub fn main(attribute: TokenStream, item: TokenStream) -> TokenStream {
    main_fn::expand(attribute.into(), item.into()).into()
}

/// Makes a function one that a process can be asked to run.
///
/// The function stays as it is and can still be called. Its arguments and its result travel as
/// bytes, so each is an owned type that implements `serde::Serialize` and `serde::Deserialize`:
/// `String`, not `&str`. Queues, locks and values are such types.
///
/// The task's name is the function's path. A crate that registers tasks must be linked into the
/// program: the compiler leaves out a dependency that nothing refers to.
#[proc_macro_attribute]
pub fn task(attribute: TokenStream, item: TokenStream) -> TokenStream {
    task::expand(attribute.into(), item.into()).into()
}
