//! Connections without types: whole messages between two ends, over a socket.

mod authenticating;
mod client;
mod key;
mod listener;
mod stream;
mod turn;

pub use authenticating::ConnectFailure;
pub use client::{ClientOptions, connect};
pub use key::AuthKey;
pub use listener::{ListenerOptions, RawListener};
pub use stream::{RawStream, StreamError, StreamLimits};

pub use crate::sys::sockets::Address;
