//! The barrier: all go on or all are told, each with another index, also when a party dies in its seat.

use loom::sync::Arc;
use loom::sync::atomic::AtomicU64;
use loom::thread;

use super::barrier::{Arrived, BarrierView, BarrierWords, Broken, NotPassed};
use crate::segment::{Dead, Segment};
use crate::sync::{GaveUp, Spin, Wait};

struct Barrier {
    words: BarrierWords,
    seats: Vec<AtomicU64>,
    spin: Spin,
    dead: Dead,
}

impl Barrier {
    fn new(parties: usize) -> Arc<Barrier> {
        Arc::new(Barrier {
            words: BarrierWords::new(),
            seats: (0..2 * parties).map(|_| AtomicU64::new(0)).collect(),
            spin: Spin::new(),
            dead: Dead::nobody(),
        })
    }

    fn segment(&self, process: u32) -> Segment {
        Segment::of(process, &self.dead)
    }

    fn view<'a>(&'a self, segment: &'a Segment) -> BarrierView<'a> {
        BarrierView { words: &self.words, seats: &self.seats, segment, spin: &self.spin }
    }

    fn pass(&self, process: u32, wait: &mut Wait<'_>, action: bool) -> Result<u32, NotPassed> {
        let segment = self.segment(process);
        let view = self.view(&segment);
        match view.arrive(action, wait)? {
            Arrived::Passed(index) => Ok(index),
            Arrived::RunAction(place) => view.action_ended(place, true),
            Arrived::Waits(place) => view.await_others(place, wait),
        }
    }
}

fn run<R: 'static>(
    barrier: &Arc<Barrier>,
    work: impl FnOnce(&Barrier) -> R + 'static,
) -> thread::JoinHandle<R> {
    let barrier = barrier.clone();
    thread::spawn(move || work(&barrier))
}

fn explore(bound: usize, work: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(bound);
    model.check(work);
}

#[test]
fn two_pass_twice_with_other_indices() {
    explore(2, || {
        let barrier = Barrier::new(2);
        let twice = |barrier: &Barrier, process: u32| -> [u32; 2] {
            std::array::from_fn(|_| barrier.pass(process, &mut Wait::forever(), false).unwrap())
        };
        let other = run(&barrier, move |barrier| twice(barrier, 1));
        let here = twice(&barrier, 0);
        let there = other.join().unwrap();
        assert!(here.iter().zip(there).all(|(here, there)| here + there == 1));
    });
}

#[test]
fn two_pass_when_the_last_one_runs_an_action() {
    explore(2, || {
        let barrier = Barrier::new(2);
        let other = run(&barrier, |barrier| barrier.pass(1, &mut Wait::forever(), true).unwrap());
        let here = barrier.pass(0, &mut Wait::forever(), true).unwrap();
        assert_eq!(here + other.join().unwrap(), 1);
    });
}

#[test]
fn one_whose_time_is_over_breaks_it_or_passes_with_the_other() {
    explore(2, || {
        let barrier = Barrier::new(2);
        let other = run(&barrier, |barrier| barrier.pass(1, &mut Wait::forever(), false));
        let here = barrier.pass(0, &mut Wait::now(), false);
        match (here, other.join().unwrap()) {
            (Ok(here), Ok(there)) => assert_eq!(here + there, 1),
            (Err(NotPassed::GaveUp(GaveUp::TimedOut)), Err(NotPassed::Broken(why))) => {
                assert_eq!(why, Broken::TimedOut { pid: 1 });
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn abort_reaches_everybody() {
    explore(2, || {
        let barrier = Barrier::new(3);
        let others = [1, 2].map(|process| {
            run(&barrier, move |barrier| barrier.pass(process, &mut Wait::forever(), false))
        });
        let segment = barrier.segment(0);
        barrier.view(&segment).abort(&mut Wait::forever()).unwrap();
        for other in others {
            assert!(matches!(
                other.join().unwrap(),
                Err(NotPassed::Broken(Broken::Aborted { .. }))
            ));
        }
    });
}

#[test]
fn one_that_dies_in_its_seat_breaks_it_for_one_that_sleeps() {
    explore(3, || {
        let barrier = Barrier::new(3);
        let victim = run(&barrier, |barrier| {
            let segment = barrier.segment(1);
            let arrived = barrier.view(&segment).arrive(false, &mut Wait::forever()).unwrap();
            assert!(matches!(arrived, Arrived::Waits(_)));
            segment.die();
        });
        let sleeper = run(&barrier, |barrier| barrier.pass(2, &mut Wait::forever(), false));
        victim.join().unwrap();
        // The end of a slice, for whoever sleeps.
        let segment = barrier.segment(0);
        barrier.view(&segment).look().unwrap();
        let Err(NotPassed::Broken(Broken::Died(death))) = sleeper.join().unwrap() else { panic!() };
        assert_eq!(death.pid(), 2);
    });
}
