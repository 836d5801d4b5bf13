//! Connections of typed messages: what is sent arrives as it was, whatever it carries, and errors say what happened.

mod support;

use std::convert::Infallible;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use support::{Ended, fork, in_own_process, watchdog};
use tasuki::connection::{Connection, simplex};
use tasuki::protocol::codec;
use tasuki::protocol::transfer::{collect, provide};
use tasuki::{Message, Queue, StructuredCodec, pipe};

#[derive(Serialize, Deserialize, Debug, PartialEq, Clone)]
struct Order {
    name: String,
    amounts: Vec<u32>,
}

fn order() -> Order {
    Order { name: "pens".into(), amounts: (0..10_000).collect() }
}

#[test]
fn values_arrive_as_they_were() {
    let _watchdog = watchdog();
    let (one, other) = pipe::<Order, Option<String>>().unwrap();
    let mut child = fork(|| {
        assert_eq!(other.recv().unwrap(), order());
        other.send(Some("well".into())).unwrap();
        other.send(None).unwrap();
    });
    one.send(order()).unwrap();
    assert_eq!(one.recv().unwrap(), Some("well".into()));
    assert_eq!(one.recv().unwrap(), None);
    assert_eq!(child.wait(), Ended::WELL);
}

#[test]
fn the_end_is_told_and_a_value_given_back() {
    let _watchdog = watchdog();
    in_own_process(|| {
        let (one, other) = pipe::<String, u64>().unwrap();
        assert!(one.try_recv().unwrap_err().is_empty());
        assert!(one.recv_timeout(Duration::from_millis(5)).unwrap_err().is_empty());
        other.send(7).unwrap();
        drop(other);
        let refused = one.send("back".into()).unwrap_err();
        assert!(refused.is_disconnected());
        assert_eq!(refused.into_inner(), "back");
        assert_eq!(one.recv().unwrap(), 7);
        let end = one.recv().unwrap_err();
        assert!(end.is_disconnected() && !end.is_empty());
        assert!(one.poll(Duration::ZERO).unwrap());
    });
}

#[test]
fn a_full_pipe_gives_the_value_back() {
    let _watchdog = watchdog();
    let (receiver, sender) = simplex::<Vec<u8>>().unwrap();
    while sender.try_send(vec![1; 1000]).is_ok() {}
    let refused = sender.send_timeout(vec![2; 1000], Duration::from_millis(5)).unwrap_err();
    assert!(refused.is_full());
    assert_eq!(refused.into_inner(), vec![2; 1000]);
    assert_eq!(receiver.recv().unwrap(), vec![1; 1000]);
}

#[test]
fn a_message_of_another_type_is_an_error_and_taken() {
    let _watchdog = watchdog();
    let (receiver, sender) = simplex::<String>().unwrap();
    sender.send("text".into()).unwrap();
    sender.send("more".into()).unwrap();
    // The same end as one of numbers, as a peer with another idea of it has.
    let numbers: Connection<Infallible, u64> = retype(&receiver);
    let error = numbers.recv().unwrap_err();
    assert!(error.decode_error().is_some_and(|error| error.is_wrong_type()), "{error}");
    assert_eq!(numbers.recv_bytes().unwrap(), b"more");
}

fn retype<A: Message, B: Message>(end: &A) -> B {
    let mut bytes = Vec::new();
    let (codec, table) = collect(|| codec::encode(end, StructuredCodec::MessagePack, &mut bytes));
    provide(table.into(), || codec::decode(codec.unwrap().tag(), &bytes).unwrap())
}

#[test]
fn handles_travel_through_it() {
    let _watchdog = watchdog();
    let (one, other) = pipe::<(Queue<u64>, Connection<u64, u64>), ()>().unwrap();
    let queue = Queue::unbounded().unwrap();
    let (near, far) = pipe::<u64, u64>().unwrap();
    let mut child = fork(|| {
        let (queue, far) = other.recv().unwrap();
        queue.put(far.recv().unwrap() + 1).unwrap();
        far.send(5).unwrap();
    });
    one.send((queue.clone(), far)).unwrap();
    near.send(41).unwrap();
    assert_eq!(queue.get().unwrap(), 42);
    assert_eq!(near.recv().unwrap(), 5);
    assert_eq!(child.wait(), Ended::WELL);
    assert!(near.recv().unwrap_err().is_disconnected(), "the child had the only copy");
}

#[test]
fn bytes_and_values_can_be_mixed() {
    let _watchdog = watchdog();
    let (receiver, sender) = simplex::<Vec<u8>>().unwrap();
    sender.send_bytes(b"one").unwrap();
    sender.send(b"two".to_vec()).unwrap();
    assert_eq!(receiver.recv().unwrap(), b"one");
    assert_eq!(receiver.recv_bytes().unwrap(), b"two");
}
