//! Listeners and clients as Rust programs use them: typed messages over a socket, errors that say what happened.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tasuki::connection::{Address, Client, Connection, Listener};
use tasuki::{Message, Queue};

mod support;
use support::{Ended, fork, until, watchdog};

const SOON: Duration = Duration::from_millis(30);

/// Both ends of a connection over a socket; the first one is the listener's.
#[allow(clippy::type_complexity)]
fn pair<A, B>() -> (Connection<A, B>, Connection<B, A>) {
    let listener = Listener::bind(Address::Unnamed).unwrap();
    let client = Client::connect(listener.address()).unwrap();
    (listener.accept().unwrap(), client)
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Order {
    Paint { name: String, colours: Vec<(u8, u8, u8)>, when: Option<f64> },
    Stop,
}

fn goes_through<T: Message + Clone + PartialEq + std::fmt::Debug>(values: &[T]) {
    let (one, other) = pair::<T, T>();
    for value in values {
        one.send(value.clone()).unwrap();
        assert_eq!(other.recv().unwrap(), *value);
    }
}

#[test]
fn values_of_every_shape_arrive_as_they_left() {
    let _watchdog = watchdog();
    goes_through(&[0u64, 1, u64::MAX]);
    goes_through(&[i64::MIN, -1, 0]);
    goes_through(&[0.5f64, f64::INFINITY]);
    goes_through(&[true, false]);
    goes_through(&[()]);
    goes_through(&["".to_owned(), "text".to_owned(), "x".repeat(70_000)]);
    goes_through(&[vec![], b"bytes".to_vec(), vec![0x80, 4], vec![1; 70_000]]);
    goes_through(&[None, Some(3u8)]);
    goes_through(&[BTreeMap::from([("a".to_owned(), vec![1, 2])])]);
    let order = Order::Paint { name: "x".into(), colours: vec![(1, 2, 3); 50_000], when: None };
    goes_through(&[order, Order::Stop]);
}

#[test]
fn another_process_is_at_the_other_end() {
    let _watchdog = watchdog();
    let listener = Listener::builder().authkey("key").bind(([127, 0, 0, 1], 0)).unwrap();
    let mut child = fork(|| {
        let client = Client::builder().authkey("key");
        let connection = client.connect::<u64, String>(listener.address()).unwrap();
        for i in 0..100 {
            connection.send(i).unwrap();
            assert_eq!(connection.recv().unwrap(), format!("{i} came"));
        }
    });
    let connection = listener.accept::<String, u64>().unwrap();
    for _ in 0..100 {
        let number = connection.recv().unwrap();
        connection.send(format!("{number} came")).unwrap();
    }
    assert!(connection.recv().unwrap_err().is_disconnected());
    assert_eq!(child.wait(), Ended::WELL);
}

#[test]
fn a_peer_that_is_killed_is_noticed() {
    let _watchdog = watchdog();
    let listener = Listener::bind(Address::Unnamed).unwrap();
    let mut child = fork(|| {
        let _connection = Client::connect::<u64, u64>(listener.address()).unwrap();
        thread::sleep(support::NEVER);
    });
    let connection = listener.accept::<u64, u64>().unwrap();
    thread::scope(|scope| {
        let receiver = scope.spawn(|| connection.recv().unwrap_err());
        thread::sleep(SOON);
        child.kill();
        child.wait();
        assert!(receiver.join().unwrap().is_disconnected());
    });
    let refused = connection.send(7).unwrap_err();
    assert!(refused.is_disconnected());
    assert_eq!(refused.into_inner(), 7);
}

#[test]
fn a_message_of_another_type_is_an_error_and_the_next_one_comes() {
    let _watchdog = watchdog();
    let (one, other) = pair::<String, u64>();
    let listener = Listener::bind(Address::Unnamed).unwrap();
    let wrong = Client::connect::<Vec<u8>, u64>(listener.address()).unwrap();
    let reader = listener.accept::<u64, u64>().unwrap();
    wrong.send(b"\xa4text".to_vec()).unwrap();
    assert!(reader.recv().unwrap_err().decode_error().unwrap().is_wrong_type());
    wrong.send(b"\x80\x04K\x01.".to_vec()).unwrap();
    assert!(reader.recv().unwrap_err().decode_error().unwrap().is_pickle());
    wrong.send(b"\xc1".to_vec()).unwrap();
    assert!(reader.recv().unwrap_err().decode_error().unwrap().is_malformed());
    wrong.send(b"\x07".to_vec()).unwrap();
    assert_eq!(reader.recv().unwrap(), 7);
    // Bytes go as they are, whatever the type says.
    other.send_bytes(b"\x80raw").unwrap();
    assert_eq!(one.recv_bytes().unwrap(), b"\x80raw");
}

#[test]
fn polling_and_timeouts() {
    let _watchdog = watchdog();
    let (one, other) = pair::<u64, u64>();
    assert!(!one.poll(Duration::ZERO).unwrap());
    assert!(!one.poll(SOON).unwrap());
    assert!(one.try_recv().unwrap_err().is_empty());
    assert!(one.recv_timeout(SOON).unwrap_err().is_empty());
    other.send(1).unwrap();
    assert!(one.poll(support::NEVER).unwrap());
    assert!(one.poll(Duration::ZERO).unwrap(), "looking takes nothing away");
    assert_eq!(one.try_recv().unwrap(), 1);
    drop(other);
    assert!(one.poll(support::NEVER).unwrap(), "the end can be received");
    assert!(one.try_recv().unwrap_err().is_disconnected());
}

#[test]
fn a_part_of_a_message_does_not_look_like_one() {
    use std::io::Write;
    let _watchdog = watchdog();
    let listener = Listener::bind(([127, 0, 0, 1], 0)).unwrap();
    let Address::Inet(address) = *listener.address() else { panic!("a port") };
    let mut bare = std::net::TcpStream::connect(address).unwrap();
    let connection = listener.accept::<u64, Vec<u8>>().unwrap();
    for byte in *b"\0\0\0\x02a" {
        bare.write_all(&[byte]).unwrap();
        assert!(!connection.poll(SOON / 10).unwrap());
    }
    bare.write_all(b"b").unwrap();
    assert!(connection.poll(support::NEVER).unwrap());
    assert_eq!(connection.recv().unwrap(), b"ab");
}

#[test]
fn who_waits_for_several_things_wakes_for_a_socket_too() {
    let _watchdog = watchdog();
    let (one, other) = pair::<u64, u64>();
    let queue: Queue<u64> = Queue::unbounded().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(SOON);
            other.send(5).unwrap();
        });
        let mut select = tasuki::Select::new();
        let of_queue = select.get(&queue);
        let of_connection = select.connection(&one);
        assert_ne!(of_queue, of_connection);
        assert_eq!(select.ready().unwrap(), of_connection);
        assert_eq!(one.recv().unwrap(), 5);
    });
}

#[test]
fn limits_hold_for_peers_that_have_the_key() {
    let _watchdog = watchdog();
    let listener = Listener::builder()
        .authkey("key")
        .max_message(1000)
        .message_timeout(support::NEVER)
        .bind(Address::Unnamed)
        .unwrap();
    let client = Client::builder().authkey("key");
    thread::scope(|scope| {
        scope.spawn(|| {
            let connection = client.connect::<Vec<u8>, ()>(listener.address()).unwrap();
            connection.send(vec![1; 1000]).unwrap();
            connection.send(vec![1; 1001]).unwrap();
            // It closes without having read that.
            assert!(connection.recv().unwrap_err().is_disconnected());
        });
        let connection = listener.accept::<(), Vec<u8>>().unwrap();
        assert_eq!(connection.recv().unwrap().len(), 1000);
        let refused = connection.recv().unwrap_err();
        assert!(!refused.is_disconnected() && !refused.is_empty());
        assert!(refused.to_string().contains("1001 bytes"), "{refused}");
    });
}

#[test]
fn keys_that_differ_are_told_to_both() {
    let _watchdog = watchdog();
    let listener = Listener::builder().authkey("one").bind(Address::Unnamed).unwrap();
    let client = Client::builder().authkey("two");
    thread::scope(|scope| {
        let there = scope.spawn(|| client.connect::<(), ()>(listener.address()).unwrap_err());
        let here = listener.accept::<(), ()>().unwrap_err();
        assert!(here.is_authentication() && !here.is_timeout());
        assert!(there.join().unwrap().is_authentication());
    });
    assert!(listener.try_accept::<(), ()>().unwrap_err().is_timeout());
    assert!(listener.accept_timeout::<(), ()>(SOON).unwrap_err().is_timeout());
    let late = client.connect_timeout::<(), ()>(listener.address(), SOON).unwrap_err();
    assert!(late.is_timeout());
}

#[test]
fn a_key_shows_nowhere() {
    let listener = Listener::builder().authkey("hush");
    let client = Client::builder().authkey("hush");
    let texts = [format!("{listener:?}"), format!("{client:?}")];
    assert!(texts.iter().all(|text| !text.contains("hush") && !text.contains("104")), "{texts:?}");
}

#[test]
fn nobody_there_is_the_systems_error() {
    let address = Address::Abstract(format!("tasuki-nobody-{}", std::process::id()).into_bytes());
    let failed = Client::connect::<(), ()>(&address).unwrap_err();
    assert_eq!(failed.os_error().unwrap().kind(), ErrorKind::ConnectionRefused);
    let taken = Listener::bind(&address).unwrap();
    assert!(Listener::bind(&address).is_err());
    drop(taken);
    Listener::bind(&address).unwrap();
}

#[test]
fn handles_inside_are_refused_with_a_way_out() {
    let (one, _other) = pair::<Queue<u64>, ()>();
    let refused = one.send(Queue::unbounded().unwrap()).unwrap_err();
    assert!(refused.to_string().contains("send it through a pipe"), "{refused}");
    refused.into_inner().put(1).unwrap();
}

#[test]
fn an_end_travels_between_messages_and_keeps_its_limits() {
    let _watchdog = watchdog();
    let listener = Listener::builder().max_message(10).bind(Address::Unnamed).unwrap();
    let there: Connection<Vec<u8>, Vec<u8>> = Client::connect(listener.address()).unwrap();
    let here = listener.accept::<Vec<u8>, Vec<u8>>().unwrap();
    let channel: Queue<Connection<Vec<u8>, Vec<u8>>> = Queue::unbounded().unwrap();
    channel.put(here).unwrap();
    let here = channel.get().unwrap();
    there.send(b"short".to_vec()).unwrap();
    assert_eq!(here.recv().unwrap(), b"short");
    there.send(b"longer than that".to_vec()).unwrap();
    assert!(!here.recv().unwrap_err().is_disconnected());
    // Now a message has begun, which only this process has the beginning of.
    let refused = channel.put(here).unwrap_err();
    assert!(refused.to_string().contains("in this process already"), "{refused}");
}

#[test]
fn a_listener_can_be_polled_for_newcomers() {
    let _watchdog = watchdog();
    let listener = Listener::bind(Address::Unnamed).unwrap();
    let mut select = tasuki::Select::new();
    select.readable(&listener);
    assert!(select.ready_timeout(SOON).unwrap().is_none());
    let _there = Client::connect::<(), ()>(listener.address()).unwrap();
    until("somebody is there", || select.ready_timeout(SOON).unwrap().is_some());
    listener.try_accept::<(), ()>().unwrap();
}
