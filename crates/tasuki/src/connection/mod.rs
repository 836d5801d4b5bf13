//! Connections: two ends that send each other messages, each knowing whether anybody is at the other one.
//!
//! [`pipe`] makes both ends at once, in shared memory, to be handed to processes. [`Listener`] and [`Client`] meet at
//! an address, in programs that know nothing else of each other, and speak the standard library's wire. `transport` is
//! what joins the ends, `error` what can go wrong.

mod address;
mod client;
mod error;
mod listener;
mod transport;

use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

pub use address::Address;
pub use client::{Client, ClientBuilder};
pub use error::{ConnectError, RecvError, SendError};
pub use listener::{Listener, ListenerBuilder};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::Error;
use crate::protocol::codec::{Codec, Message};
use crate::raw::connection::Mode;
use crate::raw::{RawConnection, RawHandle, TransportFailure, Wait};
use crate::{encoded, raw};
use error::{RecvReason, SendReason};
pub(crate) use transport::Transport;

/// Makes a pipe and gives its two ends. The first sends `A` and receives `B`, the second one the reverse.
///
/// ```
/// let (parent, child) = tasuki::pipe::<u64, String>()?;
/// std::thread::scope(|scope| {
///     scope.spawn(move || {
///         let number = child.recv().unwrap();
///         child.send(format!("{number} came")).unwrap();
///     });
///     parent.send(7).unwrap();
///     assert_eq!(parent.recv().unwrap(), "7 came");
///     // The other end was dropped.
///     assert!(parent.recv().unwrap_err().is_disconnected());
/// });
/// # Ok::<(), tasuki::Error>(())
/// ```
///
/// # Errors
/// When the system refuses memory or descriptors.
#[allow(clippy::type_complexity)] // two ends of two types each
pub fn pipe<A, B>() -> Result<(Connection<A, B>, Connection<B, A>), Error> {
    let (one, other) = RawConnection::pipe(Mode::Duplex)?;
    Ok((Connection::from_raw(one), Connection::from_raw(other)))
}

/// Makes a pipe in one direction: what is sent into the second end comes out of the first, as with [`std::io::pipe`].
///
/// ```
/// let (receiver, sender) = tasuki::connection::simplex()?;
/// sender.send(7_u64).unwrap();
/// assert_eq!(receiver.recv().unwrap(), 7);
/// # Ok::<(), tasuki::Error>(())
/// ```
///
/// # Errors
/// When the system refuses memory or descriptors.
#[allow(clippy::type_complexity)] // two ends, as `pipe` gives them
pub fn simplex<T>() -> Result<(Connection<Infallible, T>, Connection<T, Infallible>), Error> {
    let (receiver, sender) = RawConnection::pipe(Mode::Simplex)?;
    Ok((Connection::from_raw(receiver), Connection::from_raw(sender)))
}

/// One end of a connection: it sends `S` and receives `R`.
///
/// Ends are serde values: pass them as arguments of a [`Process`](crate::Process), or send them through a queue, a
/// channel or another connection. A clone, and an end that was sent, is another handle to the same end; the end is
/// there until the last one is dropped, in whatever process. So a process that hands its end on and keeps a handle
/// keeps the other end waiting.
///
/// - Messages arrive in order, whole or not at all, each at most once. What was sent and not yet received when the last
///   receiver goes is lost: a [`Queue`](crate::Queue) keeps it for the next one.
/// - When nobody has the other end, by drop or by kill, in any process or message, `recv` gives what is left and then
///   [`is_disconnected`](RecvError::is_disconnected), at once; `send` fails and gives the value back: at once if the
///   end was dropped, and within milliseconds, or half a second in a `send` that waits for room, if it was killed.
/// - A message may be larger than the pipe's buffer (64 KiB in each direction): both sides copy at once. `send` waits
///   when the buffer is full. Two processes that both send without receiving wait for each other.
///
/// The end of a connection over a socket differs in this: its messages have no type on the wire, so bytes (`Vec<u8>`)
/// are themselves, everything else is MessagePack, and handles inside are refused; and a message that has begun cannot
/// be taken back: when the time of a [`send_timeout`](Connection::send_timeout) or [`try_send`](Connection::try_send)
/// is over in the middle of one, this end can send no more, and says so.
pub struct Connection<S, R> {
    transport: Transport,
    messages: PhantomData<fn(S) -> R>,
}

impl<S, R> Connection<S, R> {
    fn from_raw(raw: RawConnection) -> Connection<S, R> {
        Connection::over(Transport::Pipe(raw))
    }

    fn over(transport: Transport) -> Connection<S, R> {
        Connection { transport, messages: PhantomData }
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.transport
    }

    /// Whether `recv` would not block, waiting for that at most for `timeout`: there is a message, or the end.
    ///
    /// # Errors
    /// When the memory of the connection was overwritten.
    pub fn poll(&self, timeout: Duration) -> Result<bool, Error> {
        let mut wait = if timeout.is_zero() { Wait::now() } else { Wait::timeout(timeout) };
        Ok(self.transport.poll(&mut wait)?)
    }

    /// Sends bytes as they are, whatever `S` is; Python's `recv_bytes` and [`recv_bytes`](Connection::recv_bytes)
    /// receive them.
    ///
    /// # Errors
    /// As [`send`](Connection::send).
    pub fn send_bytes(&self, bytes: &[u8]) -> Result<(), SendError<()>> {
        let sent = self.transport.send(Codec::Raw.tag(), bytes, &[], &mut Wait::forever());
        sent.map_err(|failure| SendError::new((), failure.into()))
    }

    /// Receives the bytes of the next message, whatever they are.
    ///
    /// # Errors
    /// As [`recv`](Connection::recv), but for the type.
    pub fn recv_bytes(&self) -> Result<Vec<u8>, RecvError> {
        let mut bytes = Vec::new();
        self.transport.recv(&mut bytes, &mut Vec::new(), &mut Wait::forever())?;
        Ok(bytes)
    }
}

impl<S: Message, R> Connection<S, R> {
    /// Sends a message, waiting for room.
    ///
    /// # Errors
    /// When nobody has the other end, or the value cannot be encoded. The error gives the value back.
    #[inline]
    pub fn send(&self, value: S) -> Result<(), SendError<S>> {
        self.send_within(value, &mut Wait::forever())
    }

    /// Sends a message if there is room for all of it now.
    ///
    /// # Errors
    /// As `send`, and [`is_full`](SendError::is_full): for a message larger than the buffer, always.
    #[inline]
    pub fn try_send(&self, value: S) -> Result<(), SendError<S>> {
        self.send_within(value, &mut Wait::now())
    }

    /// Sends a message, waiting for room at most for `timeout`.
    ///
    /// # Errors
    /// As `send`, and [`is_full`](SendError::is_full); then nobody receives it, not even a part.
    #[inline]
    pub fn send_timeout(&self, value: S, timeout: Duration) -> Result<(), SendError<S>> {
        self.send_within(value, &mut Wait::timeout(timeout))
    }

    #[inline]
    fn send_within(&self, value: S, wait: &mut Wait<'_>) -> Result<(), SendError<S>> {
        if let Transport::Stream(stream) = &self.transport {
            let sent = encoded::write_untagged(&value, |bytes| {
                Ok::<_, SendReason>(stream.send(&[bytes], wait).map_err(TransportFailure::from)?)
            });
            return sent.map_err(|reason| SendError::new(value, reason));
        }
        let sent = encoded::write(&value, self.transport.structured(), |codec, bytes, fds| {
            Ok::<_, SendReason>(self.transport.send(codec, bytes, fds, wait)?)
        });
        sent.map_err(|reason| SendError::new(value, reason))
    }
}

impl<S, R: Message> Connection<S, R> {
    /// Receives the next message, waiting for one.
    ///
    /// # Errors
    /// When there is none and nobody has the other end; or when the message is not an `R`: it is taken all the same.
    #[inline]
    pub fn recv(&self) -> Result<R, RecvError> {
        self.recv_within(&mut Wait::forever())
    }

    /// Receives the next message if there is one now.
    ///
    /// # Errors
    /// As `recv`, and [`is_empty`](RecvError::is_empty).
    #[inline]
    pub fn try_recv(&self) -> Result<R, RecvError> {
        self.recv_within(&mut Wait::now())
    }

    /// Receives the next message, waiting for one at most for `timeout`. A large message of which a part came within
    /// the time is not lost: the next call goes on with it.
    ///
    /// # Errors
    /// As `recv`, and [`is_empty`](RecvError::is_empty).
    #[inline]
    pub fn recv_timeout(&self, timeout: Duration) -> Result<R, RecvError> {
        self.recv_within(&mut Wait::timeout(timeout))
    }

    #[inline]
    fn recv_within(&self, wait: &mut Wait<'_>) -> Result<R, RecvError> {
        if let Transport::Stream(stream) = &self.transport {
            return encoded::read_untagged(|scratch| {
                Ok::<_, RecvReason>(
                    stream.recv(scratch, None, wait).map_err(TransportFailure::from)?,
                )
            })
            .map_err(RecvError::new);
        }
        encoded::read(|scratch, attachments| {
            Ok::<_, RecvReason>(self.transport.recv(scratch, &mut attachments.fds, wait)?)
        })
        .map_err(RecvError::new)
    }
}

impl<S, R> Clone for Connection<S, R> {
    fn clone(&self) -> Connection<S, R> {
        Connection { transport: self.transport.clone(), messages: PhantomData }
    }
}

impl<S, R> fmt::Debug for Connection<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("transport", &self.transport.name())
            .finish_non_exhaustive()
    }
}

impl<A, B> Serialize for Connection<A, B> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        raw::serde::serialize(serializer, |table| self.transport.record(table))
    }
}

impl<'de, A, B> Deserialize<'de> for Connection<A, B> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Connection<A, B>, D::Error> {
        raw::serde::deserialize(deserializer, |handle| match handle {
            RawHandle::Connection(raw) => Ok(Connection::from_raw(raw)),
            RawHandle::Stream(raw) => Ok(Connection::over(Transport::Stream(Arc::new(raw)))),
            other => Err(other.instead_of("a connection")),
        })
    }
}
