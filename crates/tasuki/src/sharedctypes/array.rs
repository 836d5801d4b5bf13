//! Arrays that several processes share.
#![allow(unsafe_code)] // lends the shared memory itself to those who vouch for the others

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Bound, Range, RangeBounds};
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::Error;
use crate::plain::{Plain, element_of};
use crate::raw::{self, RawHandle, RawValue, Wait, element};
use crate::synchronize::{LockError, guarded, serialize_value};

/// An array of plain data that several processes read and change, with one lock.
///
/// It has as many elements as it was made with. Its memory is there from the start: an array that does not fit is an
/// error when it is made, and no process is killed for writing into it later. A clone is another handle to the same
/// array; handles travel as those of a [`Queue`](crate::Queue) do. It is Python's `Array` as well: a Rust `Array<f64>`
/// and a Python `Array("d", ..)` can be one, and so can a Rust array and a `tasuki.shared_array` of numpy. An
/// `Array<u8>` opens any array, as its bytes.
///
/// ```
/// let temperatures: tasuki::Array<f64> = tasuki::Array::new(24)?;
/// temperatures.set(12, 21.5)?;
/// let mut guard = temperatures.lock().unwrap(); // others wait now
/// guard.write(13, &[22.0, 22.5]);
/// assert_eq!(guard.read(12..15), [21.5, 22.0, 22.5]);
/// # Ok::<(), tasuki::Error>(())
/// ```
///
/// Numbers have atomic operations, too: [`fetch_add`](Array::fetch_add) and its relatives take no lock.
pub struct Array<T: Plain> {
    raw: RawValue,
    data: PhantomData<T>,
}

impl<T: Plain> Array<T> {
    /// Where in memory an element must begin; more is not needed for any number, and refused when it is compiled.
    const FITS: () = assert!(
        size_of::<T>() > 0 && align_of::<T>() <= 64,
        "elements of an array have at least one byte and are aligned to 64 at most"
    );

    /// Makes an array of `len` elements whose bytes are zero.
    ///
    /// # Errors
    /// When there is not so much memory, or the system refuses descriptors.
    pub fn new(len: usize) -> Result<Array<T>, Error> {
        let () = Self::FITS;
        let raw = RawValue::create_array(element_of::<T>(), size_of::<T>(), len)?;
        Ok(Array::from_raw(raw))
    }

    /// Makes an array with these elements.
    ///
    /// # Errors
    /// As [`new`](Array::new).
    pub fn from_slice(elements: &[T]) -> Result<Array<T>, Error> {
        let array = Array::new(elements.len())?;
        array.raw.copy_in(0, elements);
        Ok(array)
    }

    fn from_raw(raw: RawValue) -> Array<T> {
        Array { raw: raw.taken_once(), data: PhantomData }
    }

    /// How many elements there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.raw.len() / size_of::<T>()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// The element at this moment, without the lock. Up to 8 bytes it is one that somebody set; a longer one may be
    /// half old and half new while another process writes: use [`lock`](Array::lock) then.
    ///
    /// # Panics
    /// When there is no such element, as for a slice.
    #[inline]
    pub fn get(&self, index: usize) -> T {
        self.check(index);
        self.raw.read_at(index)
    }

    /// Sets an element, under the lock.
    ///
    /// # Errors
    /// When the lock cannot be used at all. That an earlier owner died does not matter here.
    ///
    /// # Panics
    /// When there is no such element, as for a slice.
    pub fn set(&self, index: usize, value: T) -> Result<(), Error> {
        self.check(index);
        match self.lock() {
            Ok(mut guard) => guard.set(index, value),
            Err(LockError::Poisoned(poisoned)) => poisoned.into_inner().set(index, value),
            Err(LockError::Failed(error)) => return Err(error),
            Err(LockError::TimedOut) => unreachable!("a wait for ever does not time out"),
        }
        Ok(())
    }

    /// Changes an element under the lock, and returns what `change` returns.
    ///
    /// # Errors
    /// When an earlier owner died while it changed something: look at the array with [`lock`](Array::lock), then
    /// [`clear_poison`](Array::clear_poison).
    ///
    /// # Panics
    /// When there is no such element, as for a slice.
    pub fn update<R>(
        &self,
        index: usize,
        change: impl FnOnce(&mut T) -> R,
    ) -> Result<R, LockError<()>> {
        self.check(index);
        match self.lock() {
            Ok(mut guard) => Ok(guard.update(index, change)),
            Err(error) => Err(error.without_guard()),
        }
    }

    /// All elements at this moment, without the lock; see [`get`](Array::get).
    pub fn to_vec(&self) -> Vec<T> {
        (0..self.len()).map(|index| self.raw.read_at(index)).collect()
    }

    /// Takes the array's lock.
    ///
    /// # Errors
    /// As [`Lock::lock`](crate::Lock::lock).
    pub fn lock(&self) -> Result<ArrayGuard<'_, T>, LockError<ArrayGuard<'_, T>>> {
        self.lock_within(&mut Wait::forever())
    }

    /// Takes the array's lock if it is free now.
    ///
    /// # Errors
    /// As `lock`, and [`LockError::TimedOut`].
    pub fn try_lock(&self) -> Result<ArrayGuard<'_, T>, LockError<ArrayGuard<'_, T>>> {
        self.lock_within(&mut Wait::now())
    }

    /// Takes the array's lock, waiting for it at most for `timeout`.
    ///
    /// # Errors
    /// As `lock`, and [`LockError::TimedOut`].
    pub fn lock_timeout(
        &self,
        timeout: Duration,
    ) -> Result<ArrayGuard<'_, T>, LockError<ArrayGuard<'_, T>>> {
        self.lock_within(&mut Wait::timeout(timeout))
    }

    /// Takes the array's lock, waiting for it at most until `deadline`.
    ///
    /// # Errors
    /// As `lock`, and [`LockError::TimedOut`].
    pub fn lock_deadline(
        &self,
        deadline: Instant,
    ) -> Result<ArrayGuard<'_, T>, LockError<ArrayGuard<'_, T>>> {
        self.lock_within(&mut Wait::until(deadline))
    }

    fn lock_within(
        &self,
        wait: &mut Wait<'_>,
    ) -> Result<ArrayGuard<'_, T>, LockError<ArrayGuard<'_, T>>> {
        guarded(self.raw.lock().acquire(wait), || ArrayGuard {
            array: self,
            panicking: std::thread::panicking(),
            not_send: PhantomData,
        })
    }

    /// Whether a process died or panicked while it held the lock.
    pub fn is_poisoned(&self) -> bool {
        self.raw.lock().is_poisoned()
    }

    /// Declares that the array is whole again.
    pub fn clear_poison(&self) {
        self.raw.lock().clear_poison();
    }

    pub(crate) fn raw(&self) -> &RawValue {
        &self.raw
    }

    #[inline]
    fn check(&self, index: usize) {
        let len = self.len();
        assert!(index < len, "index {index} is outside an array of {len}");
    }
}

impl<T: Plain> Clone for Array<T> {
    fn clone(&self) -> Array<T> {
        Array::from_raw(self.raw.clone())
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for Array<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Array ")?;
        f.debug_list().entries((0..self.len()).map(|index| self.get(index))).finish()
    }
}

impl<T: Plain> Serialize for Array<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_value(&self.raw, serializer)
    }
}

impl<'de, T: Plain> Deserialize<'de> for Array<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Array<T>, D::Error> {
        let () = Self::FITS;
        raw::serde::deserialize(deserializer, |handle| match handle {
            RawHandle::Value(raw) if raw.is_array() => {
                let is_bytes = element_of::<T>() == element::unsigned(1);
                let same = raw.element() == element_of::<T>() && raw.item() == size_of::<T>();
                if is_bytes || same {
                    return Ok(Array::from_raw(raw));
                }
                Err(format!(
                    "the shared array has elements of another type than {}",
                    std::any::type_name::<T>()
                ))
            }
            other => Err(other.instead_of("a shared array")),
        })
    }
}

/// The right to use an array's elements; the lock is free again when this is dropped.
///
/// Elements are copied out and in, since other processes may not ask for the lock: a reference into memory that changes
/// is nothing that safe Rust has. A program that knows its peers gets one from
/// [`as_mut_slice`](ArrayGuard::as_mut_slice).
#[must_use = "the lock is free again as soon as the guard is dropped"]
pub struct ArrayGuard<'a, T: Plain> {
    array: &'a Array<T>,
    /// The thread was panicking already when it took the lock, so its panic is no reason to poison it.
    panicking: bool,
    not_send: PhantomData<*const ()>,
}

impl<T: Plain> ArrayGuard<'_, T> {
    /// How many elements there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.array.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.array.is_empty()
    }

    /// The element with this index.
    ///
    /// # Panics
    /// When there is no such element, as for a slice. So do the other methods, for a range as well.
    #[inline]
    pub fn get(&self, index: usize) -> T {
        self.array.get(index)
    }

    /// Replaces the element with this index.
    #[inline]
    pub fn set(&mut self, index: usize, value: T) {
        self.array.check(index);
        self.array.raw.write_at(index, value);
    }

    /// Changes the element with this index, and returns what `change` returns.
    #[inline]
    pub fn update<R>(&mut self, index: usize, change: impl FnOnce(&mut T) -> R) -> R {
        let mut element = self.get(index);
        let result = change(&mut element);
        self.set(index, element);
        result
    }

    /// A copy of some elements: `guard.read(..)`, `guard.read(2..5)`.
    pub fn read(&self, range: impl RangeBounds<usize>) -> Vec<T> {
        let range = self.inside(range);
        let mut elements = vec![T::new_zeroed(); range.len()];
        self.array.raw.copy_out(range.start, &mut elements);
        elements
    }

    /// Copies as many elements as `target` has, from the one with index `first` on.
    pub fn read_into(&self, first: usize, target: &mut [T]) {
        self.array.raw.copy_out(first, target);
    }

    /// Replaces elements, from the one with index `first` on.
    pub fn write(&mut self, first: usize, elements: &[T]) {
        self.array.raw.copy_in(first, elements);
    }

    /// Replaces all elements by one and the same.
    pub fn fill(&mut self, element: T) {
        (0..self.len()).for_each(|index| self.array.raw.write_at(index, element));
    }

    /// Copies of the elements, one after the other.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = T> + DoubleEndedIterator {
        (0..self.len()).map(|index| self.array.raw.read_at(index))
    }

    /// Changes each element.
    pub fn for_each_mut(&mut self, mut change: impl FnMut(usize, &mut T)) {
        for index in 0..self.len() {
            self.update(index, |element| change(index, element));
        }
    }

    /// The shared memory itself.
    ///
    /// # Safety
    /// While the slice lives nobody changes the array, in any process and through any handle: all of them take the lock
    /// before they write, and none uses atomic operations. After a fork only one of the two processes uses the guard.
    pub unsafe fn as_slice(&self) -> &[T] {
        // SAFETY: the address is aligned to 64, `FITS` says that this is enough, and the bytes lie in the mapping; any
        // bytes are valid elements. The caller vouches that nobody writes.
        unsafe { std::slice::from_raw_parts(self.array.raw.address().cast().as_ptr(), self.len()) }
    }

    /// The shared memory itself, to be written as well.
    ///
    /// ```
    /// let numbers = tasuki::Array::from_slice(&[3, 1, 2])?;
    /// let mut guard = numbers.lock().unwrap();
    /// // SAFETY: this program is the only one, and uses the array under its lock.
    /// unsafe { guard.as_mut_slice() }.sort();
    /// assert_eq!(guard.read(..), [1, 2, 3]);
    /// # Ok::<(), tasuki::Error>(())
    /// ```
    ///
    /// # Safety
    /// While the slice lives nobody reads or changes the array, in any process and through any handle: all of them take
    /// the lock before they look. After a fork only one of the two processes uses the guard.
    pub unsafe fn as_mut_slice(&mut self) -> &mut [T] {
        let start = self.array.raw.address().cast().as_ptr();
        // SAFETY: as in `as_slice`. The caller vouches that nobody looks.
        unsafe { std::slice::from_raw_parts_mut(start, self.len()) }
    }

    fn inside(&self, range: impl RangeBounds<usize>) -> Range<usize> {
        let len = self.len();
        let start = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&last) => last.saturating_add(1),
            Bound::Excluded(&end) => end,
            Bound::Unbounded => len,
        };
        assert!(start <= end && end <= len, "{start}..{end} is not inside an array of {len}");
        start..end
    }
}

impl<T: Plain> Drop for ArrayGuard<'_, T> {
    fn drop(&mut self) {
        let lock = self.array.raw.lock();
        // In a forked child the guard is a copy of the parent's, who holds the lock; and somebody else may have
        // released it, which any process may. There is nothing to do then.
        if !lock.is_mine().unwrap_or(false) {
            return;
        }
        if std::thread::panicking() && !self.panicking {
            lock.poison();
        }
        if !lock.release_fast(|| {}) {
            let _ = lock.release();
        }
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for ArrayGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
