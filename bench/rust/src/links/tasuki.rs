//! tasuki's own: two queues, two channels, or a pipe.

use tasuki::{Connection, Queue, Receiver, Sender};

use super::{End, Link};

const CAPACITY: usize = 16;

/// A queue for each direction.
pub struct Queues;

impl Link for Queues {
    type Half = (Queue<u64>, Queue<u64>);

    fn halves() -> [Self::Half; 2] {
        let [there, back] = [(); 2].map(|()| Queue::bounded(CAPACITY).unwrap());
        [(there.clone(), back.clone()), (back, there)]
    }

    fn open(half: Self::Half) -> impl End {
        half
    }
}

impl End for (Queue<u64>, Queue<u64>) {
    #[inline]
    fn send(&mut self, number: u64) {
        self.0.put(number).unwrap();
    }

    #[inline]
    fn receive(&mut self) -> u64 {
        self.1.get().unwrap()
    }
}

/// A channel for each direction.
pub struct Channels;

impl Link for Channels {
    type Half = (Sender<u64>, Receiver<u64>);

    fn halves() -> [Self::Half; 2] {
        let (ask, questions) = tasuki::bounded(CAPACITY).unwrap();
        let (reply, answers) = tasuki::bounded(CAPACITY).unwrap();
        [(ask, answers), (reply, questions)]
    }

    fn open(half: Self::Half) -> impl End {
        half
    }
}

impl End for (Sender<u64>, Receiver<u64>) {
    #[inline]
    fn send(&mut self, number: u64) {
        self.0.send(number).unwrap();
    }

    #[inline]
    fn receive(&mut self) -> u64 {
        self.1.recv().unwrap()
    }
}

/// A pipe that goes both ways.
pub struct Pipe;

impl Link for Pipe {
    type Half = Connection<u64, u64>;

    fn halves() -> [Self::Half; 2] {
        tasuki::pipe().unwrap().into()
    }

    fn open(half: Self::Half) -> impl End {
        half
    }
}

impl End for Connection<u64, u64> {
    #[inline]
    fn send(&mut self, number: u64) {
        Connection::send(self, number).unwrap();
    }

    #[inline]
    fn receive(&mut self) -> u64 {
        self.recv().unwrap()
    }
}
