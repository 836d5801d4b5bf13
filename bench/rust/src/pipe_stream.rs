//! How fast do messages go one way through a pipe: numbers, 1 KiB and 1 MiB of bytes?
//!
//! Between two processes. The pipe of the system carries no messages but bytes, so both sides know the length; it is
//! what is left when nothing is encoded, framed or checked.

use std::io::{PipeReader, PipeWriter, Read as _, Write as _};

use crate::team::{Outcome, Worker, processes};
use crate::{Done, Question, side};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

pub fn questions() -> Vec<Question> {
    vec![
        Question {
            name: "pipe-stream-u64",
            what: "pipe of u64, one way",
            sides: vec![
                side("tasuki", tasuki_numbers, None),
                side("ipc-channel", ipc_numbers, Some(10.0)),
                side("std::io::pipe", system::<8>, None),
            ],
        },
        Question {
            name: "pipe-stream-1k",
            what: "pipe of 1 KiB, one way",
            sides: vec![
                side("tasuki", tasuki::<KIB>, None),
                side("ipc-channel", ipc::<KIB>, Some(10.0)),
                side("std::io::pipe", system::<KIB>, None),
            ],
        },
        Question {
            name: "pipe-stream-1m",
            what: "pipe of 1 MiB, one way",
            sides: vec![
                side("tasuki", tasuki::<MIB>, None),
                side("ipc-channel", ipc::<MIB>, Some(4.0)),
                side("std::io::pipe", system::<MIB>, None),
            ],
        },
    ]
}

fn tasuki_numbers(count: u64) -> Done {
    let (reader, writer) = tasuki::connection::simplex::<u64>().unwrap();
    one_way(
        count,
        move || (0..count).for_each(|number| writer.send(number).unwrap()),
        move || (0..count).map(|_| reader.recv().unwrap()).sum(),
    )
}

fn ipc_numbers(count: u64) -> Done {
    let (writer, reader) = ipc_channel::ipc::channel::<u64>().unwrap();
    one_way(
        count,
        move || (0..count).for_each(|number| writer.send(number).unwrap()),
        move || (0..count).map(|_| reader.recv().unwrap()).sum(),
    )
}

fn tasuki<const LEN: usize>(count: u64) -> Done {
    let (reader, writer) = tasuki::connection::simplex::<()>().unwrap();
    one_way(
        count,
        move || each_message::<LEN>(count, |message| writer.send_bytes(message).unwrap()),
        move || (0..count).map(|_| number_of::<LEN>(&reader.recv_bytes().unwrap())).sum(),
    )
}

fn ipc<const LEN: usize>(count: u64) -> Done {
    let (writer, reader) = ipc_channel::ipc::bytes_channel().unwrap();
    one_way(
        count,
        move || each_message::<LEN>(count, |message| writer.send(message).unwrap()),
        move || (0..count).map(|_| number_of::<LEN>(&reader.recv().unwrap())).sum(),
    )
}

fn system<const LEN: usize>(count: u64) -> Done {
    let (mut reader, mut writer): (PipeReader, PipeWriter) = std::io::pipe().unwrap();
    one_way(
        count,
        move || each_message::<LEN>(count, |message| writer.write_all(message).unwrap()),
        move || {
            let mut message = vec![0; LEN];
            let mut next = || {
                reader.read_exact(&mut message).unwrap();
                number_of::<LEN>(&message)
            };
            (0..count).map(|_| next()).sum()
        },
    )
}

/// The sum of the numbers that the reader saw has to be that of those that were written.
fn one_way(count: u64, write: impl FnOnce() + Send, read: impl FnOnce() -> u64 + Send) -> Done {
    let writer: Worker = Box::new(move || {
        write();
        0
    });
    let Outcome { time, sum } = processes(vec![writer, Box::new(read)]);
    assert_eq!(sum, (0..count).sum::<u64>(), "each message came once");
    Done { operations: count, time }
}

/// Messages that begin and end with their number.
fn each_message<const LEN: usize>(count: u64, mut write: impl FnMut(&[u8])) {
    let mut message = vec![7; LEN];
    for number in 0..count {
        message[..8].copy_from_slice(&number.to_le_bytes());
        message[LEN - 8..].copy_from_slice(&number.to_le_bytes());
        write(&message);
    }
}

fn number_of<const LEN: usize>(message: &[u8]) -> u64 {
    assert!(message.len() == LEN && message[..8] == message[LEN - 8..], "a whole message");
    u64::from_le_bytes(message[..8].try_into().unwrap())
}
