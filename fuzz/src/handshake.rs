//! Two ends of a handshake and somebody in the middle, who passes on, cuts, changes and invents.

use tasuki::protocol::frame::header;
use tasuki::protocol::handshake::{Handshake, Side};

/// An end, and what is on the way to it.
struct End {
    handshake: Handshake,
    coming: Vec<u8>,
    failed: bool,
}

impl End {
    fn new(side: Side, key: &[u8]) -> End {
        let handshake = Handshake::new(side, key, [side as u8; 40]);
        End { handshake, coming: Vec::new(), failed: false }
    }

    /// What it wants to say, up to some length.
    fn says(&mut self, most: usize) -> Vec<u8> {
        let said = self.handshake.outgoing();
        let said = said[..said.len().min(most)].to_vec();
        self.handshake.sent(said.len());
        said
    }

    /// Hears what is on the way, up to some length and what it wants.
    fn hears(&mut self, most: usize) {
        let wanted = self.handshake.wanted();
        assert!(wanted <= 256, "no message of the handshake is longer");
        let count = most.min(self.coming.len()).min(wanted);
        let heard: Vec<u8> = self.coming.drain(..count).collect();
        match self.handshake.feed(&heard) {
            Ok(taken) => assert_eq!(taken, heard.len(), "it wanted no more than it takes"),
            Err(_) => self.failed = true,
        }
        if self.failed {
            assert_eq!(self.handshake.wanted(), 0, "a failed one wants nothing more");
            assert!(!self.handshake.is_done());
        }
    }
}

/// The first byte says whether both have the same key, the rest what the one in the middle does.
///
/// # Panics
///
/// When a promise is broken: an end without the key gets through, or two with the same key do not though nobody
/// disturbs them.
pub fn meddle(data: &[u8]) {
    let Some((&choice, script)) = data.split_first() else { return };
    let same_key = choice % 2 == 0;
    let their_key: &[u8] = if same_key { b"the key" } else { b"another" };
    let mut ends = [End::new(Side::Listener, b"the key"), End::new(Side::Client, their_key)];
    let mut disturbed = false;
    let mut script = script.iter().copied();
    for _ in 0..400 {
        let Some(step) = script.next() else { break };
        let mut next = || usize::from(script.next().unwrap_or(0));
        let one = usize::from(step & 1);
        match step / 2 % 8 {
            0..=2 => {
                let said = ends[one].says(next());
                ends[1 - one].coming.extend(said);
            }
            3 | 4 => ends[one].hears(next()),
            5 => {
                let (at, mask) = (next(), next() as u8);
                if let Some(byte) = ends[one].coming.get_mut(at) {
                    *byte ^= mask;
                    disturbed |= mask != 0;
                }
            }
            6 => {
                let invented: Vec<u8> = (0..next() % 64).map(|_| next() as u8).collect();
                disturbed |= !invented.is_empty();
                ends[one].coming.extend(invented);
            }
            _ => {
                // Something that is known to everybody, or that the other end just said.
                let known: [&[u8]; 4] =
                    [b"#WELCOME#", b"#FAILURE#", b"#CHALLENGE#01234567890123456789", b""];
                let message = match next() % 5 {
                    4 => ends[one].says(usize::MAX),
                    known_one => {
                        let message = known[known_one];
                        [header(message.len() as u64).as_bytes(), message].concat()
                    }
                };
                disturbed |= !message.is_empty();
                ends[one].coming.extend(message);
            }
        }
    }
    // From here on they are left alone.
    for _ in 0..20 {
        for one in 0..2 {
            let said = ends[one].says(usize::MAX);
            ends[1 - one].coming.extend(said);
            while ends[one].handshake.wanted() > 0 && !ends[one].coming.is_empty() {
                ends[one].hears(usize::MAX);
            }
        }
    }
    for end in &ends {
        let done = end.handshake.is_done();
        assert!(!done || same_key, "somebody without the key got through");
        assert!(done || disturbed || !same_key, "two with the same key did not get through");
    }
}
