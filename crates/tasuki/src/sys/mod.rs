//! Every system call of the crate: nothing above this folder says `target_os`, `libc` or `rustix`.
//!
//! Each file names one thing the kernel gives: memory, sleeping on a word, recovery of a dead owner's lock,
//! identity of processes, the loader, fork, descriptors that travel, and processes themselves.

#[cfg(not(target_os = "linux"))]
compile_error!("tasuki needs Linux: memfd seals, shared futexes, robust lists and pidfds");

pub(crate) mod abandoned;
pub(crate) mod at_load;
pub(crate) mod clock;
pub(crate) mod descriptor_socket;
pub(crate) mod descriptors;
pub(crate) mod epoll;
pub(crate) mod eventfd;
pub(crate) mod fork;
pub(crate) mod futex;
pub(crate) mod hang_up;
pub(crate) mod holders;
pub(crate) mod identity;
pub(crate) mod kept_fd;
pub(crate) mod lease;
pub(crate) mod memory;
pub(crate) mod named_memory;
pub(crate) mod per_process;
pub(crate) mod poll;
pub(crate) mod private_memory;
pub(crate) mod process;
pub(crate) mod random;
pub(crate) mod robust;
pub(crate) mod signal;
mod socket_address;
pub(crate) mod socket_pair;
pub(crate) mod sockets;
pub(crate) mod spawn;
pub(crate) mod threads;
#[cfg(feature = "tokio")]
pub(crate) mod timer;
