//! A range of a segment, whose bounds are checked once: what every look at an object's words goes through.
#![allow(unsafe_code)] // keeps the address of the range, and turns it into references

use std::ptr::NonNull;
use std::sync::Arc;

use super::{Segment, Shared};

/// Bytes of a segment, aligned to a cache line, mapped as long as this lives.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    segment: Arc<Segment>,
    base: NonNull<u8>,
    len: usize,
}

/// What every part is aligned to, and no type in a segment needs more.
const ALIGNMENT: usize = 64;

// SAFETY: the address is that of the segment's mapping, which any thread may use; what lies there is `Shared`.
unsafe impl Send for Part {}
// SAFETY: as above.
unsafe impl Sync for Part {}

impl Part {
    /// The bytes at `offset`, if they are inside and aligned.
    pub(crate) fn new(segment: Arc<Segment>, offset: usize, len: usize) -> Option<Part> {
        let base = segment.bytes(offset, len)?;
        base.addr().get().is_multiple_of(ALIGNMENT).then_some(Part { segment, base, len })
    }

    #[inline]
    pub(crate) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// The address of the byte at `offset`, if that is inside.
    #[inline]
    pub(crate) fn at(&self, offset: usize) -> Option<NonNull<u8>> {
        // SAFETY: inside the part, and with it inside the mapping, which `segment` keeps.
        (offset < self.len).then(|| unsafe { self.base.add(offset) })
    }

    /// The bytes, of which others may change any at any moment.
    #[inline]
    pub(crate) fn bytes(&self) -> NonNull<u8> {
        self.base
    }

    /// The shared value at `offset`.
    ///
    /// # Panics
    /// When that is not inside or not aligned: a mistake in the code.
    #[inline]
    pub(crate) fn place<T: Shared>(&self, offset: usize) -> &T {
        &self.places(offset, 1)[0]
    }

    /// As `place`, for `count` values side by side.
    #[inline]
    pub(crate) fn places<T: Shared>(&self, offset: usize, count: usize) -> &[T] {
        const { assert!(align_of::<T>() <= ALIGNMENT) };
        let end = count.checked_mul(size_of::<T>()).and_then(|len| len.checked_add(offset));
        let inside = end.is_some_and(|end| end <= self.len);
        assert!(inside && offset.is_multiple_of(align_of::<T>()), "a place inside the object");
        // SAFETY: the range is inside the part and with it inside the mapping, which `segment` keeps; the base is
        // aligned to more than the type and the offset to as much; `Shared` types accept any bytes and are only changed
        // atomically.
        unsafe { std::slice::from_raw_parts(self.base.add(offset).cast::<T>().as_ptr(), count) }
    }
}
