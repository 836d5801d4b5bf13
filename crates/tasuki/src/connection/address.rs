//! Where a listener is to be found; what converts into it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub use crate::raw::connection::Address;

impl From<&Path> for Address {
    fn from(path: &Path) -> Address {
        Address::Path(path.into())
    }
}

impl From<PathBuf> for Address {
    fn from(path: PathBuf) -> Address {
        Address::Path(path)
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        Address::Inet(address)
    }
}

impl From<([u8; 4], u16)> for Address {
    fn from(address: ([u8; 4], u16)) -> Address {
        Address::Inet(address.into())
    }
}

impl From<(&str, u16)> for Address {
    fn from((host, port): (&str, u16)) -> Address {
        Address::Host(host.into(), port)
    }
}

impl From<&Address> for Address {
    fn from(address: &Address) -> Address {
        address.clone()
    }
}
