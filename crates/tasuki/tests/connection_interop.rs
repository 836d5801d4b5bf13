//! The standard library's `multiprocessing.connection` at the other end, in both roles, with right and wrong keys.
//!
//! Runs with every interpreter of `TASUKI_STOCK_PYTHONS` (separated by colons), or with python3.11, python3.12,
//! python3.13 and python3 as found on PATH. Without any there is no peer, and the tests say so and pass.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use tasuki::raw::Wait;
use tasuki::raw::connection::{
    Address, ClientOptions, ConnectFailure, ListenerOptions, RawListener, RawStream, StreamError,
    connect,
};

mod support;
use support::watchdog;

/// Interpreters by their version, each version once.
static PYTHONS: LazyLock<BTreeMap<String, PathBuf>> = LazyLock::new(|| {
    let named = std::env::var_os("TASUKI_STOCK_PYTHONS");
    let candidates: Vec<PathBuf> = match &named {
        Some(paths) => std::env::split_paths(paths).collect(),
        None => ["python3.11", "python3.12", "python3.13", "python3"].map(PathBuf::from).into(),
    };
    let mut found = BTreeMap::new();
    for python in candidates {
        let version = Command::new(&python)
            .args([
                "-c",
                "import sys, multiprocessing.connection; print('%d.%d' % sys.version_info[:2])",
            ])
            .output()
            .ok()
            .filter(|run| run.status.success())
            .map(|run| String::from_utf8(run.stdout).unwrap().trim().to_owned());
        match version {
            Some(version) => {
                found.entry(version).or_insert(python);
            }
            // On PATH a name may be missing; what was asked for by name may not.
            None => assert!(named.is_none(), "{} does not run", python.display()),
        }
    }
    found
});

/// Runs `test` with each interpreter.
fn with_each_python(test: impl Fn(&Path)) {
    let _watchdog = watchdog();
    if PYTHONS.is_empty() {
        eprintln!(
            "skipped: no CPython on PATH nor in TASUKI_STOCK_PYTHONS, so there is no stock peer"
        );
    }
    for (version, python) in PYTHONS.iter() {
        eprintln!("with CPython {version}");
        test(python);
    }
}

/// A stock peer; killed when dropped, and it ends by itself when this process does.
struct Peer {
    process: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Peer {
    fn start(python: &Path, role: &str, family: &str, address: &str, key: Option<&str>) -> Peer {
        let hex = key
            .map_or("-".to_owned(), |key| key.bytes().map(|byte| format!("{byte:02x}")).collect());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/stock.py");
        let mut process = Command::new(python)
            .arg(script)
            .args([role, family, address, &hex])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Peer { process, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().expect("another line").unwrap()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A path for a socket file in a folder that goes away with this.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = format!("tasuki-{name}-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        std::fs::create_dir(&folder).unwrap();
        Folder(folder)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("socket")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Longer than a block of any digest. (No empty one: listeners before 3.13 take that for none.)
const LONG_KEY: &str = concat!(
    "a key that is longer than one block of each of the digests with which a proof can be made, of which ",
    "that of sha3_256 has the longest block, namely one hundred and thirty-six bytes"
);

const FAMILIES: [&str; 3] = ["AF_UNIX", "AF_INET", "abstract"];

/// Where to listen, for each family.
fn place(family: &str, folder: &Folder) -> Address {
    match family {
        "AF_UNIX" => Address::Path(folder.socket()),
        "AF_INET" => Address::Inet(([127, 0, 0, 1], 0).into()),
        _ => Address::Abstract(folder.0.file_name().unwrap().as_encoded_bytes().to_vec()),
    }
}

fn listen(address: &Address, key: Option<&str>) -> RawListener {
    let authkey = key.map(Into::into);
    RawListener::bind(address, ListenerOptions { authkey, ..Default::default() }).unwrap()
}

/// A stock client of our listener, and what our side made of it.
fn accept_from(
    python: &Path,
    family: &str,
    [ours, theirs]: [Option<&str>; 2],
) -> (Result<RawStream, ConnectFailure>, Peer, Folder) {
    let folder = Folder::new("accept");
    let listener = listen(&place(family, &folder), ours);
    let (stock_family, address) = match listener.address() {
        Address::Inet(_) => ("AF_INET", listener.address().to_string()),
        address => ("AF_UNIX", address.to_string()),
    };
    let peer = Peer::start(python, "connect", stock_family, &address, theirs);
    let accepted = listener.accept(&mut Wait::forever());
    (accepted.map(|(stream, _)| stream), peer, folder)
}

/// A stock listener, and what our client made of it.
fn connect_to(
    python: &Path,
    family: &str,
    [ours, theirs]: [Option<&str>; 2],
) -> (Result<RawStream, ConnectFailure>, Peer, Folder) {
    let folder = Folder::new("connect");
    let mut address = place(family, &folder);
    let stock_family = if family == "AF_INET" { "AF_INET" } else { "AF_UNIX" };
    let mut peer = Peer::start(python, "listen", stock_family, &address.to_string(), theirs);
    let port = peer.line().parse().unwrap();
    if let Address::Inet(inet) = &mut address {
        inet.set_port(port);
    }
    let options = ClientOptions { authkey: ours.map(Into::into), ..Default::default() };
    (connect(&address, &options, &mut Wait::forever()), peer, folder)
}

type Meet = fn(&Path, &str, [Option<&str>; 2]) -> (Result<RawStream, ConnectFailure>, Peer, Folder);

const ROLES: [Meet; 2] = [accept_from, connect_to];

#[test]
fn messages_go_to_and_fro_with_and_without_a_key() {
    with_each_python(|python| {
        for meet in ROLES {
            for family in FAMILIES {
                for key in [None, Some("secret"), Some(LONG_KEY)] {
                    let (stream, mut peer, _folder) = meet(python, family, [key, key]);
                    let stream = stream.unwrap();
                    assert_eq!(peer.line(), "connected", "{family} {key:?}");
                    let mut echo = Vec::new();
                    for size in [0, 1, 3, 4, 255, 16_384, 16_385, 1 << 20] {
                        let message: Vec<u8> =
                            (0..size).map(|i: u32| ((i * 7) >> 3) as u8).collect();
                        stream.send(&[&message], &mut Wait::forever()).unwrap();
                        stream.recv(&mut echo, None, &mut Wait::forever()).unwrap();
                        assert!(echo.iter().eq(message.iter().rev()), "{size}");
                    }
                    drop(stream);
                    assert_eq!(peer.line(), "EOFError");
                }
            }
        }
    });
}

#[test]
fn the_end_of_a_stock_peer_is_the_end() {
    with_each_python(|python| {
        for meet in ROLES {
            let (stream, mut peer, _folder) = meet(python, "AF_UNIX", [Some("k"), Some("k")]);
            let stream = stream.unwrap();
            assert_eq!(peer.line(), "connected");
            drop(peer);
            let ended = stream.recv(&mut Vec::new(), None, &mut Wait::forever()).unwrap_err();
            assert!(matches!(ended, StreamError::Closed), "{ended}");
            assert!(stream.send(&[b"x"], &mut Wait::forever()).unwrap_err().is_disconnected());
        }
    });
}

#[test]
fn a_wrong_key_is_an_authentication_error_at_both_ends() {
    with_each_python(|python| {
        for meet in ROLES {
            for family in FAMILIES {
                for keys in [["ours", "theirs"], [LONG_KEY, "theirs"], ["", "theirs"]] {
                    let (refused, mut peer, _folder) = meet(python, family, keys.map(Some));
                    let refused = refused.unwrap_err();
                    assert!(refused.is_authentication(), "{family} {keys:?}: {refused}");
                    assert_eq!(peer.line(), "AuthenticationError", "{family} {keys:?}");
                }
            }
        }
    });
}

#[test]
fn a_listener_goes_on_after_a_stock_client_with_a_wrong_key() {
    with_each_python(|python| {
        let folder = Folder::new("goes-on");
        let listener = listen(&Address::Path(folder.socket()), Some("right"));
        let address = listener.address().to_string();
        let mut wrong = Peer::start(python, "connect", "AF_UNIX", &address, Some("wrong"));
        let refused = listener.accept(&mut Wait::forever()).unwrap_err();
        assert!(refused.is_authentication());
        assert_eq!(wrong.line(), "AuthenticationError");
        let mut right = Peer::start(python, "connect", "AF_UNIX", &address, Some("right"));
        listener.accept(&mut Wait::forever()).unwrap();
        assert_eq!(right.line(), "connected");
    });
}

#[test]
fn a_client_without_a_key_is_not_let_in() {
    with_each_python(|python| {
        let folder = Folder::new("no-key");
        let listener = listen(&Address::Path(folder.socket()), Some("key"));
        let address = listener.address().to_string();
        // It takes our question for a message and sends it back.
        let _without = Peer::start(python, "connect", "AF_UNIX", &address, None);
        let refused = listener.accept(&mut Wait::forever()).unwrap_err();
        assert!(refused.is_authentication(), "{refused}");
    });
}
