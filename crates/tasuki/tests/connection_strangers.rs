//! A listener among strangers: whoever is silent, sends garbage or stops midway costs itself, and nobody else.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use tasuki::protocol::frame::header;
use tasuki::protocol::handshake::{Handshake, Side};
use tasuki::raw::connection::{
    Address, ClientOptions, ConnectFailure, ListenerOptions, RawListener, RawStream, StreamError,
    connect,
};
use tasuki::raw::{GaveUp, Wait};

mod support;
use support::{Ended, descriptor_count, fork, in_own_process, limit_descriptors, until, watchdog};

const SOON: Duration = Duration::from_millis(30);
const KEY: &str = "the key";

fn listener(handshake_timeout: Option<Duration>) -> RawListener {
    let options =
        ListenerOptions { authkey: Some(KEY.into()), handshake_timeout, ..Default::default() };
    RawListener::bind(&Address::Inet(([127, 0, 0, 1], 0).into()), options).unwrap()
}

fn with_default_timeout() -> RawListener {
    listener(ListenerOptions::default().handshake_timeout)
}

fn client(listener: &RawListener, key: &str) -> Result<RawStream, ConnectFailure> {
    let options = ClientOptions { authkey: Some(key.into()), ..Default::default() };
    connect(listener.address(), &options, &mut Wait::forever())
}

/// A connection whose other end says what the test wants.
fn stranger(listener: &RawListener) -> TcpStream {
    let Address::Inet(address) = listener.address() else { panic!("a port") };
    TcpStream::connect(address).unwrap()
}

fn framed(message: &[u8]) -> Vec<u8> {
    [header(message.len() as u64).as_bytes(), message].concat()
}

/// A good client is served: it gets in, and its message comes back.
fn serve_one(listener: &RawListener) {
    thread::scope(|scope| {
        let good = scope.spawn(|| {
            let stream = client(listener, KEY).unwrap();
            stream.send(&[b"ping"], &mut Wait::forever()).unwrap();
            let mut answer = Vec::new();
            stream.recv(&mut answer, None, &mut Wait::forever()).unwrap();
            assert_eq!(answer, b"pong");
        });
        let (stream, _) = listener.accept(&mut Wait::forever()).unwrap();
        let mut message = Vec::new();
        stream.recv(&mut message, None, &mut Wait::forever()).unwrap();
        assert_eq!(message, b"ping");
        stream.send(&[b"pong"], &mut Wait::forever()).unwrap();
        good.join().unwrap();
    });
}

/// What strangers say before they fall silent.
fn beginnings() -> Vec<Vec<u8>> {
    let mut random = support::Dice::roll("strangers");
    let mut noise = |length: usize| (0..length).map(|_| random.next() as u8 | 0x80).collect();
    vec![
        vec![],
        b"\0".to_vec(),
        header(40).as_bytes().to_vec(),
        framed(b"#WELCOME#")[..7].to_vec(),
        header(257).as_bytes().to_vec(),
        header(1 << 40).as_bytes().to_vec(),
        header(u64::MAX).as_bytes().to_vec(),
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        noise(3),
        noise(500),
        noise(100_000),
    ]
}

#[test]
fn good_clients_are_served_while_strangers_hold_the_line() {
    let _watchdog = watchdog();
    let listener = with_default_timeout();
    let mut strangers = Vec::new();
    for beginning in beginnings() {
        let mut stranger = stranger(&listener);
        // It may be sent away before it is through.
        let _ = stranger.write_all(&beginning);
        strangers.push(stranger);
        serve_one(&listener);
    }
    for _ in 0..3 {
        serve_one(&listener);
    }
}

#[test]
fn strangers_that_close_midway_are_forgotten() {
    let _watchdog = watchdog();
    in_own_process(|| {
        let listener = with_default_timeout();
        serve_one(&listener);
        let before = descriptor_count();
        for beginning in beginnings() {
            let mut stranger = stranger(&listener);
            let _ = stranger.write_all(&beginning);
            drop(stranger);
        }
        until("all of them are closed", || {
            let nobody = listener.accept(&mut Wait::now());
            assert!(matches!(nobody, Err(ConnectFailure::Stream(StreamError::GaveUp(_)))));
            descriptor_count() == before
        });
    });
}

#[test]
fn a_stranger_is_sent_away_when_its_time_is_over() {
    let _watchdog = watchdog();
    let listener = listener(Some(SOON * 2));
    let mut silent = stranger(&listener);
    let start = Instant::now();
    let nobody = listener.accept(&mut Wait::timeout(SOON * 8));
    let gave_up = ConnectFailure::Stream(StreamError::GaveUp(GaveUp::TimedOut));
    assert_eq!(format!("{:?}", nobody.unwrap_err()), format!("{gave_up:?}"));
    assert!(start.elapsed() >= SOON * 8, "a stranger's end is not the caller's");
    // It got our question and then the end, if need be in a later call.
    let mut heard = Vec::new();
    thread::scope(|scope| {
        let listening = scope.spawn(|| silent.read_to_end(&mut heard).unwrap());
        until("it is sent away", || {
            let _ = listener.accept(&mut Wait::timeout(SOON));
            listening.is_finished()
        });
    });
    assert!(heard[4..].starts_with(b"#CHALLENGE#{sha256}"));
}

/// A client that has just answered the listener's question, and whose answer was not looked at yet.
fn half_way(listener: &RawListener) -> (TcpStream, Handshake) {
    let mut client = stranger(listener);
    client.set_nonblocking(true).unwrap();
    let mut handshake = Handshake::new(Side::Client, KEY.as_bytes(), [5; 40]);
    let mut buffer = [0; 300];
    until("it is asked", || {
        let _ = listener.accept(&mut Wait::now());
        let wanted = handshake.wanted();
        while let Ok(count) = client.read(&mut buffer[..wanted]) {
            handshake.feed(&buffer[..count]).unwrap();
            if !handshake.outgoing().is_empty() {
                break;
            }
        }
        !handshake.outgoing().is_empty()
    });
    client.set_nonblocking(false).unwrap();
    client.write_all(handshake.outgoing()).unwrap();
    handshake.sent(handshake.outgoing().len());
    (client, handshake)
}

/// The rest of its handshake.
fn finish((mut client, mut handshake): (TcpStream, Handshake)) {
    let mut buffer = [0; 300];
    while !handshake.is_done() {
        let wanted = handshake.wanted();
        let count = client.read(&mut buffer[..wanted]).unwrap();
        assert!(count > 0, "the listener closed");
        handshake.feed(&buffer[..count]).unwrap();
        client.write_all(handshake.outgoing()).unwrap();
        handshake.sent(handshake.outgoing().len());
    }
}

#[test]
fn one_that_answered_in_time_is_served_however_late_accept_is_called() {
    let _watchdog = watchdog();
    let mut time = SOON * 10;
    let (listener, good) = loop {
        let (began, listener) = (Instant::now(), listener(Some(time)));
        let good = half_way(&listener);
        if began.elapsed() < time {
            break (listener, good);
        }
        time *= 2; // it was not in time
    };
    thread::sleep(time);
    thread::scope(|scope| {
        scope.spawn(|| finish(good));
        listener.accept(&mut Wait::forever()).unwrap();
    });
}

#[test]
fn what_one_thread_leaves_another_one_finishes() {
    let _watchdog = watchdog();
    let listener = with_default_timeout();
    thread::scope(|scope| {
        let (first, second) = (half_way(&listener), half_way(&listener));
        // One of two threads has them both, finishes one of them and goes away.
        for _ in 0..2 {
            scope.spawn(|| listener.accept(&mut Wait::forever()).unwrap());
        }
        finish(first);
        thread::sleep(SOON);
        finish(second);
    });
}

#[test]
fn a_wrong_key_is_an_error_of_one_accept() {
    let _watchdog = watchdog();
    let listener = with_default_timeout();
    let _silent = stranger(&listener);
    for _ in 0..3 {
        thread::scope(|scope| {
            let wrong = scope.spawn(|| client(&listener, "another key").unwrap_err());
            let refused = listener.accept(&mut Wait::forever()).unwrap_err();
            assert!(refused.is_authentication(), "{refused}");
            assert!(wrong.join().unwrap().is_authentication());
        });
        serve_one(&listener);
    }
}

#[test]
fn a_handshake_goes_on_from_one_accept_to_the_next() {
    let _watchdog = watchdog();
    let listener = with_default_timeout();
    let mut slow = stranger(&listener);
    slow.set_nonblocking(true).unwrap();
    let mut handshake = Handshake::new(Side::Client, KEY.as_bytes(), [5; 40]);
    let accepted = loop {
        match listener.accept(&mut Wait::now()) {
            Ok((stream, _)) => break stream,
            Err(ConnectFailure::Stream(StreamError::GaveUp(_))) => {}
            Err(failure) => panic!("{failure}"),
        }
        // One byte a call, in each direction.
        if let Some(byte) = handshake.outgoing().first().copied() {
            slow.write_all(&[byte]).unwrap();
            handshake.sent(1);
        } else if handshake.wanted() > 0 {
            let mut byte = [0];
            if let Ok(1) = slow.read(&mut byte) {
                handshake.feed(&byte).unwrap();
            }
        }
    };
    assert!(handshake.is_done());
    slow.write_all(&framed(b"first")).unwrap();
    let mut message = Vec::new();
    accepted.recv(&mut message, None, &mut Wait::forever()).unwrap();
    assert_eq!(message, b"first");
}

#[test]
fn a_crowd_of_strangers_has_an_end_and_good_clients_get_through() {
    let _watchdog = watchdog();
    in_own_process(|| {
        let listener = with_default_timeout();
        let mut crowd = Vec::new();
        for i in 0..300 {
            crowd.push(stranger(&listener));
            if i % 60 == 59 {
                serve_one(&listener);
            }
        }
        let before_the_end = descriptor_count();
        assert!(before_the_end < 300 + 128 + 20, "{before_the_end}: no more than 128 are heard");
        // Those who were sent away notice it.
        let mut closed = 0;
        for stranger in &mut crowd {
            stranger.set_nonblocking(true).unwrap();
            let mut buffer = [0; 100];
            while let Ok(count) = stranger.read(&mut buffer) {
                if count == 0 {
                    closed += 1;
                    break;
                }
            }
        }
        assert!(closed >= 300 - 128, "{closed}");
    });
}

#[test]
fn strangers_cannot_use_up_the_descriptors() {
    let _watchdog = watchdog();
    in_own_process(|| {
        let listener = with_default_timeout();
        let Address::Inet(address) = *listener.address() else { panic!("a port") };
        // Their ends are in another process.
        let gate = support::Words::new(2);
        let mut crowd = fork(|| {
            let all: Vec<_> = (0..60).map(|_| TcpStream::connect(address).unwrap()).collect();
            gate.tell(0);
            until("the test is over", || gate.told(1));
            drop(all);
        });
        until("they are there", || gate.told(0));
        let good = fork(|| drop(client(&listener, KEY).unwrap()));
        limit_descriptors(10);
        let (_stream, _) = listener.accept(&mut Wait::forever()).unwrap();
        gate.tell(1);
        assert_eq!(crowd.wait(), Ended::WELL);
        drop(good);
    });
}

#[test]
fn without_a_descriptor_left_accept_says_so() {
    let _watchdog = watchdog();
    in_own_process(|| {
        let listener = with_default_timeout();
        let _waiting = stranger(&listener);
        limit_descriptors(0);
        let failed = listener.accept(&mut Wait::forever()).unwrap_err();
        let ConnectFailure::Stream(StreamError::Os { source, .. }) = &failed else {
            panic!("{failed}");
        };
        assert_eq!(source.raw_os_error(), Some(libc::EMFILE));
    });
}

#[test]
fn two_threads_accept_at_once() {
    let _watchdog = watchdog();
    let listener = with_default_timeout();
    let _silent: Vec<_> = (0..5).map(|_| stranger(&listener)).collect();
    let clients = 40;
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..clients / 2 {
                    listener.accept(&mut Wait::forever()).unwrap();
                }
            });
        }
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..clients / 4 {
                    client(&listener, KEY).unwrap();
                }
            });
        }
    });
}

#[test]
fn a_forked_child_leaves_its_parents_handshakes_alone() {
    let _watchdog = watchdog();
    let listener = with_default_timeout();
    // Its answer is there when the child looks, but it is the parent's.
    let slow = half_way(&listener);
    in_own_process(|| {
        let nobody = listener.accept(&mut Wait::timeout(SOON * 2));
        assert!(matches!(nobody, Err(ConnectFailure::Stream(StreamError::GaveUp(_)))));
    });
    thread::scope(|scope| {
        scope.spawn(|| finish(slow));
        listener.accept(&mut Wait::forever()).unwrap();
    });
}

#[test]
fn a_client_gives_up_on_a_listener_that_says_nothing() {
    let _watchdog = watchdog();
    let listener = RawListener::bind(&Address::Unnamed, ListenerOptions::default()).unwrap();
    let mut options = ClientOptions { authkey: Some(KEY.into()), ..Default::default() };
    let gave_up = connect(listener.address(), &options, &mut Wait::timeout(SOON)).unwrap_err();
    assert!(matches!(gave_up, ConnectFailure::Stream(StreamError::GaveUp(GaveUp::TimedOut))));
    options.handshake_timeout = Some(SOON);
    let slow = connect(listener.address(), &options, &mut Wait::forever()).unwrap_err();
    assert!(matches!(slow, ConnectFailure::TooSlow(SOON)), "{slow}");
}

#[test]
fn a_client_is_not_fooled_by_a_listener_without_the_key() {
    let _watchdog = watchdog();
    let listener = RawListener::bind(&Address::Unnamed, ListenerOptions::default()).unwrap();
    let question = [&b"#CHALLENGE#{sha256}"[..], &[7; 40]].concat();
    let scripts: [&[&[u8]]; 5] = [
        &[b"hello, I am a program without a key"],
        &[&question, b"#WELCOME#", &[0; 16]],
        &[&question, b"#FAILURE#"],
        &[&question, &question],
        &[b"#WELCOME#"],
    ];
    for script in scripts {
        thread::scope(|scope| {
            let client = scope.spawn(|| client(&listener, KEY).map(drop).unwrap_err());
            let (stream, _) = listener.accept(&mut Wait::forever()).unwrap();
            for line in script {
                let _ = stream.send(&[line], &mut Wait::forever());
            }
            let refused = client.join().unwrap();
            assert!(refused.is_authentication(), "{refused}");
        });
    }
    // One that closes instead.
    thread::scope(|scope| {
        let client = scope.spawn(|| client(&listener, KEY).map(drop).unwrap_err());
        let (stream, _) = listener.accept(&mut Wait::forever()).unwrap();
        drop(stream);
        let closed = client.join().unwrap();
        assert!(matches!(closed, ConnectFailure::Stream(StreamError::Closed)), "{closed}");
    });
    assert!(listener.descriptor().as_fd().try_clone_to_owned().is_ok());
}
