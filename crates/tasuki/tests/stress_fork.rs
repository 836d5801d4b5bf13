//! A process forks again and again while its other threads put: each child uses the same queue at once, and every
//! message of parents and children is accounted for.

mod support;

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use support::messages::{Ledger, get, message, put};
use support::{Child, Ended, fork, in_own_process, soaking, watchdog_of};
use tasuki::raw::{QueueOptions, RawQueue, Wait};

const THREADS: u32 = 4;
const OF_EACH_CHILD: u32 = 20;
const LENGTHS: [usize; 4] = [24, 300, 5000, 70_000];

#[test]
fn forks_between_the_puts_of_other_threads_lose_nothing() {
    let _watchdog = watchdog_of(Duration::from_secs(600));
    let children = if soaking() { 5000 } else { 200 };
    for capacity in [None, Some(16)] {
        in_own_process(|| storm(capacity, children));
    }
}

fn storm(capacity: Option<u64>, children: u32) {
    let queue = RawQueue::create(QueueOptions { capacity, ..Default::default() }).unwrap();
    let most = 2_000_000;
    let ledger = Ledger::new((THREADS + children) as usize, most as usize);
    let send = |who: u32, number: u32| {
        put(&queue, &message(who, number, LENGTHS[(number % 4) as usize]), &[]);
        ledger.acknowledge(who, number);
    };
    let stop = AtomicBool::new(false);
    // One process takes everything, so that a full queue never stops the rest for good.
    let consumer: Child = fork(|| {
        while let Some((bytes, _)) = get(&queue, &mut Wait::timeout(support::NEVER)) {
            if bytes == b"the end" {
                return;
            }
            ledger.take(&bytes);
        }
        panic!("no end");
    });
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (stop, send) = (&stop, &send);
            scope.spawn(move || {
                (0..most)
                    .take_while(|_| !stop.load(SeqCst))
                    .for_each(|number| send(thread, number));
            });
        }
        let mut alive: Vec<Child> = Vec::new();
        for child in 0..children {
            alive
                .push(fork(|| (0..OF_EACH_CHILD).for_each(|number| send(THREADS + child, number))));
            if alive.len() > 4 {
                assert_eq!(alive.remove(0).wait(), Ended::WELL, "a child found fault");
            }
        }
        for mut child in alive {
            assert_eq!(child.wait(), Ended::WELL, "a child found fault");
        }
        stop.store(true, SeqCst);
    });
    put(&queue, b"the end", &[]);
    let mut consumer = consumer;
    assert_eq!(consumer.wait(), Ended::WELL, "the consumer found fault");
    assert_eq!(ledger.lost(), [], "messages were lost");
    for child in 0..children {
        assert_eq!(ledger.acknowledged(THREADS + child), OF_EACH_CHILD);
    }
    for thread in 0..THREADS {
        assert!(ledger.acknowledged(thread) > 0, "thread {thread} put while there were forks");
    }
}
