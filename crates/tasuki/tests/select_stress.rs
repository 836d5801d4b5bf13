//! Many selects over many sources at once, with timeouts, from several processes, some of which are killed: every
//! message comes to exactly one of them, and nobody sleeps on.

mod support;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use support::{Child, Dice, Ended, Words, end_well, fork, soaking, until, watchdog_of};
use tasuki::{Connection, Queue, Receiver, Select, Sender, bounded, pipe, select};

/// How many messages each source carries.
fn each() -> u64 {
    if soaking() { 200_000 } else { 15_000 }
}

/// Everything that a process can wait for here.
struct Sources {
    small: Queue<u64>,
    large: Queue<u64>,
    sender: Sender<u64>,
    receiver: Receiver<u64>,
    stream: (UnixStream, UnixStream),
    pipe: (Connection<u64, u64>, Connection<u64, u64>),
}

const KINDS: u64 = 5;

impl Sources {
    fn new() -> Sources {
        let (sender, receiver) = bounded(2).unwrap();
        let stream = UnixStream::pair().unwrap();
        stream.1.set_nonblocking(true).unwrap();
        let (small, large) = (Queue::bounded(1).unwrap(), Queue::unbounded().unwrap());
        Sources { small, large, sender, receiver, stream, pipe: pipe().unwrap() }
    }

    /// Puts number after number into one of the sources.
    fn produce(&self, kind: u64, numbers: std::ops::Range<u64>, mut dice: Dice) {
        for number in numbers {
            match (kind, dice.below(2)) {
                (0, 0) => self.small.put(number).unwrap(),
                (0, _) => select().put(&self.small, number, Result::unwrap).wait().unwrap(),
                (1, _) => self.large.put(number).unwrap(),
                (2, 0) => self.sender.send(number).unwrap(),
                (2, _) => select().send(&self.sender, number, Result::unwrap).wait().unwrap(),
                (3, _) => self.pipe.0.send(number).unwrap(),
                _ => (&self.stream.0).write_all(&number.to_le_bytes()).unwrap(),
            }
            if dice.below(40) == 0 {
                std::thread::sleep(Duration::from_micros(dice.below(400)));
            }
        }
    }

    /// One select in one of its forms; what it took.
    fn consume(&self, dice: &mut Dice) -> Option<u64> {
        let wait = select()
            .get(&self.small, |got| Some(got.unwrap()))
            .get(&self.large, |got| Some(got.unwrap()))
            .recv(&self.receiver, |got| Some(got.unwrap()))
            .connection(&self.pipe.1, |got| Some(got.unwrap()))
            .readable(&self.stream.1, || self.read_stream());
        match dice.below(8) {
            0 => wait.try_now().unwrap().flatten(),
            1..=3 => wait.wait_timeout(Duration::from_micros(dice.below(500))).unwrap().flatten(),
            4 => {
                drop(wait);
                None
            }
            5 => {
                // Only asks, and does not take.
                let mut asks = Select::new();
                asks.get(&self.small);
                asks.recv(&self.receiver);
                asks.get(&self.large);
                asks.connection(&self.pipe.1);
                asks.ready_timeout(Duration::from_micros(dice.below(100))).unwrap();
                None
            }
            _ => wait.wait_timeout(support::NEVER).unwrap().expect("something within that time"),
        }
    }

    /// A number of the stream, unless another one was faster. Eight bytes are written at once, and so they are read.
    fn read_stream(&self) -> Option<u64> {
        let mut bytes = [0; 8];
        match (&self.stream.1).read(&mut bytes) {
            Ok(8) => Some(u64::from_le_bytes(bytes)),
            Ok(len) => panic!("{len} bytes of a number"),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => None,
            Err(error) => panic!("{error}"),
        }
    }
}

/// The end of the work: no number of a source.
const STOP: u64 = u64::MAX;

#[test]
fn every_message_comes_to_one_select() {
    let _watchdog = watchdog_of(Duration::from_secs(600));
    let mut dice = Dice::roll("select, mixed sources");
    let sources = Sources::new();
    let taken = Words::new((KINDS * each()) as usize);
    let count = Words::new(1);
    const CONSUMERS: u64 = 3;
    let mut children: Vec<Child> = (0..KINDS)
        .map(|kind| {
            let dice = Dice(dice.next());
            let sources = &sources;
            fork(move || sources.produce(kind, kind * each()..(kind + 1) * each(), dice))
        })
        .collect();
    for _ in 0..CONSUMERS {
        let mut dice = Dice(dice.next());
        let (sources, taken, count) = (&sources, &taken, &count);
        children.push(fork(move || {
            loop {
                match sources.consume(&mut dice) {
                    Some(STOP) => return,
                    Some(number) => {
                        assert_eq!(
                            taken[number as usize].fetch_add(1, SeqCst),
                            0,
                            "{number} twice"
                        );
                        count[0].fetch_add(1, SeqCst);
                    }
                    None => {}
                }
            }
        }));
    }
    until_within(Duration::from_secs(500), || count[0].load(SeqCst) == KINDS * each());
    (0..CONSUMERS).for_each(|_| sources.large.put(STOP).unwrap());
    end_well(&mut children);
    assert!(taken.iter().all(|taken| taken.load(SeqCst) == 1));
    assert!(sources.small.is_empty() && sources.large.is_empty() && sources.receiver.is_empty());
}

/// Selecting processes are killed at any moment, again and again: a message is lost only with the one that took it, and
/// the others go on.
#[test]
fn kills_lose_at_most_what_was_taken() {
    let _watchdog = watchdog_of(Duration::from_secs(600));
    let mut dice = Dice::roll("select, kills");
    let sources = Sources::new();
    let kills = if soaking() { 500 } else { 40 };
    let words = Words::new(2 + (KINDS * each()) as usize);
    let (counts, taken) = words.split_at(2);
    let consumer = |seed: u64| {
        let (sources, counts) = (&sources, &counts);
        fork(move || {
            let mut dice = Dice(seed);
            loop {
                match sources.consume(&mut dice) {
                    Some(STOP) => return,
                    Some(number) => {
                        assert_eq!(
                            taken[number as usize].fetch_add(1, SeqCst),
                            0,
                            "{number} twice"
                        );
                        counts[0].fetch_add(1, SeqCst);
                    }
                    None => {}
                }
            }
        })
    };
    let mut producers: Vec<Child> = (0..3)
        .map(|kind| {
            let (sources, dice) = (&sources, Dice(dice.next()));
            fork(move || sources.produce(kind, kind * each()..(kind + 1) * each(), dice))
        })
        .collect();
    let mut steady = consumer(dice.next());
    for _ in 0..kills {
        let victim = consumer(dice.next());
        std::thread::sleep(Duration::from_micros(dice.below(6000)));
        drop(victim); // kills and waits
    }
    end_well(&mut producers);
    until("everything is taken", || {
        sources.small.is_empty() && sources.large.is_empty() && sources.receiver.is_empty()
    });
    sources.large.put(STOP).unwrap();
    assert_eq!(steady.wait(), Ended::WELL);
    let lost = 3 * each() - counts[0].load(SeqCst);
    assert!(lost <= kills, "{lost} messages lost with {kills} who took them");
}

fn until_within(time: Duration, mut done: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !done() {
        assert!(start.elapsed() < time, "never happened");
        std::thread::sleep(Duration::from_millis(1));
    }
}
