//! What this process knows of its segments, kept whole across forks.
//!
//! One list of attached segments, so that attaching twice gives the same value, and the arenas with how often this
//! process refers to each slot. Around a fork the forking thread holds the lock, leaves a lease on every arena that
//! keeps all slots alive until the child has a row of its own, and the child takes that row.

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use super::arena::{self, LocalArena};
use super::{Segment, roster};
use crate::sync::Wait;
use crate::sync::private::{Private, PrivateGuard};
use crate::sys::at_load::at_load;
use crate::sys::{fork, process};

/// The state of this process; see the file's head.
pub(super) struct Local {
    segments: Vec<(FileId, Weak<Segment>)>,
    pub(super) arenas: Vec<LocalArena>,
    /// One for each arena, in the same order.
    fork_leases: Vec<Option<OwnedFd>>,
}

type FileId = (u64, u64);

static LOCAL: Private<Local> =
    Private::new(Local { segments: Vec::new(), arenas: Vec::new(), fork_leases: Vec::new() });

at_load!(HOOKS, || {
    fork::around_fork(prepare, parent, child);
    process::at_exit(note_leaving);
});

/// Access to the state. Nothing that may drop a `Segment` runs while it is held.
pub(super) fn lock() -> PrivateGuard<'static, Local> {
    HOOKS.ensure();
    LOCAL.lock()
}

pub(super) fn find(file: FileId) -> Option<Arc<Segment>> {
    let local = lock();
    local.segments.iter().find(|(id, _)| *id == file).and_then(|(_, weak)| weak.upgrade())
}

impl Local {
    /// Remembers a segment that this process just made.
    pub(super) fn list(&mut self, segment: &Arc<Segment>) {
        self.segments.push((segment.file_id(), Arc::downgrade(segment)));
    }
}

/// Remembers a segment unless another thread was faster, whose value is returned then.
pub(super) fn remember_unless_known(segment: Arc<Segment>) -> Arc<Segment> {
    let mut local = lock();
    let known = local
        .segments
        .iter()
        .find(|(id, _)| *id == segment.file_id())
        .and_then(|(_, weak)| weak.upgrade());
    match known {
        Some(known) => {
            drop(local); // before `segment`, whose drop takes the lock
            known
        }
        None => {
            local.segments.push((segment.file_id(), Arc::downgrade(&segment)));
            segment
        }
    }
}

/// Called while a segment is dropped: forgets it, but not a live one that has the same file.
pub(super) fn forget(file: FileId) {
    lock().segments.retain(|(id, weak)| *id != file || weak.strong_count() > 0);
}

/// Tells this process's rows that it ends by itself: what it holds then was left, not lost in a kill. Run by
/// `exit`; a front whose processes end otherwise calls it.
pub(crate) extern "C" fn note_leaving() {
    // A signal handler may call `exit` while its own thread is in here: then it counts as killed.
    let Some(local) = LOCAL.lock_unless_stuck() else { return };
    let segments = live(&local);
    drop(local); // before the segments, whose drop takes the lock
    segments.iter().for_each(|segment| segment.row.note_leaving(segment));
}

/// Names this process for those who survive it.
pub(crate) fn set_process_name(name: &str) {
    roster::set_process_name(name);
    let local = lock();
    let segments = live(&local);
    drop(local);
    segments.iter().for_each(|segment| segment.row.rename(segment));
}

fn live(local: &Local) -> Vec<Arc<Segment>> {
    local.segments.iter().filter_map(|(_, weak)| weak.upgrade()).collect()
}

extern "C" fn prepare() {
    // In the order in which they nest: a row is claimed while the arenas are locked, never the reverse.
    LOCAL.hold_for_fork();
    roster::hold_for_fork();
    with_held(|local| {
        local.fork_leases = local.arenas.iter().map(LocalArena::lease_for_fork).collect();
    });
}

extern "C" fn parent() {
    roster::release_after_fork();
    with_held(|local| local.fork_leases.clear());
    LOCAL.release_after_fork();
}

/// In a forked child: tells the segments if it is in another pid namespace, where they cannot be used.
fn refuse_segments_of_others(local: &Local) {
    // All of them come from the same namespace, or had been told before.
    let mut inherited = local.segments.iter().filter_map(|(_, weak)| weak.upgrade());
    let Some(first) = inherited.find(|segment| segment.check_namespace().is_ok()) else { return };
    if !first.header().is_of_our_namespace() {
        // Nothing is dropped with these: a thread that has them, has them for good, since the thread that might let go
        // is not here.
        live(local).iter().for_each(|segment| segment.foreign.store(true, Ordering::Relaxed));
    }
}

extern "C" fn child() {
    // The row's lock comes free first: taking a row is what the child does now.
    roster::release_after_fork();
    with_held(|local| {
        refuse_segments_of_others(local);
        let leases = local.fork_leases.drain(..);
        // For all of them together: the fork returns only then.
        let mut wait = Wait::timeout(arena::LOCK_TIMEOUT);
        for (arena, lease) in local.arenas.iter_mut().zip(leases) {
            arena::hold_again_after_fork(arena, lease, &mut wait);
        }
    });
    LOCAL.release_after_fork();
}

fn with_held(work: impl FnOnce(&mut Local)) {
    LOCAL.with_held(work);
}
