//! The crash table: which primitive, killed at which moment, and what the survivors see, for processes that were
//! spawned and for forked ones.
//!
//! ```text
//! killed while   Lock, RLock                Semaphore              Condition, Event   Barrier
//! inside         an error with the guard    the permit, and who    -                  an error for all,
//!                and who died                died                                      until it is reset
//! waiting        nothing                    nothing                nothing            as above
//! entering,      nothing, or as inside, if  as inside or nothing   nothing            as above
//! leaving        it had got that far
//! ```
//! A victim says in shared memory how far it is, so after its death it is known which of these it must have been. Each
//! survivor waits when the victim is killed, or asks right after.

mod support;

use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use support::{Dice, NEVER, fork, soaking, until, watchdog_of};
use tasuki::synchronize::{BarrierError, LockError};
use tasuki::{Barrier, Condition, Event, Lock, Process, RLock, Semaphore, Value};

tasuki::enable_tests!();

/// How far a victim is.
const OUTSIDE: u32 = 0;
const ENTERING: u32 = 1;
const INSIDE: u32 = 2;
const LEAVING: u32 = 3;

#[derive(Clone, Serialize, Deserialize)]
enum Thing {
    Lock(Lock<u64>),
    RLock(RLock),
    Semaphore(Semaphore),
    Event(Event),
    Condition(Condition, Lock<u64>),
    Barrier(Barrier),
}

/// What a survivor sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    GoesOn,
    /// It was told that this process died.
    Died(u32),
    Broken,
}

impl Thing {
    /// What can have an owner.
    fn owned() -> Vec<Thing> {
        vec![
            Thing::Lock(Lock::new(0).unwrap()),
            Thing::RLock(RLock::new().unwrap()),
            Thing::Semaphore(Semaphore::new(1).unwrap()),
        ]
    }

    fn all() -> Vec<Thing> {
        let mut all = Thing::owned();
        all.push(Thing::Event(Event::new().unwrap()));
        all.push(Thing::Condition(Condition::new().unwrap(), Lock::new(0).unwrap()));
        all.push(Thing::Barrier(Barrier::new(2).unwrap()));
        all
    }

    /// Goes in and out once.
    fn pass(&self, how_far: &Value<u32>, inside: impl Fn()) {
        let work = || {
            how_far.store(INSIDE);
            inside();
            how_far.store(LEAVING);
        };
        how_far.store(ENTERING);
        match self {
            Thing::Lock(lock) => {
                let _guard = lock.lock().unwrap();
                work();
            }
            Thing::RLock(lock) => {
                let _guard = lock.lock().unwrap();
                work();
            }
            Thing::Semaphore(semaphore) => {
                let _permit = semaphore.acquire().unwrap();
                work();
            }
            Thing::Event(event) => {
                event.set();
                work();
                event.clear();
            }
            Thing::Condition(condition, lock) => {
                let guard = lock.lock().unwrap();
                condition.notify_all();
                work();
                let _ = condition.wait_timeout(guard, Duration::from_millis(1));
            }
            Thing::Barrier(barrier) => {
                barrier.wait().unwrap();
                work();
            }
        }
        how_far.store(OUTSIDE);
    }

    /// Goes in and out, or waits, as one who knows of no victim.
    fn ask(&self) -> Seen {
        match self {
            Thing::Lock(lock) => {
                let seen = seen(lock.lock());
                lock.clear_poison();
                seen
            }
            Thing::RLock(lock) => {
                let seen = seen(lock.lock());
                lock.clear_poison();
                seen
            }
            Thing::Semaphore(semaphore) => {
                let permit = semaphore.acquire().unwrap();
                permit.owner_died().map_or(Seen::GoesOn, |death| Seen::Died(death.pid()))
            }
            Thing::Event(event) => {
                event.set();
                event.wait();
                event.clear();
                Seen::GoesOn
            }
            Thing::Condition(condition, lock) => {
                // Until a notification reaches the one who waits, whoever died in between.
                let waiting = Event::new().unwrap();
                thread::scope(|scope| {
                    let listener = scope.spawn(|| {
                        let guard = lock.lock().or_else(keep).unwrap();
                        waiting.set();
                        drop(condition.wait(guard).or_else(keep).unwrap());
                    });
                    waiting.wait();
                    drop(lock.lock().or_else(keep).unwrap());
                    condition.notify_one();
                    listener.join().unwrap();
                });
                lock.clear_poison();
                Seen::GoesOn
            }
            Thing::Barrier(barrier) => loop {
                match barrier.wait() {
                    Ok(_) => {}
                    Err(BarrierError::Broken(_)) => return Seen::Broken,
                    Err(error) => panic!("{error}"),
                }
            },
        }
    }

    /// Whether that is what a survivor has to see of a victim that was so far.
    fn must_be_seen(&self, how_far: u32, pid: u32, seen: Seen) -> bool {
        match (self, how_far) {
            (Thing::Barrier(_), _) => seen == Seen::Broken,
            (Thing::Event(_) | Thing::Condition(..), _) | (_, OUTSIDE) => seen == Seen::GoesOn,
            (_, INSIDE) => seen == Seen::Died(pid),
            _ => seen == Seen::GoesOn || seen == Seen::Died(pid),
        }
    }

    /// Afterwards everything is as if there had been no victim.
    fn goes_on(&self, what: &str) {
        if let Thing::Barrier(barrier) = self {
            barrier.reset().unwrap();
            let other = barrier.clone();
            let other = soon_after(move || other.wait().is_ok());
            assert!(barrier.wait_timeout(NEVER).is_ok(), "{what}");
            assert_eq!(other.recv_timeout(NEVER), Ok(true), "{what}");
            return;
        }
        let thing = self.clone();
        let seen = soon_after(move || thing.ask());
        assert_eq!(seen.recv_timeout(NEVER), Ok(Seen::GoesOn), "{what}");
    }

    fn name(&self) -> &'static str {
        match self {
            Thing::Lock(_) => "Lock",
            Thing::RLock(_) => "RLock",
            Thing::Semaphore(_) => "Semaphore",
            Thing::Event(_) => "Event",
            Thing::Condition(..) => "Condition",
            Thing::Barrier(_) => "Barrier",
        }
    }
}

fn seen<G>(locked: Result<G, LockError<G>>) -> Seen {
    match locked {
        Ok(_) => Seen::GoesOn,
        Err(LockError::Poisoned(poisoned)) => Seen::Died(poisoned.pid()),
        Err(error) => panic!("{error:?}"),
    }
}

/// The guard of a lock whose data nobody minds.
fn keep<G>(error: LockError<G>) -> Result<G, LockError<G>> {
    match error {
        LockError::Poisoned(poisoned) => Ok(poisoned.into_inner()),
        error => Err(error),
    }
}

/// What another thread finds.
fn soon_after<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
    let (found, finds) = mpsc::channel();
    thread::spawn(move || found.send(work()));
    finds
}

// --- victims

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Victim {
    /// Goes in and stays there.
    Stays,
    ComesAndGoes,
    /// Waits where nobody lets it go on.
    Waits,
}

#[tasuki::task]
fn be(victim: Victim, thing: Thing, how_far: Value<u32>, passed: Value<u32>) {
    match (victim, &thing) {
        (Victim::Stays, _) => thing.pass(&how_far, || thread::sleep(Duration::from_secs(600))),
        (Victim::ComesAndGoes, _) => loop {
            thing.pass(&how_far, || {});
            passed.store(1);
        },
        (Victim::Waits, Thing::Event(event)) => {
            how_far.store(ENTERING);
            event.wait();
        }
        (Victim::Waits, Thing::Condition(condition, lock)) => {
            let guard = lock.lock().unwrap();
            how_far.store(ENTERING);
            drop(condition.wait(guard).unwrap());
        }
        (Victim::Waits, _) => thing.pass(&how_far, || {}),
    }
}

/// How a victim is started.
#[derive(Clone, Copy, Debug)]
enum Start {
    Spawn,
    Fork,
}

enum Running {
    Spawned(Process<()>),
    Forked(support::Child),
}

impl Start {
    fn victim(self, victim: Victim, thing: &Thing, how_far: &Value<u32>) -> Running {
        self.victim_that_tells(victim, thing, how_far, &Value::new(0).unwrap())
    }

    /// `passed` becomes 1 when the victim has been through once.
    fn victim_that_tells(
        self,
        victim: Victim,
        thing: &Thing,
        how_far: &Value<u32>,
        passed: &Value<u32>,
    ) -> Running {
        how_far.store(OUTSIDE);
        passed.store(0);
        let (thing, how_far, passed) = (thing.clone(), how_far.clone(), passed.clone());
        match self {
            Start::Spawn => {
                Running::Spawned(Process::spawn(be, (victim, thing, how_far, passed)).unwrap())
            }
            Start::Fork => Running::Forked(fork(move || be(victim, thing, how_far, passed))),
        }
    }
}

impl Running {
    fn pid(&self) -> u32 {
        match self {
            Running::Spawned(process) => process.pid(),
            Running::Forked(child) => child.pid(),
        }
    }

    fn kill(&mut self) {
        match self {
            Running::Spawned(process) => {
                process.kill().unwrap();
                process.wait().unwrap();
            }
            Running::Forked(child) => {
                child.kill();
                assert_eq!(child.wait(), support::Ended::DEAD);
            }
        }
    }
}

fn reaches(how_far: &Value<u32>, wanted: u32) {
    let start = std::time::Instant::now();
    while how_far.load() != wanted {
        assert!(start.elapsed() < NEVER, "the victim never got so far");
        std::hint::spin_loop();
    }
}

/// Waits until the victim is at `wanted`, if that is to be seen from outside: some moments are shorter than a look
/// takes.
fn looks_for(how_far: &Value<u32>, wanted: u32) {
    const LOOKS: u32 = 100_000;
    for _ in 0..LOOKS {
        if how_far.load() == wanted {
            return;
        }
        std::hint::spin_loop();
    }
}

// --- the table

fn killed_inside(start: Start) {
    let _watchdog = watchdog_of(Duration::from_secs(300));
    for thing in Thing::owned() {
        let what = format!("{} {start:?}", thing.name());
        let how_far = Value::new(OUTSIDE).unwrap();
        let mut victim = start.victim(Victim::Stays, &thing, &how_far);
        reaches(&how_far, INSIDE);
        let asked = thing.clone();
        let survivor = soon_after(move || asked.ask());
        assert!(survivor.recv_timeout(Duration::from_millis(200)).is_err(), "{what}: it waits");
        let pid = victim.pid();
        victim.kill();
        assert_eq!(survivor.recv_timeout(NEVER), Ok(Seen::Died(pid)), "{what}");
        thing.goes_on(&what);
    }
}

fn killed_waiting(start: Start) {
    let _watchdog = watchdog_of(Duration::from_secs(300));
    for thing in Thing::all() {
        let what = format!("{} {start:?}", thing.name());
        let how_far = Value::new(OUTSIDE).unwrap();
        // In a thread, which lets go when it is told to.
        let (let_go, held) = (Event::new().unwrap(), Event::new().unwrap());
        let (holds, says, until_then) = (thing.clone(), held.clone(), let_go.clone());
        let holder = soon_after(move || match holds {
            Thing::Lock(_) | Thing::RLock(_) | Thing::Semaphore(_) => {
                holds.pass(&Value::new(OUTSIDE).unwrap(), || {
                    says.set();
                    until_then.wait();
                });
            }
            _ => says.set(),
        });
        held.wait();
        let mut victim = start.victim(Victim::Waits, &thing, &how_far);
        reaches(&how_far, ENTERING);
        let asked = thing.clone();
        let survivor = match thing {
            // Two parties: a survivor that came now would let the victim go.
            Thing::Barrier(ref barrier) => {
                until("the victim waits", || barrier.waiting() == 1);
                None
            }
            _ => {
                support::wait_until_asleep(victim.pid());
                Some(soon_after(move || asked.ask()))
            }
        };
        victim.kill();
        let_go.set();
        assert!(holder.recv_timeout(NEVER).is_ok());
        if let Some(survivor) = survivor {
            assert_eq!(survivor.recv_timeout(NEVER), Ok(Seen::GoesOn), "{what}");
        }
        thing.goes_on(&what);
    }
}

fn killed_on_its_way(start: Start) {
    let rounds = if soaking() { 200 } else { 3 };
    let _watchdog = watchdog_of(Duration::from_secs(if soaking() { 3600 } else { 300 }));
    let mut dice = Dice::roll("killed on its way");
    for thing in Thing::all() {
        let (how_far, passed) = (Value::new(OUTSIDE).unwrap(), Value::new(0).unwrap());
        for round in 0..rounds {
            for moment in [ENTERING, LEAVING] {
                let what = format!("{} {start:?} round {round} at {moment}", thing.name());
                let mut victim =
                    start.victim_that_tells(Victim::ComesAndGoes, &thing, &how_far, &passed);
                // A barrier's victim needs somebody to meet, and who meets it hears of its death.
                let asked = thing.clone();
                let partner =
                    matches!(thing, Thing::Barrier(_)).then(|| soon_after(move || asked.ask()));
                reaches(&passed, 1);
                thread::sleep(Duration::from_micros(dice.below(5_000)));
                looks_for(&how_far, moment);
                let pid = victim.pid();
                victim.kill();
                let asked = thing.clone();
                let survivor = partner.unwrap_or_else(|| soon_after(move || asked.ask()));
                let seen = survivor.recv_timeout(NEVER).unwrap_or_else(|_| panic!("{what}: hangs"));
                let far = how_far.load();
                assert!(thing.must_be_seen(far, pid, seen), "{what}: {seen:?} of one at {far}");
                thing.goes_on(&what);
            }
        }
    }
}

#[test]
fn a_spawned_process_is_killed_inside() {
    killed_inside(Start::Spawn);
}

#[test]
fn a_forked_process_is_killed_inside() {
    killed_inside(Start::Fork);
}

#[test]
fn a_spawned_process_is_killed_waiting() {
    killed_waiting(Start::Spawn);
}

#[test]
fn a_forked_process_is_killed_waiting() {
    killed_waiting(Start::Fork);
}

#[test]
fn a_spawned_process_is_killed_on_its_way() {
    killed_on_its_way(Start::Spawn);
}

#[test]
fn a_forked_process_is_killed_on_its_way() {
    killed_on_its_way(Start::Fork);
}
