//! A chat room at a port: guests come over sockets, prove that they have the key, and talk in turns.
//!
//! The guests could as well be other programs, in Python with nothing but its standard library, or on another machine:
//! the bytes are those of `multiprocessing.connection`. A stranger with another key is turned away at the door, and so
//! would be one that says nothing, without anybody waiting for it.

use std::error::Error;

use tasuki::connection::{Client, Connection, Listener};
use tasuki::{Process, task};

const KEY: &str = "the word at the door";
const LOCALHOST: [u8; 4] = [127, 0, 0, 1];

/// Says its name and then its lines, each after it heard what the other one says.
#[task]
fn guest(port: u16, name: String, lines: Vec<String>) {
    let client = Client::builder().authkey(KEY);
    let room: Connection<String, String> = client.connect((LOCALHOST, port)).unwrap();
    room.send(name.clone()).unwrap();
    for line in lines {
        if name != "Ann" {
            room.recv().unwrap();
        }
        room.send(line).unwrap();
        if name == "Ann" {
            room.recv().unwrap();
        }
    }
}

#[task]
fn stranger(port: u16) {
    let client = Client::builder().authkey("a guess");
    let refused = client.connect::<String, String>((LOCALHOST, port)).unwrap_err();
    assert!(refused.is_authentication());
}

fn lines(lines: [&str; 2]) -> Vec<String> {
    lines.map(String::from).into()
}

#[tasuki::main]
fn main() -> Result<(), Box<dyn Error>> {
    let listener = Listener::builder().authkey(KEY).bind((LOCALHOST, 0))?;
    let tasuki::connection::Address::Inet(address) = *listener.address() else {
        return Err("a port was asked for".into());
    };
    let port = address.port();
    println!("the room is open");

    let uninvited = Process::spawn(stranger, (port,))?;
    let refused = listener.accept::<String, String>().expect_err("it has no key");
    assert!(refused.is_authentication());
    println!("a stranger was turned away");
    uninvited.join()?;

    let mut guests: Vec<(String, Connection<String, String>)> = Vec::new();
    let ann = lines(["is anybody here?", "shall we begin?"]);
    let ben = lines(["I am.", "let us."]);
    let mut processes = Vec::new();
    for (name, lines) in [("Ann", ann), ("Ben", ben)] {
        processes.push(Process::spawn(guest, (port, name.to_owned(), lines))?);
        let connection = listener.accept()?;
        guests.push((connection.recv()?, connection));
        println!("{} came", guests[guests.len() - 1].0);
    }

    // Each line goes to the other one; who closes its connection has left.
    let (mut speaker, mut left) = (0, 0);
    while left < guests.len() {
        let (name, connection) = &guests[speaker];
        match connection.recv() {
            Ok(line) => {
                println!("{name}: {line}");
                guests[1 - speaker].1.send(line)?;
            }
            Err(end) if end.is_disconnected() => {
                println!("{name} left");
                left += 1;
            }
            Err(error) => return Err(error.into()),
        }
        speaker = 1 - speaker;
    }
    for process in processes {
        process.join()?;
    }
    Ok(())
}
