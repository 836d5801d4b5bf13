//! The child's side: [`enter`] is what `#[tasuki::main]` makes of `main`, [`before_tests`] what
//! `tasuki::enable_tests!()` runs. In a process that was started to run a task they run it and
//! never come back; in every other process they let the program run.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{self, AssertUnwindSafe};
use std::process::{ExitCode, Termination};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use super::call::{Call, Parent};
use super::current::{self, CurrentProcess};
use super::delay::Delay;
use super::message::{self, Answer, Message, Start};
use super::registry::{self, Found};
use super::socket::{live_with_parent, take_socket};
use super::task::{Task, Transferable};
use super::{children, inherited};
use crate::ending::{Exit, message_of};
use crate::protocol::transfer;
use crate::sys::descriptors::Wait;
use crate::sys::{signal, threads};
use crate::thread;

/// Exit code of a process that could not begin.
const REFUSED: i32 = Exit::Refused as i32;

/// Whether this process passed through `#[tasuki::main]`. Without it a child would run `main` as if
/// it were the parent, start a child of its own, and so on without an end; so nobody may start one.
static ENTERED: AtomicBool = AtomicBool::new(false);

pub(super) fn is_entered() -> bool {
    ENTERED.load(Ordering::Relaxed)
}

/// The way back to the parent, in a process that runs a task. Written once, before the task starts.
static PARENT: OnceLock<Parent> = OnceLock::new();

/// Runs a program's `main`, or the task that this process was started for.
///
/// After `main`, whether it returned or panicked, threads of tasuki that are no daemons are waited for; then daemons
/// are ended and other processes waited for.
pub fn enter<T: Termination>(main: impl FnOnce() -> T) -> ExitCode {
    begin(|| {});
    // An error of main is shown now, not after waiting for processes that perhaps wait for us.
    let code = panic::catch_unwind(AssertUnwindSafe(|| main().report()));
    thread::finish();
    children::finish();
    code.unwrap_or_else(|panic| panic::resume_unwind(panic))
}

/// Runs the task that this process was started for, before the test harness sees anything.
///
/// This is called by an initializer of the program; `remaining` runs the initializers that come
/// after it. They register tasks, so a child needs them; in every other process the C library runs
/// them, once, as always.
pub fn before_tests(remaining: impl FnOnce()) {
    begin(|| {
        remaining();
        // What the standard library would have done by now.
        signal::ignore_broken_pipes();
    });
}

/// Comes back only where the program itself shall run.
fn begin(before_task: impl FnOnce()) {
    ENTERED.store(true, Ordering::Relaxed);
    let Some(socket) = take_socket() else { return };
    let message = match message::receive(socket.as_fd(), Wait::ForMessage) {
        Ok(Some(message)) => message,
        Ok(None) => give_up(&socket, "nothing came"),
        Err(error) => give_up(&socket, error),
    };
    match message.split::<Start>() {
        Ok((Start::Task(_), _)) => {
            before_task();
            serve(socket, message)
        }
        Ok((Start::Program(_), _)) => inherited::keep(socket, message),
        Err(error) => give_up(&socket, error),
    }
}

/// Ends a process that cannot read its start: told to the parent, if that listens, and to whoever
/// looks at standard error.
fn give_up(socket: &OwnedFd, why: impl fmt::Display) -> ! {
    eprintln!("tasuki: this process cannot learn what it was started for: {why}");
    let _ = message::send(socket.as_fd(), &Answer::BadArguments(why.to_string()), &[], &[]);
    std::process::exit(REFUSED)
}

/// Runs the task and ends the process.
fn serve(socket: OwnedFd, message: Message) -> ! {
    let Ok((Start::Task(start), payload)) = message.split::<Start>() else {
        unreachable!("the caller saw a task");
    };
    if start.daemon {
        live_with_parent(socket.as_fd());
    }
    threads::set_thread_name(start.name);
    crate::raw::set_process_name(start.name);
    current::become_process(CurrentProcess::child(
        start.name,
        start.lineage,
        start.parent,
        start.daemon,
    ));
    let parent = PARENT.get_or_init(|| Parent { socket, for_pid: std::process::id() });
    remember_panics();
    let entry = if start.table == registry::fingerprint() {
        match registry::find(start.task) {
            Found::One(entry) => Ok(entry),
            Found::None | Found::Several => Err(Answer::NotRegistered),
        }
    } else {
        Err(Answer::OtherTable(registry::table()))
    };
    let length = payload.len();
    let exit = match entry {
        Ok(entry) => {
            let delayed = start.delayed;
            (entry.run)(Call { arguments: message.into_payload(length), delayed, parent })
        }
        Err(refusal) => {
            parent.tell(&refusal);
            Exit::Refused
        }
    };
    thread::finish();
    children::finish();
    std::process::exit(exit as i32)
}

/// Runs one task: what `#[tasuki::task]` registers, with the types of the function filled in.
#[doc(hidden)]
pub fn run<Args, Function>(call: Call, function: Function) -> Exit
where
    Args: Transferable,
    Function: Task<Args>,
    Function::Output: Transferable,
{
    let Call { arguments, delayed, parent } = call;
    let read = || match delayed {
        false => arguments.read::<Args>().map(|arguments| (None, arguments)),
        true => {
            arguments.read::<(Delay, Args)>().map(|(delay, arguments)| (Some(delay), arguments))
        }
    };
    // Reading and writing run code of the user's types: it may panic as the function may.
    let (delay, arguments) = match panic::catch_unwind(AssertUnwindSafe(read)) {
        Ok(Ok(read)) => read,
        Ok(Err(reason)) => {
            parent.tell(&Answer::BadArguments(reason));
            return Exit::Refused;
        }
        Err(panic) => return panicked(parent, &*panic),
    };
    parent.tell(&Answer::Ready);
    let written = panic::catch_unwind(AssertUnwindSafe(|| {
        let Some(delay) = delay else {
            let result = function.call(arguments);
            return transfer::collect(|| postcard::to_stdvec(&result));
        };
        let result = delay.passes().then(|| function.call(arguments));
        transfer::collect(|| postcard::to_stdvec(&result))
    }));
    match written {
        Ok((Ok(bytes), outgoing)) => {
            let sent = parent.send(&Answer::Returned, &bytes, &outgoing.descriptors());
            match sent {
                Ok(()) => return Exit::Returned,
                Err(error) => parent.tell(&Answer::BadResult(error.to_string())),
            }
        }
        Ok((Err(error), _)) => parent.tell(&Answer::BadResult(error.to_string())),
        Err(panic) => return panicked(parent, &*panic),
    }
    Exit::Refused
}

fn panicked(parent: &Parent, panic: &(dyn Any + Send)) -> Exit {
    // A panic without a hook (resume_unwind, or the task replaced the hook) has only its payload.
    let (message, location) = PANIC.take().unwrap_or_else(|| (message_of(panic).to_owned(), None));
    parent.tell(&Answer::Panicked { message, location });
    Exit::Panicked
}

thread_local! {
    /// Message and location of this thread's last panic; the location is known only to the hook.
    static PANIC: Cell<Option<(String, Option<String>)>> = const { Cell::new(None) };
}

/// Adds to the panic hook, which still writes its lines to standard error.
fn remember_panics() {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let message = message_of(info.payload()).to_owned();
        let location = info.location().map(ToString::to_string);
        if cfg!(panic = "abort") {
            // Nobody will catch it: this is the last moment at which it can be told.
            if let Some(parent) = PARENT.get() {
                parent.tell(&Answer::Panicked { message, location });
            }
        } else {
            // A thread at its very end has no place left to remember.
            let _ = PANIC.try_with(|panic| panic.set(Some((message, location))));
        }
        hook(info);
    }));
}
