//! The error of everything that creates, attaches or hands over a shared object.

use std::io;

/// What went wrong while creating, attaching or handing over a shared object.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a call; `doing` says what was being done.
    #[error("cannot {doing}: {source}")]
    Os {
        /// What was being done, as in "create a shared segment".
        doing: &'static str,
        /// The system's own word for it.
        source: io::Error,
    },
    /// Shared memory with a name could not be created, opened or removed.
    #[error("cannot {doing} the shared memory {name:?}: {source}{hint}")]
    SharedMemory {
        /// What was being done, as in "create".
        doing: &'static str,
        /// The name, without the leading slash.
        name: String,
        /// The system's own word for it; `kind()` tells `NotFound` and `AlreadyExists`.
        source: io::Error,
        /// What is behind it and what to do, in brackets, where that is known.
        hint: &'static str,
    },
    /// A descriptor or shared memory does not hold what it should.
    #[error("not a usable tasuki object: {0}")]
    Invalid(String),
    /// A connection over a socket cannot go on; the text says what the peer or this end did.
    #[error("{0}")]
    Connection(String),
    /// A fixed limit was reached; the text names it and says what to do.
    #[error("{0}")]
    Limit(String),
    /// A call from inside a wait, by a signal handler for example, would wait for what it interrupted.
    #[error("{0}")]
    Reentrant(String),
    /// A process was stopped in the middle of a step, and this call cannot go on without it. Later it may.
    #[error("{0}")]
    Busy(String),
    /// The shared memory belongs to a process in another pid namespace, where owners cannot be recognised.
    #[error("this object comes from another pid namespace; share it only inside one container")]
    ForeignNamespace,
}

impl Error {
    pub(crate) fn os(doing: &'static str, source: impl Into<io::Error>) -> Error {
        Error::Os { doing, source: source.into() }
    }
}
