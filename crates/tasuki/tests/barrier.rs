//! A barrier lets all parties go on together, each with an index of its own, and breaks rather than wait in vain.

mod support;

use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use support::{Child, Ended, Words, end_well, fork, soaking, until, watchdog, watchdog_of};
use tasuki::raw::{GaveUp, NotPassed, RawArrived, RawBarrier, Wait};
use tasuki::synchronize::{BarrierError, Broken};
use tasuki::{Barrier, Process, Queue};

tasuki::enable_tests!();

#[test]
fn all_go_on_together_and_each_has_another_index() {
    let _watchdog = watchdog();
    const ROUNDS: usize = 200;
    let barrier = Barrier::new(5).unwrap();
    let came = Words::new(ROUNDS);
    let indices = Words::new(ROUNDS);
    let work = || {
        for round in 0..ROUNDS {
            came[round].fetch_add(1, SeqCst);
            let index = barrier.wait().unwrap().index();
            assert_eq!(came[round].load(SeqCst), 5, "somebody went on before the others came");
            indices[round].fetch_add(1 << (8 * index), SeqCst);
        }
    };
    let mut children: Vec<Child> = (0..3).map(|_| fork(work)).collect();
    std::thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    end_well(&mut children);
    assert!(
        indices.iter().all(|round| round.load(SeqCst) == 0x01_0101_0101),
        "an index came twice"
    );
    assert_eq!((barrier.waiting(), barrier.is_broken()), (0, false));
}

#[test]
fn exactly_one_leads() {
    let _watchdog = watchdog();
    let barrier = Barrier::new(3).unwrap();
    let leaders = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..3).map(|_| scope.spawn(|| barrier.wait().unwrap().is_leader())).collect();
        threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum::<usize>()
    });
    assert_eq!(leaders, 1);
}

#[test]
fn the_last_one_runs_the_action_before_anybody_goes_on() {
    let _watchdog = watchdog();
    let barrier = Barrier::new(3).unwrap();
    let ran = Words::new(1);
    let work = || {
        for round in 1..=50 {
            let action = || {
                std::thread::sleep(Duration::from_millis(1));
                ran[0].fetch_add(1, SeqCst);
            };
            barrier.wait_with(action).unwrap();
            assert_eq!(ran[0].load(SeqCst), round);
            barrier.wait().unwrap();
        }
    };
    let mut children = [fork(work), fork(work)];
    work();
    end_well(&mut children);
}

#[test]
fn an_action_that_panics_breaks_the_barrier() {
    let _watchdog = watchdog();
    let barrier = Barrier::new(2).unwrap();
    std::thread::scope(|scope| {
        let other = scope.spawn(|| barrier.wait_with(|| panic!("as intended")));
        until("the other waits", || barrier.waiting() == 1);
        let here = std::panic::catch_unwind(|| barrier.wait_with(|| panic!("as intended")));
        assert!(here.is_err());
        let Err(BarrierError::Broken(why)) = other.join().unwrap() else { panic!() };
        assert_eq!(why, Broken::ActionFailed { pid: std::process::id() });
    });
}

#[test]
fn a_timeout_breaks_it_and_reset_makes_it_whole() {
    let _watchdog = watchdog();
    let barrier = Barrier::new(2).unwrap();
    for time in [Duration::ZERO, Duration::from_millis(30), Duration::from_millis(700)] {
        let start = Instant::now();
        assert!(matches!(barrier.wait_timeout(time), Err(BarrierError::TimedOut)));
        assert!(start.elapsed() >= time && barrier.is_broken());
        let Err(BarrierError::Broken(why)) = barrier.wait() else { panic!() };
        assert_eq!(why, Broken::TimedOut { pid: std::process::id() });
        assert!(why.to_string().contains(&std::process::id().to_string()), "{why}");
        barrier.reset().unwrap();
        assert!(!barrier.is_broken());
    }
    assert!(matches!(barrier.wait_deadline(Instant::now()), Err(BarrierError::TimedOut)));
    barrier.reset().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| barrier.wait().unwrap());
        assert!(barrier.wait_timeout(support::NEVER).is_ok());
    });
}

#[test]
fn abort_and_reset_free_those_who_wait() {
    let _watchdog = watchdog();
    let barrier = Barrier::new(4).unwrap();
    let broken = |child: &mut Child| assert_eq!(child.wait(), Ended::WELL);
    for aborts in [true, false] {
        let parent = std::process::id();
        let work = || {
            let Err(BarrierError::Broken(why)) = barrier.wait() else { panic!() };
            let expected = if aborts { Broken::Aborted { pid: parent } } else { Broken::Reset };
            assert_eq!(why, expected);
        };
        let mut children = [fork(work), fork(work), fork(work)];
        until("all wait", || barrier.waiting() == 3);
        if aborts {
            barrier.abort().unwrap();
            children.iter_mut().for_each(broken);
            assert!(matches!(barrier.wait(), Err(BarrierError::Broken(Broken::Aborted { .. }))));
        }
        barrier.reset().unwrap();
        children.iter_mut().for_each(broken);
        assert_eq!((barrier.waiting(), barrier.is_broken()), (0, false));
    }
}

#[test]
fn who_is_interrupted_gives_its_seat_to_the_next() {
    let _watchdog = watchdog();
    let barrier = RawBarrier::create(3).unwrap();
    let sit = || match barrier.arrive(false, &mut Wait::now()).unwrap() {
        RawArrived::Waits(arrival) => arrival,
        other => panic!("{other:?}"),
    };
    let first = sit();
    let second = sit();
    let mut stop = || true;
    let interrupted = first.wait(&mut Wait::forever().interruptible(&mut stop));
    assert!(matches!(interrupted, Err(NotPassed::GaveUp(GaveUp::Interrupted))));
    assert_eq!((barrier.waiting(), barrier.is_broken()), (1, false));
    drop(sit());
    assert_eq!(barrier.waiting(), 1);
    let third = sit();
    let RawArrived::Passed(last) = barrier.arrive(false, &mut Wait::now()).unwrap() else {
        panic!()
    };
    let mut indices =
        [second.wait(&mut Wait::now()).unwrap(), third.wait(&mut Wait::now()).unwrap(), last];
    indices.sort_unstable();
    assert_eq!(indices, [0, 1, 2]);
}

#[test]
fn a_party_that_is_late_to_look_still_learns_how_its_round_ended() {
    let _watchdog = watchdog();
    let barrier = RawBarrier::create(2).unwrap();
    let arrive = || barrier.arrive(false, &mut Wait::now()).unwrap();
    let outcome_after = |later: &dyn Fn()| {
        let RawArrived::Waits(late) = arrive() else { panic!() };
        later();
        late.wait(&mut Wait::now())
    };
    let pass = || {
        let RawArrived::Waits(first) = arrive() else { panic!() };
        assert!(matches!(arrive(), RawArrived::Passed(1)));
        assert_eq!(first.wait(&mut Wait::now()).unwrap(), 0);
    };
    for rounds in [0, 1, 5, 29] {
        let passed = outcome_after(&|| {
            assert!(matches!(arrive(), RawArrived::Passed(1)));
            (0..rounds).for_each(|_| pass());
        });
        assert_eq!(passed.unwrap(), 0);
        let reset = outcome_after(&|| {
            barrier.reset().unwrap();
            (0..rounds).for_each(|_| pass());
        });
        assert!(matches!(reset, Err(NotPassed::Broken(Broken::Reset))));
    }
}

#[test]
fn sizes_are_checked() {
    assert!(Barrier::new(0).is_err());
    assert!(Barrier::new(1_000_000).is_err());
    assert_eq!(Barrier::new(4000).unwrap().parties(), 4000);
    for _ in 0..3 {
        assert!(Barrier::new(1).unwrap().wait().unwrap().is_leader());
    }
}

#[tasuki::task]
fn come(barrier: Barrier, indices: Queue<usize>) {
    indices.put(barrier.wait().unwrap().index()).unwrap();
}

#[test]
fn a_barrier_travels_to_processes_that_are_started() {
    let _watchdog = watchdog();
    let barrier = Barrier::new(3).unwrap();
    let indices = Queue::unbounded().unwrap();
    let children: Vec<_> =
        (0..2).map(|_| Process::spawn(come, (barrier.clone(), indices.clone())).unwrap()).collect();
    let mut all = vec![barrier.wait().unwrap().index()];
    for child in children {
        child.join().unwrap();
        all.push(indices.get().unwrap());
    }
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2]);
    let queue: Queue<Barrier> = Queue::unbounded().unwrap();
    queue.put(barrier).unwrap();
    let again = queue.get().unwrap();
    assert_eq!(format!("{again:?}"), "Barrier { parties: 3, waiting: 0, broken: false }");
}

#[test]
fn sixty_four_processes_pass_round_after_round() {
    let _watchdog = watchdog_of(Duration::from_secs(if soaking() { 900 } else { 120 }));
    let rounds = if soaking() { 5000 } else { 60 };
    let barrier = Barrier::new(64).unwrap();
    let mut children: Vec<Child> = (0..64)
        .map(|_| fork(|| (0..rounds).for_each(|_| assert!(barrier.wait().is_ok()))))
        .collect();
    end_well(&mut children);
    assert_eq!((barrier.waiting(), barrier.is_broken()), (0, false));
}

#[test]
fn ten_thousand_barriers_come_and_go() {
    let _watchdog = watchdog();
    support::in_own_process(|| {
        let make = |count: usize| (0..count).map(|_| Barrier::new(3).unwrap()).collect::<Vec<_>>();
        drop(make(1000));
        let (descriptors, memory) = (support::descriptor_count(), support::resident());
        for _ in 0..10_000 {
            let barrier = Barrier::new(3).unwrap();
            assert!(barrier.wait_timeout(Duration::ZERO).is_err());
        }
        assert_eq!(support::descriptor_count(), descriptors);
        assert!(support::resident() < memory + (1 << 20));
        support::limit_descriptors(100);
        assert_eq!(make(10_000).len(), 10_000, "with a hundred descriptors");
    });
}
