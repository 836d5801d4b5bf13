//! Which processes have a memory file open: what `lsof` would say. It takes milliseconds, so it is asked seldom.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Whether another process has the memfd with this device and inode open, or may have it: a process of the same user
/// that may not be looked into counts. Descriptors on their way in a socket are not seen.
pub(crate) fn another_process_has(file: (u64, u64)) -> bool {
    another_process_has_but(file, |_| false)
}

/// The same, but for processes that do not count.
pub(crate) fn another_process_has_but(file: (u64, u64), but: impl Fn(u32) -> bool) -> bool {
    let own = rustix::process::getpid().as_raw_nonzero().get().to_string();
    let user = rustix::process::geteuid().as_raw();
    let Ok(processes) = fs::read_dir("/proc") else { return true };
    processes.flatten().any(|process| {
        let pid = process.file_name();
        let number = pid.to_str().and_then(|pid| pid.parse().ok());
        number.is_some_and(|number| !but(number))
            && pid != *own
            && may_have(&process.path(), file, user)
    })
}

fn may_have(process: &Path, file: (u64, u64), user: u32) -> bool {
    match fs::read_dir(process.join("fd")) {
        Ok(descriptors) => descriptors.flatten().any(|descriptor| {
            let path = descriptor.path();
            // The link first: to ask for the status of any file could wait for a server on the net.
            let is_memory = fs::read_link(&path)
                .is_ok_and(|to| to.as_os_str().as_bytes().starts_with(b"/memfd:tasuki:"));
            is_memory
                && fs::metadata(&path).is_ok_and(|status| (status.dev(), status.ino()) == file)
        }),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            fs::metadata(process).is_ok_and(|status| status.uid() == user)
        }
        // It ended meanwhile.
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::sys::memory;

    #[test]
    fn a_process_that_has_it_is_seen_and_one_that_had_it_is_not() {
        let fd = memory::create("tasuki:queue:holders", memory::PAGE).unwrap();
        let file = memory::file_id(fd.as_fd()).unwrap();
        // A child of another test may have a copy for a moment.
        let wait_until_nobody_has_it = || {
            while another_process_has(file) {
                std::thread::yield_now();
            }
        };
        wait_until_nobody_has_it();
        let copy = fd.try_clone().unwrap();
        let mut child = std::process::Command::new("sleep").arg("60").stdin(copy).spawn().unwrap();
        assert!(another_process_has(file));
        child.kill().unwrap();
        child.wait().unwrap();
        wait_until_nobody_has_it();
    }
}
