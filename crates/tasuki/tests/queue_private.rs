//! Large messages as memory of the process that took them, also where the kernel refuses to map them.

mod support;

use std::os::fd::AsRawFd;

use support::messages::{CODEC, message, put};
use support::{Ended, fork, in_own_process, watchdog};
use tasuki::raw::{LargeMessage, PrivateMessage, QueueOptions, RawQueue, Wait};

const LEN: usize = (2 << 20) + 5;

fn take(queue: &RawQueue) -> Box<LargeMessage> {
    let taken = queue.get(&mut Vec::new(), &mut Wait::now()).unwrap();
    taken.large.expect("a large message")
}

#[allow(unsafe_code)]
fn bytes_of(message: &mut PrivateMessage) -> &mut [u8] {
    // SAFETY: this process's own memory, for as long as the message lives, and borrowed as long.
    unsafe { std::slice::from_raw_parts_mut(message.as_ptr(), message.len()) }
}

/// What a private message is, whichever way it was made.
fn check(queue: &RawQueue, mut private: PrivateMessage) {
    assert!(bytes_of(&mut private) == message(0, 0, LEN));
    assert_eq!(private.as_ptr() as usize % 4096, 0);
    // A child has its own.
    let mut child = fork(|| {
        assert!(bytes_of(&mut private) == message(0, 0, LEN));
        bytes_of(&mut private).fill(1);
    });
    assert_eq!(child.wait(), Ended::WELL);
    assert!(bytes_of(&mut private) == message(0, 0, LEN));
    // And another message that uses the block does not show.
    put(queue, &message(0, 1, LEN), &[]);
    assert!(bytes_of(&mut private) == message(0, 0, LEN));
    bytes_of(&mut private).fill(2);
    assert!(take(queue).to_vec() == message(0, 1, LEN));
}

fn filled() -> RawQueue {
    let queue = RawQueue::create(QueueOptions::default()).unwrap();
    queue.put(CODEC, &[&message(0, 0, LEN)], &[], &mut Wait::now()).unwrap();
    queue
}

#[test]
fn a_private_message_is_nobody_elses() {
    let _watchdog = watchdog();
    in_own_process(|| {
        let queue = filled();
        check(&queue, take(&queue).into_private().unwrap());
    });
}

#[test]
#[allow(unsafe_code)]
fn a_message_is_not_lost_for_descriptors_that_the_program_closed() {
    let _watchdog = watchdog();
    in_own_process(|| {
        let queue = filled();
        let large = take(&queue);
        // SAFETY: closes a descriptor, as daemons do with all; the queue bears it.
        unsafe { libc::close(queue.descriptors()[0].as_raw_fd()) };
        check(&queue, large.into_private().unwrap());
    });
}
