//! Wherever in the engine a process is killed, the others go on, and no message is torn, doubled or lost: a table of
//! every kill point, what a process does to come by, and what must be true afterwards.
#![cfg(feature = "kill-points")]

mod support;

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use support::messages::{Ledger, get, message, put};
use support::queues::queue_of;
use support::victims::{dies_at, victim};
use support::{Child, Ended, Words, end_well, fork, memory_of, until, watchdog, watchdog_of};
use tasuki::Lock;
use tasuki::kill_points::KillPoint;
use tasuki::raw::{QueueOptions, RawLock, RawQueue, Wait};
use tasuki::synchronize::LockError;

/// What a process does until it dies.
#[derive(Clone, Copy, Debug)]
enum Work {
    /// Puts messages of this length.
    Put(usize, Fate),
    /// As `Put`, each with a descriptor.
    PutHandles(usize, Fate),
    /// Puts messages of this length while nobody takes any.
    Pile(usize, Fate),
    /// Gets messages of this length.
    Get(usize, Fate),
    /// As `Get`, each with a descriptor.
    GetHandles(usize, Fate),
    /// Gets the messages of a long queue.
    Drain(usize, Fate),
    /// Puts among others who do, too: the point is passed only when somebody waits.
    PutAmongOthers(Fate),
    /// Gets among others who do, too.
    GetAmongOthers(Fate),
    /// Takes and releases a lock that others want.
    Lock(Section),
    /// Makes and drops locks.
    Slots,
}

/// What becomes of the message that is being put or got at the moment of the death.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Delivered,
    NeverPut,
    Lost,
    /// Whole or not at all: the point is passed before the message's commit as well as after it.
    Either,
}

/// What becomes of a lock whose owner dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    Poisoned,
    Complete,
}

const SMALL: usize = 24;
const MIDDLE: usize = 3 << 10;
const BLOCK: usize = 20 << 10;
const LARGE: usize = 300 << 10;

/// Where a kill point is tried.
#[derive(Clone, Copy, Debug)]
enum Tried {
    Here(&'static [Work]),
    /// In another file of this folder, which has a table of its own.
    In(&'static str),
}

/// The table. A new kill point does not compile without its line here.
fn table(point: KillPoint) -> Tried {
    use Fate::{Delivered, Either, Lost, NeverPut};
    use Tried::{Here, In};
    use Work::*;
    match point {
        KillPoint::LockTaken => Here(&[
            Put(SMALL, NeverPut),
            Put(BLOCK, NeverPut),
            Get(SMALL, Delivered),
            Get(BLOCK, Delivered),
            PutAmongOthers(NeverPut),
            GetAmongOthers(Delivered),
            Slots,
        ]),
        // Also passed by one who finds the queue full, or goes through the other side's lock.
        KillPoint::LockFreedBeforeWake => {
            Here(&[PutAmongOthers(Either), GetAmongOthers(Either), Slots])
        }
        KillPoint::PutBlockBacked => In("queue_room.rs"),
        KillPoint::PutBlockClaimed | KillPoint::PutBlockFilled => {
            Here(&[Put(BLOCK, NeverPut), Put(LARGE, NeverPut), PutAmongOthers(NeverPut)])
        }
        KillPoint::PutLocked
        | KillPoint::PutHalfWritten
        | KillPoint::PutWritten
        | KillPoint::PutHandlesSent
        | KillPoint::PutNotified => Here(&[
            Put(SMALL, NeverPut),
            Put(MIDDLE, NeverPut),
            Put(BLOCK, NeverPut),
            PutHandles(SMALL, NeverPut),
            PutHandles(BLOCK, NeverPut),
            PutAmongOthers(NeverPut),
        ]),
        KillPoint::PutChunkTaken | KillPoint::PutChunkLinked => Here(&[Pile(MIDDLE, NeverPut)]),
        KillPoint::PutCommitted | KillPoint::PutUnlocked => Here(&[
            Put(SMALL, Delivered),
            Put(MIDDLE, Delivered),
            Put(BLOCK, Delivered),
            PutHandles(SMALL, Delivered),
            PutHandles(BLOCK, Delivered),
            PutAmongOthers(Delivered),
        ]),
        KillPoint::GetLocked
        | KillPoint::GetCopied
        | KillPoint::GetInFlight
        | KillPoint::GetNotified => Here(&[
            Get(SMALL, Delivered),
            Get(MIDDLE, Delivered),
            Get(BLOCK, Delivered),
            GetHandles(SMALL, Delivered),
            GetHandles(BLOCK, Delivered),
            GetAmongOthers(Delivered),
        ]),
        KillPoint::GetCommitted | KillPoint::GetBlockHeld | KillPoint::GetUnlocked => Here(&[
            Get(SMALL, Lost),
            Get(MIDDLE, Lost),
            Get(BLOCK, Lost),
            GetHandles(SMALL, Lost),
            GetHandles(BLOCK, Lost),
            GetAmongOthers(Lost),
        ]),
        KillPoint::GetBlockCopied => Here(&[
            Get(BLOCK, Lost),
            Get(LARGE, Lost),
            GetHandles(BLOCK, Lost),
            GetAmongOthers(Lost),
        ]),
        KillPoint::TrimUnlinked => Here(&[Drain(MIDDLE, Lost)]),
        KillPoint::UserLockTaken => Here(&[Lock(Section::Poisoned)]),
        KillPoint::UserLockFreed => Here(&[Lock(Section::Complete)]),
        KillPoint::EndClosed | KillPoint::EndCounted | KillPoint::EndHalfNotified => {
            In("crash_channel.rs")
        }
        KillPoint::ConditionEntered
        | KillPoint::ConditionListed
        | KillPoint::ConditionReleased
        | KillPoint::ConditionAsleep
        | KillPoint::ConditionWoken
        | KillPoint::ConditionReacquired
        | KillPoint::ConditionLeft
        | KillPoint::ConditionOwed
        | KillPoint::ConditionMarked => In("crash_condition.rs"),
        KillPoint::BarrierEntered
        | KillPoint::BarrierSeated
        | KillPoint::BarrierAsleep
        | KillPoint::BarrierSeatLeft
        | KillPoint::BarrierCommitted
        | KillPoint::BarrierUnlocked => In("crash_barrier.rs"),
        KillPoint::SlotReady
        | KillPoint::SlotTaken
        | KillPoint::SlotHeld
        | KillPoint::SlotDropped => Here(&[Slots]),
        KillPoint::SlotAsked
        | KillPoint::SlotBacked
        | KillPoint::SlotHeadFreed
        | KillPoint::SlotBare => In("cleanup_slots.rs"),
        KillPoint::EventMarked | KillPoint::EventSet => In("crash_event.rs"),
        KillPoint::SharedMemoryFilled | KillPoint::SharedMemoryNamed => {
            In("shared_memory_system.rs")
        }
        KillPoint::ReaderCounted
        | KillPoint::ReaderPlaced
        | KillPoint::ReaderLeft
        | KillPoint::WriterWaits
        | KillPoint::WriterIn
        | KillPoint::WriterOut
        | KillPoint::WriterPoisoned => In("crash_rwlock.rs"),
        KillPoint::SemaphorePrepared
        | KillPoint::SemaphoreTaken
        | KillPoint::SemaphoreTakenBare
        | KillPoint::SemaphoreDisowned
        | KillPoint::SemaphoreGiven
        | KillPoint::SemaphoreNoted
        | KillPoint::SemaphoreReclaimed => In("crash_semaphore.rs"),
        KillPoint::PipeHalfWritten
        | KillPoint::PipeHandlesSent
        | KillPoint::PipeReadinessSetting
        | KillPoint::PipeReadinessSet
        | KillPoint::PipeReadinessClearing
        | KillPoint::PipeReadinessClear
        | KillPoint::PipeWritten
        | KillPoint::PipeCommitted
        | KillPoint::PipeTailMoved
        | KillPoint::PipeSleepersTaken
        | KillPoint::PipeFull
        | KillPoint::PipeCopied
        | KillPoint::PipeHeadMoved
        | KillPoint::PipeAsleep
        | KillPoint::PipeAsleepHere
        | KillPoint::PipeMidway
        | KillPoint::PipePolled
        | KillPoint::PipePolledSet => In("crash_pipe.rs"),
        KillPoint::PutPlaceTaken | KillPoint::PutGapMoved | KillPoint::PutPlaceCut => {
            In("queue_room.rs")
        }
        KillPoint::ReadinessSetting
        | KillPoint::ReadinessSet
        | KillPoint::ReadinessClearing
        | KillPoint::ReadinessClear
        | KillPoint::ReadinessHalfAsked
        | KillPoint::ReadinessRoomSeen
        | KillPoint::ReadinessClearLeft => In("crash_readiness.rs"),
        KillPoint::ShutDownHalf | KillPoint::ShutDownThrown => In("crash_shutdown.rs"),
        KillPoint::PutSomeQueued | KillPoint::GetSomeHeld => In("crash_batch.rs"),
        KillPoint::GetTallied
        | KillPoint::TaskTallied
        | KillPoint::TaskNotified
        | KillPoint::TaskCommitted
        | KillPoint::TaskRowCleared
        | KillPoint::TaskLossNoted => In("crash_joining.rs"),
    }
}

fn for_every_line(mut check: impl FnMut(KillPoint, Work)) {
    for &point in KillPoint::ALL {
        let Tried::Here(works) = table(point) else { continue };
        for &work in works {
            eprintln!("{point:?}: {work:?}");
            check(point, work);
        }
    }
}

#[test]
fn what_is_tried_elsewhere_is_there() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    for &point in KillPoint::ALL {
        let Tried::In(file) = table(point) else { continue };
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        let ends_a_word = |c: char| !c.is_alphanumeric();
        let named = text.split(ends_a_word).any(|word| word == format!("{point:?}"));
        assert!(named, "{file} does not try {point:?}");
    }
}

#[test]
fn the_others_go_on_and_every_message_is_accounted_for() {
    let _watchdog = watchdog_of(Duration::from_secs(240));
    for_every_line(|point, work| {
        for nth in [1, 3] {
            match work {
                Work::Put(len, fate) => putter_dies(point, nth, len, 0, fate),
                Work::PutHandles(len, fate) => putter_dies(point, nth, len, 1, fate),
                Work::Pile(len, fate) => piler_dies(point, nth, len, fate),
                Work::Get(len, fate) => getter_dies(point, nth, len, 0, fate),
                Work::GetHandles(len, fate) => getter_dies(point, nth, len, 1, fate),
                Work::Drain(len, fate) => drainer_dies(point, nth, len, fate),
                Work::PutAmongOthers(fate) => one_of_many_dies(point, nth, Side::Put, fate),
                Work::GetAmongOthers(fate) => one_of_many_dies(point, nth, Side::Get, fate),
                Work::Lock(section) => owner_dies(point, nth, section),
                Work::Slots => slot_holder_dies(point, nth),
            }
        }
    });
}

#[test]
fn memory_of_the_killed_is_used_again() {
    let _watchdog = watchdog_of(Duration::from_secs(240));
    for_every_line(|point, work| match work {
        Work::Put(len, _) | Work::PutHandles(len, _) => {
            let fds = usize::from(matches!(work, Work::PutHandles(..)));
            memory_stays(|queue| {
                dies_at(point, 1, || {
                    (0..9999).for_each(|n| put(queue, &message(0, n, len), &descriptors(fds)))
                });
                put(queue, &message(1, 0, len), &descriptors(fds));
            });
        }
        Work::Pile(len, _) => memory_stays(|queue| {
            dies_at(point, 1, || (0..9999).for_each(|n| put(queue, &message(0, n, len), &[])));
        }),
        Work::Get(len, _) | Work::GetHandles(len, _) => {
            let fds = usize::from(matches!(work, Work::GetHandles(..)));
            memory_stays(|queue| {
                (0..3).for_each(|n| put(queue, &message(0, n, len), &descriptors(fds)));
                dies_at(point, 1, || while get(queue, &mut Wait::now()).is_some() {});
            });
        }
        // A lock of everybody's, and what is tested on its own (`cleanup_slots.rs`).
        Work::Drain(..)
        | Work::PutAmongOthers(_)
        | Work::GetAmongOthers(_)
        | Work::Lock(_)
        | Work::Slots => {}
    });
}

/// 100 deaths in one queue: the memory behind it is the same after the last ones as after the first ones.
fn memory_stays(death: impl Fn(&RawQueue)) {
    let queue = RawQueue::create(QueueOptions::default()).unwrap();
    let round = || {
        death(&queue);
        while get(&queue, &mut Wait::now()).is_some() {}
    };
    (0..20).for_each(|_| round());
    let before = memory_of(queue.descriptors()[0]);
    (0..80).for_each(|_| round());
    let after = memory_of(queue.descriptors()[0]);
    assert!(after <= before + (1 << 20), "{before} bytes grew to {after}");
}

fn descriptors(count: usize) -> Vec<OwnedFd> {
    (0..count).map(|_| std::fs::File::open("/dev/null").unwrap().into()).collect()
}

/// Takes messages and notes them, until killed.
fn take_for_ever(queue: &RawQueue, ledger: &Ledger) {
    while let Some((bytes, _)) = get(queue, &mut Wait::forever()) {
        ledger.take(&bytes);
    }
}

/// Puts messages and notes each when its put has returned.
fn put_and_note(
    queue: &RawQueue,
    ledger: &Ledger,
    producer: u32,
    len: usize,
    fds: usize,
    count: u32,
) {
    for sequence in 0..count {
        put(queue, &message(producer, sequence, len), &descriptors(fds));
        ledger.acknowledge(producer, sequence);
    }
}

const VICTIM: u32 = 0;
const SURVIVOR: u32 = 1;

/// A consumer sleeps while a producer dies; it must get what was put, and what another producer puts afterwards.
fn putter_dies(point: KillPoint, nth: u32, len: usize, fds: usize, fate: Fate) {
    let queue = queue_of(None);
    let ledger = Ledger::new(2, 1000);
    let sleeper = fork(|| take_for_ever(&queue, &ledger));
    sleeper.wait_until_asleep();
    dies_at(point, nth, || put_and_note(&queue, &ledger, VICTIM, len, fds, 1000));
    goes_on_after_put(&queue, &ledger, len, fds, fate);
}

/// As `putter_dies`, but the consumer comes afterwards, so that messages pile up.
fn piler_dies(point: KillPoint, nth: u32, len: usize, fate: Fate) {
    let queue = queue_of(None);
    let ledger = Ledger::new(2, 1000);
    dies_at(point, nth, || put_and_note(&queue, &ledger, VICTIM, len, 0, 1000));
    let _consumer = fork(|| take_for_ever(&queue, &ledger));
    goes_on_after_put(&queue, &ledger, len, 0, fate);
}

fn goes_on_after_put(queue: &RawQueue, ledger: &Ledger, len: usize, fds: usize, fate: Fate) {
    put_and_note(queue, ledger, SURVIVOR, len, fds, 20);
    until("the consumer has what the survivor put", || ledger.taken(SURVIVOR, 20) == 20);
    let acknowledged = ledger.acknowledged(VICTIM);
    let delivered = acknowledged + u32::from(fate == Fate::Delivered);
    // In order: what the victim put was taken before what the survivor put.
    assert_eq!(ledger.taken(VICTIM, delivered), delivered);
    assert_eq!(ledger.taken(VICTIM, acknowledged + 5), delivered);
}

/// A producer sleeps before a full queue while a consumer dies; it must get its turn.
fn getter_dies(point: KillPoint, nth: u32, len: usize, fds: usize, fate: Fate) {
    let queue = queue_of(Some(8));
    let ledger = Ledger::new(2, 100);
    put_and_note(&queue, &ledger, VICTIM, len, fds, 8);
    let mut sleeper = fork(|| put_and_note(&queue, &ledger, SURVIVOR, len, fds, 30));
    sleeper.wait_until_asleep();
    dies_at(point, nth, || take_for_ever(&queue, &ledger));
    goes_on_after_get(&queue, &ledger, 38, fate);
    assert_eq!(sleeper.wait(), Ended::WELL);
}

fn drainer_dies(point: KillPoint, nth: u32, len: usize, fate: Fate) {
    let queue = queue_of(None);
    let ledger = Ledger::new(2, 1000);
    put_and_note(&queue, &ledger, VICTIM, len, 0, 700);
    dies_at(point, nth, || take_for_ever(&queue, &ledger));
    put_and_note(&queue, &ledger, SURVIVOR, len, 0, 700);
    goes_on_after_get(&queue, &ledger, 1400, fate);
}

fn goes_on_after_get(queue: &RawQueue, ledger: &Ledger, count: u32, fate: Fate) {
    let lost = u32::from(fate == Fate::Lost);
    until("all the others are taken", || {
        while let Some((bytes, _)) = get(queue, &mut Wait::now()) {
            ledger.take(&bytes);
        }
        ledger.taken(VICTIM, 1000.min(count)) + ledger.taken(SURVIVOR, 30.max(count / 2))
            == count - lost
    });
    assert!(queue.is_empty());
}

#[derive(Clone, Copy)]
enum Side {
    Put,
    Get,
}

/// Three producers and three consumers are busy while one more of them dies.
fn one_of_many_dies(point: KillPoint, nth: u32, side: Side, fate: Fate) {
    const OTHERS: u32 = 3;
    const STOP: usize = 0;
    const EACH: usize = 2_000_000;
    let queue = queue_of(Some(64));
    let ledger = Ledger::new(1 + OTHERS as usize, EACH);
    let words = Words::new(1 + 2 * OTHERS as usize);
    let len = |sequence: u32| [SMALL, SMALL, BLOCK, MIDDLE][sequence as usize % 4];
    let is_running = || !words.told(STOP);
    let put_while = |producer: u32, running: &dyn Fn() -> bool| {
        for sequence in 0..EACH as u32 {
            if !running() {
                return;
            }
            put(&queue, &message(producer, sequence, len(sequence)), &[]);
            ledger.acknowledge(producer, sequence);
        }
        panic!("so many messages, and the others not done");
    };
    let mut producers: Vec<Child> =
        (1..=OTHERS).map(|producer| fork(|| put_while(producer, &is_running))).collect();
    let consumers: Vec<Child> = (0..OTHERS as usize)
        .map(|index| {
            fork(|| {
                while let Some((bytes, _)) = get(&queue, &mut Wait::forever()) {
                    ledger.take(&bytes);
                    words[1 + index].fetch_add(1, SeqCst);
                }
            })
        })
        .collect();
    dies_at(point, nth, || match side {
        Side::Put => put_while(VICTIM, &|| true),
        Side::Get => take_for_ever(&queue, &ledger),
    });
    let progress = || -> Vec<u64> {
        let put = (1..=OTHERS).map(|producer| u64::from(ledger.acknowledged(producer)));
        put.chain((1..=OTHERS as usize).map(|index| words[index].load(SeqCst))).collect()
    };
    let before = progress();
    until("every survivor goes on", || {
        before.iter().zip(progress()).all(|(before, now)| now > before + 20)
    });
    words.tell(STOP);
    for producer in &mut producers {
        assert_eq!(producer.wait(), Ended::WELL);
    }
    until("everything is taken", || queue.is_empty());
    // What a consumer has just got it is about to note.
    until("every acknowledged message is accounted for", || match (side, fate) {
        (Side::Get, Fate::Lost | Fate::Either) => ledger.lost().len() <= 1,
        _ => ledger.lost().is_empty(),
    });
    let victims_last = ledger.acknowledged(VICTIM);
    match (side, fate) {
        (Side::Put, Fate::Either) => {}
        (Side::Put, Fate::Delivered) => {
            until("its last message is noted, too", || ledger.was_taken(VICTIM, victims_last));
        }
        (Side::Put, _) => assert!(!ledger.was_taken(VICTIM, victims_last)),
        (Side::Get, Fate::Lost) => assert_eq!(ledger.lost().len(), 1),
        (Side::Get, _) => {}
    }
    if matches!(side, Side::Put) {
        assert_eq!(ledger.lost(), []);
    }
    drop(consumers);
}

/// Two processes want a lock while its owner dies; the count in it stays right, and who died is said once.
fn owner_dies(point: KillPoint, nth: u32, section: Section) {
    const STOP: usize = 0;
    const VICTIMS: usize = 1;
    const OTHERS: usize = 2;
    const DEAD: usize = 3;
    const DEATHS: usize = 4;
    let lock = Lock::new(0_u64).unwrap();
    let words = Words::new(5);
    let count_once = |done: usize| {
        let mut guard = match lock.lock() {
            Ok(guard) => guard,
            Err(LockError::Poisoned(poisoned)) => {
                words[DEAD].store(u64::from(poisoned.pid()), SeqCst);
                words[DEATHS].fetch_add(1, SeqCst);
                lock.clear_poison();
                poisoned.into_inner()
            }
            Err(other) => panic!("{other:?}"),
        };
        *guard += 1;
        std::thread::sleep(Duration::from_micros(100)); // so that the others sleep
        drop(guard);
        words[done].fetch_add(1, SeqCst);
    };
    let count_until_told = || {
        while !words.told(STOP) {
            count_once(OTHERS)
        }
    };
    let mut others = [fork(count_until_told), fork(count_until_told)];
    let died = dies_at(point, nth, || (0..10_000).for_each(|_| count_once(VICTIMS)));
    let before = words[OTHERS].load(SeqCst);
    until("the others go on", || words[OTHERS].load(SeqCst) > before + 10);
    words.tell(STOP);
    end_well(&mut others);
    let done = words[VICTIMS].load(SeqCst) + words[OTHERS].load(SeqCst);
    let guard = lock.lock().expect("nobody left the lock poisoned");
    match section {
        Section::Poisoned => {
            assert_eq!(*guard, done);
            let who = (words[DEATHS].load(SeqCst), words[DEAD].load(SeqCst));
            assert_eq!(who, (1, u64::from(died)), "one owner died, and its pid is known");
        }
        Section::Complete => {
            assert_eq!(*guard, done + 1);
            assert_eq!(words[DEATHS].load(SeqCst), 0, "the section was over");
        }
    }
}

/// Another process makes and drops locks in the same arena while one dies doing so.
fn slot_holder_dies(point: KillPoint, nth: u32) {
    let words = Words::new(2);
    let ours = RawLock::create(false).unwrap(); // the arena is known to everybody forked from here on
    let make_and_drop = |times: u64| {
        let kept: Vec<RawLock> = (0..3).map(|_| RawLock::create(false).unwrap()).collect();
        for _ in 0..times {
            drop(RawLock::create(true).unwrap());
            words[1].fetch_add(1, SeqCst);
        }
        drop(kept);
    };
    // As often as it takes: some points are passed only when both meet in the section. Where other programs need the
    // processors, one may find the other inside for so long that it makes an arena of its own, and then they meet no
    // more.
    loop {
        words[0].store(0, SeqCst);
        let mut other = fork(|| {
            while words[0].load(SeqCst) == 0 {
                make_and_drop(10)
            }
        });
        let ended = victim(point, nth, || make_and_drop(100_000)).wait();
        if ended == Ended::DEAD {
            let before = words[1].load(SeqCst);
            until("the other goes on", || words[1].load(SeqCst) > before + 50);
        }
        words[0].store(1, SeqCst);
        assert_eq!(other.wait(), Ended::WELL);
        match ended {
            Ended::DEAD => break,
            ended => assert_eq!(ended, Ended::WELL),
        }
    }
    make_and_drop(10);
    assert!(ours.acquire(&mut Wait::now()).is_ok() && ours.release());
}

#[test]
fn whoever_repairs_may_be_killed_as_well() {
    let _watchdog = watchdog();
    for point in [KillPoint::PutHalfWritten, KillPoint::PutNotified, KillPoint::PutChunkLinked] {
        let queue = queue_of(None);
        let ledger = Ledger::new(7, 1000);
        dies_at(point, 1, || put_and_note(&queue, &ledger, 0, MIDDLE, 0, 1000));
        for next in 1..6 {
            // The first thing that these do is to repair; they die right after it, or while they take the lock.
            let point = if next % 2 == 0 { KillPoint::PutLocked } else { KillPoint::LockTaken };
            dies_at(point, 1, || put_and_note(&queue, &ledger, next, MIDDLE, 0, 1));
        }
        put_and_note(&queue, &ledger, 6, BLOCK, 0, 10);
        while let Some((bytes, _)) = get(&queue, &mut Wait::now()) {
            ledger.take(&bytes);
        }
        assert_eq!(ledger.lost(), []);
    }
}

#[test]
fn descriptors_of_messages_that_never_came_do_not_stop_later_ones() {
    let _watchdog = watchdog();
    let queue = queue_of(None);
    for _ in 0..400 {
        // More than the kernel lets wait in one socket.
        dies_at(KillPoint::PutHandlesSent, 1, || {
            put(&queue, &message(0, 0, SMALL), &descriptors(1))
        });
    }
    let mut survivor = fork(|| put(&queue, &message(1, 0, SMALL), &descriptors(1)));
    until("a message with a descriptor is put", || survivor.has_ended().is_some());
    let (bytes, fds) = get(&queue, &mut Wait::now()).expect("the survivor's message");
    assert_eq!(support::messages::read(&bytes), (1, 0));
    assert_eq!(fds.len(), 1);
    assert!(fds[0].as_fd().try_clone_to_owned().is_ok());
}
