//! tasuki's own: two queues.

use super::{End, Link};

/// A queue for each direction.
pub struct Queues;

const CAPACITY: usize = 16;

type Queue = tasuki::Queue<u64>;

impl Link for Queues {
    type Half = (Queue, Queue);

    fn halves() -> [Self::Half; 2] {
        let [there, back] = [(); 2].map(|()| Queue::bounded(CAPACITY).unwrap());
        [(there.clone(), back.clone()), (back, there)]
    }

    fn open(half: Self::Half) -> impl End {
        half
    }
}

impl End for (Queue, Queue) {
    #[inline]
    fn send(&mut self, number: u64) {
        self.0.put(number).unwrap();
    }

    #[inline]
    fn receive(&mut self) -> u64 {
        self.1.get().unwrap()
    }
}
