//! A queue as a channel: in the place of its socket it has one end of a pair, so that the kernel counts who is at the
//! other one. `channel/README.md` holds the steps and why no end is missed. Called by `channel`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::{AttachedQueue, Head, Options, Parts, SharedQueue};
use crate::error::Error;
use crate::segment::Segment;
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::{Wait, kill_point, wait};
use crate::sys::poll::{self, Peer};
use crate::sys::{clock, descriptor_socket};

/// What a queue that is one end of a channel has besides. It is the queue's last field: dropped when the socket is
/// closed, to tell those that sleep.
#[derive(Debug)]
pub(super) struct End {
    /// Keeps the header beyond the rest of the queue.
    segment: Arc<Segment>,
    /// How many ends had been closed when the socket was last asked.
    closed: AtomicU32,
    /// The tenth of a second in which that was.
    asked: AtomicU32,
    /// The other end is closed for good. Everything that was committed there can be seen by a process that saw this.
    alone: AtomicBool,
    /// The half second in which stray descriptors were last looked for.
    swept: AtomicU32,
}

impl End {
    fn of(segment: &Arc<Segment>) -> End {
        let zero = || AtomicU32::new(0);
        End {
            segment: segment.clone(),
            closed: zero(),
            asked: zero(),
            alone: AtomicBool::new(false),
            swept: zero(),
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        kill_point!(EndClosed);
        let head: &Head = self.segment.place(self.segment.payload());
        // SYNC: with the load in `is_disconnected`: a process that sees this count, and asks the socket then, finds it
        // closed.
        head.settings.closed_ends.fetch_add(1, Ordering::SeqCst);
        kill_point!(EndCounted);
        head.nonempty.0.notify_all();
        kill_point!(EndHalfNotified);
        head.nonfull.0.notify_all();
    }
}

impl SharedQueue {
    /// Makes a channel: its senders' end and its receivers' end.
    pub(crate) fn create_channel(options: &Options) -> Result<(SharedQueue, SharedQueue), Error> {
        const DOING: &str = "make the sockets that tell who is at a channel";
        let (senders, receivers) = descriptor_socket::pair().map_err(|e| Error::os(DOING, e))?;
        let sending = SharedQueue::create_with(options, senders)?;
        let copies = sending.parts().try_clone_to_owned();
        let copies = copies.map_err(|e| Error::os(DOING, e))?;
        let receiving = SharedQueue::attach_end(Parts { descriptor_socket: receivers, ..copies })?;
        Ok((sending.into_end(), receiving))
    }

    /// Attaches the end of a channel behind the descriptors.
    pub(crate) fn attach_end(parts: Parts<OwnedFd>) -> Result<SharedQueue, Error> {
        if !descriptor_socket::is_channel_end(parts.descriptor_socket.as_fd()) {
            return Err(Error::Invalid("a channel's second descriptor is not its socket".into()));
        }
        Ok(SharedQueue::attach_with(parts)?.into_end())
    }

    fn into_end(mut self) -> SharedQueue {
        let end = End::of(&self.segment);
        Arc::get_mut(&mut self.0).expect("nobody else has it yet").end = Some(end);
        self
    }
}

impl AttachedQueue {
    /// Of a channel: whether nobody is at the other end any more, in any process or message. Once true it stays true,
    /// and everything that was put is visible.
    pub fn is_disconnected(&self) -> bool {
        self.look_at_peer().is_gone
    }

    /// As `is_disconnected`, at the price of a few instructions: a dropped end is noticed at once, a killed one within
    /// a tenth of a second.
    #[inline]
    pub fn is_known_disconnected(&self) -> bool {
        let Some(end) = &self.end else { return false };
        let closed = self.head().settings.closed_ends.load(Ordering::Relaxed);
        if closed == end.closed.load(Ordering::Relaxed)
            && clock::tenth() == end.asked.load(Ordering::Relaxed)
        {
            return end.alone.load(Ordering::Acquire);
        }
        self.is_disconnected()
    }

    /// Of a channel: this end's socket. It hangs up when nobody is at the other end: for poll without any event asked
    /// for, and with it all that wait in the kernel. Whatever else it says concerns nobody, and nothing is read from
    /// it.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.descriptor_socket.as_fd()
    }

    #[cold]
    fn look_at_peer(&self) -> Peer {
        let Some(end) = &self.end else { return Peer { is_gone: false, has_sent: false } };
        if end.alone.load(Ordering::Acquire) {
            return Peer { is_gone: true, has_sent: false };
        }
        end.asked.store(clock::tenth(), Ordering::Relaxed);
        // SYNC: SeqCst, with the count in `End::drop`, and before the socket is asked: a count that is read here
        // belongs to an end that is closed.
        let closed = self.head().settings.closed_ends.load(Ordering::SeqCst);
        let peer = poll::peer(self.descriptor_socket.as_fd());
        end.closed.store(closed, Ordering::Relaxed);
        if peer.is_gone {
            // SYNC: Release, with the loads above: a process that learns it from here sees what this thread saw, which
            // is all that was committed before the last copy of the other end was closed.
            end.alone.store(true, Ordering::Release);
        }
        peer
    }

    /// For a receiver that is about to sleep, whether it has something better to do: nobody is left, or descriptors lie
    /// in front of its socket though no message waits, which [`sweep`](SharedQueue::sweep) looks at.
    pub(crate) fn should_not_sleep(&self) -> bool {
        let peer = self.look_at_peer();
        peer.is_gone || peer.has_sent && self.is_empty() && self.may_sweep()
    }

    fn may_sweep(&self) -> bool {
        let now = wait::look_number();
        self.end.as_ref().is_some_and(|end| end.swept.load(Ordering::Relaxed) != now)
    }
}

impl SharedQueue {
    /// Closes the descriptors of messages that never came: only receivers can, see the README. Does nothing when it
    /// was done in this half second.
    pub(crate) fn sweep(&self) {
        let Some(end) = &self.end else { return };
        let now = wait::look_number();
        if end.swept.swap(now, Ordering::Relaxed) != now {
            // Without waiting: a lock that is held now means that somebody else is at it.
            let _ = self.drop_void_descriptors(&mut Wait::attempt());
        }
    }
}
