//! Who died: what survivors are told, and how it is kept in shared memory for those who ask later.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Shared;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Bytes of a process's name that are kept; longer names are cut.
pub(crate) const NAME: usize = 24;

/// The name of a process, as it is kept in shared memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProcessName([u8; NAME]);

impl ProcessName {
    pub(crate) const EMPTY: ProcessName = ProcessName([0; NAME]);

    /// As much of the name as fits, in whole characters.
    pub(crate) fn new(name: &str) -> ProcessName {
        let mut bytes = [0; NAME];
        let mut len = 0;
        for (at, c) in name.char_indices() {
            if at + c.len_utf8() > NAME || c == '\0' {
                break;
            }
            len = at + c.len_utf8();
        }
        bytes[..len].copy_from_slice(&name.as_bytes()[..len]);
        ProcessName(bytes)
    }

    /// The name in shared words, up to where a broken peer made it no text.
    pub(crate) fn read(words: &[AtomicU64; NAME / 8]) -> ProcessName {
        let mut bytes = [0; NAME];
        for (word, part) in words.iter().zip(bytes.chunks_exact_mut(8)) {
            part.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
        }
        let valid = match std::str::from_utf8(&bytes) {
            Ok(_) => NAME,
            Err(error) => error.valid_up_to(),
        };
        bytes[valid..].fill(0);
        ProcessName(bytes)
    }

    pub(crate) fn write(self, words: &[AtomicU64; NAME / 8]) {
        for (word, part) in words.iter().zip(self.0.chunks_exact(8)) {
            let part = part.try_into().expect("chunks of eight");
            word.store(u64::from_ne_bytes(part), Ordering::Relaxed);
        }
    }

    fn as_str(&self) -> &str {
        let text = std::str::from_utf8(&self.0).unwrap_or_default();
        text.split('\0').next().unwrap_or_default()
    }
}

/// A process that ended with something in its hands, as far as the survivors can tell.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Death {
    pub(crate) pid: u32,
    pub(crate) name: ProcessName,
    pub(crate) left: bool,
    pub(crate) noticed: u64,
}

impl Death {
    /// A death noticed now, of somebody of whom only the pid is known, or not even that (0).
    pub(crate) fn of_pid(pid: u32) -> Death {
        let noticed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let noticed = noticed.as_millis() as u64;
        Death { pid, name: ProcessName::EMPTY, left: false, noticed }
    }

    /// The process id; 0 when nobody can tell any more.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The name of the process, cut to 24 bytes; empty when it is not known.
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// When a survivor noticed it, which is at most about half a second after the death if anybody was waiting.
    pub fn noticed(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.noticed)
    }

    /// Whether it ended by itself, without giving back what it held, rather than being killed.
    pub fn left_normally(&self) -> bool {
        self.left
    }
}

impl fmt::Debug for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Death")
            .field("pid", &self.pid)
            .field("name", &self.name())
            .field("left_normally", &self.left)
            .finish_non_exhaustive()
    }
}

/// "process 12 (Worker-1) died", the beginning of a sentence.
impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.pid, self.name()) {
            (0, _) => f.write_str("a process")?,
            (pid, "") => write!(f, "process {pid}")?,
            (pid, name) => write!(f, "process {pid} ({name})")?,
        }
        f.write_str(if self.left { " ended" } else { " died" })
    }
}

/// The last death that an object noticed, in shared memory. Written by whoever holds the object's lock; who reads
/// meanwhile may see parts of two.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct DeathWords {
    pid: AtomicU32,
    how: AtomicU32,
    noticed: AtomicU64,
    name: [AtomicU64; NAME / 8],
}

// SAFETY: atomics only.
unsafe impl Shared for DeathWords {}

const NOTED: u32 = 1;
const LEFT: u32 = 2;

impl DeathWords {
    #[cfg(loom)]
    pub(crate) fn new() -> DeathWords {
        DeathWords {
            pid: AtomicU32::new(0),
            how: AtomicU32::new(0),
            noticed: AtomicU64::new(0),
            name: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    pub(crate) fn note(&self, death: &Death) {
        self.pid.store(death.pid, Ordering::Relaxed);
        self.noticed.store(death.noticed, Ordering::Relaxed);
        death.name.write(&self.name);
        self.how.store(NOTED | if death.left { LEFT } else { 0 }, Ordering::Relaxed);
    }

    /// The noted death, None after `clear`.
    pub(crate) fn read(&self) -> Option<Death> {
        let how = self.how.load(Ordering::Relaxed);
        (how & NOTED != 0).then(|| Death {
            pid: self.pid.load(Ordering::Relaxed),
            name: ProcessName::read(&self.name),
            left: how & LEFT != 0,
            noticed: self.noticed.load(Ordering::Relaxed),
        })
    }

    #[inline]
    pub(crate) fn is_noted(&self) -> bool {
        self.how.load(Ordering::Relaxed) & NOTED != 0
    }

    pub(crate) fn clear(&self) {
        self.how.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_between_characters() {
        assert_eq!(ProcessName::new("Worker-1").as_str(), "Worker-1");
        assert_eq!(ProcessName::new(&"x".repeat(30)).as_str(), "x".repeat(NAME));
        assert_eq!(ProcessName::new(&"襷".repeat(30)).as_str(), "襷".repeat(NAME / 3));
        assert_eq!(ProcessName::new(&format!("a{}", "é".repeat(20))).as_str().len(), NAME - 1);
        assert_eq!(ProcessName::new("a\0b").as_str(), "a");
    }

    #[test]
    fn a_name_that_is_no_text_ends_where_it_stops_being_one() {
        let words = [const { AtomicU64::new(u64::from_ne_bytes(*b"ab\xffcdefg")) }; NAME / 8];
        assert_eq!(ProcessName::read(&words).as_str(), "ab");
    }
}
