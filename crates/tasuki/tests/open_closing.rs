//! What several threads use and one closes, as the Python front has it: freed once, when the last one lets go, never
//! before.

#[allow(dead_code)] // the front uses more of it
#[path = "../../tasuki-python/src/open.rs"]
mod open;
mod support;

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use open::Open;
use support::watchdog;

/// Says whether it is there, and how often it went.
struct Canary<'a> {
    there: AtomicUsize,
    gone: &'a AtomicUsize,
}

const THERE: usize = 0x7457;

impl<'a> Canary<'a> {
    fn new(gone: &'a AtomicUsize) -> Canary<'a> {
        Canary { there: AtomicUsize::new(THERE), gone }
    }

    fn is_there(&self) -> bool {
        self.there.load(Ordering::Relaxed) == THERE
    }
}

impl Drop for Canary<'_> {
    fn drop(&mut self) {
        assert_eq!(self.there.swap(0, Ordering::Relaxed), THERE, "dropped twice");
        self.gone.fetch_add(1, Ordering::Relaxed);
    }
}

fn opened(gone: &AtomicUsize) -> Open<Canary<'_>> {
    let open = Open::empty();
    assert!(open.enter().is_none() && !open.is_closed());
    assert!(open.make(Canary::new(gone)).is_ok());
    open
}

#[test]
fn the_last_one_frees_it() {
    let gone = AtomicUsize::new(0);
    let count = || gone.load(Ordering::Relaxed);
    let (entered, go) = (Barrier::new(2), Barrier::new(2));
    let open = opened(&gone);
    let (first, second) = (open.enter().unwrap(), open.enter().unwrap());
    // Another thread's is counted in another way.
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            let other = open.enter().unwrap();
            entered.wait();
            go.wait();
            assert!(other.is_there());
        });
        entered.wait();
        let mut hung_up = 0;
        open.close(|_| hung_up += 1);
        open.close(|_| hung_up += 1);
        assert_eq!(hung_up, 1);
        assert!(open.enter().is_none() && open.is_closed() && !open.is_open());
        drop(first);
        assert_eq!(count(), 0);
        assert!(second.is_there());
        drop(second);
        assert_eq!(count(), 0);
        go.wait();
        other.join().unwrap();
    });
    assert_eq!(count(), 1);
    drop(open);
    assert_eq!(count(), 1);
}

#[test]
fn whoever_closes_frees_it_if_nobody_uses_it() {
    for closed_elsewhere in [false, true] {
        for used in [false, true] {
            let gone = AtomicUsize::new(0);
            let open = opened(&gone);
            if used {
                assert!(open.enter().unwrap().is_there());
            }
            let close = || open.close(|_| panic!("nobody is in there"));
            if closed_elsewhere {
                std::thread::scope(|scope| scope.spawn(close).join().unwrap());
            } else {
                close();
            }
            assert_eq!(gone.load(Ordering::Relaxed), 1);
        }
    }
    let gone = AtomicUsize::new(0);
    drop(opened(&gone));
    assert_eq!(gone.load(Ordering::Relaxed), 1);
}

#[test]
fn it_stays_while_the_first_thread_has_it_whoever_closes_it() {
    let gone = AtomicUsize::new(0);
    let open = opened(&gone);
    let value = open.enter().unwrap();
    let mut hung_up = false;
    std::thread::scope(|scope| {
        scope.spawn(|| open.close(|_| hung_up = true)).join().unwrap();
        scope.spawn(|| assert!(open.enter().is_none())).join().unwrap();
    });
    assert!(hung_up && value.is_there());
    assert_eq!(gone.load(Ordering::Relaxed), 0);
    drop(value);
    assert_eq!(gone.load(Ordering::Relaxed), 1);
}

/// The owner, who counts with plain stores, another user, and who closes: at the same time, over and over.
#[test]
fn nobody_has_it_when_it_is_gone_and_nobody_misses_the_last_one() {
    const ROUNDS: usize = 3000;
    let _watchdog = watchdog();
    let gone = AtomicUsize::new(0);
    let opens: Vec<Open<Canary<'_>>> = (0..ROUNDS).map(|_| opened(&gone)).collect();
    let together = Barrier::new(3);
    let use_it = |open: &Open<Canary<'_>>| {
        together.wait();
        while let Some(value) = open.enter() {
            for _ in 0..20 {
                assert!(value.is_there(), "used after it was freed");
            }
        }
        together.wait();
    };
    std::thread::scope(|scope| {
        let owner = scope.spawn(|| {
            for open in &opens {
                assert!(open.enter().unwrap().is_there());
                together.wait();
                use_it(open);
            }
        });
        let other = scope.spawn(|| {
            for open in &opens {
                together.wait();
                use_it(open);
            }
        });
        for (round, open) in opens.iter().enumerate() {
            together.wait();
            together.wait();
            for _ in 0..round % 64 * 8 {
                std::hint::spin_loop();
            }
            open.close(|value| assert!(value.is_there()));
            together.wait();
            assert_eq!(gone.load(Ordering::Relaxed), round + 1, "nobody freed it");
        }
        owner.join().unwrap();
        other.join().unwrap();
    });
}
