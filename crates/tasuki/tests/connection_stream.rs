//! Connections over sockets: order, bounds, both ends of every kind of address, and deadlines in every state.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use tasuki::protocol::frame::{FrameError, header};
use tasuki::raw::connection::{
    Address, ClientOptions, ConnectFailure, ListenerOptions, RawListener, RawStream, StreamError,
    StreamLimits, connect,
};
use tasuki::raw::{GaveUp, Wait};

mod support;
use support::{in_own_process, until, watchdog};

const SOON: Duration = Duration::from_millis(30);

fn pair(limits: StreamLimits) -> (RawStream, RawStream) {
    let (a, b) = UnixStream::pair().unwrap();
    (RawStream::new(a.into(), limits), RawStream::new(b.into(), limits))
}

/// A stream and the bare other end of it.
fn end(limits: StreamLimits) -> (RawStream, UnixStream) {
    let (a, b) = UnixStream::pair().unwrap();
    (RawStream::new(a.into(), limits), b)
}

fn recv(stream: &RawStream, wait: &mut Wait<'_>) -> Result<Vec<u8>, StreamError> {
    let mut buffer = Vec::new();
    stream.recv(&mut buffer, None, wait).map(|()| buffer)
}

fn gave_up(result: Result<Vec<u8>, StreamError>) -> bool {
    matches!(result, Err(StreamError::GaveUp(GaveUp::TimedOut)))
}

/// A name for a socket file, which is gone when this is dropped.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let name = format!("tasuki-test-{}-{name}", std::process::id());
        Place(std::env::temp_dir().join(name))
    }

    fn address(&self) -> Address {
        Address::Path(self.0.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn listener(address: &Address, key: Option<&str>) -> RawListener {
    let authkey = key.map(Into::into);
    RawListener::bind(address, ListenerOptions { authkey, ..Default::default() }).unwrap()
}

fn client(address: &Address, key: Option<&str>) -> Result<RawStream, ConnectFailure> {
    let authkey = key.map(Into::into);
    let options = ClientOptions { authkey, ..Default::default() };
    connect(address, &options, &mut Wait::forever())
}

#[test]
fn messages_of_every_size_arrive_in_order() {
    let _watchdog = watchdog();
    let sizes = [0, 1, 4, 5, 4095, 4096, 65_536, 65_537, 1 << 20, 0, (3 << 20) + 1, 2];
    let (a, b) = pair(StreamLimits::default());
    thread::scope(|scope| {
        scope.spawn(|| {
            for (i, &size) in sizes.iter().enumerate() {
                let body = vec![i as u8; size];
                let (head, tail) = body.split_at(size / 3);
                a.send(&[head, &[], tail], &mut Wait::forever()).unwrap();
            }
        });
        let mut buffer = Vec::new();
        for (i, &size) in sizes.iter().enumerate() {
            b.recv(&mut buffer, None, &mut Wait::forever()).unwrap();
            assert!(buffer.len() == size && buffer.iter().all(|&byte| byte == i as u8), "{i}");
        }
    });
}

#[test]
fn both_ends_of_a_pipe_work_too() {
    let _watchdog = watchdog();
    let (read, write) = std::io::pipe().unwrap();
    let read = RawStream::new(OwnedFd::from(read), StreamLimits::default());
    let write = RawStream::new(OwnedFd::from(write), StreamLimits::default());
    assert!(gave_up(recv(&read, &mut Wait::timeout(SOON))));
    thread::scope(|scope| {
        scope.spawn(|| {
            for size in [0, 10, 4092, 4093, 300_000] {
                write.send(&[&vec![7; size]], &mut Wait::forever()).unwrap();
            }
        });
        for size in [0, 10, 4092, 4093, 300_000] {
            assert_eq!(recv(&read, &mut Wait::forever()).unwrap(), vec![7; size]);
        }
    });
    assert!(matches!(
        write.send(&[&[1; 1 << 20]], &mut Wait::timeout(SOON)),
        Err(StreamError::Unfinished(_))
    ));
    drop(write);
    let torn = recv(&read, &mut Wait::forever());
    assert!(matches!(torn, Err(StreamError::Torn)), "{torn:?}");
}

#[test]
fn threads_that_share_an_end_do_not_mix_messages() {
    let _watchdog = watchdog();
    let (a, b) = pair(StreamLimits::default());
    let (senders, each) = (4, 50);
    thread::scope(|scope| {
        for sender in 0..senders {
            let a = &a;
            scope.spawn(move || {
                for i in 0..each {
                    a.send(&[&vec![sender; 1 + i * 1999]], &mut Wait::forever()).unwrap();
                }
            });
        }
        let receivers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut got = Vec::new();
                    for _ in 0..usize::from(senders) * each / 2 {
                        let message = recv(&b, &mut Wait::forever()).unwrap();
                        assert!(message.iter().all(|&byte| byte == message[0]));
                        got.push((message[0], message.len()));
                    }
                    got
                })
            })
            .collect();
        let mut got: Vec<_> =
            receivers.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        got.sort_unstable();
        let all = (0..senders).flat_map(|sender| (0..each).map(move |i| (sender, 1 + i * 1999)));
        assert_eq!(got, all.collect::<Vec<_>>());
    });
}

#[test]
fn nothing_is_read_beyond_the_message() {
    let (stream, mut bare) = end(StreamLimits::default());
    bare.write_all(&[header(3).as_bytes(), b"one", b"the rest"].concat()).unwrap();
    assert_eq!(recv(&stream, &mut Wait::now()).unwrap(), b"one");
    let mut rest = [0; 8];
    UnixStream::from(stream.into_descriptor()).read_exact(&mut rest).unwrap();
    assert_eq!(&rest, b"the rest");
}

#[test]
fn a_receiver_that_gave_up_goes_on_where_it_was() {
    let (stream, mut bare) = end(StreamLimits::default());
    assert!(gave_up(recv(&stream, &mut Wait::now())));
    for byte in [header(5).as_bytes(), b"whole"].concat() {
        assert!(gave_up(recv(&stream, &mut Wait::now())));
        bare.write_all(&[byte]).unwrap();
    }
    assert_eq!(recv(&stream, &mut Wait::now()).unwrap(), b"whole");
}

#[test]
fn a_caller_can_call_it_off() {
    let (stream, _bare) = end(StreamLimits::default());
    let mut asked = 0;
    let mut check = || {
        asked += 1;
        true
    };
    let ended = recv(&stream, &mut Wait::forever().interruptible(&mut check));
    assert!(matches!(ended, Err(StreamError::GaveUp(GaveUp::Interrupted))));
    assert_eq!(asked, 1);
}

#[test]
fn the_end_between_messages_and_the_end_inside_one_are_told_apart() {
    let (stream, mut bare) = end(StreamLimits::default());
    bare.write_all(&[header(1).as_bytes(), b"x"].concat()).unwrap();
    drop(bare);
    assert!(stream.poll(&mut Wait::forever()).unwrap());
    assert_eq!(recv(&stream, &mut Wait::now()).unwrap(), b"x");
    assert!(stream.poll(&mut Wait::forever()).unwrap(), "the end can be received");
    for _ in 0..2 {
        let ended = recv(&stream, &mut Wait::now()).unwrap_err();
        assert!(matches!(ended, StreamError::Closed) && ended.is_disconnected());
    }
    for cut in [1, 3, 4, 6] {
        let (stream, mut bare) = end(StreamLimits::default());
        bare.write_all(&[header(3).as_bytes(), b"abc"].concat()[..cut]).unwrap();
        drop(bare);
        let ended = recv(&stream, &mut Wait::forever()).unwrap_err();
        assert!(matches!(ended, StreamError::Torn) && ended.is_disconnected(), "{cut}");
    }
}

#[test]
fn a_sender_learns_that_nobody_is_there() {
    let _watchdog = watchdog();
    let (stream, bare) = end(StreamLimits::default());
    drop(bare);
    let ended = stream.send(&[b"x"], &mut Wait::forever()).unwrap_err();
    assert!(ended.is_disconnected(), "{ended}");
    // Also while it waits for room.
    let (stream, bare) = end(StreamLimits::default());
    thread::scope(|scope| {
        let sender = scope.spawn(|| stream.send(&[&[1; 10 << 20]], &mut Wait::forever()));
        thread::sleep(SOON);
        drop(bare);
        assert!(sender.join().unwrap().unwrap_err().is_disconnected());
    });
}

#[test]
fn a_forged_length_costs_an_error_and_no_memory() {
    let limits = StreamLimits { max_message: Some(1000), ..Default::default() };
    let (stream, mut bare) = end(limits);
    bare.write_all(header(1001).as_bytes()).unwrap();
    for _ in 0..2 {
        let ended = recv(&stream, &mut Wait::now());
        let Err(StreamError::Frame(FrameError::TooLong { length: 1001, limit: 1000 })) = ended
        else {
            panic!("{ended:?}");
        };
    }
    // The other direction is none of that.
    stream.send(&[&[1; 2000]], &mut Wait::now()).unwrap();
    in_own_process(|| {
        let (stream, mut bare) = end(StreamLimits::default());
        bare.write_all(&[header(1 << 45).as_bytes(), &[0; 1000]].concat()).unwrap();
        let before = support::resident();
        assert!(gave_up(recv(&stream, &mut Wait::timeout(SOON))));
        assert!(support::resident() - before < 8 << 20);
    });
}

#[test]
fn one_call_can_accept_less_than_the_connection() {
    let (stream, mut bare) = end(StreamLimits::default());
    bare.write_all(&[header(5).as_bytes(), b"hello"].concat()).unwrap();
    let mut buffer = Vec::new();
    for _ in 0..2 {
        let ended = stream.recv(&mut buffer, Some(4), &mut Wait::now());
        let Err(StreamError::Frame(FrameError::TooLong { length: 5, limit: 4 })) = ended else {
            panic!("{ended:?}");
        };
    }
    stream.recv(&mut buffer, Some(5), &mut Wait::now()).unwrap();
    assert_eq!(buffer, b"hello");
}

#[test]
fn a_peer_that_stops_midway_is_given_up() {
    let _watchdog = watchdog();
    let limits = StreamLimits { message_timeout: Some(SOON), ..Default::default() };
    let (stream, mut bare) = end(limits);
    // Before a message there is no hurry.
    assert!(gave_up(recv(&stream, &mut Wait::timeout(SOON * 3))));
    bare.write_all(&header(3).as_bytes()[..2]).unwrap();
    for _ in 0..2 {
        assert!(matches!(recv(&stream, &mut Wait::forever()), Err(StreamError::Stalled(SOON))));
    }
    let (stream, _bare) = end(limits);
    for _ in 0..2 {
        let ended = stream.send(&[&[1; 10 << 20]], &mut Wait::forever());
        assert!(matches!(ended, Err(StreamError::Stalled(SOON))), "{ended:?}");
    }
}

#[test]
fn what_came_while_the_caller_did_something_else_is_in_time() {
    let _watchdog = watchdog();
    let limits = StreamLimits { message_timeout: Some(SOON), ..Default::default() };
    let whole = [header(5).as_bytes(), b"whole"].concat();
    let (begun, rest) = whole.split_at(6);
    let mut buffer = Vec::new();
    for later in [false, true] {
        // The time of the message is over before it is asked for again.
        let (stream, mut bare) = end(limits);
        bare.write_all(begun).unwrap();
        assert!(gave_up(recv(&stream, &mut Wait::timeout(SOON / 3))));
        bare.write_all(rest).unwrap();
        thread::sleep(SOON * 2);
        let received = match later {
            true => stream.recv_later(&mut buffer, None, &mut Wait::forever()),
            false => stream.recv(&mut buffer, None, &mut Wait::forever()),
        };
        received.unwrap();
        assert_eq!(buffer, b"whole");
        // It is over while the check runs, in which the rest comes.
        bare.write_all(begun).unwrap();
        let mut check = || {
            thread::sleep(SOON * 2);
            bare.write_all(rest).unwrap();
            false
        };
        let wait = &mut Wait::forever().interruptible(&mut check);
        assert_eq!(recv(&stream, wait).unwrap(), b"whole");
    }
    // So is the caller's own.
    let (stream, mut bare) = end(StreamLimits::default());
    let mut check = || {
        thread::sleep(SOON * 2);
        bare.write_all(&whole).unwrap();
        false
    };
    assert_eq!(
        recv(&stream, &mut Wait::timeout(SOON).interruptible(&mut check)).unwrap(),
        b"whole"
    );
}

#[test]
fn a_check_uses_the_end_that_waits_for_the_first_byte() {
    let _watchdog = watchdog();
    let (stream, other) = pair(StreamLimits::default());
    let mut seen = Vec::new();
    let mut check = || {
        if seen.is_empty() {
            other.send(&[b"first"], &mut Wait::forever()).unwrap();
            other.send(&[b"second"], &mut Wait::forever()).unwrap();
            seen.push(recv(&stream, &mut Wait::forever()).unwrap());
        }
        false
    };
    let second = recv(&stream, &mut Wait::forever().interruptible(&mut check)).unwrap();
    assert_eq!((seen, second), (vec![b"first".to_vec()], b"second".to_vec()));
}

#[test]
fn a_check_in_the_middle_of_a_message_is_refused() {
    let _watchdog = watchdog();
    let (stream, mut bare) = end(StreamLimits::default());
    bare.write_all(header(2).as_bytes()).unwrap();
    let mut refused = 0;
    let mut check = || {
        let inner = recv(&stream, &mut Wait::forever());
        assert!(matches!(inner, Err(StreamError::Reentrant)), "{inner:?}");
        assert!(!stream.is_between_messages());
        if refused == 0 {
            bare.write_all(b"hm").unwrap();
        }
        refused += 1;
        false
    };
    assert_eq!(recv(&stream, &mut Wait::forever().interruptible(&mut check)).unwrap(), b"hm");
    assert!(refused > 0);
    let (stream, _bare) = end(StreamLimits::default());
    let mut check = || {
        let inner = stream.send(&[b"inner"], &mut Wait::forever());
        assert!(matches!(inner, Err(StreamError::Reentrant)), "{inner:?}");
        true
    };
    let large = vec![1; 10 << 20];
    let sent = stream.send(&[&large], &mut Wait::forever().interruptible(&mut check));
    assert!(matches!(sent, Err(StreamError::Unfinished(GaveUp::Interrupted))), "{sent:?}");
}

#[test]
fn a_check_sends_where_a_message_waits_for_room() {
    let _watchdog = watchdog();
    let (stream, mut bare) = end(StreamLimits::default());
    bare.set_nonblocking(true).unwrap();
    // Small ones go as a whole or not at all.
    while stream.send(&[b"x"], &mut Wait::now()).is_ok() {}
    let mut asked = 0;
    let mut check = || {
        asked += 1;
        if asked == 1 {
            assert!(bare.read_to_end(&mut Vec::new()).is_err(), "all that was there");
            stream.send(&[b"y"], &mut Wait::forever()).unwrap();
        }
        false
    };
    stream.send(&[b"z"], &mut Wait::forever().interruptible(&mut check)).unwrap();
    let mut rest = Vec::new();
    assert!(bare.read_to_end(&mut rest).is_err());
    assert_eq!(rest, [header(1).as_bytes(), b"y", header(1).as_bytes(), b"z"].concat());
}

#[test]
fn a_sender_that_gave_up_midway_says_so_from_then_on() {
    let (stream, mut bare) = end(StreamLimits::default());
    for _ in 0..2 {
        let ended = stream.send(&[&[1; 10 << 20]], &mut Wait::timeout(SOON));
        assert!(matches!(ended, Err(StreamError::Unfinished(_))), "{ended:?}");
    }
    // The peer is told at once, not when this end is closed.
    let mut came = Vec::new();
    bare.read_to_end(&mut came).unwrap();
    assert!(came.len() < 10 << 20);
    // And can still be heard.
    bare.write_all(&[header(2).as_bytes(), b"hm"].concat()).unwrap();
    assert_eq!(recv(&stream, &mut Wait::now()).unwrap(), b"hm");
}

#[test]
fn a_sender_that_never_began_left_nothing_behind() {
    let (a, b) = pair(StreamLimits::default());
    let mut sent = 0u32;
    while a.send(&[&sent.to_be_bytes()], &mut Wait::now()).is_ok() {
        sent += 1;
    }
    for i in 0..sent {
        assert_eq!(recv(&b, &mut Wait::now()).unwrap(), i.to_be_bytes());
    }
    a.send(&[b"again"], &mut Wait::now()).unwrap();
    assert_eq!(recv(&b, &mut Wait::now()).unwrap(), b"again");
}

#[test]
fn every_kind_of_address_with_and_without_a_key() {
    let _watchdog = watchdog();
    let place = Place::new("every");
    let addresses = [
        place.address(),
        Address::Abstract(format!("tasuki-test-{}", std::process::id()).into_bytes()),
        Address::Unnamed,
        Address::Inet(([127, 0, 0, 1], 0).into()),
        Address::Host("localhost".into(), 0),
    ];
    for address in &addresses {
        for key in [None, Some(""), Some("secret")] {
            let listener = listener(address, key);
            thread::scope(|scope| {
                scope.spawn(|| {
                    let stream = client(listener.address(), key).unwrap();
                    stream.send(&[b"hello"], &mut Wait::forever()).unwrap();
                    assert_eq!(recv(&stream, &mut Wait::forever()).unwrap(), b"and back");
                });
                let (stream, _peer) = listener.accept(&mut Wait::forever()).unwrap();
                assert_eq!(recv(&stream, &mut Wait::forever()).unwrap(), b"hello");
                stream.send(&[b"and back"], &mut Wait::forever()).unwrap();
            });
        }
    }
}

#[test]
fn a_listener_removes_its_own_file_only() {
    let place = Place::new("own");
    drop(listener(&place.address(), None));
    assert!(!place.0.exists());
    let first = listener(&place.address(), None);
    std::fs::remove_file(&place.0).unwrap();
    let second = listener(&place.address(), None);
    drop(first);
    assert!(place.0.exists(), "it is the second one's");
    let mut second = Some(second);
    in_own_process(|| drop(second.take()));
    assert!(place.0.exists(), "its maker still listens");
}

#[test]
fn connecting_to_nobody_is_an_error() {
    let place = Place::new("nobody");
    let failed = client(&place.address(), None).unwrap_err();
    let ConnectFailure::Stream(StreamError::Os { source, .. }) = &failed else {
        panic!("{failed}")
    };
    assert_eq!(source.kind(), std::io::ErrorKind::NotFound);
    let free = listener(&Address::Inet(([127, 0, 0, 1], 0).into()), None);
    let address = free.address().clone();
    drop(free);
    let failed = client(&address, None).unwrap_err();
    let ConnectFailure::Stream(StreamError::Os { source, .. }) = &failed else {
        panic!("{failed}")
    };
    assert_eq!(source.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[test]
fn a_client_gives_up_on_a_listener_without_room() {
    let _watchdog = watchdog();
    let listener =
        RawListener::bind(&Address::Unnamed, ListenerOptions { backlog: 0, ..Default::default() })
            .unwrap();
    let options = ClientOptions::default();
    let mut waiting = Vec::new();
    let failed = loop {
        match connect(listener.address(), &options, &mut Wait::timeout(SOON)) {
            Ok(stream) => waiting.push(stream),
            Err(failed) => break failed,
        }
    };
    assert!(matches!(failed, ConnectFailure::Stream(StreamError::GaveUp(GaveUp::TimedOut))));
    // And gets through once there is room.
    thread::scope(|scope| {
        let late = scope.spawn(|| client(listener.address(), None).unwrap());
        until("the late one connects", || {
            let _ = listener.accept(&mut Wait::now());
            late.is_finished()
        });
    });
}

#[test]
fn a_message_in_another_threads_hands_at_a_fork_is_an_error_in_the_child() {
    let _watchdog = watchdog();
    let (stream, mut bare) = end(StreamLimits::default());
    bare.write_all(&header(2).as_bytes()[..3]).unwrap();
    let stream = &stream;
    thread::scope(|scope| {
        let (tell, told) = std::sync::mpsc::channel();
        let receiver = scope.spawn(move || {
            // SAFETY: asks for a number.
            #[allow(unsafe_code)]
            tell.send(unsafe { libc::gettid() } as u32).unwrap();
            recv(stream, &mut Wait::forever()).unwrap()
        });
        support::wait_until_asleep(told.recv().unwrap());
        in_own_process(|| {
            let lost = recv(stream, &mut Wait::forever());
            assert!(matches!(lost, Err(StreamError::LostByFork)), "{lost:?}");
        });
        bare.write_all(&[&header(2).as_bytes()[3..], b"ok"].concat()).unwrap();
        assert_eq!(receiver.join().unwrap(), b"ok");
    });
}
