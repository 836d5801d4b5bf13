//! Accepting connections: everybody's handshake at once, so that nobody waits for a stranger.
//!
//! Dangers and what strangers cost: `README.md`.

use std::collections::VecDeque;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use super::authenticating::{Authenticating, ConnectFailure, Step};
use super::key::AuthKey;
use super::stream::{RawStream, StreamLimits};
use crate::error::Error;
use crate::protocol::handshake::Side;
use crate::raw::fork_epoch;
use crate::sync::Wait;
use crate::sync::private::Private;
use crate::sys::sockets::{self, Accepted, Address, Ready, SocketFile};

/// How many peers are heard at a time before they have proved their key.
const MOST_PENDING: usize = 128;

/// What a listener is to be; see [`RawListener::bind`].
#[derive(Clone, Debug)]
pub struct ListenerOptions {
    /// How many connections the kernel keeps while nobody accepts.
    pub backlog: i32,
    /// The key that both ends prove to each other; `None` accepts everybody.
    pub authkey: Option<AuthKey>,
    /// Most time for a peer's handshake. It runs while somebody accepts.
    pub handshake_timeout: Option<Duration>,
    /// What peers may do on their connections.
    pub limits: StreamLimits,
}

impl Default for ListenerOptions {
    fn default() -> ListenerOptions {
        ListenerOptions {
            backlog: 128,
            authkey: None,
            handshake_timeout: Some(Duration::from_secs(20)),
            limits: StreamLimits::default(),
        }
    }
}

/// A socket that listens.
pub struct RawListener {
    socket: OwnedFd,
    address: Address,
    options: ListenerOptions,
    /// The file that this listener made, and the process in which it did.
    file: Option<(PathBuf, SocketFile, u64)>,
    pending: Private<PendingOf>,
}

/// Peers between connecting and proving their key, oldest first.
struct PendingOf {
    /// The process whose they are.
    epoch: u64,
    peers: VecDeque<Pending>,
}

struct Pending {
    peer: Authenticating,
    address: Address,
    waits: Ready,
}

impl RawListener {
    /// Listens at `address`.
    pub fn bind(address: &Address, options: ListenerOptions) -> Result<RawListener, Error> {
        let (socket, bound) = sockets::listen(address, options.backlog)
            .map_err(|source| Error::os("listen", source))?;
        let file = match &bound {
            Address::Path(path) => std::path::absolute(path)
                .ok()
                .and_then(|path| Some((SocketFile::at(&path)?, path)))
                .map(|(file, path)| (path, file, fork_epoch())),
            _ => None,
        };
        let pending = PendingOf { epoch: fork_epoch(), peers: VecDeque::new() };
        Ok(RawListener { socket, address: bound, options, file, pending: Private::new(pending) })
    }

    /// Where it listens, with the port or name that the kernel chose.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The descriptor: readable when somebody connects. Handshakes in progress do not show.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The next connection whose peer has proved the key, and who that is.
    ///
    /// [`ConnectFailure::Refused`] is about one peer alone: the listener goes on.
    pub fn accept(&self, wait: &mut Wait<'_>) -> Result<(RawStream, Address), ConnectFailure> {
        let mut working = Working { listener: self, peers: VecDeque::new() };
        let mut time = Duration::ZERO;
        loop {
            working.adopt();
            let ready = working.wait(time)?;
            let mut done = working.go_on(&ready.peers)?;
            if done.is_none() && ready.connection {
                done = working.take_newcomers()?;
            }
            if let Some((socket, address)) = done {
                return Ok((RawStream::new(socket, self.options.limits), address));
            }
            time = wait.slice().map_err(ConnectFailure::gave_up)?;
        }
    }
}

/// The pending peers in the hands of one call; what is left of them goes back.
struct Working<'a> {
    listener: &'a RawListener,
    peers: VecDeque<Pending>,
}

struct ReadyNow {
    connection: bool,
    /// One for each pending peer.
    peers: Vec<bool>,
}

impl Working<'_> {
    /// Takes over the peers that an earlier call left, or that of another thread which returned meanwhile.
    fn adopt(&mut self) {
        // Stuck is what it is when a fork came within the few instructions of another thread's holding it.
        let Some(mut left) = self.listener.pending.lock_unless_stuck() else { return };
        let epoch = fork_epoch();
        if std::mem::replace(&mut left.epoch, epoch) != epoch {
            left.peers.clear(); // the parent's
        }
        left.peers.iter_mut().for_each(|pending| pending.peer.resume());
        self.peers.append(&mut left.peers);
    }

    /// Sleeps until somebody wants something, and at most until the first peer's time is over.
    fn wait(&self, time: Duration) -> Result<ReadyNow, ConnectFailure> {
        let time = self
            .peers
            .iter()
            .filter_map(|pending| pending.peer.time_left())
            .fold(time, Duration::min);
        let listening = (self.listener.socket.as_fd(), Ready::ToReceive);
        let peers = self.peers.iter().map(|pending| (pending.peer.socket.as_fd(), pending.waits));
        let waited: Vec<_> = std::iter::once(listening).chain(peers).collect();
        let mut ready = sockets::wait_for_any(&waited, time)
            .map_err(ConnectFailure::os("wait for connections"))?;
        let peers = ready.split_off(1);
        Ok(ReadyNow { connection: ready[0], peers })
    }

    /// Goes on with those who are ready, and sends away those whose time is over.
    fn go_on(&mut self, ready: &[bool]) -> Result<Option<(OwnedFd, Address)>, ConnectFailure> {
        let mut at = 0;
        for &ready in ready {
            let pending = &mut self.peers[at];
            if !ready {
                let over = pending.peer.time_left().is_some_and(|left| left.is_zero());
                if over {
                    self.peers.remove(at);
                } else {
                    at += 1;
                }
                continue;
            }
            match pending.peer.go_on() {
                Ok(Step::Waits(waits)) => {
                    pending.waits = waits;
                    at += 1;
                }
                Ok(Step::Done) => {
                    let done = self.peers.remove(at).expect("it was just looked at");
                    return Ok(Some((done.peer.socket, done.address)));
                }
                Err(failure) => {
                    self.peers.remove(at);
                    if failure.is_authentication() {
                        return Err(failure);
                    }
                }
            }
        }
        Ok(None)
    }

    /// Takes those who connected and asks them for the key; without a key, the first one is the connection.
    fn take_newcomers(&mut self) -> Result<Option<(OwnedFd, Address)>, ConnectFailure> {
        /// So that those who are heard already get on in a flood.
        const AT_ONCE: usize = 32;
        let ListenerOptions { authkey, handshake_timeout, .. } = &self.listener.options;
        for _ in 0..AT_ONCE {
            let accepted = sockets::accept(self.listener.socket.as_fd())
                .map_err(ConnectFailure::os("accept a connection"))?;
            let (socket, address) = match accepted {
                Accepted::Nobody => break,
                Accepted::NoRoom(error) => match self.peers.pop_front() {
                    Some(_closed) => continue,
                    None => return Err(ConnectFailure::os("accept a connection")(error)),
                },
                Accepted::Connection(socket, address) => (socket, address),
            };
            let Some(key) = authkey else { return Ok(Some((socket, address))) };
            let mut peer =
                Authenticating::begin(socket, Side::Listener, key.as_bytes(), *handshake_timeout)
                    .map_err(ConnectFailure::os("get random bytes"))?;
            // A quick peer is done at once.
            match peer.go_on() {
                Ok(Step::Done) => return Ok(Some((peer.socket, address))),
                Ok(Step::Waits(waits)) => {
                    if self.peers.len() >= MOST_PENDING {
                        self.peers.pop_front();
                    }
                    self.peers.push_back(Pending { peer, address, waits });
                }
                Err(failure) if failure.is_authentication() => return Err(failure),
                Err(_) => {}
            }
        }
        Ok(None)
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        let Some(mut pending) = self.listener.pending.lock_unless_stuck() else { return };
        self.peers.iter_mut().for_each(|pending| pending.peer.pause());
        pending.peers.append(&mut self.peers);
        while pending.peers.len() > MOST_PENDING {
            pending.peers.pop_front();
        }
    }
}

impl Drop for RawListener {
    fn drop(&mut self) {
        if let Some((path, file, epoch)) = self.file.take() {
            if epoch == fork_epoch() {
                file.remove(&path);
            }
        }
    }
}

/// Without the key.
impl fmt::Debug for RawListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawListener").field("address", &self.address).finish_non_exhaustive()
    }
}
