//! A segment with nothing but a roster: who this process is, and who lives.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::error::Error;
use crate::sync::RobustLock;

/// # Safety
/// As the engine's: nothing is shared between processes here.
pub(crate) unsafe trait Shared {}
// SAFETY: as above; so are the next ones.
unsafe impl Shared for AtomicU32 {}
// SAFETY: as above.
unsafe impl Shared for AtomicU64 {}
// SAFETY: as above.
unsafe impl Shared for RobustLock {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token(u32);

impl Token {
    pub(crate) const MASK: u32 = 0x3fff_ffff;

    pub(crate) fn from_bits(bits: u32) -> Option<Token> {
        let bits = bits & Token::MASK;
        (bits != 0).then_some(Token(bits))
    }

    pub(crate) fn bits(self) -> u32 {
        self.0
    }

    pub(crate) fn row(self) -> usize {
        self.0 as usize - 1
    }
}

/// The roster's rows as far as anybody asks: a bit for each process that is dead.
#[derive(Clone)]
pub(crate) struct Dead(Arc<AtomicU32>);

impl Dead {
    pub(crate) fn nobody() -> Dead {
        Dead(Arc::new(AtomicU32::new(0)))
    }
}

/// What one process sees.
pub(crate) struct Segment {
    me: Token,
    dead: Dead,
}

impl Segment {
    /// Of the process with this number.
    pub(crate) fn of(process: u32, dead: &Dead) -> Segment {
        Segment { me: Token(process + 1), dead: dead.clone() }
    }

    pub(crate) fn my_row(&self) -> Result<Token, Error> {
        Ok(self.me)
    }

    pub(crate) fn known_row(&self) -> Option<Token> {
        Some(self.me)
    }

    pub(crate) fn known_pid(&self) -> u32 {
        self.me.bits()
    }

    pub(crate) fn roster(&self) -> Roster<'_> {
        Roster(self)
    }

    /// This process is dead from here on.
    pub(crate) fn die(&self) {
        self.dead.0.fetch_or(1 << self.me.row(), Ordering::SeqCst);
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Roster<'a>(&'a Segment);

impl Roster<'_> {
    pub(crate) fn is_alive(self, token: Token) -> bool {
        self.0.dead.0.load(Ordering::SeqCst) & (1 << token.row()) == 0
    }

    /// A process that dies in a model was killed.
    pub(crate) fn has_left(self, token: Token) -> Option<bool> {
        Some(self.is_alive(token))
    }

    pub(crate) fn death_of(self, token: Token, _known_pid: u32) -> death::Death {
        death::Death(token.bits())
    }
}

pub(crate) mod death {
    use loom::sync::atomic::{AtomicU32, Ordering};

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Death(pub(crate) u32);

    impl Death {
        pub(crate) fn of_pid(pid: u32) -> Death {
            Death(pid)
        }

        pub(crate) fn pid(self) -> u32 {
            self.0
        }
    }

    impl std::fmt::Display for Death {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "process {} died", self.0)
        }
    }

    #[derive(Debug)]
    pub(crate) struct DeathWords(AtomicU32);

    impl DeathWords {
        pub(crate) fn new() -> DeathWords {
            DeathWords(AtomicU32::new(0))
        }

        pub(crate) fn note(&self, death: &Death) {
            self.0.store(death.0, Ordering::Relaxed);
        }

        pub(crate) fn read(&self) -> Option<Death> {
            let noted = self.0.load(Ordering::Relaxed);
            (noted != 0).then_some(Death(noted))
        }

        pub(crate) fn is_noted(&self) -> bool {
            self.0.load(Ordering::Relaxed) != 0
        }

        pub(crate) fn clear(&self) {
            self.0.store(0, Ordering::Relaxed);
        }
    }
}
