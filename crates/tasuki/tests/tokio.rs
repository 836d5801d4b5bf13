//! Queues and channels awaited on tokio: woken every time, and a future that is dropped has taken and put nothing.
#![cfg(feature = "tokio")]

mod support;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use support::{
    Child, Dice, Ended, Words, descriptor_count, end_well, fork, in_own_process, park, soaking,
    until, watchdog, watchdog_of,
};
use tasuki::queues::Shutdown;
use tasuki::{Queue, Sender, bounded, channel};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn two_threads() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

const SHORT: Duration = Duration::from_millis(15);

#[test]
fn what_is_there_comes_at_once_and_what_is_not_is_waited_for() {
    let _watchdog = watchdog();
    one_thread().block_on(async {
        let queue = Queue::bounded(1).unwrap();
        queue.put_async(1).await.unwrap();
        assert!(timeout(SHORT, queue.put_async(2)).await.is_err());
        assert_eq!(queue.get_async().await.unwrap(), 1);
        assert!(timeout(SHORT, queue.get_async()).await.is_err());
        let (got, put) = tokio::join!(queue.get_async(), queue.put_async(3));
        put.unwrap();
        assert_eq!(got.unwrap(), 3);
        let (sender, receiver) = bounded(1).unwrap();
        let (got, sent) = tokio::join!(receiver.recv_async(), async {
            for n in 0..100 {
                sender.send_async(n).await?;
                if n > 0 {
                    receiver.recv_async().await.unwrap();
                }
            }
            Ok::<_, tasuki::channel::SendError<i32>>(())
        });
        sent.unwrap();
        assert!(got.is_ok());
    });
}

/// Nothing looks now and then here: a lost wake-up is a hang.
#[test]
fn two_processes_wake_each_other_every_time() {
    let _watchdog = watchdog();
    const ROUNDS: u64 = 20_000;
    let (there, back) = (Queue::bounded(1).unwrap(), Queue::bounded(1).unwrap());
    let mut other = fork(|| {
        one_thread().block_on(async {
            for n in 0..ROUNDS {
                assert_eq!(there.get_async().await.unwrap(), n);
                if n % 64 == 0 {
                    tokio::time::sleep(Duration::from_micros(n % 900)).await;
                }
                back.put_async(n).await.unwrap();
            }
        });
    });
    one_thread().block_on(async {
        for n in 0..ROUNDS {
            there.put_async(n).await.unwrap();
            assert_eq!(back.get_async().await.unwrap(), n);
        }
    });
    assert_eq!(other.wait(), Ended::WELL);
}

#[test]
fn those_who_block_and_those_who_await_share_a_queue() {
    let _watchdog = watchdog();
    const EACH: u64 = 20_000;
    for capacity in [1, 3, 100] {
        let queue = Queue::<u64>::bounded(capacity).unwrap();
        let sums = Words::new(2);
        let mut children: Vec<Child> = (0..4)
            .map(|index| {
                let (queue, sums) = (&queue, &sums);
                fork(move || match index {
                    0 => (0..EACH).for_each(|n| queue.put(n).unwrap()),
                    1 => one_thread().block_on(async {
                        for n in 0..EACH {
                            queue.put_async(n).await.unwrap();
                        }
                    }),
                    2 => (0..EACH)
                        .map(|_| queue.get().unwrap())
                        .for_each(|n| _ = sums[0].fetch_add(n, SeqCst)),
                    _ => one_thread().block_on(async {
                        for _ in 0..EACH {
                            sums[1].fetch_add(queue.get_async().await.unwrap(), SeqCst);
                        }
                    }),
                })
            })
            .collect();
        end_well(&mut children);
        assert_eq!(sums[0].load(SeqCst) + sums[1].load(SeqCst), EACH * (EACH - 1));
    }
}

#[test]
fn a_burst_wakes_as_many_as_it_feeds() {
    let _watchdog = watchdog();
    let queue = Queue::unbounded().unwrap();
    two_threads().block_on(async {
        for round in 0..30_u64 {
            let tasks: Vec<_> = (0..20)
                .map(|_| {
                    let queue = queue.clone();
                    tokio::spawn(async move { queue.get_async().await.unwrap() })
                })
                .collect();
            if round % 2 == 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            for n in 0..20_u64 {
                queue.put_async(n).await.unwrap();
            }
            let mut sum = 0;
            for task in tasks {
                sum += task.await.unwrap();
            }
            assert_eq!(sum, 190);
        }
    });
}

#[test]
fn the_end_of_a_channel_is_told_at_once_after_drop_and_kill() {
    let _watchdog = watchdog();
    for round in 0..10 {
        let (sender, receiver) = channel::<u64>().unwrap();
        let (full, drain) = bounded::<u64>(1).unwrap();
        full.send(1).unwrap();
        // The only other copies of the ends that go; killed in every second round.
        let mut other = fork(|| {
            if round % 2 == 0 {
                std::thread::sleep(Duration::from_millis(20));
            } else {
                park()
            }
        });
        drop((sender, drain));
        let killer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(10));
            if round % 2 == 1 {
                other.kill();
            }
            other.wait();
        });
        one_thread().block_on(async {
            let (end, refused) = tokio::join!(receiver.recv_async(), full.send_async(2));
            assert!(end.unwrap_err().is_disconnected());
            let refused = refused.unwrap_err();
            assert!(refused.is_disconnected());
            assert_eq!(refused.into_inner(), 2);
            // And for good.
            assert!(receiver.recv_async().await.unwrap_err().is_disconnected());
            assert!(full.send_async(3).await.unwrap_err().is_disconnected());
        });
        killer.join().unwrap();
    }
}

#[test]
fn messages_come_before_the_end() {
    let _watchdog = watchdog();
    one_thread().block_on(async {
        for _ in 0..200 {
            let (sender, receiver) = channel().unwrap();
            let taker = tokio::spawn(async move {
                let mut taken = Vec::new();
                while let Ok(n) = receiver.recv_async().await {
                    taken.push(n);
                }
                taken
            });
            tokio::task::yield_now().await;
            (0..3).for_each(|n: i32| sender.send(n).unwrap());
            drop(sender);
            assert_eq!(taker.await.unwrap(), [0, 1, 2]);
        }
    });
}

#[test]
fn a_shutdown_ends_those_who_wait() {
    let _watchdog = watchdog();
    one_thread().block_on(async {
        let (empty, full) = (Queue::<u64>::unbounded().unwrap(), Queue::bounded(1).unwrap());
        full.put(0).unwrap();
        let (got, put, ()) = tokio::join!(empty.get_async(), full.put_async(1), async {
            tokio::time::sleep(SHORT).await;
            empty.shutdown(Shutdown::Drain).unwrap();
            full.shutdown(Shutdown::Drain).unwrap();
        });
        assert!(got.unwrap_err().is_shut_down());
        assert!(put.unwrap_err().is_shut_down());
    });
}

#[test]
fn a_connection_is_awaited_and_a_cancelled_wait_loses_nothing() {
    let _watchdog = watchdog();
    const ROUNDS: u64 = 5000;
    let (ours, theirs) = tasuki::pipe::<u64, u64>().unwrap();
    let mut other = fork(|| {
        for n in 0..ROUNDS {
            assert_eq!(theirs.recv().unwrap(), n);
            if n % 16 == 0 {
                std::thread::sleep(Duration::from_micros(n % 400));
            }
            theirs.send(n).unwrap();
        }
    });
    drop(theirs);
    one_thread().block_on(async {
        for n in 0..ROUNDS {
            ours.send(n).unwrap();
            let got = loop {
                let some = Duration::from_micros(n % 300);
                if let Ok(got) = timeout(some, ours.recv_async()).await {
                    break got;
                }
                if n % 2 == 0 {
                    break ours.recv_async().await;
                }
            };
            assert_eq!(got.unwrap(), n);
        }
        assert!(ours.recv_async().await.unwrap_err().is_disconnected());
    });
    assert_eq!(other.wait(), Ended::WELL);
}

/// Polls a future once, without any runtime.
fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn without_a_runtime_it_is_an_error_only_when_there_is_something_to_wait_for() {
    let queue = Queue::bounded(1).unwrap();
    assert!(matches!(poll_once(queue.put_async(1)), Poll::Ready(Ok(()))));
    let Poll::Ready(Err(refused)) = poll_once(queue.put_async(2)) else { panic!("it waits") };
    assert!(refused.to_string().contains("inside a tokio runtime"), "{refused}");
    assert_eq!(refused.into_inner(), 2);
    assert!(matches!(poll_once(queue.get_async()), Poll::Ready(Ok(1))));
    let Poll::Ready(Err(refused)) = poll_once(queue.get_async()) else { panic!("it waits") };
    assert!(refused.to_string().contains("inside a tokio runtime"), "{refused}");
    let (sender, receiver) = channel::<u64>().unwrap();
    assert!(matches!(poll_once(receiver.recv_async()), Poll::Ready(Err(_))));
    drop(sender);
}

#[test]
fn a_task_that_always_finds_something_lets_others_run() {
    let _watchdog = watchdog();
    let queue = Queue::unbounded().unwrap();
    one_thread().block_on(async {
        let others = Arc::new(AtomicU64::new(0));
        let seen = others.clone();
        let busy = tokio::spawn(async move {
            loop {
                queue.put_async(1_u64).await.unwrap();
                queue.get_async().await.unwrap();
                if seen.load(SeqCst) == 3 {
                    return;
                }
            }
        });
        for _ in 0..3 {
            tokio::task::yield_now().await;
            others.fetch_add(1, SeqCst);
        }
        busy.await.unwrap();
    });
}

#[test]
fn handles_fill_a_queue_without_limits_and_are_waited_for() {
    let _watchdog = watchdog();
    let queue = Queue::<Queue<u64>>::unbounded().unwrap();
    let handle = Queue::unbounded().unwrap();
    two_threads().block_on(async {
        let putter = tokio::spawn({
            let (queue, handle) = (queue.clone(), handle.clone());
            async move {
                for _ in 0..700 {
                    queue.put_async(handle.clone()).await.unwrap();
                }
            }
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(queue.len() < 700, "there is a limit after all");
        for n in 0..700 {
            queue.get_async().await.unwrap().put(n).unwrap();
            assert_eq!(handle.get().unwrap(), n);
        }
        putter.await.unwrap();
    });
}

#[test]
fn futures_leave_no_descriptor() {
    let _watchdog = watchdog();
    in_own_process(|| {
        let queue = Queue::<u64>::bounded(1).unwrap();
        let (sender, receiver) = bounded::<u64>(1).unwrap();
        one_thread().block_on(async {
            let round = async |n: u64| {
                assert!(timeout(Duration::from_micros(n), queue.get_async()).await.is_err());
                assert!(timeout(Duration::from_micros(n), receiver.recv_async()).await.is_err());
                sender.send(n).unwrap();
                assert!(timeout(Duration::from_micros(n), sender.send_async(n)).await.is_err());
                receiver.recv_async().await.unwrap();
            };
            round(100).await;
            let before = descriptor_count();
            for n in 0..300 {
                round(n).await;
            }
            assert_eq!(descriptor_count(), before);
        });
    });
}

#[test]
fn futures_can_be_sent_to_other_threads() {
    fn sendable<T: Send>(_: &T) {}
    let (sender, receiver) = bounded::<u64>(1).unwrap();
    let queue = Queue::<u64>::bounded(1).unwrap();
    sendable(&sender.send_async(1));
    sendable(&receiver.recv_async());
    sendable(&queue.put_async(1));
    sendable(&queue.get_async());
}

/// Producers and consumers whose every wait may be called off, by a timeout, by `select!` or by being dropped, in two
/// processes and many tasks: each message that was put comes to exactly one.
#[test]
fn cancelled_waits_lose_nothing() {
    let each: u64 = if soaking() { 200_000 } else { 10_000 };
    let _watchdog = watchdog_of(Duration::from_secs(600));
    const PRODUCERS: u64 = 3;
    let mut dice = Dice::roll("tokio, cancelled waits");
    let queue = Queue::<u64>::bounded(4).unwrap();
    let (sender, receiver) = bounded::<u64>(2).unwrap();
    let total = 2 * PRODUCERS * each;
    let taken = Words::new(total as usize);
    let count = Words::new(1);

    let mut producer = fork(|| {
        let mut seeds = Dice(dice.0 ^ 1);
        one_thread().block_on(async {
            let tasks: Vec<_> = (0..PRODUCERS)
                .map(|id| {
                    let (queue, sender, dice) = (queue.clone(), sender.clone(), Dice(seeds.next()));
                    let start = 2 * id * each;
                    tokio::spawn(produce(queue, sender, start..start + 2 * each, dice))
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
    });
    let mut consumers: Vec<Child> = (0..2)
        .map(|_| {
            let mut seeds = Dice(dice.next());
            let (queue, receiver, taken, count) = (&queue, &receiver, &taken, &count);
            fork(move || {
                two_threads().block_on(async {
                    let take = |n: u64| {
                        assert_eq!(taken[n as usize].fetch_add(1, SeqCst), 0, "{n} twice");
                        count[0].fetch_add(1, SeqCst);
                    };
                    let consume = async |mut dice: Dice| {
                        while count[0].load(SeqCst) < total {
                            let some = Duration::from_micros(dice.below(300));
                            let got = match dice.below(4) {
                                0 => {
                                    timeout(some, queue.get_async()).await.ok().map(Result::unwrap)
                                }
                                1 => timeout(some, receiver.recv_async())
                                    .await
                                    .ok()
                                    .map(Result::unwrap),
                                2 => tokio::select! {
                                    got = queue.get_async() => Some(got.unwrap()),
                                    got = receiver.recv_async() => Some(got.unwrap()),
                                    () = tokio::time::sleep(some) => None,
                                },
                                _ => {
                                    // Polled once or twice, and dropped unless it has an answer by then.
                                    let mut future = pin!(queue.get_async());
                                    let polled = std::future::poll_fn(|context| {
                                        Poll::Ready(match future.as_mut().poll(context) {
                                            Poll::Ready(got) => Some(got.unwrap()),
                                            Poll::Pending => None,
                                        })
                                    });
                                    let polled = polled.await;
                                    tokio::task::yield_now().await;
                                    polled
                                }
                            };
                            got.into_iter().for_each(take);
                        }
                    };
                    tokio::join!(
                        consume(Dice(seeds.next())),
                        consume(Dice(seeds.next())),
                        consume(Dice(seeds.next()))
                    );
                });
            })
        })
        .collect();
    assert_eq!(producer.wait(), Ended::WELL);
    until("everything is taken", || count[0].load(SeqCst) == total);
    end_well(&mut consumers);
    assert!(taken.iter().all(|taken| taken.load(SeqCst) == 1));
    assert!(queue.is_empty() && receiver.is_empty());
}

/// Puts each number once, in attempts that may be called off and are then made again.
async fn produce(
    queue: Queue<u64>,
    sender: Sender<u64>,
    numbers: std::ops::Range<u64>,
    mut dice: Dice,
) {
    for number in numbers {
        loop {
            let some = Duration::from_micros(dice.below(300));
            let put = match dice.below(3) {
                0 => timeout(some, queue.put_async(number)).await.is_ok(),
                1 => timeout(some, sender.send_async(number)).await.is_ok(),
                _ => tokio::select! {
                    put = queue.put_async(number) => put.is_ok(),
                    () = tokio::time::sleep(some) => false,
                },
            };
            if put {
                break;
            }
        }
    }
}
