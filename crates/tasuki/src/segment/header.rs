//! The first page of a segment: what it is, for whom, and how one knows that it is whole.

use std::fmt;

use super::{Shape, Shared, payload, pieces, roster};
use crate::error::Error;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::sys::{identity, random};

const MAGIC: u64 = u64::from_le_bytes(*b"tasuki\0\x01");
/// Changes whenever any layout changes: programs with different numbers do not share memory.
const VERSION: u32 = 4;

/// What a segment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One queue.
    Queue = 1,
    /// Many small objects: locks and values.
    Arena = 2,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Queue => "queue",
            Kind::Arena => "arena",
        }
    }

    /// How much of it a process maps from the start, if it can become, or is by now, `len` bytes long: all of what does
    /// not grow. The file has that from the start, too.
    pub(super) fn core_len(self, len: usize) -> usize {
        match self {
            Kind::Queue => len.min(pieces::CORE),
            Kind::Arena => len,
        }
    }
}

/// A segment's name in handles: random, so that two segments never share one, on any machine.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct SegmentId(pub(crate) [u8; 16]);

impl SegmentId {
    pub(crate) fn random() -> Result<SegmentId, Error> {
        random::bytes().map(SegmentId).map_err(|e| Error::os("get random bytes", e))
    }
}

impl fmt::Debug for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Written once, before anybody else has the segment; checked at every attach.
#[repr(C)]
pub(crate) struct Header {
    magic: AtomicU64,
    version: AtomicU32,
    word_size: AtomicU32,
    kind: AtomicU32,
    /// Bits that say which optional parts a segment uses; an unknown one refuses the attach. None is defined yet.
    features: AtomicU32,
    /// How long the segment can become.
    capacity: AtomicU64,
    id: [AtomicU64; 2],
    /// Inode of the creator's pid namespace.
    pid_namespace: AtomicU64,
    /// Rows of the roster that were ever used are below this.
    pub(super) roster_high: AtomicU32,
    /// How many rows the roster has.
    rows: AtomicU32,
    /// The row to be tried first by who needs one.
    pub(super) roster_next: AtomicU32,
    reserved: AtomicU32,
}

// SAFETY: atomics only.
unsafe impl Shared for Header {}

impl Header {
    pub(super) fn write(&self, kind: Kind, id: SegmentId, shape: Shape) {
        let (low, high) = id.0.split_at(8);
        for (word, half) in self.id.iter().zip([low, high]) {
            let half = half.try_into().expect("half of sixteen bytes");
            word.store(u64::from_le_bytes(half), Ordering::Relaxed);
        }
        self.version.store(VERSION, Ordering::Relaxed);
        self.word_size.store(usize::BITS, Ordering::Relaxed);
        self.kind.store(kind as u32, Ordering::Relaxed);
        self.capacity.store(shape.capacity as u64, Ordering::Relaxed);
        self.rows.store(shape.rows as u32, Ordering::Relaxed);
        self.pid_namespace.store(identity::pid_namespace(), Ordering::Relaxed);
        // SYNC: Release, with the Acquire in `check`: a header with the magic is complete.
        self.magic.store(MAGIC, Ordering::Release);
    }

    /// Whether this process, which has the segment and may have been forked since, is in the same pid namespace as who
    /// made it. Without /proc that can only be told of one whose parent is in another one.
    pub(super) fn is_of_our_namespace(&self) -> bool {
        let theirs = self.pid_namespace.load(Ordering::Relaxed);
        let ours = identity::pid_namespace();
        theirs == ours || ours == 0 && !identity::has_parent_outside()
    }

    /// What the segment is, whose file has a core of that length.
    pub(super) fn check(&self, kind: Kind, core_len: usize) -> Result<(SegmentId, Shape), Error> {
        let invalid = |what: String| Err(Error::Invalid(what));
        if self.magic.load(Ordering::Acquire) != MAGIC {
            return invalid("the segment does not begin as tasuki's do".into());
        }
        let version = self.version.load(Ordering::Relaxed);
        if version != VERSION {
            return invalid(format!(
                "the segment has layout {version} and this program uses {VERSION}: \
                 build both sides with the same version of tasuki"
            ));
        }
        if self.word_size.load(Ordering::Relaxed) != usize::BITS {
            return invalid("the segment was made by a program of another word size".into());
        }
        if self.features.load(Ordering::Relaxed) != 0 {
            return invalid("the segment uses features that this version does not know".into());
        }
        let found = self.kind.load(Ordering::Relaxed);
        if found != kind as u32 {
            return invalid(format!("a {} was expected and kind {found} came", kind.name()));
        }
        let rows = self.rows.load(Ordering::Relaxed) as usize;
        let capacity = self.capacity.load(Ordering::Relaxed) as usize;
        let fits = rows.is_power_of_two()
            && (roster::FEWEST..=roster::ROWS).contains(&rows)
            && capacity >= payload(rows)
            && core_len == kind.core_len(capacity)
            && (core_len == capacity || capacity <= pieces::LONGEST);
        if !fits {
            return invalid("the segment's header and its size disagree".into());
        }
        if self.pid_namespace.load(Ordering::Relaxed) != identity::pid_namespace() {
            return Err(Error::ForeignNamespace);
        }
        let mut id = SegmentId::default();
        for (bytes, word) in id.0.chunks_exact_mut(8).zip(&self.id) {
            bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
        }
        Ok((id, Shape { rows, capacity }))
    }
}
