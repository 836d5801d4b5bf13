//! What the check of an interruptible wait does, a signal handler for example: it uses other objects while its thread
//! waits for a section, and the process dies in the section afterwards. The kernel is told of that death as of any
//! other.
#![cfg(feature = "kill-points")]

mod support;

use std::time::Duration;

use support::{Child, Ended, NEVER, Words, fork, state_of, until, watchdog_of};
use tasuki::kill_points::{KillPoint, arm, arm_stop};
use tasuki::raw::{QueueOptions, RawBarrier, RawCondition, RawQueue, RawSemaphore, Wait};

/// Something with a section that a wait goes into.
trait Section {
    /// Enters, under a wait; nothing may have to be waited for but the section.
    fn enter(&self, wait: &mut Wait<'_>);
}

impl Section for RawSemaphore {
    fn enter(&self, wait: &mut Wait<'_>) {
        let _ = self.acquire_owned(wait).unwrap();
    }
}

impl Section for RawQueue {
    fn enter(&self, wait: &mut Wait<'_>) {
        self.put(1, &[b"a message"], &[], wait).unwrap();
    }
}

impl Section for RawCondition {
    fn enter(&self, wait: &mut Wait<'_>) {
        drop(RawCondition::enter(self, wait).unwrap());
    }
}

impl Section for RawBarrier {
    fn enter(&self, wait: &mut Wait<'_>) {
        let _ = self.arrive(false, wait).unwrap();
    }
}

/// One is stopped inside. Another one waits for the section, its check uses an object, and it dies inside after that:
/// as a zombie, whose parent does not ask for it. A third one must get in.
fn a_death_after_a_check_is_told(what: &str, object: &impl Section) {
    eprintln!("{what}");
    let other = RawQueue::create(QueueOptions::default()).unwrap();
    let words = Words::new(1);
    let mut stopped = fork(|| {
        arm_stop(KillPoint::LockTaken, 1);
        object.enter(&mut Wait::forever());
    });
    stopped.wait_until_stopped();
    let victim: Child = fork(|| {
        // The first section is that of the check; the second one is where it dies.
        arm(KillPoint::LockTaken, 2);
        let mut check = || {
            if !words.told(0) {
                other.put(1, &[b"from a handler"], &[], &mut Wait::now()).unwrap();
                words.tell(0);
            }
            false
        };
        object.enter(&mut Wait::forever().interruptible(&mut check));
    });
    until("the check ran", || words.told(0));
    victim.wait_until_asleep();
    stopped.signal(libc::SIGCONT);
    assert_eq!(stopped.wait(), Ended::WELL);
    until("the victim is a zombie", || state_of(victim.pid()) == Some('Z'));
    let mut third = fork(|| object.enter(&mut Wait::timeout(NEVER)));
    assert_eq!(third.wait(), Ended::WELL, "{what}: the third one did not get in");
}

#[test]
fn a_check_leaves_the_announcement_of_its_thread_as_it_was() {
    let _watchdog = watchdog_of(Duration::from_secs(240));
    a_death_after_a_check_is_told("semaphore", &RawSemaphore::create(8, 8).unwrap());
    a_death_after_a_check_is_told("queue", &RawQueue::create(QueueOptions::default()).unwrap());
    a_death_after_a_check_is_told("condition", &RawCondition::create().unwrap());
    let barrier = RawBarrier::create(8).unwrap();
    // A party that dies in there breaks the barrier; that it is told so is what counts here.
    a_death_after_a_check_is_told("barrier", &Tolerant(&barrier));
    assert!(barrier.is_broken());
}

/// A barrier for which broken is as good as whole: it was got into.
struct Tolerant<'a>(&'a RawBarrier);

impl Section for Tolerant<'_> {
    fn enter(&self, wait: &mut Wait<'_>) {
        if !self.0.is_broken() {
            match self.0.arrive(false, wait) {
                Ok(_) | Err(tasuki::raw::NotPassed::Broken(_)) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
    }
}
