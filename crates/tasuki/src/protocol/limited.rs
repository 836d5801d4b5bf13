//! What keeps recursion and lengths within bounds, whatever the bytes say: a serializer and a
//! deserializer put around those of a format.
//!
//! A frame is written by another process, which may be broken. serde's formats recurse as deeply as
//! the bytes tell them to (`rmp-serde` counts arrays and maps, but not enums; `postcard` counts
//! nothing), and a stack overflow cannot be caught. Here every level is counted, in both directions
//! by the same rule, so that a value which is too deep is refused by the process that puts it and
//! not by the one that gets it:
//!
//! | what | levels |
//! |---|---|
//! | an element of a sequence, tuple, map or struct; the inside of an option or newtype | 1 |
//! | the inside of an enum's variant | 1, and the fields of a tuple or struct variant 1 more |
//!
//! Lengths: an element takes a byte at least, apart from those that take none (`()` in postcard).
//! So a message of n bytes has no more than n elements plus [`FREE_ELEMENTS`], and no length that
//! it claims makes anybody reserve more.

mod de;
mod ser;

pub(super) use de::{Format, Limited};
pub(super) use ser::Nested;

/// How many levels deep a message may be.
pub(super) const MAX_DEPTH: u16 = 256;

/// How many elements may take no bytes at all.
pub(super) const FREE_ELEMENTS: usize = 1 << 20;
