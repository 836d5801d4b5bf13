//! Making a connection to a listener, ours or the standard library's.

use std::os::fd::AsFd;
use std::time::Duration;

use super::authenticating::{Authenticating, ConnectFailure, Step};
use super::key::AuthKey;
use super::stream::{RawStream, StreamLimits};
use crate::protocol::handshake::Side;
use crate::sync::Wait;
use crate::sys::sockets::{self, Address, Connecting};

/// How to connect; see [`connect`].
#[derive(Clone, Debug, Default)]
pub struct ClientOptions {
    /// The key that both ends prove to each other; `None` when the listener asks for none.
    pub authkey: Option<AuthKey>,
    /// Most time for the handshake. `None`, as the standard library has it, waits for a listener that is busy.
    pub handshake_timeout: Option<Duration>,
    /// What the listener may do on the connection.
    pub limits: StreamLimits,
}

/// Connects to the listener at `address`, and proves the key.
///
/// Looking up the name of a machine cannot be called off.
pub fn connect(
    address: &Address,
    options: &ClientOptions,
    wait: &mut Wait<'_>,
) -> Result<RawStream, ConnectFailure> {
    let connect = || ConnectFailure::os("connect");
    let mut connecting = Connecting::to(address).map_err(connect())?;
    // A call without time still gets what is there at once.
    let mut time = Duration::from_millis(1);
    let socket = loop {
        if let Some(socket) = connecting.go_on(time).map_err(connect())? {
            break socket;
        }
        time = wait.slice().map_err(ConnectFailure::gave_up)?;
    };
    let Some(key) = &options.authkey else {
        return Ok(RawStream::new(socket, options.limits));
    };
    let mut pending =
        Authenticating::begin(socket, Side::Client, key.as_bytes(), options.handshake_timeout)
            .map_err(ConnectFailure::os("get random bytes"))?;
    loop {
        let Step::Waits(ready) = pending.go_on()? else {
            return Ok(RawStream::new(pending.socket, options.limits));
        };
        let mut time = wait.slice().map_err(ConnectFailure::gave_up)?;
        if let Some(left) = pending.time_left() {
            if left.is_zero() {
                return Err(pending.too_slow());
            }
            time = time.min(left);
        }
        sockets::wait(pending.socket.as_fd(), ready, time)
            .map_err(ConnectFailure::os("wait for the listener"))?;
    }
}
