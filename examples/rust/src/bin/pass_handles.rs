//! Send a queue through a queue: every request brings along the place for its answer.
//!
//! A queue, a lock or a value is a handle, and a handle is a value like any other: it can be an argument, and it can
//! be put into a queue. So a server needs to know nobody: the answer goes where the request says.

use std::error::Error;

use tasuki::{Process, Queue};

type Request = Option<(String, Queue<String>)>;

#[tasuki::task]
fn serve(requests: Queue<Request>) {
    while let Some((text, answer)) = requests.get().unwrap() {
        answer.put(text.to_uppercase()).unwrap();
    }
}

#[tasuki::task]
fn ask(text: String, requests: Queue<Request>) -> String {
    let answer = Queue::unbounded().unwrap();
    requests.put(Some((text.clone(), answer.clone()))).unwrap();
    format!("{text} -> {}", answer.get().unwrap())
}

#[tasuki::main]
fn main() -> Result<(), Box<dyn Error>> {
    let requests = Queue::unbounded()?;
    let server = Process::spawn(serve, (requests.clone(),))?;
    let clients = ["baton", "relay", "sash"]
        .map(|text| Process::spawn(ask, (text.to_owned(), requests.clone())))
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?;
    for client in clients {
        println!("{}", client.join()?);
    }
    requests.put(None)?;
    server.join()?;
    Ok(())
}
