//! User code inside waits for the engine's own locks: what a call waits in, what its check (signal handlers,
//! finalisers) uses there, and where the process dies afterwards. A table.
//!
//! Somebody is stopped inside an object's section, so that a call on the same object waits for the section's lock and
//! asks its check. The check uses other objects, lets the stopped one go on, and arms a kill point: the caller dies in
//! its section, or right after it. Nothing that the check did may have taken away what tells the kernel of that: the
//! others get the lock, though the dead one is a zombie that nobody waits for, and everything goes on.
#![cfg(feature = "kill-points")]

mod support;

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use support::messages::{self, message};
use support::{Ended, NEVER, Words, continue_process, fork, soaking, state_of, until, watchdog_of};
use tasuki::kill_points::{KillPoint, arm, arm_stop};
use tasuki::raw::connection::Mode;
use tasuki::raw::{
    QueueOptions, RawBarrier, RawCondition, RawConnection, RawEvent, RawLock, RawQueue,
    RawSemaphore, RawValue, Wait,
};

const SMALL: usize = 24;
/// Of messages that lie in blocks of their own.
const BLOCK: usize = 100_000;

/// What waits for a section that somebody is stopped in.
enum Call {
    Put(RawQueue),
    /// Of a message that lies in a block of its own.
    PutBlock(RawQueue),
    Get(RawQueue),
    TaskDone(RawQueue),
    /// A bare acquire goes into no section.
    AcquireOwned(RawSemaphore),
    Arrive(RawBarrier),
}

impl Call {
    fn all() -> Vec<(&'static str, Call)> {
        let queue = || {
            let queue = RawQueue::create(QueueOptions::default()).unwrap();
            // Enough for all who get one.
            for _ in 0..4 {
                put(&queue, 1, SMALL);
            }
            queue
        };
        let joinable = QueueOptions { joinable: true, ..Default::default() };
        let tasks = RawQueue::create(joinable).unwrap();
        for _ in 0..4 {
            put(&tasks, 1, SMALL);
        }
        vec![
            ("Put", Call::Put(queue())),
            ("PutBlock", Call::PutBlock(queue())),
            ("Get", Call::Get(queue())),
            ("TaskDone", Call::TaskDone(tasks)),
            ("AcquireOwned", Call::AcquireOwned(RawSemaphore::create(4, u32::MAX >> 1).unwrap())),
            ("Arrive", Call::Arrive(RawBarrier::create(4).unwrap())),
        ]
    }

    /// Makes this process known to the object, so that the next lock which is taken is the object's. A joinable queue
    /// gets a task to be reported.
    fn touch(&self) {
        match self {
            Call::Put(queue) | Call::PutBlock(queue) | Call::Get(queue) => {
                put(queue, 1, SMALL);
                get(queue, &mut Wait::forever());
            }
            Call::TaskDone(queue) => drop(get(queue, &mut Wait::forever())),
            Call::AcquireOwned(semaphore) => {
                let _ = semaphore.acquire_owned(&mut Wait::forever()).unwrap();
                assert!(semaphore.release_owned());
            }
            Call::Arrive(barrier) => {
                let _ = barrier.is_broken();
            }
        }
    }

    fn go(&self, wait: &mut Wait<'_>) {
        match self {
            Call::Put(queue) => put_within(queue, 2, SMALL, wait),
            Call::PutBlock(queue) => put_within(queue, 2, BLOCK, wait),
            Call::Get(queue) => drop(get(queue, wait)),
            Call::TaskDone(queue) => queue.task_done(1, wait).unwrap(),
            Call::AcquireOwned(semaphore) => {
                let _ = semaphore.acquire_owned(wait).unwrap();
            }
            Call::Arrive(barrier) => drop(barrier.arrive(false, wait)),
        }
    }

    /// Afterwards it can be used, whatever was done last.
    fn goes_on(&self) {
        let wait = &mut Wait::timeout(NEVER);
        match self {
            Call::Put(queue) | Call::PutBlock(queue) | Call::Get(queue) => {
                put(queue, 3, SMALL);
                while get(queue, wait) != 3 {}
            }
            Call::TaskDone(queue) => {
                put(queue, 3, SMALL);
                get(queue, wait);
                queue.task_done(1, wait).unwrap();
            }
            Call::AcquireOwned(semaphore) => {
                assert!(semaphore.release(1));
                let _ = semaphore.acquire(wait).unwrap();
            }
            Call::Arrive(barrier) => {
                barrier.reset().unwrap();
                assert_eq!(barrier.waiting(), 0);
            }
        }
    }
}

fn put(queue: &RawQueue, sequence: u32, len: usize) {
    put_within(queue, sequence, len, &mut Wait::forever());
}

fn put_within(queue: &RawQueue, sequence: u32, len: usize, wait: &mut Wait<'_>) {
    queue.put(messages::CODEC, &[&message(0, sequence, len)], &[], wait).unwrap();
}

fn get(queue: &RawQueue, wait: &mut Wait<'_>) -> u32 {
    let (bytes, _) = messages::get(queue, wait).expect("a message");
    messages::read(&bytes).1
}

/// What a check uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Nothing,
    Queue,
    Pipe,
    Lock,
    Semaphore,
    Condition,
    Event,
    Value,
    /// Makes one of each and drops it, slots and segments with them.
    NewObjects,
    Everything,
}

impl Use {
    const ALL: [Use; 10] = [
        Use::Nothing,
        Use::Queue,
        Use::Pipe,
        Use::Lock,
        Use::Semaphore,
        Use::Condition,
        Use::Event,
        Use::Value,
        Use::NewObjects,
        Use::Everything,
    ];
}

/// The other objects.
struct Others {
    queue: RawQueue,
    pipe: (RawConnection, RawConnection),
    lock: RawLock,
    semaphore: RawSemaphore,
    condition: RawCondition,
    event: RawEvent,
    value: RawValue,
}

impl Others {
    fn new() -> Others {
        Others {
            queue: RawQueue::create(QueueOptions::default()).unwrap(),
            pipe: RawConnection::pipe(Mode::Simplex).unwrap(),
            lock: RawLock::create(false).unwrap(),
            semaphore: RawSemaphore::create(1, 1).unwrap(),
            condition: RawCondition::create().unwrap(),
            event: RawEvent::create().unwrap(),
            value: RawValue::create(0x24, 1).unwrap(),
        }
    }

    fn apply(&self, what: Use) {
        let wait = &mut Wait::timeout(NEVER);
        match what {
            Use::Nothing => {}
            Use::Queue => {
                for len in [SMALL, BLOCK] {
                    put(&self.queue, 4, len);
                    assert_eq!(get(&self.queue, wait), 4);
                }
            }
            Use::Pipe => {
                self.pipe.1.send(messages::CODEC, &[b"nested"], &[], wait).unwrap();
                self.pipe.0.recv(&mut Vec::new(), usize::MAX, wait).unwrap();
            }
            Use::Lock => {
                let _ = self.lock.acquire(wait).unwrap();
                assert!(self.lock.release());
            }
            Use::Semaphore => {
                let _ = self.semaphore.acquire_owned(wait).unwrap();
                assert!(self.semaphore.release_owned());
            }
            Use::Condition => self.condition.notify(1),
            Use::Event => {
                self.event.set();
                self.event.wait(wait).unwrap();
                self.event.clear();
            }
            Use::Value => {
                let _ = self.value.lock().acquire(wait).unwrap();
                assert!(self.value.lock().release());
            }
            Use::NewObjects => drop(Others::new()),
            Use::Everything => {
                for each in &Use::ALL[1..9] {
                    self.apply(*each);
                }
            }
        }
    }
}

fn try_it(call: &Call, others: &Others, what: Use, point: KillPoint) {
    // Whether the victim knows the object, and the pid of the one that is stopped in it.
    let words = Words::new(2);
    let mut victim = fork(|| {
        call.touch();
        words.tell(0);
        until("somebody is stopped inside", || words[1].load(SeqCst) != 0);
        let mut asked = false;
        let mut check = || {
            if !asked {
                asked = true;
                others.apply(what);
                continue_process(words[1].load(SeqCst) as u32);
                arm(point, 1);
            }
            false
        };
        call.go(&mut Wait::forever().interruptible(&mut check));
        panic!("it did not come by");
    });
    until("the victim is ready", || words.told(0));
    let holder = fork(|| {
        call.touch();
        arm_stop(KillPoint::LockTaken, 1);
        call.go(&mut Wait::forever());
        // As one who goes on with other things: what it owns stays its own.
        std::thread::sleep(Duration::from_secs(600));
    });
    holder.wait_until_stopped();
    words[1].store(holder.pid().into(), SeqCst);
    // Dead, and not waited for: a zombie, as a child is whose parent is busy.
    until("the victim dies", || state_of(victim.pid()) == Some('Z'));
    call.goes_on();
    others.apply(Use::Everything);
    assert_eq!(victim.wait(), Ended::DEAD);
}

fn table(points: &[KillPoint], uses: &[Use]) {
    let _watchdog = watchdog_of(Duration::from_secs(if soaking() { 1800 } else { 300 }));
    let others = Others::new();
    for what in uses {
        for point in points {
            for (name, call) in Call::all() {
                println!("{name} x {what:?} x {point:?}");
                try_it(&call, &others, *what, *point);
            }
        }
    }
}

#[test]
fn a_check_uses_other_objects_and_its_process_dies_in_the_section() {
    let uses =
        if soaking() { &Use::ALL[..] } else { &[Use::Nothing, Use::NewObjects, Use::Everything] };
    table(&[KillPoint::LockTaken], uses);
}

#[test]
fn a_check_uses_other_objects_and_its_process_dies_before_it_wakes_the_next() {
    let uses = if soaking() { &Use::ALL[..] } else { &[Use::Everything] };
    table(&[KillPoint::LockFreedBeforeWake], uses);
}
