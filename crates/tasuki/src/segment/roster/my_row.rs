//! The row that this process has of a segment, and the name that stands in all of its rows.

use std::num::NonZeroU32;
use std::ptr::{self, NonNull};
// Of what this process knows; what is shared goes by the same orderings, and its partners are named there.
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use super::row::{FREE, LIVE, Row, Token, left_bit, pack};
use crate::error::Error;
use crate::segment::Segment;
use crate::segment::death::ProcessName;
use crate::sync::private::Private;
use crate::sys::fork;

/// This process's row of one segment, remembered; void in a forked child, which takes a row of its own.
#[derive(Debug)]
pub(in crate::segment) struct MyRow {
    /// Low half: the token; high half: the fork epoch it belongs to.
    cached: AtomicU64,
    /// The pid that belongs to it.
    pid: AtomicU32,
    /// Where the row is, once the object's own code has said that this process may take things the short way.
    reader: AtomicPtr<Row>,
}

/// Keeps two threads from claiming a row each for one segment.
static CLAIMS: Private<()> = Private::new(());

impl MyRow {
    pub(in crate::segment) fn new() -> MyRow {
        MyRow {
            cached: AtomicU64::new(0),
            pid: AtomicU32::new(0),
            reader: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// This process's pid, after `cached` gave a row.
    #[inline]
    pub(in crate::segment) fn pid(&self) -> u32 {
        self.pid.load(Ordering::Relaxed)
    }

    #[inline]
    pub(in crate::segment) fn cached(&self) -> Option<Token> {
        match self.cached_fast() {
            Some(token) => Some(token),
            None => self.cached_slowly(),
        }
    }

    /// As `cached`, without a call; None may also say that nothing is known of forks.
    #[inline]
    pub(in crate::segment) fn cached_fast(&self) -> Option<Token> {
        let cached = self.cached.load(Ordering::Acquire);
        let is_mine = (cached >> 32) as u32 == fork::known_epoch() as u32;
        if is_mine { NonZeroU32::new(cached as u32).map(Token) } else { None }
    }

    #[cold]
    fn cached_slowly(&self) -> Option<Token> {
        let cached = self.cached.load(Ordering::Acquire);
        let is_mine = (cached >> 32) as u32 == fork::epoch() as u32;
        if is_mine { NonZeroU32::new(cached as u32).map(Token) } else { None }
    }

    /// Where the row is, if `set_reader` was called in this process.
    #[inline]
    pub(in crate::segment) fn reader(&self) -> Option<NonNull<Row>> {
        self.cached_fast()?;
        NonNull::new(self.reader.load(Ordering::Relaxed))
    }

    pub(in crate::segment) fn set_reader(&self, segment: &Segment) {
        if let Some(row) = self.cached().and_then(|token| segment.roster().row(token.row())) {
            let row = ptr::from_ref(row).cast_mut();
            self.reader.store(row, Ordering::Relaxed);
        }
    }

    #[cold]
    pub(in crate::segment) fn claim(&self, segment: &Segment) -> Result<Token, Error> {
        let _one = CLAIMS.lock();
        if let Some(token) = self.cached() {
            return Ok(token);
        }
        // Asked anew, since a fork may have brought this process into another one.
        if !segment.header().is_of_our_namespace() {
            segment.foreign.store(true, Ordering::Relaxed);
            return Err(Error::ForeignNamespace);
        }
        let token = segment.roster().claim()?;
        let cached = u64::from(token.bits()) | fork::epoch() << 32;
        self.pid.store(std::process::id(), Ordering::Relaxed);
        self.reader.store(ptr::null_mut(), Ordering::Relaxed);
        self.cached.store(cached, Ordering::Release);
        Ok(token)
    }

    /// Notes in the row, if this process has one, that this process ends by itself.
    pub(in crate::segment) fn note_leaving(&self, segment: &Segment) {
        let Some(token) = self.cached() else { return };
        if let Some(row) = segment.roster().row(token.row()) {
            // SYNC: Release, with the Acquire in `has_left`.
            row.left.fetch_or(left_bit(token.generation()), Ordering::Release);
        }
    }

    /// Writes this process's name into the row, if there is one.
    pub(in crate::segment) fn rename(&self, segment: &Segment) {
        if let Some(row) = self.cached().and_then(|token| segment.roster().row(token.row())) {
            process_name().write(&row.name);
        }
    }

    /// Frees the row, if this process has one.
    pub(in crate::segment) fn leave(&self, segment: &Segment) {
        let Some(token) = self.cached() else { return };
        if let Some(row) = segment.roster().row(token.row()) {
            // By itself: a process that finds this one gone from here does not take it for killed.
            // SYNC: Release, and before the row is freed; with the Acquire in `has_left`.
            row.left.fetch_or(left_bit(token.generation()), Ordering::Release);
            let live = pack(LIVE, token.generation(), 0);
            let free = pack(FREE, token.generation() + 1, 0);
            // Fails only when a broken peer wrote over the row.
            let _ = row.state.compare_exchange(live, free, Ordering::AcqRel, Ordering::Relaxed);
        }
    }
}

/// What this process is called in the rosters.
static PROCESS_NAME: Private<ProcessName> = Private::new(ProcessName::EMPTY);

pub(super) fn process_name() -> ProcessName {
    *PROCESS_NAME.lock()
}

pub(in crate::segment) fn set_process_name(name: &str) {
    *PROCESS_NAME.lock() = ProcessName::new(name);
}

/// What happens to these locks around a fork; called by `local`.
pub(in crate::segment) fn hold_for_fork() {
    CLAIMS.hold_for_fork();
    PROCESS_NAME.hold_for_fork();
}

pub(in crate::segment) fn release_after_fork() {
    PROCESS_NAME.release_after_fork();
    CLAIMS.release_after_fork();
}
