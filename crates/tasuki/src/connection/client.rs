//! Connecting to a listener.

use std::sync::Arc;
use std::time::Duration;

use super::address::Address;
use super::error::ConnectError;
use super::{Connection, Transport};
use crate::raw::Wait;
use crate::raw::connection::{AuthKey, ClientOptions, connect};

/// Makes connections to a [`Listener`](super::Listener), or to one of Python's `multiprocessing.connection`.
///
/// ```no_run
/// use tasuki::connection::Client;
///
/// let connection = Client::builder().authkey("a secret").connect::<String, u64>(("localhost", 6000))?;
/// # Ok::<(), tasuki::connection::ConnectError>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Client {}

impl Client {
    /// Connects to a listener that has no key. The connection sends `S` and receives `R`.
    ///
    /// # Errors
    /// When nobody listens there, or the system refuses.
    pub fn connect<S, R>(address: impl Into<Address>) -> Result<Connection<S, R>, ConnectError> {
        Client::builder().connect(address)
    }

    /// A connection with a key or other settings.
    pub fn builder() -> ClientBuilder {
        ClientBuilder { options: ClientOptions::default() }
    }
}

/// Settings of connections to be made; see [`Client::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ClientBuilder {
    options: ClientOptions,
}

impl ClientBuilder {
    /// The key that both ends prove to each other.
    ///
    /// With a key, a listener that has none is waited for; see [`handshake_timeout`](ClientBuilder::handshake_timeout).
    pub fn authkey(mut self, key: impl AsRef<[u8]>) -> Self {
        self.options.authkey = Some(AuthKey::from(key));
        self
    }

    /// Most time for the listener to prove the key: without limit unless set, since it may be busy.
    pub fn handshake_timeout(mut self, time: Duration) -> Self {
        self.options.handshake_timeout = Some(time);
        self
    }

    /// Most bytes of a message that the listener may send. A longer one is an error of `recv`, and none of it is read.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.options.limits.max_message = Some(bytes as u64);
        self
    }

    /// Most time between the first and the last byte of a message, in both directions.
    pub fn message_timeout(mut self, time: Duration) -> Self {
        self.options.limits.message_timeout = Some(time);
        self
    }

    /// Connects, and proves the key. The connection sends `S` and receives `R`.
    ///
    /// # Errors
    /// When nobody listens there, the system refuses, or the two have different keys.
    pub fn connect<S, R>(
        &self,
        address: impl Into<Address>,
    ) -> Result<Connection<S, R>, ConnectError> {
        self.connect_within(address.into(), &mut Wait::forever())
    }

    /// As `connect`, all of it at most for `timeout`.
    ///
    /// # Errors
    /// As `connect`, and [`is_timeout`](ConnectError::is_timeout).
    pub fn connect_timeout<S, R>(
        &self,
        address: impl Into<Address>,
        timeout: Duration,
    ) -> Result<Connection<S, R>, ConnectError> {
        self.connect_within(address.into(), &mut Wait::timeout(timeout))
    }

    fn connect_within<S, R>(
        &self,
        address: Address,
        wait: &mut Wait<'_>,
    ) -> Result<Connection<S, R>, ConnectError> {
        let stream = connect(&address, &self.options, wait)?;
        Ok(Connection::over(Transport::Stream(Arc::new(stream))))
    }
}
