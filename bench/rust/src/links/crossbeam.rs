//! crossbeam-channel: between threads, values unencoded.

use crossbeam_channel::{Receiver, Sender, bounded};

use super::{End, Link};
use crate::team::{self, Opener, Outcome};

/// A bounded channel for each direction.
pub struct Channels;

impl Link for Channels {
    type Half = (Sender<u64>, Receiver<u64>);

    fn halves() -> [Self::Half; 2] {
        let (ask, questions) = bounded(16);
        let (reply, answers) = bounded(16);
        [(ask, answers), (reply, questions)]
    }

    fn open(half: Self::Half) -> impl End {
        half
    }

    fn run(workers: Vec<Opener<'_>>) -> Outcome {
        team::opening_threads(workers)
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
