//! The pipe: two ends that talk through shared memory, and a socket that knows who is there.
//!
//! `README.md` beside this file holds the layout, the steps and why no wake-up is lost and no message torn. [`ring`]
//! has places and bytes, [`wait_word`] whether somebody sleeps and [`readiness`] on what, [`descriptors`] when there
//! are any, [`turn`] whose turn it is, [`send`] and [`receive`] are the two sides, [`poll`] is for selectors.
#![allow(unsafe_code)] // keeps what a receiver left unfinished, and a descriptor made once, behind pointers

mod await_frame;
mod descriptors;
mod midway;
mod poll;
mod readiness;
mod receive;
mod ring;
mod send;
mod turn;
mod wait_word;

use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

pub use poll::Armed;
pub use receive::Received;

use descriptors::{Descriptors, Made};
use midway::Unfinished;
use poll::Selector;
use ring::{Direction, Words};

use crate::error::Error;
use crate::layout::failure::TransportFailure;
use crate::segment::slot::{Slot, SlotAddress, SlotKind};
use crate::sync::Spin;
use crate::sys::memory::PAGE;
use crate::sys::{clock, eventfd, process, socket_pair};

const DUPLEX_KIND: SlotKind = SlotKind(20);
const SIMPLEX_KIND: SlotKind = SlotKind(21);
/// What the slots of pipes are, from the first to the last.
pub(crate) const SLOT_KINDS: &[(SlotKind, SlotKind)] = &[(DUPLEX_KIND, SIMPLEX_KIND)];

/// The most descriptors that one message can carry.
pub(crate) const MOST_HANDLES: usize = socket_pair::MOST;

/// The error for memory that does not hold what the protocol puts there.
#[cold]
fn corrupt(what: &str) -> TransportFailure {
    Error::Invalid(format!("the pipe's memory was overwritten: {what}")).into()
}

/// The error for an end that is asked for what only the other one does.
#[cold]
fn wrong_way(does: &str) -> TransportFailure {
    Error::Invalid(format!("this end of the pipe {does}")).into()
}

/// What an end is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Of a pipe in both directions, the one that sends in direction 0.
    First,
    /// Of a pipe in both directions, the one that sends in direction 1.
    Second,
    /// Of a pipe in one direction.
    Receiver,
    /// Of a pipe in one direction.
    Sender,
}

impl Role {
    pub(crate) fn from_number(number: u8) -> Option<Role> {
        [Role::First, Role::Second, Role::Receiver, Role::Sender].get(usize::from(number)).copied()
    }

    pub(crate) fn sends(self) -> bool {
        self != Role::Receiver
    }

    pub(crate) fn receives(self) -> bool {
        self != Role::Sender
    }

    pub(crate) fn number(self) -> u8 {
        self as u8
    }

    fn kind(self) -> (SlotKind, usize) {
        match self.directions() {
            2 => (DUPLEX_KIND, ring::memory_len(2)),
            _ => (SIMPLEX_KIND, ring::memory_len(1)),
        }
    }

    /// The direction in which this end sends.
    #[inline]
    fn outgoing(self) -> Option<usize> {
        match self {
            Role::First | Role::Sender => Some(0),
            Role::Second => Some(1),
            Role::Receiver => None,
        }
    }

    /// The direction from which this end receives.
    #[inline]
    fn incoming(self) -> Option<usize> {
        match self {
            Role::First => Some(1),
            Role::Second | Role::Receiver => Some(0),
            Role::Sender => None,
        }
    }

    /// How many directions the pipe has.
    pub(crate) fn directions(self) -> usize {
        match self {
            Role::First | Role::Second => 2,
            Role::Receiver | Role::Sender => 1,
        }
    }
}

/// One end of a pipe. A clone is the same end; the end is closed when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct PipeEnd(Arc<OpenEnd>);

impl Deref for PipeEnd {
    type Target = OpenEnd;

    #[inline]
    fn deref(&self) -> &OpenEnd {
        &self.0
    }
}

/// One end of a pipe as this process sees it.
#[derive(Debug)]
pub struct OpenEnd {
    // In this order they are dropped: a process that is told that this end was closed asks the socket.
    selector: Selector,
    descriptors: Descriptors,
    memory: Memory,
    /// What a receiver that gave up in the middle of a message has of it.
    unfinished: Unfinished,
    /// What `closed` was, and which tick of the clock, when the socket was asked last.
    closed: AtomicU32,
    asked: AtomicU64,
    turns: Spin,
    messages: Spin,
    room: Spin,
    /// This end was woken by the eventfd, which is set since then, most likely: a hint.
    seems_set: AtomicBool,
}

/// The memory of a pipe; dropping it tells senders to look who is there.
#[derive(Debug)]
struct Memory {
    slot: Slot,
    role: Role,
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.tell_closed();
    }
}

impl Memory {
    /// Lets senders look who is there.
    fn tell_closed(&self) {
        if let Some(number) = self.role.incoming() {
            let words = Words::of(&self.slot, number);
            // SYNC: Release, with the load in `ask_sometimes`: a process that sees it finds the socket closed.
            words.seldom.closed.fetch_add(1, Ordering::Release);
            words.room.0.notify_here();
        }
    }
}

/// How the ends of a pipe are related.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Both ends send and receive.
    Duplex,
    /// The first end receives what the second one sends.
    Simplex,
}

impl PipeEnd {
    /// Makes a pipe and gives its two ends. Of a simplex one the first receives and the second sends.
    pub fn pipe(mode: Mode) -> Result<(PipeEnd, PipeEnd), Error> {
        let (one, other) = match mode {
            Mode::Duplex => (Role::First, Role::Second),
            Mode::Simplex => (Role::Receiver, Role::Sender),
        };
        let (kind, len) = one.kind();
        // The words, and the begin of the first ring behind them.
        let slot = Slot::allocate_backed(kind, len, 2 * PAGE)?;
        let descriptors = Descriptors::at_home(one.directions());
        let one = PipeEnd::new(slot.clone(), descriptors.0, one);
        let other = PipeEnd::new(slot, descriptors.1, other);
        for number in 0..one.role().directions() {
            one.direction(number).begin()?;
        }
        Ok((one, other))
    }

    /// Opens an end that a record names.
    pub(crate) fn open(
        arena: OwnedFd,
        address: SlotAddress,
        socket: OwnedFd,
        eventfds: Vec<OwnedFd>,
        role: Role,
    ) -> Result<PipeEnd, Error> {
        if !socket_pair::is_end(socket.as_fd()) {
            return Err(Error::Invalid("a pipe's second descriptor is not its socket".into()));
        }
        if !eventfds.iter().all(|eventfd| eventfd::is_eventfd(eventfd.as_fd())) {
            return Err(Error::Invalid("a pipe's last descriptors are not its eventfds".into()));
        }
        let (kind, len) = role.kind();
        let slot = Slot::open(arena, kind, address, len)?;
        Ok(PipeEnd::new(slot, Descriptors::arrived(socket, eventfds), role))
    }

    fn new(slot: Slot, descriptors: Descriptors, role: Role) -> PipeEnd {
        PipeEnd(Arc::new(OpenEnd {
            selector: Selector::default(),
            descriptors,
            memory: Memory { slot, role },
            unfinished: Unfinished::default(),
            // Not what `closed` is: the first send asks.
            closed: AtomicU32::new(u32::MAX),
            asked: AtomicU64::new(0),
            turns: Spin::new(),
            messages: Spin::new(),
            room: Spin::new(),
            seems_set: AtomicBool::new(false),
        }))
    }

    pub(crate) fn slot(&self) -> &Slot {
        &self.memory.slot
    }

    /// Whether messages can come out of this end.
    pub fn is_readable(&self) -> bool {
        self.role().receives()
    }

    /// Whether messages can be sent from this end.
    pub fn is_writable(&self) -> bool {
        self.role().sends()
    }

    /// The socket that knows who is there. Whether it is readable says nothing exact, see
    /// [`pollable`](PipeEnd::pollable). It is made if there was none yet, as all descriptors are.
    pub fn socket(&self) -> Result<BorrowedFd<'_>, Error> {
        Ok(self.made()?.socket())
    }

    /// The socket and the eventfds of all directions, in their order: what an end elsewhere needs.
    pub(crate) fn to_share(&self) -> io::Result<impl Iterator<Item = BorrowedFd<'_>>> {
        let made = self.descriptors.get()?;
        Ok(std::iter::once(made.socket()).chain(made.eventfds().iter().map(AsFd::as_fd)))
    }

    fn made(&self) -> Result<&Made, Error> {
        self.descriptors.get().map_err(|e| Error::os("make the descriptors of a pipe", e))
    }

    pub(crate) fn role(&self) -> Role {
        self.memory.role
    }

    /// Closes this end at once, though others of this process still use it: they find the end of the connection, within
    /// half a second if they sleep.
    pub fn hang_up(&self) -> Result<(), Error> {
        crate::sys::hang_up::hang_up(self.socket()?).map_err(|e| Error::os("close a pipe", e))?;
        self.memory.tell_closed();
        Ok(())
    }

    #[inline]
    fn direction(&self, number: usize) -> Direction<'_> {
        Direction::new(&self.memory.slot, number, &self.descriptors)
    }

    #[inline]
    fn outgoing(&self) -> Result<Direction<'_>, TransportFailure> {
        match self.role().outgoing() {
            Some(number) => Ok(self.direction(number)),
            None => Err(wrong_way("receives and does not send")),
        }
    }

    #[inline]
    fn incoming(&self) -> Result<Direction<'_>, TransportFailure> {
        match self.role().incoming() {
            Some(number) => Ok(self.direction(number)),
            None => Err(wrong_way("sends and does not receive")),
        }
    }

    /// Whether nobody has the other end.
    fn is_gone(&self) -> Result<bool, TransportFailure> {
        Ok(self.descriptors.is_other_gone().map_err(|e| Error::os("ask a socket", e))?)
    }

    /// An error if nobody has the other end: asked when one was closed, when this process has joined a child, and else
    /// once in a tick of the clock.
    #[inline]
    fn ask_sometimes(&self, direction: Direction<'_>) -> Result<(), TransportFailure> {
        // SYNC: Acquire, with the fetch_add of a process that closed an end.
        let closed = direction.words.seldom.closed.load(Ordering::Acquire);
        // The children that were joined in the upper part.
        let tick = clock::coarse_millis() ^ process::children_ended() << 44;
        if closed == self.closed.load(Ordering::Relaxed)
            && tick == self.asked.load(Ordering::Relaxed)
        {
            return Ok(());
        }
        self.ask(closed, tick)
    }

    #[cold]
    fn ask(&self, closed: u32, tick: u64) -> Result<(), TransportFailure> {
        if self.is_gone()? {
            return Err(TransportFailure::Disconnected(None));
        }
        self.closed.store(closed, Ordering::Relaxed);
        self.asked.store(tick, Ordering::Relaxed);
        Ok(())
    }
}
