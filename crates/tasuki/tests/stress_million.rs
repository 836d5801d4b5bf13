//! A million small messages by four producers and four consumers, every one of them accounted for: first in peace, then
//! with processes killed and replaced at random instants.
//!
//! A killed producer costs nothing that it had been told is done, and at most one message more than it was told of. A
//! killed consumer costs at most what it had in flight, which is one message. `TASUKI_SOAK=1` (`make soak`) repeats it
//! with other kills.

mod support;

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use support::messages::{Ledger, get, message, put, read};
use support::queues::queue_of;
use support::{Child, Dice, Ended, Words, end_well, fork, soaking, until, watchdog_of};
use tasuki::raw::{RawQueue, Wait};

const MILLION: u64 = 1_000_000;
const EACH_KIND: usize = 4;
/// The producer of a message that ends the consumer who takes it.
const NOBODY: u32 = u32::MAX;

/// How many messages come to an end: all that were claimed, by whom and whether or not somebody was killed.
struct Storm {
    queue: RawQueue,
    ledger: Ledger,
    /// How many messages were begun.
    claimed: Words,
    total: u64,
}

impl Storm {
    fn new(capacity: Option<u64>, lives: usize, total: u64) -> Storm {
        Storm {
            queue: queue_of(capacity),
            ledger: Ledger::new(lives, total as usize),
            claimed: Words::new(1),
            total,
        }
    }

    /// Puts until enough messages were begun by all together; a life is a producer from its start to its death.
    fn produce(&self, life: u32) {
        let mut sequence = 0;
        while self.claimed[0].fetch_add(1, SeqCst) < self.total {
            put(&self.queue, &message(life, sequence, 24), &[]);
            self.ledger.acknowledge(life, sequence);
            sequence += 1;
        }
    }

    /// Takes until a message says that there are no more.
    fn consume(&self) {
        while let Some((bytes, _)) = get(&self.queue, &mut Wait::forever()) {
            if read(&bytes).0 == NOBODY {
                return;
            }
            self.ledger.take(&bytes);
        }
    }

    /// Ends the consumers. What each of them took before is in the ledger then.
    fn end(&self, consumers: &mut [Child]) {
        for _ in 0..consumers.len() {
            put(&self.queue, &message(NOBODY, 0, 24), &[]);
        }
        for consumer in consumers {
            assert_eq!(consumer.wait(), Ended::WELL, "a consumer found fault");
        }
        assert!(self.queue.is_empty());
    }

    /// Messages that were taken, acknowledged or not; acknowledged ones; and of those, how many nobody took.
    fn account(&self, lives: u32) -> (u64, u64, u64) {
        let acknowledged: u64 =
            (0..lives).map(|life| u64::from(self.ledger.acknowledged(life))).sum();
        let taken: u64 = (0..lives)
            .map(|life| u64::from(self.ledger.taken(life, self.ledger.acknowledged(life) + 1)))
            .sum();
        (taken, acknowledged, self.ledger.lost().len() as u64)
    }
}

#[test]
fn a_million_messages_arrive_once_each() {
    let _watchdog = watchdog_of(Duration::from_secs(600));
    for capacity in [None, Some(100)] {
        let storm = Storm::new(capacity, EACH_KIND, MILLION / 2);
        let mut consumers: Vec<Child> = (0..EACH_KIND).map(|_| fork(|| storm.consume())).collect();
        let mut producers: Vec<Child> =
            (0..EACH_KIND as u32).map(|life| fork(|| storm.produce(life))).collect();
        end_well(&mut producers);
        storm.end(&mut consumers);
        assert_eq!(storm.account(EACH_KIND as u32), (MILLION / 2, MILLION / 2, 0));
    }
}

#[test]
fn with_kills_nothing_acknowledged_is_lost_but_what_was_in_a_dead_hand() {
    let _watchdog = watchdog_of(Duration::from_secs(1200));
    const LIVES: usize = 2000;
    let mut dice = Dice::roll("a million with kills");
    let rounds = if soaking() { 30 } else { 1 };
    for capacity in [None, Some(100)].repeat(rounds) {
        let storm = Storm::new(capacity, LIVES, MILLION);
        let mut consumers: Vec<Child> = (0..EACH_KIND).map(|_| fork(|| storm.consume())).collect();
        let mut producers: Vec<Child> = Vec::new();
        let (mut born, mut killed_producers, mut killed_consumers) = (0, 0, 0);
        while storm.claimed[0].load(SeqCst) < storm.total {
            while producers.len() < EACH_KIND && (born as usize) < LIVES {
                producers.push(fork(|| storm.produce(born)));
                born += 1;
            }
            std::thread::sleep(Duration::from_micros(dice.below(1000)));
            let place = dice.below(EACH_KIND as u64) as usize;
            if dice.below(2) == 0 {
                consumers[place].kill();
                assert_eq!(consumers[place].wait(), Ended::DEAD, "a consumer found fault");
                consumers[place] = fork(|| storm.consume());
                killed_consumers += 1;
            } else if (born as usize) < LIVES {
                let mut producer = producers.swap_remove(place);
                producer.kill();
                match producer.wait() {
                    Ended::DEAD => killed_producers += 1,
                    ended => assert_eq!(ended, Ended::WELL, "a producer found fault"),
                }
            }
        }
        end_well(&mut producers);
        storm.end(&mut consumers);
        let (taken, acknowledged, lost) = storm.account(born);
        println!(
            "{killed_producers} producers and {killed_consumers} consumers killed; \
             {acknowledged} messages acknowledged, {taken} taken, {lost} gone with a consumer"
        );
        assert!(lost <= killed_consumers, "{lost} lost by {killed_consumers} kills");
        let unheard = taken + lost - acknowledged;
        assert!(unheard <= killed_producers, "{unheard} of {killed_producers} producers");
        // Each message that was begun was put, or its producer was killed at it.
        let begun = acknowledged + killed_producers;
        assert!(acknowledged <= MILLION && MILLION <= begun, "{acknowledged} of {begun}");
    }
}

/// The accounting itself would notice: a message that is taken twice fails its taker.
#[test]
fn a_message_that_comes_twice_is_noticed() {
    let _watchdog = watchdog_of(Duration::from_secs(120));
    let storm = Storm::new(None, 1, 10);
    for _ in 0..2 {
        put(&storm.queue, &message(0, 3, 24), &[]);
    }
    let mut consumer = fork(|| storm.consume());
    until("the consumer fails", || consumer.has_ended().is_some());
    assert_eq!(consumer.wait(), Ended::Exited(101));
}
