//! One shared value of a segment whose place was checked once: for words that every call looks at many times.
#![allow(unsafe_code)] // keeps the address of the value, and turns it into a reference

use std::fmt;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;

use super::{Segment, Shared};

/// The value, mapped as long as this lives.
pub(crate) struct Placed<T> {
    at: NonNull<T>,
    /// Keeps the mapping.
    _segment: Arc<Segment>,
}

// SAFETY: the address is that of the segment's mapping, which any thread may use; what lies there is `Shared`.
unsafe impl<T: Shared> Send for Placed<T> {}
// SAFETY: as above.
unsafe impl<T: Shared> Sync for Placed<T> {}

impl<T: Shared> Placed<T> {
    /// The value at an offset that the code computed from constants and checked sizes.
    ///
    /// # Panics
    /// As [`Segment::place`].
    pub(crate) fn new(segment: &Arc<Segment>, offset: usize) -> Placed<T> {
        Placed { at: NonNull::from(segment.place::<T>(offset)), _segment: segment.clone() }
    }
}

impl<T: Shared> Deref for Placed<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: `new` had a reference to it; the segment lives, so its mapping does; `Shared` types accept any bytes
        // and are only changed atomically.
        unsafe { self.at.as_ref() }
    }
}

impl<T> fmt::Debug for Placed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Placed").field(&self.at).finish()
    }
}
