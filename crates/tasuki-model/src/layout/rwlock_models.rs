//! Many readers or one writer: never both, and a writer that sleeps is woken by the last reader to leave.

use std::sync::Arc;

use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;

use super::failure::AcquireFailure;
use super::lock::{Acquired, LockView, LockWords};
use super::rwlock::{ReaderWords, RwLockView};
use crate::segment::{Dead, Segment};
use crate::sync::{GaveUp, Spin, Wait};

struct Model {
    words: LockWords,
    readers: ReaderWords,
    dead: Dead,
    /// What the lock guards: a writer changes one after the other.
    data: [AtomicU32; 2],
    spin: Spin,
}

/// The lock as one process has it.
struct Process {
    model: Arc<Model>,
    segment: Segment,
}

impl Model {
    fn new() -> Arc<Model> {
        Arc::new(Model {
            words: LockWords::new(),
            readers: ReaderWords::new(),
            dead: Dead::nobody(),
            data: [AtomicU32::new(0), AtomicU32::new(0)],
            spin: Spin::new(),
        })
    }

    fn process(self: &Arc<Model>, number: u32) -> Process {
        Process { model: self.clone(), segment: Segment::of(number, &self.dead) }
    }

    fn run(
        self: &Arc<Model>,
        number: u32,
        work: impl FnOnce(&Process) + 'static,
    ) -> thread::JoinHandle<()> {
        let process = self.process(number);
        thread::spawn(move || work(&process))
    }
}

impl Process {
    fn view(&self) -> RwLockView<'_> {
        let model = &self.model;
        let writer = LockView { words: &model.words, segment: &self.segment, spin: &model.spin };
        RwLockView { writer, readers: &model.readers, spin: &model.spin }
    }

    fn begin_read(&self) {
        assert_eq!(self.view().read(&mut Wait::forever()).unwrap(), Acquired::Clean);
    }

    fn read(&self) {
        self.begin_read();
        let [one, other] = &self.model.data;
        assert_eq!(one.load(Ordering::Relaxed), other.load(Ordering::Relaxed), "half written");
        self.view().end_read().unwrap();
    }

    fn begin_write(&self) -> Acquired {
        self.view().write(&mut Wait::forever()).unwrap()
    }

    fn write(&self) {
        assert_eq!(self.begin_write(), Acquired::Clean);
        for word in &self.model.data {
            let before = word.load(Ordering::Relaxed);
            word.store(before + 1, Ordering::Relaxed);
        }
        self.view().end_write().unwrap();
    }
}

fn explore(preemptions: usize, work: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(work);
}

#[test]
fn a_reader_sees_all_of_a_write_or_nothing() {
    explore(3, || {
        let model = Model::new();
        let writer = model.run(1, Process::write);
        model.process(0).read();
        writer.join().unwrap();
        assert_eq!(model.data[1].load(Ordering::Relaxed), 1);
    });
}

#[test]
fn a_writer_that_waits_for_a_reader_is_woken_when_it_leaves() {
    explore(3, || {
        let model = Model::new();
        let reader = model.process(0);
        reader.begin_read();
        let writer = model.run(1, Process::write);
        reader.view().end_read().unwrap();
        writer.join().unwrap();
        assert_eq!((reader.view().reading(), model.data[1].load(Ordering::Relaxed)), (0, 1));
    });
}

#[test]
fn two_writers_and_a_reader_all_get_in() {
    explore(2, || {
        let model = Model::new();
        let writers = [model.run(1, Process::write), model.run(2, Process::write)];
        model.process(0).read();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        assert_eq!(model.data[1].load(Ordering::Relaxed), 2);
    });
}

#[test]
fn a_reader_without_a_place_gets_the_one_of_another_that_leaves() {
    explore(2, || {
        let model = Model::new();
        let others = [model.process(0), model.process(1)];
        others.iter().for_each(Process::begin_read);
        let late = model.run(2, Process::read);
        others[1].view().end_read().unwrap();
        late.join().unwrap();
        others[0].view().end_read().unwrap();
    });
}

#[test]
fn a_dead_reader_is_passed_over_and_nobody_is_told() {
    explore(3, || {
        let model = Model::new();
        let dead = model.process(0);
        dead.begin_read();
        dead.segment.die();
        let writer = model.run(1, Process::write);
        model.process(2).read();
        writer.join().unwrap();
    });
}

#[test]
fn a_death_is_told_only_if_the_dead_one_was_writing() {
    explore(2, || {
        let model = Model::new();
        let (waits, writes) = (model.process(0), model.process(1));
        // As one that waits for readers does.
        let taken = waits.view().writer.acquire(&mut Wait::forever()).unwrap();
        assert_eq!(taken, Acquired::Clean);
        waits.segment.die();
        assert_eq!(writes.begin_write(), Acquired::Clean);
        writes.segment.die();
        let told = model.run(2, |reader| {
            let read = reader.view().read(&mut Wait::forever()).unwrap();
            assert!(matches!(read, Acquired::OwnerDied(_)));
            reader.view().end_read().unwrap();
        });
        assert!(matches!(model.process(3).begin_write(), Acquired::OwnerDied(_)));
        model.process(3).view().end_write().unwrap();
        told.join().unwrap();
        assert!(model.process(3).view().is_poisoned());
    });
}

#[test]
fn a_writer_that_gives_up_lets_others_in() {
    explore(2, || {
        let model = Model::new();
        let reader = model.process(0);
        reader.begin_read();
        let given_up = model.run(1, |writer| {
            let mut asked = 0;
            let mut called_off = || {
                asked += 1;
                asked > 1
            };
            let mut wait = Wait::forever().interruptible(&mut called_off);
            match writer.view().write(&mut wait) {
                Ok(_) => writer.view().end_write().unwrap(),
                Err(why) => {
                    assert!(matches!(why, AcquireFailure::GaveUp(GaveUp::Interrupted)));
                }
            }
        });
        reader.view().end_read().unwrap();
        model.process(2).read();
        given_up.join().unwrap();
        assert!(!reader.view().is_wanted_by_writer());
    });
}
