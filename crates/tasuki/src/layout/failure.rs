//! Why a call of the engine ended without what it was for: one type for what has no other end, one for what carries
//! messages.
//!
//! They go as they are from where a wait ends up to the error of whoever uses the object, who knows what to say. A
//! result with one is two words long, since every call moves one through some layers: what is seldom lies in a box.

use crate::error::Error;
use crate::segment::death::Death;
use crate::sync::GaveUp;

/// Why a lock, a permit or a place among the waiters was not got.
#[derive(Debug)]
pub enum AcquireFailure {
    /// The time was over, or the caller's check called the wait off. Nothing was done.
    GaveUp(GaveUp),
    /// It cannot be done.
    Failed(Box<Error>),
}

/// Why no message went into a queue, a channel or a pipe, or came out of it. One that was on its way is wholly outside.
#[derive(Debug)]
pub enum TransportFailure {
    /// The time was over, or the caller's check called the wait off. Nothing was done.
    GaveUp(GaveUp),
    /// It was shut down: nothing goes in any more, and what may come out is out.
    ShutDown,
    /// Nobody is left at the other end; the process that was killed there last, when that is known.
    Disconnected(Option<Box<Death>>),
    /// It cannot be done.
    Failed(Box<Error>),
}

const _: () = assert!(size_of::<Result<(), TransportFailure>>() == 16);
const _: () = assert!(size_of::<Result<(), AcquireFailure>>() == 16);

impl From<GaveUp> for AcquireFailure {
    #[inline]
    fn from(why: GaveUp) -> AcquireFailure {
        AcquireFailure::GaveUp(why)
    }
}

impl From<Error> for AcquireFailure {
    #[cold]
    fn from(error: Error) -> AcquireFailure {
        AcquireFailure::Failed(Box::new(error))
    }
}

impl From<GaveUp> for TransportFailure {
    #[inline]
    fn from(why: GaveUp) -> TransportFailure {
        TransportFailure::GaveUp(why)
    }
}

impl From<Error> for TransportFailure {
    #[cold]
    fn from(error: Error) -> TransportFailure {
        TransportFailure::Failed(Box::new(error))
    }
}

/// For calls that end for one reason only, whatever else a failure may be.
impl From<TransportFailure> for Error {
    #[cold]
    fn from(failure: TransportFailure) -> Error {
        match failure {
            TransportFailure::GaveUp(_) => {
                Error::os("wait any longer", std::io::ErrorKind::TimedOut)
            }
            TransportFailure::ShutDown => Error::Invalid("it was shut down".into()),
            TransportFailure::Disconnected(_) => {
                Error::Invalid("nobody is left at its other end".into())
            }
            TransportFailure::Failed(error) => *error,
        }
    }
}

/// For calls that end for one reason only, whatever else a failure may be.
impl From<AcquireFailure> for Error {
    #[cold]
    fn from(failure: AcquireFailure) -> Error {
        TransportFailure::from(failure).into()
    }
}

/// The turn to use a pipe is a user's lock.
impl From<AcquireFailure> for TransportFailure {
    #[cold]
    fn from(failure: AcquireFailure) -> TransportFailure {
        match failure {
            AcquireFailure::GaveUp(why) => TransportFailure::GaveUp(why),
            AcquireFailure::Failed(error) => TransportFailure::Failed(error),
        }
    }
}
