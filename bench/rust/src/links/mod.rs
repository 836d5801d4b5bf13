//! Every way to carry numbers between two workers, there and back, behind one trait: so that whoever asks how long an
//! answer takes asks all of them the same.

pub mod bare;
pub mod crossbeam;
pub mod iceoryx;
pub mod ipc;
pub mod tasuki;

use crate::team::{self, Opener, Outcome};

/// Two ends, one for the worker that asks and one for the worker that answers.
pub trait Link {
    /// An end that waits to be opened by its worker.
    type Half: Send + 'static;

    fn halves() -> [Self::Half; 2];

    /// Called by the worker that will use it, at the same time by both.
    fn open(half: Self::Half) -> impl End;

    /// Where the two work: in processes, unless it connects threads only.
    fn run(workers: Vec<Opener<'_>>) -> Outcome {
        team::opening_processes(workers)
    }
}

/// What a worker holds in its hand.
pub trait End {
    fn send(&mut self, number: u64);

    /// Waits, in the way that the question is about.
    fn receive(&mut self) -> u64;
}

/// One worker that asks, one that answers each of `count` questions with the number it was sent.
///
/// The sum is what `ask` returns.
pub fn ask_and_answer<L: Link>(
    count: u64,
    ask: impl FnMut(&mut dyn FnMut(u64) -> u64) -> u64 + Send,
) -> Outcome {
    let [here, there] = L::halves();
    let mut ask = ask;
    let asker: Opener = Box::new(move || {
        let mut end = L::open(here);
        Box::new(move || {
            ask(&mut |number| {
                end.send(number);
                end.receive()
            })
        })
    });
    let answerer: Opener = Box::new(move || {
        let mut end = L::open(there);
        Box::new(move || {
            for _ in 0..count {
                let number = end.receive();
                end.send(number);
            }
            0
        })
    });
    L::run(vec![asker, answerer])
}
