//! Starting a program with the descriptors that it is to have, and what the program finds of them.
//! Called by `launch`; it knows nothing of tasks and messages.

#![allow(unsafe_code)] // posix_spawn, and a descriptor that was inherited under a number

use std::ffi::{CStr, CString, OsStr, c_char};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};

use super::process::{ended_pidfd, reap, send_signal, wait};

/// The number under which a started program finds the one descriptor that it inherits.
pub(crate) const INHERITED: RawFd = 3;

/// A program to start.
pub(crate) struct Program<'a> {
    /// The file to execute; no search through `PATH`.
    pub executable: &'a CStr,
    /// The arguments with the program's own name first.
    pub arguments: &'a [CString],
    /// The whole environment, as `NAME=value`.
    pub environment: &'a [CString],
    /// The folder to start in; `None` for ours.
    pub folder: Option<&'a CStr>,
    /// What takes the place of standard input, output and error; `None` for ours.
    pub streams: [Option<BorrowedFd<'a>>; 3],
    /// What the program finds under the number [`INHERITED`].
    pub inherited: BorrowedFd<'a>,
}

/// Starts a program. An executable that cannot be executed is an error here, not later.
///
/// The program gets the three standard streams and the descriptor [`INHERITED`]; every other
/// descriptor of this process is closed for it, also those that are not close-on-exec (where the C
/// library can do that: glibc 2.34 and later). It starts with no signal blocked and with SIGPIPE
/// ending it, as every program expects.
///
/// Returns the pid and a pidfd.
#[doc(alias = "posix_spawn")]
pub(crate) fn spawn(program: &Program<'_>) -> io::Result<(u32, OwnedFd)> {
    let arguments = null_terminated(program.arguments);
    let environment = null_terminated(program.environment);
    let mut actions = FileActions::new()?;
    if let Some(folder) = program.folder {
        actions.change_folder(folder)?;
    }
    for (number, stream) in (0..).zip(program.streams) {
        if let Some(stream) = stream {
            actions.duplicate(stream, number)?;
        }
    }
    // After the streams: one of them might have been open under this number.
    actions.duplicate(program.inherited, INHERITED)?;
    actions.close_from(INHERITED + 1)?;
    let attributes = Attributes::new()?;

    let mut pid = 0;
    // SAFETY: every pointer is valid for the call: the C strings and both null-terminated arrays
    // outlive it, actions and attributes are initialised, and pid is ours.
    let error = unsafe {
        libc::posix_spawn(
            &mut pid,
            program.executable.as_ptr(),
            &actions.0,
            &attributes.0,
            arguments.as_ptr().cast(),
            environment.as_ptr().cast(),
        )
    };
    check(error)?;
    let number = Pid::from_raw(pid).ok_or_else(|| io::Error::other("a child without a pid"))?;
    // Nobody but us reaps the child, so the number still means it.
    match rustix::process::pidfd_open(number, PidfdFlags::empty()) {
        Ok(pidfd) => Ok((pid as u32, pidfd)),
        // Nobody but the system: with SIGCHLD ignored it reaps children itself, and this one has
        // ended already.
        Err(Errno::SRCH) => Ok((pid as u32, ended_pidfd()?)),
        Err(error) => {
            // Out of descriptors: what we cannot hold on to must not run, and nobody else would
            // reap it.
            let _ = rustix::process::kill_process(number, Signal::KILL);
            let _ = rustix::process::waitpid(Some(number), WaitOptions::empty());
            Err(error.into())
        }
    }
}

/// Kills a process just started and takes its status: the way back when a start fails late.
pub(crate) fn undo_spawn(pidfd: BorrowedFd<'_>) {
    let _ = send_signal(pidfd, super::signal::KILL);
    let _ = wait(pidfd, None);
    let _ = reap(pidfd);
}

/// Takes over the socket that was inherited under this number, if it is the one with this inode;
/// programs that this process starts do not get it.
///
/// The inode keeps us from taking what is not ours: a program started by a program that ignored its
/// bootstrap sees the same environment, but another file under the number, or none.
pub(crate) fn adopt_socket(number: RawFd, inode: u64) -> Option<OwnedFd> {
    if number < INHERITED {
        return None;
    }
    // SAFETY: not -1; borrowed for two calls that do nothing but fail when nothing is open under
    // it.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    if super::descriptors::socket_inode(borrowed) != Some(inode) {
        return None;
    }
    rustix::io::fcntl_setfd(borrowed, rustix::io::FdFlags::CLOEXEC).ok()?;
    // SAFETY: it is open, and nobody in this process owns it: it was made by the parent for this
    // process alone, came through exec, and the caller takes it once.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Whether this is a file that we may execute.
pub(crate) fn is_executable(file: &Path) -> bool {
    file.is_file() && rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok()
}

/// A C string, with an error that says which text holds a zero byte.
pub(crate) fn c_string(text: impl AsRef<OsStr>) -> io::Result<CString> {
    CString::new(text.as_ref().as_bytes()).map_err(|_| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("a zero byte in {:?}", text.as_ref()))
    })
}

fn null_terminated(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
}

fn check(error: libc::c_int) -> io::Result<()> {
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}

/// What posix_spawn does to the descriptors of the new program.
struct FileActions(libc::posix_spawn_file_actions_t);

impl FileActions {
    fn new() -> io::Result<FileActions> {
        // SAFETY: the type is plain data of C for which zero bytes are valid, and init fills it.
        let mut actions = FileActions(unsafe { std::mem::zeroed() });
        // SAFETY: the pointer is valid; a failed init leaves nothing to destroy, and destroying
        // zeroed actions frees a null pointer.
        check(unsafe { libc::posix_spawn_file_actions_init(&mut actions.0) })?;
        Ok(actions)
    }

    /// `fd` appears as `number`, open across exec; also when both are the same.
    fn duplicate(&mut self, fd: BorrowedFd<'_>, number: RawFd) -> io::Result<()> {
        // SAFETY: the actions are initialised; the numbers are only recorded.
        check(unsafe {
            libc::posix_spawn_file_actions_adddup2(&mut self.0, fd.as_raw_fd(), number)
        })
    }

    fn change_folder(&mut self, folder: &CStr) -> io::Result<()> {
        type Function = unsafe extern "C" fn(
            *mut libc::posix_spawn_file_actions_t,
            *const c_char,
        ) -> libc::c_int;
        static FUNCTION: Symbol = Symbol::new(c"posix_spawn_file_actions_addchdir_np");
        let Some(function) = FUNCTION.find() else {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "this C library cannot start a program in another folder",
            ));
        };
        // SAFETY: the symbol has this type in every C library that has it (glibc 2.29, musl
        // 1.1.24).
        let function: Function = unsafe { std::mem::transmute(function) };
        // SAFETY: the actions are initialised and the path is a C string, which is copied.
        check(unsafe { function(&mut self.0, folder.as_ptr()) })
    }

    /// Closes every descriptor from `number` on, where the C library knows how to.
    fn close_from(&mut self, number: RawFd) -> io::Result<()> {
        type Function =
            unsafe extern "C" fn(*mut libc::posix_spawn_file_actions_t, libc::c_int) -> libc::c_int;
        static FUNCTION: Symbol = Symbol::new(c"posix_spawn_file_actions_addclosefrom_np");
        let Some(function) = FUNCTION.find() else { return Ok(()) };
        // SAFETY: the symbol has this type in every C library that has it (glibc 2.34).
        let function: Function = unsafe { std::mem::transmute(function) };
        // SAFETY: the actions are initialised; the number is only recorded.
        check(unsafe { function(&mut self.0, number) })
    }
}

impl Drop for FileActions {
    fn drop(&mut self) {
        // SAFETY: initialised in `new`, destroyed once.
        unsafe {
            libc::posix_spawn_file_actions_destroy(&mut self.0);
        }
    }
}

/// A function that not every C library has, looked up once. Linking to it would keep the program
/// from starting where it is missing.
struct Symbol {
    name: &'static CStr,
    /// Null: not looked up. [`Symbol::MISSING`]: there is none.
    address: AtomicPtr<libc::c_void>,
}

impl Symbol {
    const MISSING: *mut libc::c_void = ptr::without_provenance_mut(1);

    const fn new(name: &'static CStr) -> Symbol {
        Symbol { name, address: AtomicPtr::new(ptr::null_mut()) }
    }

    fn find(&self) -> Option<*mut libc::c_void> {
        // Relaxed: every thread that looks finds the same address, and it points to code.
        let mut address = self.address.load(Ordering::Relaxed);
        if address.is_null() {
            // SAFETY: a C string and the handle that means all loaded libraries.
            address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, self.name.as_ptr()) };
            if address.is_null() {
                address = Symbol::MISSING;
            }
            self.address.store(address, Ordering::Relaxed);
        }
        (address != Symbol::MISSING).then_some(address)
    }
}

/// The signal state of the new program.
struct Attributes(libc::posix_spawnattr_t);

impl Attributes {
    fn new() -> io::Result<Attributes> {
        // SAFETY: plain data of C for which zero bytes are valid, and init fills it.
        let mut attributes = Attributes(unsafe { std::mem::zeroed() });
        // SAFETY: all pointers are valid, `set` is filled by sigemptyset before it is read, and the
        // attributes are initialised first. Destroying them is a no-op in every C library, so an
        // early return is harmless.
        unsafe {
            check(libc::posix_spawnattr_init(&mut attributes.0))?;
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            check(libc::posix_spawnattr_setsigmask(&mut attributes.0, &set))?;
            libc::sigaddset(&mut set, libc::SIGPIPE);
            check(libc::posix_spawnattr_setsigdefault(&mut attributes.0, &set))?;
            let flags = libc::POSIX_SPAWN_SETSIGMASK | libc::POSIX_SPAWN_SETSIGDEF;
            check(libc::posix_spawnattr_setflags(&mut attributes.0, flags as libc::c_short))?;
        }
        Ok(attributes)
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: initialised in `new`, destroyed once.
        unsafe {
            libc::posix_spawnattr_destroy(&mut self.0);
        }
    }
}
