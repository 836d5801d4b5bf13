//! Where a socket listens, in the forms that the kernel and people have for it.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::net::{AddressFamily, SocketAddrAny, SocketAddrUnix};

/// Where a listener is to be found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// A socket in the file system, of this machine; who may connect is a matter of the file's and its folders'
    /// permissions.
    Path(PathBuf),
    /// A name that only the kernel knows, without the NUL in front of it. Every process of this machine may connect.
    Abstract(Vec<u8>),
    /// A port of this or another machine. Port 0 is any free one.
    Inet(SocketAddr),
    /// A port of a machine by name, which is looked up when the address is used.
    Host(String, u16),
    /// No name: as a listener's address, an abstract one that the kernel picks; as a peer's, somebody of this machine.
    Unnamed,
}

impl Address {
    /// The addresses that may be meant, in the order in which they are to be tried.
    pub(super) fn resolve(&self) -> io::Result<Vec<Resolved>> {
        Ok(vec![match self {
            Address::Path(path) => Resolved::Unix(SocketAddrUnix::new(path)?),
            Address::Abstract(name) => Resolved::Unix(SocketAddrUnix::new_abstract_name(name)?),
            Address::Unnamed => Resolved::Unix(SocketAddrUnix::new_unnamed()),
            Address::Inet(address) => Resolved::Inet(*address),
            Address::Host(host, port) => {
                let mut found: Vec<_> = (host.as_str(), *port).to_socket_addrs()?.collect();
                // What the standard library listens on.
                found.sort_by_key(|address| !address.is_ipv4());
                return Ok(found.into_iter().map(Resolved::Inet).collect());
            }
        }])
    }

    pub(super) fn of(address: SocketAddrAny) -> Address {
        if let Ok(inet) = SocketAddr::try_from(address.clone()) {
            return Address::Inet(inet);
        }
        let Ok(unix) = SocketAddrUnix::try_from(address) else { return Address::Unnamed };
        if let Some(name) = unix.abstract_name() {
            return Address::Abstract(name.to_vec());
        }
        match unix.path_bytes() {
            Some(path) => Address::Path(OsStr::from_bytes(path).into()),
            None => Address::Unnamed,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Path(path) => path.display().fmt(f),
            Address::Abstract(name) => write!(f, "@{}", name.escape_ascii()),
            Address::Inet(address) => address.fmt(f),
            Address::Host(host, port) => write!(f, "{host}:{port}"),
            Address::Unnamed => f.write_str("a socket without a name"),
        }
    }
}

/// An address as the kernel wants it.
#[derive(Clone, Debug)]
pub(super) enum Resolved {
    Unix(SocketAddrUnix),
    Inet(SocketAddr),
}

impl Resolved {
    pub(super) fn family(&self) -> AddressFamily {
        match self {
            Resolved::Unix(_) => AddressFamily::UNIX,
            Resolved::Inet(SocketAddr::V4(_)) => AddressFamily::INET,
            Resolved::Inet(SocketAddr::V6(_)) => AddressFamily::INET6,
        }
    }

    /// Calls the system with whatever this is.
    pub(super) fn kernel(&self) -> SocketAddrAny {
        match self {
            Resolved::Unix(unix) => unix.clone().into(),
            Resolved::Inet(inet) => (*inet).into(),
        }
    }
}
