//! What a parent handed to a program by name: kept from the bootstrap message, given out as often
//! as asked. Called by `command` and, through it, by the Python module.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;

use super::message::{self, Message, Start};
use super::socket;
use crate::protocol::transfer::Incoming;
use crate::sys::descriptors::Wait;

/// Everything that came, with the socket that tells the parent that we live.
struct Inherited {
    parent: u32,
    handles: Vec<Kept>,
    /// Open as long as this process lives: a daemon dies when the other end closes.
    _socket: OwnedFd,
}

struct Kept {
    name: String,
    bytes: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

/// Written once: by the start of `main` (`#[tasuki::main]`), or by the first question. `None` when
/// this process was not started with handles; `Err` when what came could not be read.
static INHERITED: OnceLock<Option<Result<Inherited, String>>> = OnceLock::new();

/// Keeps what `main` found in the socket.
pub(super) fn keep(socket: OwnedFd, message: Message) {
    INHERITED.get_or_init(|| Some(read(socket, message).map_err(|error| error.to_string())));
}

fn get() -> Option<&'static Result<Inherited, String>> {
    INHERITED
        .get_or_init(|| {
            let socket = socket::take_socket()?;
            Some(match message::receive(socket.as_fd(), Wait::ForMessage) {
                Ok(Some(message)) => read(socket, message).map_err(|error| error.to_string()),
                Ok(None) => Err("nothing came from the parent".to_owned()),
                Err(error) => Err(error.to_string()),
            })
        })
        .as_ref()
}

fn read(socket: OwnedFd, mut message: Message) -> io::Result<Inherited> {
    let mut descriptors = std::mem::take(&mut message.descriptors).into_iter();
    let (start, _) = message.split::<Start>()?;
    let Start::Program(start) = start else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "this process was started to run a task, and its main is not #[tasuki::main]",
        ));
    };
    if start.daemon {
        socket::live_with_parent(socket.as_fd());
    }
    let handles = start
        .handles
        .into_iter()
        .map(|handle| Kept {
            name: handle.name.to_owned(),
            bytes: handle.bytes.to_owned(),
            descriptors: descriptors.by_ref().take(handle.descriptors as usize).collect(),
        })
        .collect();
    Ok(Inherited { parent: start.parent, handles, _socket: socket })
}

/// The pid of the process that started this one with handles.
pub(crate) fn parent() -> Option<u32> {
    get()?.as_ref().ok().map(|inherited| inherited.parent)
}

/// The names of what was handed to this process.
pub(crate) fn names() -> Vec<&'static str> {
    let inherited = get().and_then(|inherited| inherited.as_ref().ok());
    inherited.into_iter().flat_map(|inherited| &inherited.handles).map(|kept| &*kept.name).collect()
}

/// Why there is nothing of a name.
#[derive(Debug)]
pub(crate) enum Missing {
    /// This process was not started with handles.
    NotStarted,
    /// It was, but what came could not be read.
    Unreadable(String),
    /// It was, with others than this one.
    Name,
}

/// The bytes of one handle and duplicates of its descriptors.
pub(crate) fn get_raw(name: &str) -> Result<(&'static [u8], Incoming), Missing> {
    let inherited = get()
        .ok_or(Missing::NotStarted)?
        .as_ref()
        .map_err(|error| Missing::Unreadable(error.clone()))?;
    let kept = inherited.handles.iter().find(|kept| kept.name == name).ok_or(Missing::Name)?;
    let descriptors = kept
        .descriptors
        .iter()
        .map(OwnedFd::try_clone)
        .collect::<io::Result<Vec<_>>>()
        .map_err(|error| Missing::Unreadable(error.to_string()))?;
    Ok((&kept.bytes, Incoming::new(descriptors)))
}
