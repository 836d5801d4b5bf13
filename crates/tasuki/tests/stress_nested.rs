//! A queue goes through a queue that goes through a pipe, thousands of times, and is nowhere but in messages meanwhile.

mod support;

use support::{Ended, descriptor_count, fork, in_own_process, soaking, watchdog};
use tasuki::{Connection, Queue, pipe};

type Numbers = Queue<u64>;
type Middle = Queue<Numbers>;

#[test]
fn a_queue_goes_through_a_queue_that_goes_through_a_pipe() {
    let _watchdog = watchdog();
    let rounds = if soaking() { 20_000 } else { 1000 };
    in_own_process(|| {
        let (here, there): (Connection<Middle, Numbers>, Connection<Numbers, Middle>) =
            pipe().unwrap();
        let mut other = fork(|| {
            for round in 0..rounds {
                let middle = there.recv().unwrap();
                let inner = middle.get().unwrap();
                assert_eq!(inner.get().unwrap(), round);
                assert_eq!(inner.len(), 1);
                there.send(inner).unwrap();
            }
        });
        let mut descriptors = 0;
        for round in 0..rounds {
            {
                let (inner, middle) = (Numbers::unbounded().unwrap(), Middle::bounded(3).unwrap());
                inner.put(round).unwrap();
                inner.put(round + 1).unwrap();
                middle.put(inner).unwrap();
                here.send(middle).unwrap();
            }
            let back = here.recv().unwrap();
            assert_eq!(back.get().unwrap(), round + 1);
            assert!(back.is_empty());
            drop(back);
            if round == rounds / 10 {
                descriptors = descriptor_count();
            }
        }
        assert_eq!(descriptor_count(), descriptors, "descriptors");
        assert_eq!(other.wait(), Ended::WELL);
    });
}

#[test]
fn a_queue_in_a_message_lives_without_its_sender() {
    let _watchdog = watchdog();
    for killed in [false, true] {
        let (here, there) = pipe::<(), Middle>().unwrap();
        let mut sender = fork(|| {
            let (inner, middle) = (Numbers::unbounded().unwrap(), Middle::unbounded().unwrap());
            inner.put(7).unwrap();
            middle.put(inner).unwrap();
            there.send(middle).unwrap();
            if killed {
                support::die();
            }
        });
        assert_eq!(sender.wait(), if killed { Ended::DEAD } else { Ended::WELL });
        assert_eq!(here.recv().unwrap().get().unwrap().get().unwrap(), 7);
    }
}
