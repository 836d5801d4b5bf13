//! The part of a segment beyond its core: mapped piece by piece, when somebody gets there, and never moved.
//!
//! A piece is half of an octave: `[2^e, 1.5 * 2^e)` or `[1.5 * 2^e, 2^(e+1))`, from where the core ends. So the place
//! of each is known from an offset alone, all addresses stay, thirty mappings reach to 64 GiB, and what is mapped is in
//! proportion to what is used. A range lies in one piece or nowhere: whatever has a power of two as its length and
//! begins at a multiple of it, or at one and a half of it, does.
#![allow(unsafe_code)] // keeps the addresses of mappings

use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::sys::memory::Mapping;

/// The length of the core of a segment that has more than a core, as a power of two.
const CORE_ORDER: u32 = 21;
/// How much of a segment is mapped from the start, if it is that long.
pub(crate) const CORE: usize = 1 << CORE_ORDER;
/// No segment with pieces is longer.
pub(crate) const LONGEST: usize = 1 << 36;
const COUNT: usize = 2 * (LONGEST.ilog2() - CORE_ORDER) as usize;

/// The pieces of one segment in this process.
#[derive(Debug)]
pub(super) struct Pieces {
    bases: [AtomicPtr<u8>; COUNT],
    capacity: usize,
}

/// Which piece, and which bytes it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    index: usize,
    start: usize,
    len: usize,
}

impl Piece {
    /// The piece that this offset lies in, from the end of the core to `LONGEST`.
    #[inline]
    fn of(offset: usize) -> Piece {
        let order = offset.ilog2();
        let len = 1 << (order - 1);
        let half = offset >> (order - 1) & 1;
        let index = 2 * (order - CORE_ORDER) as usize + half;
        Piece { index, start: (2 + half) * len, len }
    }
}

impl Pieces {
    /// Of a segment that will not be longer than `capacity`.
    pub(super) fn new(capacity: usize) -> Pieces {
        let capacity = capacity.min(LONGEST);
        Pieces { bases: [const { AtomicPtr::new(ptr::null_mut()) }; COUNT], capacity }
    }

    /// The address of a range that begins beyond the core, if its piece is mapped; the caller knows that it is in the
    /// file.
    #[inline]
    pub(super) fn find(&self, offset: usize, end: usize) -> Option<NonNull<u8>> {
        let piece = self.piece(offset, end)?;
        // SYNC: Acquire, with the Release in `map`.
        let base = NonNull::new(self.bases[piece.index].load(Ordering::Acquire))?;
        // SAFETY: the piece is mapped from its start on, and the offset is inside, as `piece` says.
        Some(unsafe { base.add(offset - piece.start) })
    }

    /// Maps the piece that a range lies in, unless it is; false when it is not inside any.
    #[cold]
    pub(super) fn map(&self, fd: BorrowedFd<'_>, offset: usize, end: usize) -> io::Result<bool> {
        let Some(piece) = self.piece(offset, end) else { return Ok(false) };
        let place = &self.bases[piece.index];
        if place.load(Ordering::Acquire).is_null() {
            let base = Mapping::of(fd, piece.start, piece.len)?.into_raw();
            // SYNC: Release, with the Acquire in `find`.
            let first = place.compare_exchange(
                ptr::null_mut(),
                base.as_ptr(),
                Ordering::Release,
                Ordering::Relaxed,
            );
            if first.is_err() {
                // SAFETY: just taken apart; another thread was faster, and nobody has seen this one.
                drop(unsafe { Mapping::from_raw(base, piece.len) });
            }
        }
        Ok(true)
    }

    /// The piece of a range, cut where the segment ends.
    #[inline]
    fn piece(&self, offset: usize, end: usize) -> Option<Piece> {
        if offset < CORE || end > self.capacity || offset >= end {
            return None;
        }
        let mut piece = Piece::of(offset);
        piece.len = piece.len.min(self.capacity - piece.start);
        (end <= piece.start + piece.len).then_some(piece)
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        for (index, base) in self.bases.iter_mut().enumerate() {
            let Some(base) = NonNull::new(*base.get_mut()) else { continue };
            let order = CORE_ORDER + index as u32 / 2;
            let piece = Piece::of((2 + index % 2) << (order - 1));
            let len = piece.len.min(self.capacity - piece.start);
            // SAFETY: `map` took it apart, with this length; every reference into it borrows from the segment that owns
            // this value.
            drop(unsafe { Mapping::from_raw(base, len) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pieces_lie_side_by_side_from_the_core_to_the_end() {
        let mut offset = CORE;
        for index in 0..COUNT {
            let piece = Piece::of(offset);
            assert_eq!((piece.index, piece.start), (index, offset));
            assert_eq!(Piece::of(offset + piece.len - 1), piece);
            offset += piece.len;
        }
        assert_eq!(offset, LONGEST);
    }

    #[test]
    fn a_range_that_is_not_in_one_piece_is_nowhere() {
        let pieces = Pieces::new(5 << 20);
        let piece = |offset, end| pieces.piece(offset, end).map(|piece| (piece.start, piece.len));
        let mib = 1 << 20;
        assert_eq!(piece(2 * mib, 3 * mib), Some((2 * mib, mib)));
        assert_eq!(piece(2 * mib, 3 * mib + 1), None);
        assert_eq!(piece(4 * mib, 5 * mib), Some((4 * mib, mib)));
        assert_eq!(piece(5 * mib - 1, 5 * mib + 1), None);
        assert_eq!(piece(mib, 2 * mib), None);
        assert_eq!(piece(usize::MAX - 1, usize::MAX), None);
    }
}
