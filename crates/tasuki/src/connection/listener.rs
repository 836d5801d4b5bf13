//! Accepting connections from processes that this one did not start: of another program, in another language, on
//! another machine.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use super::address::Address;
use super::error::ConnectError;
use super::{Connection, Transport};
use crate::error::Error;
use crate::raw::Wait;
use crate::raw::connection::{AuthKey, ListenerOptions, RawListener};

/// Somewhere to connect to.
///
/// A connection speaks the wire and the authentication of Python's `multiprocessing.connection`: the other end may be a
/// [`Client`](super::Client), tasuki in Python, or the standard library of any Python 3. Between processes that you
/// start yourself a [`pipe`](super::pipe()) is several times quicker and carries handles.
///
/// ```
/// use tasuki::connection::{Address, Client, Listener};
///
/// let listener = Listener::builder().authkey("a secret").bind(Address::Unnamed)?;
/// let client = Client::builder().authkey("a secret");
/// std::thread::scope(|scope| {
///     scope.spawn(|| {
///         let connection = client.connect::<String, usize>(listener.address()).unwrap();
///         connection.send("how long is this?".into()).unwrap();
///         assert_eq!(connection.recv().unwrap(), 17);
///     });
///     let connection = listener.accept::<usize, String>().unwrap();
///     let text = connection.recv().unwrap();
///     connection.send(text.len()).unwrap();
/// });
/// # Ok::<(), tasuki::Error>(())
/// ```
///
/// **Strangers.** Whoever can reach the address can connect; give a key, unless the address is a socket file in a
/// folder that only you can enter. A stranger that is silent, sends garbage or stops midway delays nobody, and is sent
/// away after 20 seconds. The key keeps strangers out, but what follows is neither encrypted nor signed: between
/// machines use a tunnel. Set [`max_message`](ListenerBuilder::max_message) and
/// [`message_timeout`](ListenerBuilder::message_timeout) where those who have the key may still misbehave.
///
/// Handshakes proceed while a thread is in `accept`. Dropping the listener removes its socket file, if it has one.
pub struct Listener {
    raw: RawListener,
}

impl Listener {
    /// Listens at an address and lets everybody in.
    ///
    /// # Errors
    /// When the system refuses, because somebody listens there already, for example.
    pub fn bind(address: impl Into<Address>) -> Result<Listener, Error> {
        Listener::builder().bind(address)
    }

    /// A listener with a key or other settings.
    pub fn builder() -> ListenerBuilder {
        ListenerBuilder { options: ListenerOptions::default() }
    }

    /// Where it listens, with the port or name that the system chose.
    pub fn address(&self) -> &Address {
        self.raw.address()
    }

    /// Waits for the next peer that proves the key. The connection sends `S` and receives `R`.
    ///
    /// # Errors
    /// When a peer has another key ([`is_authentication`](ConnectError::is_authentication)): that is about this one
    /// peer, so go on. When this process has no descriptor left.
    pub fn accept<S, R>(&self) -> Result<Connection<S, R>, ConnectError> {
        self.accept_within(&mut Wait::forever())
    }

    /// Takes the next peer if one has proved the key by now.
    ///
    /// # Errors
    /// As `accept`, and [`is_timeout`](ConnectError::is_timeout).
    pub fn try_accept<S, R>(&self) -> Result<Connection<S, R>, ConnectError> {
        self.accept_within(&mut Wait::now())
    }

    /// Waits for the next peer at most for `timeout`. A handshake that is not finished then goes on in the next call.
    ///
    /// # Errors
    /// As `accept`, and [`is_timeout`](ConnectError::is_timeout).
    pub fn accept_timeout<S, R>(
        &self,
        timeout: Duration,
    ) -> Result<Connection<S, R>, ConnectError> {
        self.accept_within(&mut Wait::timeout(timeout))
    }

    fn accept_within<S, R>(&self, wait: &mut Wait<'_>) -> Result<Connection<S, R>, ConnectError> {
        let (stream, _peer) = self.raw.accept(wait)?;
        Ok(Connection::over(Transport::Stream(Arc::new(stream))))
    }
}

/// Readable when somebody connects. Handshakes that are in progress do not show, so call `try_accept` now and then.
impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.raw.descriptor()
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("address", self.address()).finish_non_exhaustive()
    }
}

/// Settings of a listener to be made; see [`Listener::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ListenerBuilder {
    options: ListenerOptions,
}

impl ListenerBuilder {
    /// The key that both ends prove to each other; without one everybody is let in.
    ///
    /// Not an empty one, which a Python listener before 3.13 takes for none.
    pub fn authkey(mut self, key: impl AsRef<[u8]>) -> Self {
        self.options.authkey = Some(AuthKey::from(key));
        self
    }

    /// How many connections the system keeps while nobody accepts: 128 unless set.
    pub fn backlog(mut self, connections: u16) -> Self {
        self.options.backlog = connections.into();
        self
    }

    /// Most time for a peer to prove the key: 20 seconds unless set.
    pub fn handshake_timeout(mut self, time: Duration) -> Self {
        self.options.handshake_timeout = Some(time);
        self
    }

    /// Most bytes of a message that a peer may send. A longer one is an error of its `recv`, and none of it is read.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.options.limits.max_message = Some(bytes as u64);
        self
    }

    /// Most time between the first and the last byte of a message, in both directions. A peer that takes longer costs
    /// its connection.
    pub fn message_timeout(mut self, time: Duration) -> Self {
        self.options.limits.message_timeout = Some(time);
        self
    }

    /// Listens.
    ///
    /// # Errors
    /// When the system refuses, because somebody listens there already, for example.
    pub fn bind(self, address: impl Into<Address>) -> Result<Listener, Error> {
        Ok(Listener { raw: RawListener::bind(&address.into(), self.options)? })
    }
}
