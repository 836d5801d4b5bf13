//! The condition: no notification is lost, by one that gives up or by one that dies, and the lock is held after every
//! wait.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;

use super::condition::{ConditionView, ConditionWords, Seat, UserLock, Woken};
use super::lock::LockView;
use crate::segment::{Dead, Segment};
use crate::sync::{Spin, Wait};

struct Shop {
    words: ConditionWords,
    spin: Spin,
    dead: Dead,
    pieces: AtomicU32,
    inside: AtomicU32,
}

impl Shop {
    fn new() -> Arc<Shop> {
        Arc::new(Shop {
            words: ConditionWords::new(),
            spin: Spin::new(),
            dead: Dead::nobody(),
            pieces: AtomicU32::new(0),
            inside: AtomicU32::new(0),
        })
    }

    fn process(&self, number: u32) -> Process<'_> {
        Process { shop: self, segment: Segment::of(number, &self.dead) }
    }
}

/// A shop as one process sees it.
struct Process<'a> {
    shop: &'a Shop,
    segment: Segment,
}

impl Process<'_> {
    fn view(&self) -> ConditionView<'_> {
        ConditionView { words: &self.shop.words, segment: &self.segment, spin: &self.shop.spin }
    }

    fn lock(&self) -> LockView<'_> {
        LockView { words: &self.shop.words.own, segment: &self.segment, spin: &self.shop.spin }
    }

    fn enter(&self) {
        let _ = self.lock().acquire(&mut Wait::forever()).unwrap();
        self.entered();
    }

    fn entered(&self) {
        assert_eq!(self.shop.inside.fetch_add(1, Ordering::Relaxed), 0, "two have the lock");
    }

    fn leaving(&self) {
        self.shop.inside.fetch_sub(1, Ordering::Relaxed);
    }

    fn leave(&self) {
        self.leaving();
        self.lock().release().unwrap();
    }

    fn wait(&self, wait: &mut Wait<'_>) -> Woken {
        self.leaving();
        let lock = UserLock { view: self.lock(), recursive: false };
        let (woken, _) = self.view().wait(lock, wait).unwrap();
        self.entered();
        woken
    }

    fn buy(&self) {
        self.enter();
        while self.shop.pieces.load(Ordering::Relaxed) == 0 {
            self.wait(&mut Wait::forever());
        }
        self.shop.pieces.fetch_sub(1, Ordering::Relaxed);
        self.leave();
    }

    fn deliver(&self) {
        self.enter();
        self.shop.pieces.fetch_add(1, Ordering::Relaxed);
        self.view().notify(1, &mut Wait::forever()).unwrap();
        self.leave();
    }
}

fn run(
    shop: &Arc<Shop>,
    number: u32,
    work: impl FnOnce(Process<'_>) + 'static,
) -> thread::JoinHandle<()> {
    let shop = shop.clone();
    thread::spawn(move || work(shop.process(number)))
}

fn explore(bound: usize, work: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(bound);
    model.check(work);
}

#[test]
fn each_piece_reaches_one_who_waits() {
    explore(2, || {
        let shop = Shop::new();
        let buyers =
            [run(&shop, 1, |process| process.buy()), run(&shop, 2, |process| process.buy())];
        let shopkeeper = shop.process(0);
        shopkeeper.deliver();
        shopkeeper.deliver();
        buyers.into_iter().for_each(|buyer| buyer.join().unwrap());
        assert_eq!(shop.pieces.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn one_who_gives_up_takes_no_notification_along() {
    explore(2, || {
        let shop = Shop::new();
        let buyer = run(&shop, 1, |process| process.buy());
        let hasty = run(&shop, 2, |process| {
            process.enter();
            if process.wait(&mut Wait::now()) == Woken::Notified {
                process.view().notify(1, &mut Wait::forever()).unwrap(); // it has no use for it
            }
            process.leave();
        });
        shop.process(0).deliver();
        hasty.join().unwrap();
        buyer.join().unwrap();
    });
}

#[test]
fn what_a_dead_one_was_notified_of_goes_to_the_next() {
    explore(3, || {
        let shop = Shop::new();
        // The victim waits first. It is notified, and dies before it does anything.
        let seat = shop.process(1).view().sit_down(&mut Wait::forever()).unwrap();
        assert!(matches!(seat, Seat::Entry(_)));
        let buyer = run(&shop, 2, |process| process.buy());
        let shopkeeper = shop.process(0);
        shopkeeper.deliver();
        shop.process(1).segment.die();
        // The end of a slice, for the sleepers.
        shopkeeper.view().pass_on();
        buyer.join().unwrap();
    });
}

#[test]
fn one_that_died_before_is_passed_over() {
    explore(3, || {
        let shop = Shop::new();
        let victim = run(&shop, 1, |process| {
            process.enter();
            process.view().sit_down(&mut Wait::forever()).unwrap();
            process.leave();
            process.segment.die();
        });
        victim.join().unwrap();
        let buyer = run(&shop, 2, |process| process.buy());
        shop.process(0).deliver();
        buyer.join().unwrap();
    });
}

#[test]
fn what_an_interrupted_one_was_notified_of_goes_to_the_next() {
    explore(2, || {
        let shop = Shop::new();
        // The first one waits, and a handler raises in it, before it is notified or after.
        let one_that_leaves = shop.process(1);
        let mut seat = one_that_leaves.view().sit_down(&mut Wait::forever()).unwrap();
        let buyer = run(&shop, 2, |process| process.buy());
        let interrupted = run(&shop, 1, move |process| {
            let mut stop = || true;
            let woken = process.view().sleep(
                &mut seat,
                None,
                &mut Wait::forever().interruptible(&mut stop),
            );
            // It saw the notification before the handler ran: then it is its own, and it passes it on.
            if woken == Woken::Notified {
                process.view().notify(1, &mut Wait::forever()).unwrap();
            }
            process.view().stand_up(seat);
        });
        shop.process(0).deliver();
        interrupted.join().unwrap();
        // The end of a slice, for the sleepers.
        shop.process(0).view().pass_on();
        buyer.join().unwrap();
    });
}
