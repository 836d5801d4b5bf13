//! ipc-channel: sockets, values encoded by serde.

use ipc_channel::ipc::{IpcReceiver, IpcSender, channel};

use super::{End, Link};

/// A typed channel for each direction.
pub struct Channels;

impl Link for Channels {
    type Half = (IpcSender<u64>, IpcReceiver<u64>);

    fn halves() -> [Self::Half; 2] {
        let (ask, questions) = channel().unwrap();
        let (reply, answers) = channel().unwrap();
        [(ask, answers), (reply, questions)]
    }

    fn open(half: Self::Half) -> impl End {
        half
    }
}

impl End for (IpcSender<u64>, IpcReceiver<u64>) {
    fn send(&mut self, number: u64) {
        self.0.send(number).unwrap();
    }

    fn receive(&mut self) -> u64 {
        self.1.recv().unwrap()
    }
}
