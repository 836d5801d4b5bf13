//! How the bytes of a value or an array are read and written while other processes do the same.
//!
//! Everything is copied out before anybody looks at it: a reference to plain data that another process may change is
//! nothing that Rust knows. Elements of 1, 2, 4 and 8 bytes go in one piece; the rest is whole under the lock only.
#![allow(unsafe_code)] // copies from and to shared memory, after checking bounds

use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

use zerocopy::IntoBytes;

use super::RawValue;
use crate::plain::Plain;

impl RawValue {
    /// A copy of the value; up to 8 bytes in one piece.
    #[inline]
    pub(crate) fn read<T: Plain>(&self) -> T {
        assert!(size_of::<T>() == self.len(), "a value of this type");
        self.read_at(0)
    }

    /// Replaces the value; up to 8 bytes in one piece.
    #[inline]
    pub(crate) fn write<T: Plain>(&self, value: T) {
        assert!(size_of::<T>() == self.len(), "a value of this type");
        self.write_at(0, value);
    }

    /// A copy of the element with this index; up to 8 bytes in one piece.
    ///
    /// # Panics
    /// When it does not lie inside, as the next five.
    #[inline]
    pub(crate) fn read_at<T: Plain>(&self, index: usize) -> T {
        let mut value = T::new_zeroed();
        let bytes = value.as_mut_bytes();
        match bytes.len() {
            0 => {}
            1 => bytes[0] = self.cell::<AtomicU8>(index).load(Ordering::Relaxed),
            2 => bytes.copy_from_slice(
                &self.cell::<AtomicU16>(index).load(Ordering::Relaxed).to_ne_bytes(),
            ),
            4 => bytes.copy_from_slice(
                &self.cell::<AtomicU32>(index).load(Ordering::Relaxed).to_ne_bytes(),
            ),
            8 => bytes.copy_from_slice(
                &self.cell::<AtomicU64>(index).load(Ordering::Relaxed).to_ne_bytes(),
            ),
            _ => self.copy_out(index, std::slice::from_mut(&mut value)),
        }
        value
    }

    /// Replaces the element with this index; up to 8 bytes in one piece.
    #[inline]
    pub(crate) fn write_at<T: Plain>(&self, index: usize, value: T) {
        let bytes = value.as_bytes();
        let exactly = "as many bytes as the length says";
        match bytes.len() {
            0 => {}
            1 => self.cell::<AtomicU8>(index).store(bytes[0], Ordering::Relaxed),
            2 => self
                .cell::<AtomicU16>(index)
                .store(u16::from_ne_bytes(bytes.try_into().expect(exactly)), Ordering::Relaxed),
            4 => self
                .cell::<AtomicU32>(index)
                .store(u32::from_ne_bytes(bytes.try_into().expect(exactly)), Ordering::Relaxed),
            8 => self
                .cell::<AtomicU64>(index)
                .store(u64::from_ne_bytes(bytes.try_into().expect(exactly)), Ordering::Relaxed),
            _ => self.copy_in(index, std::slice::from_ref(&value)),
        }
    }

    /// Copies elements from `first` on.
    pub(crate) fn copy_out<T: Plain>(&self, first: usize, target: &mut [T]) {
        let start = self.range::<T>(first, target.len());
        let bytes = target.as_mut_bytes();
        // SAFETY: `range` found the source inside the mapping; the target is private, and any bytes are valid there.
        unsafe {
            let source = self.address().as_ptr().add(start);
            bytes.as_mut_ptr().copy_from_nonoverlapping(source, bytes.len());
        }
    }

    /// Replaces elements from `first` on.
    pub(crate) fn copy_in<T: Plain>(&self, first: usize, source: &[T]) {
        let start = self.range::<T>(first, source.len());
        let bytes = source.as_bytes();
        // SAFETY: `range` found the target inside the mapping, and the source is private.
        unsafe {
            let target = self.address().as_ptr().add(start);
            target.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
    }

    /// The element with this index as an atomic word, if there is one: any process may change it at any moment, and
    /// that is what atomics are for.
    #[inline]
    pub fn atomic<A: AtomicWord>(&self, index: usize) -> Option<&A> {
        let end = index.checked_add(1)?.checked_mul(size_of::<A>())?;
        if end > self.len() {
            return None;
        }
        // SAFETY: the bytes lie in the mapping, which `self` keeps, and begin at a multiple of 64, so each element is
        // aligned to its size; every bit pattern is a valid atomic integer.
        Some(unsafe { self.address().cast::<A>().add(index).as_ref() })
    }

    #[inline]
    fn cell<A: AtomicWord>(&self, index: usize) -> &A {
        self.atomic(index).expect("an element inside the array")
    }

    /// The offset of `count` elements from `first` on.
    fn range<T: Plain>(&self, first: usize, count: usize) -> usize {
        let elements = self.len() / size_of::<T>();
        assert!(
            first <= elements && count <= elements - first,
            "elements {first}..{first}+{count} are not inside an array of {elements}"
        );
        first * size_of::<T>()
    }
}

/// Atomic integers of the sizes that processors change in one step.
pub trait AtomicWord: sealed::Sealed {}

mod sealed {
    pub trait Sealed {}
}

macro_rules! atomic_words {
    ($($atomic:ty)*) => { $(
        impl AtomicWord for $atomic {}
        impl sealed::Sealed for $atomic {}
    )* };
}

atomic_words!(AtomicU8 AtomicU16 AtomicU32 AtomicU64);
