//! Channels between processes that were started, and that nothing of them is left.

mod support;

use std::thread;

use support::{descriptor_count, in_own_process, until, watchdog};
use tasuki::{Process, Receiver, Sender, bounded, channel};

tasuki::enable_tests!();

#[tasuki::task]
fn square(numbers: Receiver<u64>, squares: Sender<u64>) {
    for number in numbers {
        squares.send(number * number).unwrap();
    }
}

#[test]
fn a_pipeline_of_processes_ends_by_itself() {
    let _watchdog = watchdog();
    let (numbers, source) = bounded(4).unwrap();
    let (sink, squares) = bounded(4).unwrap();
    let workers: Vec<_> =
        (0..3).map(|_| Process::spawn(square, (source.clone(), sink.clone())).unwrap()).collect();
    // The workers' are theirs alone from here on.
    drop((source, sink));
    let feeder = thread::spawn(move || (1..=200).for_each(|n| numbers.send(n).unwrap()));
    assert_eq!(squares.iter().sum::<u64>(), 200 * 201 * 401 / 6);
    feeder.join().unwrap();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    assert!(squares.recv().unwrap_err().is_disconnected());
}

#[test]
fn channels_leave_no_descriptor() {
    let _watchdog = watchdog();
    in_own_process(|| {
        let round = |n: u64| {
            let (sender, receiver) = channel().unwrap();
            let (answer, answers) = channel::<u64>().unwrap();
            sender.send(answer).unwrap();
            if n % 2 == 0 {
                receiver.recv().unwrap().send(n).unwrap();
                assert_eq!(answers.recv().unwrap(), n);
            }
        };
        round(0);
        let before = descriptor_count();
        (0..1000).for_each(round);
        // The kernel closes what was in a socket that nobody has any more, not always at once.
        until("all are closed", || descriptor_count() == before);
    });
}
