//! What an end has of the kernel: its socket and the eventfds of readiness, made when they are needed, which most pipes
//! of a program need not be before another process gets an end.
//!
//! As long as both ends are in the process that made them, that process knows who is there. `README.md`, "At home",
//! says what ends this, and why no process is left out.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, OnceLock, Weak};

use crate::sync::private::Private;
use crate::sys::at_load::at_load;
use crate::sys::descriptors::above_standard_streams;
use crate::sys::{eventfd, fork, socket_pair};

/// The descriptors of one end.
#[derive(Debug)]
pub(super) struct Descriptors {
    /// None while this is dropped.
    place: Option<Arc<Place>>,
    /// Of the other end that was made with this one; of an end that came here, nothing.
    other: Weak<Place>,
    /// How many directions the pipe has.
    directions: usize,
    /// The process that made the pipe.
    epoch: u64,
}

/// Where the descriptors of an end are once they are made; an error of the kernel's in a child, if they could not be
/// when it was forked.
type Place = OnceLock<Result<Made, i32>>;

#[derive(Debug)]
pub(super) struct Made {
    socket: OwnedFd,
    /// Both ends that a process makes have the same ones, since nothing depends on how many copies there are.
    eventfds: Arc<[OwnedFd]>,
}

impl Made {
    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The eventfds of all directions, in their order.
    pub(super) fn eventfds(&self) -> &[OwnedFd] {
        &self.eventfds
    }
}

impl Descriptors {
    /// Of the two ends of a new pipe.
    pub(super) fn at_home(directions: usize) -> (Descriptors, Descriptors) {
        let places = [Arc::new(Place::new()), Arc::new(Place::new())];
        let [one, other] = places.each_ref().map(Arc::downgrade);
        AtHome::note([one.clone(), other.clone()], directions);
        let epoch = fork::epoch();
        let end = |place, other| Descriptors { place: Some(place), other, directions, epoch };
        let [first, second] = places;
        (end(first, other), end(second, one))
    }

    /// Of an end that came to this process.
    pub(super) fn arrived(socket: OwnedFd, eventfds: Vec<OwnedFd>) -> Descriptors {
        let directions = eventfds.len();
        let made = Made { socket, eventfds: eventfds.into() };
        let place = Some(Arc::new(Place::from(Ok(made))));
        Descriptors { place, other: Weak::new(), directions, epoch: 0 }
    }

    fn place(&self) -> &Arc<Place> {
        self.place.as_ref().expect("it is there until this is dropped")
    }

    /// The descriptors, unless there are none yet: then nobody sleeps on them.
    pub(super) fn made(&self) -> Option<&Made> {
        self.place().get()?.as_ref().ok()
    }

    /// The descriptors, made if need be.
    pub(super) fn get(&self) -> io::Result<&Made> {
        match self.place().get() {
            Some(made) => made.as_ref().map_err(|&error| io::Error::from_raw_os_error(error)),
            None => self.make(),
        }
    }

    #[cold]
    fn make(&self) -> io::Result<&Made> {
        self.check_process()?;
        {
            // Both ends' threads come here, and so does a fork.
            let _forks_wait = AT_HOME.lock();
            if self.place().get().is_none() {
                let (made, others) = make(self.directions)?;
                let _: Result<_, _> = self.place().set(Ok(made));
                if let Some(other) = self.other.upgrade() {
                    let _: Result<_, _> = other.set(Ok(others));
                }
            }
        }
        self.get()
    }

    /// Whether nobody has the other end.
    pub(super) fn is_other_gone(&self) -> io::Result<bool> {
        if self.place().get().is_none() {
            self.check_process()?;
            let is_gone = self.other.strong_count() == 0;
            // SYNC: Acquire, with the drop of the other end: if that was made for another process before, this sees it.
            fence(Ordering::Acquire);
            if self.place().get().is_none() {
                return Ok(is_gone);
            }
        }
        socket_pair::is_gone(self.get()?.socket())
    }

    /// An error in a child that does not come from `fork()`, whose parent's pipe it would make a second time.
    fn check_process(&self) -> io::Result<()> {
        match self.epoch == fork::epoch() {
            true => Ok(()),
            false => Err(io::Error::other(
                "a pipe cannot be used by a process that inherited it by other means than fork()",
            )),
        }
    }
}

impl Drop for Descriptors {
    fn drop(&mut self) {
        // With the lock nobody else has the place for a moment: the socket is closed when this returns.
        let place = {
            let _nobody_makes = AT_HOME.lock();
            self.place.take().and_then(Arc::into_inner)
        };
        drop(place);
    }
}

fn make(directions: usize) -> io::Result<(Made, Made)> {
    let (one, other) = socket_pair::create()?;
    let eventfds: Arc<[OwnedFd]> = (0..directions)
        .map(|_| eventfd::create().and_then(above_standard_streams))
        .collect::<io::Result<_>>()?;
    Ok((Made { socket: one, eventfds: eventfds.clone() }, Made { socket: other, eventfds }))
}

/// A pipe that may have no descriptors yet.
struct AtHome {
    places: [Weak<Place>; 2],
    directions: usize,
    /// Why the last fork did not get any.
    refused: i32,
}

/// Those of this process. A thread that makes descriptors has the lock, and so has one that forks.
static AT_HOME: Private<Vec<AtHome>> = Private::new(Vec::new());

impl AtHome {
    fn note(places: [Weak<Place>; 2], directions: usize) {
        HOOKS.ensure();
        let mut all = AT_HOME.lock();
        if all.len() == all.capacity() {
            all.retain(AtHome::lacks_descriptors);
            let room = all.len().max(16);
            all.reserve(room);
        }
        all.push(AtHome { places, directions, refused: 0 });
    }

    fn lacks_descriptors(&self) -> bool {
        self.places.iter().filter_map(Weak::upgrade).any(|place| place.get().is_none())
    }

    /// Before a fork, whose child will have both ends: false if there are descriptors for them.
    fn stays_home(&mut self) -> bool {
        if !self.lacks_descriptors() {
            return false;
        }
        match make(self.directions) {
            Ok((one, other)) => self.set([Ok(one), Ok(other)]),
            Err(error) => self.refused = error.raw_os_error().unwrap_or_default(),
        }
        self.lacks_descriptors()
    }

    fn set(&self, made: [Result<Made, i32>; 2]) {
        for (place, made) in self.places.iter().zip(made) {
            if let Some(place) = place.upgrade() {
                let _: Result<_, _> = place.set(made);
            }
        }
    }
}

at_load!(HOOKS, || fork::around_fork(prepare, in_parent, in_child));

extern "C" fn prepare() {
    AT_HOME.hold_for_fork();
    AT_HOME.with_held(|all| all.retain_mut(AtHome::stays_home));
}

extern "C" fn in_parent() {
    AT_HOME.release_after_fork();
}

/// What stayed at home is not here.
extern "C" fn in_child() {
    AT_HOME.with_held(|all| {
        all.drain(..).for_each(|pipe| pipe.set([Err(pipe.refused), Err(pipe.refused)]));
    });
    AT_HOME.release_after_fork();
}
