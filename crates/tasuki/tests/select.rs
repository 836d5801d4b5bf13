//! What select promises: it says what is ready, takes nothing that it does not hand out, is fair, and wakes.

mod support;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use support::{NEVER, watchdog};
use tasuki::queues::Shutdown;
use tasuki::{Process, Queue, Receiver, Select, Sender, bounded, channel, pipe, select};

tasuki::enable_tests!();

const SHORT: Duration = Duration::from_millis(15);

fn queues<const N: usize>() -> [Queue<u64>; N] {
    [(); N].map(|()| Queue::unbounded().unwrap())
}

#[test]
fn it_names_the_source_that_is_ready() {
    let [first, second, third] = queues();
    let mut select = Select::new();
    let indices = [&first, &second, &third].map(|queue| select.get(queue));
    assert_eq!(indices, [0, 1, 2]);
    assert_eq!(select.try_ready().unwrap(), None);
    assert_eq!(select.ready_timeout(SHORT).unwrap(), None);
    for (queue, index) in [(&third, 2), (&first, 0), (&second, 1)] {
        queue.put(7).unwrap();
        assert_eq!(select.ready().unwrap(), index);
        assert_eq!(select.try_ready().unwrap(), Some(index), "nothing was taken");
        assert_eq!(queue.try_get().unwrap(), 7);
    }
    assert_eq!(select.try_ready().unwrap(), None);
    first.put(1).unwrap();
    select.remove(0);
    assert_eq!(select.ready_timeout(SHORT).unwrap(), None);
    third.put(1).unwrap();
    assert_eq!(select.ready().unwrap(), 2);
}

#[test]
fn nothing_to_wait_for_is_an_error_or_a_timeout() {
    let error = Select::new().ready().unwrap_err().to_string();
    assert!(error.contains("would wait for ever"), "{error}");
    assert_eq!(Select::new().ready_timeout(SHORT).unwrap(), None);
    let [queue] = queues();
    let mut select = Select::new();
    select.get(&queue);
    select.remove(0);
    select.remove(1);
    assert!(select.ready().is_err());
    assert!(tasuki::select::<()>().wait().is_err());
    assert_eq!(tasuki::select::<()>().wait_timeout(SHORT).unwrap(), None);
}

#[test]
fn room_is_something_to_wait_for() {
    let queue = Queue::bounded(1).unwrap();
    let (sender, receiver) = bounded(1).unwrap();
    let mut both = Select::new();
    let (put, send) = (both.put(&queue), both.send(&sender));
    assert!(both.try_ready().unwrap().is_some());
    queue.put(1).unwrap();
    assert_eq!(both.ready().unwrap(), send);
    sender.send(1).unwrap();
    assert_eq!(both.ready_timeout(SHORT).unwrap(), None);
    assert_eq!(queue.get().unwrap(), 1);
    assert_eq!(both.ready().unwrap(), put);
    queue.put(1).unwrap();
    assert_eq!(receiver.recv().unwrap(), 1);
    assert_eq!(both.ready().unwrap(), send);
    let unbounded = Queue::<u64>::unbounded().unwrap();
    assert!(select().put(&unbounded, 5, |put| put.is_ok()).wait().unwrap());
    assert_eq!(unbounded.get().unwrap(), 5);
}

#[test]
fn a_value_that_is_not_sent_is_not_sent() {
    let (sender, receiver) = bounded(1).unwrap();
    sender.send("first".to_owned()).unwrap();
    let late = select().send(&sender, "second".to_owned(), |sent| sent.is_ok());
    assert_eq!(late.wait_timeout(SHORT).unwrap(), None);
    assert_eq!(receiver.recv().unwrap(), "first");
    assert!(receiver.try_recv().unwrap_err().is_empty());
    assert!(select().send(&sender, "third".to_owned(), |sent| sent.is_ok()).wait().unwrap());
    assert_eq!(receiver.recv().unwrap(), "third");
    drop(receiver);
    let back = select().send(&sender, "fourth".to_owned(), |sent| sent.unwrap_err().into_inner());
    assert_eq!(back.wait().unwrap(), "fourth");
}

#[test]
fn a_limit_of_bytes_is_kept_without_burning_a_processor() {
    let _watchdog = watchdog();
    let queue = Queue::<Vec<u8>>::builder().byte_limit(1000).create().unwrap();
    queue.put(vec![1; 600]).unwrap();
    let mut ready = Select::new();
    ready.put(&queue);
    assert_eq!(ready.try_ready().unwrap(), Some(0), "a small message would fit");
    assert!(queue.try_put(vec![2; 600]).unwrap_err().is_full());
    assert_eq!(ready.try_ready().unwrap(), None, "a put was refused, and nothing taken since");
    thread::scope(|scope| {
        let put = scope.spawn(|| {
            select().put(&queue, vec![2; 600], |put| put.is_ok()).wait_timeout(NEVER).unwrap()
        });
        thread::sleep(SHORT);
        assert_eq!(queue.get().unwrap(), vec![1; 600]);
        assert_eq!(put.join().unwrap(), Some(true));
    });
    assert_eq!(queue.get().unwrap(), vec![2; 600]);
}

#[test]
fn the_end_of_a_channel_and_a_shutdown_are_ready() {
    let (sender, receiver) = channel::<u64>().unwrap();
    drop(sender);
    assert!(select().recv(&receiver, |got| got.unwrap_err().is_disconnected()).wait().unwrap());
    let (sender, receiver) = bounded::<u64>(1).unwrap();
    sender.send(1).unwrap();
    drop(receiver);
    assert!(select().send(&sender, 2, |sent| sent.unwrap_err().is_disconnected()).wait().unwrap());
    let [queue] = queues();
    queue.shutdown(Shutdown::Drain).unwrap();
    assert!(select().get(&queue, |got| got.unwrap_err().is_shut_down()).wait().unwrap());
    assert!(select().put(&queue, 1, |put| put.unwrap_err().is_shut_down()).wait().unwrap());
}

#[test]
fn every_source_has_its_turn() {
    let _watchdog = watchdog();
    let [first, second] = queues();
    let (sender, receiver) = channel().unwrap();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    ours.write_all(b"x").unwrap();
    for n in 0..1000 {
        first.put(n).unwrap();
        second.put(n).unwrap();
        sender.send(n).unwrap();
    }
    // One set that is asked again and again, and one for each question.
    let mut turns = [0; 4];
    let mut set = Select::new();
    set.get(&first);
    set.recv(&receiver);
    set.readable(&theirs);
    set.get(&second);
    for _ in 0..400 {
        turns[set.ready().unwrap()] += 1;
    }
    assert_eq!(turns, [100; 4]);
    let mut turns = [0; 4];
    for _ in 0..400 {
        let turn = select()
            .get(&first, |_| 0)
            .get(&second, |_| 1)
            .recv(&receiver, |_| 2)
            .readable(&theirs, || 3)
            .wait();
        turns[turn.unwrap()] += 1;
    }
    assert!(turns.iter().all(|&turns| turns >= 50), "{turns:?}");
}

#[tasuki::task]
fn leave_when_told(told: Receiver<()>) {
    let _ = told.recv();
}

#[test]
fn processes_and_descriptors_wake_it() {
    let _watchdog = watchdog();
    let [queue] = queues();
    let (tell, told) = channel().unwrap();
    let process = Process::spawn(leave_when_told, (told,)).unwrap();
    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    let wait = || {
        select()
            .get(&queue, |_| "queue")
            .ended(process.as_child(), || "process")
            .readable(&theirs, || "stream")
    };
    assert_eq!(wait().wait_timeout(SHORT).unwrap(), None);
    thread::scope(|scope| {
        let woken = scope.spawn(|| wait().wait().unwrap());
        thread::sleep(SHORT);
        ours.write_all(b"!").unwrap();
        assert_eq!(woken.join().unwrap(), "stream");
    });
    theirs.read_exact(&mut [0]).unwrap();
    let wait = || {
        select()
            .get(&queue, |_| "queue")
            .ended(process.as_child(), || "process")
            .readable(&theirs, || "stream")
    };
    thread::scope(|scope| {
        let woken = scope.spawn(|| wait().wait().unwrap());
        thread::sleep(SHORT);
        tell.send(()).unwrap();
        assert_eq!(woken.join().unwrap(), "process");
    });
    assert_eq!(wait().try_now().unwrap(), Some("process"));
    assert_eq!(select().writable(&ours, || 1).wait().unwrap(), 1);
    drop(ours);
    let mut end = Select::new();
    end.readable(&theirs);
    assert_eq!(end.ready().unwrap(), 0);
    process.join().unwrap();
}

#[test]
fn connections_wake_it_with_messages_and_with_their_end() {
    let _watchdog = watchdog();
    let [idle] = queues();
    let (ours, theirs) = pipe::<u64, u64>().unwrap();
    let wait = || select().get(&idle, |_| None).connection(&ours, Result::ok);
    assert_eq!(wait().wait_timeout(SHORT).unwrap(), None);
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..2000 {
                assert_eq!(theirs.recv().unwrap(), n);
                if n % 5 == 0 {
                    thread::sleep(Duration::from_micros(n % 300)); // the other one falls asleep
                }
                theirs.send(n).unwrap();
            }
        });
        for n in 0..2000 {
            ours.send(n).unwrap();
            assert_eq!(wait().wait().unwrap(), Some(n));
        }
    });
    thread::scope(|scope| {
        let end = scope.spawn(|| {
            select()
                .get(&idle, |_| false)
                .connection(&ours, |got| got.unwrap_err().is_disconnected())
                .wait()
        });
        thread::sleep(SHORT);
        drop(theirs);
        assert!(end.join().unwrap().unwrap());
    });
}

/// Half a second each, which is when a sleeper looks by itself, would be 1000 s.
#[test]
fn two_who_select_wake_each_other() {
    let _watchdog = watchdog();
    const ROUNDS: u64 = 2000;
    let (there, arrived) = channel().unwrap();
    let [back, idle] = queues();
    let never = Queue::<u64>::bounded(1).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..ROUNDS {
                let got = select().get(&idle, |_| 0).recv(&arrived, Result::unwrap).wait().unwrap();
                assert_eq!(got, n);
                if n % 4 == 0 {
                    thread::sleep(Duration::from_micros(n % 300)); // the other one falls asleep
                }
                back.put(n).unwrap();
            }
        });
        for n in 0..ROUNDS {
            if n % 3 == 0 {
                thread::sleep(Duration::from_micros(n % 200));
            }
            there.send(n).unwrap();
            let got = select().get(&back, Result::unwrap).get(&never, |_| 0).wait().unwrap();
            assert_eq!(got, n);
        }
    });
}

#[test]
fn who_waits_for_room_is_woken() {
    let _watchdog = watchdog();
    const ROUNDS: u64 = 2000;
    let (sender, receiver) = bounded(1).unwrap();
    let (other, unread): (Sender<u64>, Receiver<u64>) = bounded(1).unwrap();
    other.send(0).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..ROUNDS {
                let sent =
                    select().send(&other, 0, |_| 0).send(&sender, n, |sent| sent.map_or(0, |()| 1));
                assert_eq!(sent.wait().unwrap(), 1);
            }
        });
        for n in 0..ROUNDS {
            if n % 3 == 0 {
                thread::sleep(Duration::from_micros(n % 200));
            }
            assert_eq!(receiver.recv().unwrap(), n);
        }
    });
    assert_eq!(unread.len(), 1);
}

#[test]
fn the_last_drop_wakes_a_select() {
    let _watchdog = watchdog();
    let [idle] = queues();
    for round in 0..1000_u64 {
        let (sender, receiver) = channel::<u64>().unwrap();
        thread::scope(|scope| {
            let woken = scope.spawn(|| {
                select().get(&idle, |_| false).recv(&receiver, |got| got.is_err()).wait().unwrap()
            });
            thread::sleep(Duration::from_micros(round % 150));
            drop(sender);
            assert!(woken.join().unwrap());
        });
    }
}
