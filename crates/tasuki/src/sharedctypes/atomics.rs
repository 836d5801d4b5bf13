//! Atomic operations on shared numbers, under the names of `std::sync::atomic`, for [`Value`] and [`Array`].

use crate::plain::Plain;
use crate::raw::{Number, Operation, RawValue};
use crate::sharedctypes::{Array, Value};

/// The numbers that have atomic operations: all integers of up to 8 bytes, which wrap, and `f32` and `f64`, whose bits
/// are what is compared.
///
/// ```
/// use tasuki::{Array, Value};
///
/// let total = Value::new(5_u32)?;
/// assert_eq!(total.fetch_add(2), 5);
/// assert_eq!(total.compare_exchange(7, 1), Ok(7));
///
/// let votes: Array<i64> = Array::new(3)?;
/// votes.fetch_add(2, 1);
/// assert_eq!(votes.to_vec(), [0, 0, 1]);
/// # Ok::<(), tasuki::Error>(())
/// ```
///
/// They take no lock and wait for nobody: a process that dies can hold nobody up, and leaves nothing half done. All are
/// sequentially consistent. **Do not mix** them with changes under the lock: `value.update(|n| *n += 1)` reads and then
/// writes, and an atomic operation in between is lost.
pub trait AtomicNumber: Plain + sealed::Bits {}

/// The integers that have atomic operations on their bits.
pub trait AtomicInteger: AtomicNumber {}

mod sealed {
    use super::Number;

    /// How a number is handed to the engine.
    pub trait Bits: Sized {
        const NUMBER: Number;
        fn bits(self) -> u64;
        fn of(bits: u64) -> Self;
    }
}

use sealed::Bits;

macro_rules! integers {
    ($($integer:ty)*) => { $(
        // The engine looks at the lowest bytes only.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_possible_wrap)]
        #[allow(clippy::cast_lossless, trivial_numeric_casts)]
        impl Bits for $integer {
            const NUMBER: Number = match size_of::<$integer>() {
                1 => Number::Integer8,
                2 => Number::Integer16,
                4 => Number::Integer32,
                _ => Number::Integer64,
            };
            #[inline]
            fn bits(self) -> u64 {
                self as u64
            }
            #[inline]
            fn of(bits: u64) -> $integer {
                bits as $integer
            }
        }
        impl AtomicNumber for $integer {}
        impl AtomicInteger for $integer {}
    )* };
}

integers!(i8 i16 i32 i64 isize u8 u16 u32 u64 usize);

impl Bits for f32 {
    const NUMBER: Number = Number::Float32;
    #[inline]
    fn bits(self) -> u64 {
        u64::from(self.to_bits())
    }
    #[inline]
    #[allow(clippy::cast_possible_truncation)] // the engine gives four bytes
    fn of(bits: u64) -> f32 {
        f32::from_bits(bits as u32)
    }
}

impl Bits for f64 {
    const NUMBER: Number = Number::Float64;
    #[inline]
    fn bits(self) -> u64 {
        self.to_bits()
    }
    #[inline]
    fn of(bits: u64) -> f64 {
        f64::from_bits(bits)
    }
}

impl AtomicNumber for f32 {}
impl AtomicNumber for f64 {}

#[inline]
fn fetch<T: AtomicNumber>(raw: &RawValue, index: usize, operation: Operation, operand: T) -> T {
    match raw.fetch(T::NUMBER, index, operation, operand.bits()) {
        Some(bits) => T::of(bits),
        None => outside(raw, index),
    }
}

#[inline]
fn compare_exchange<T: AtomicNumber>(
    raw: &RawValue,
    index: usize,
    current: T,
    new: T,
) -> Result<T, T> {
    match raw.compare_exchange(T::NUMBER, index, current.bits(), new.bits()) {
        Some(was) => was.map(T::of).map_err(T::of),
        None => outside(raw, index),
    }
}

#[cold]
fn outside(raw: &RawValue, index: usize) -> ! {
    panic!("index {index} is outside an array of {}", raw.count())
}

/// Atomic operations, which take no lock; see [`AtomicNumber`].
impl<T: AtomicNumber> Value<T> {
    /// The number at this moment.
    #[inline]
    pub fn load(&self) -> T {
        fetch(self.raw(), 0, Operation::Load, T::of(0))
    }

    /// Replaces the number.
    #[inline]
    pub fn store(&self, new: T) {
        self.swap(new);
    }

    /// Replaces the number and returns the one before.
    #[inline]
    #[doc(alias = "exchange")]
    pub fn swap(&self, new: T) -> T {
        fetch(self.raw(), 0, Operation::Swap, new)
    }

    /// Adds, and returns the number before. Integers wrap.
    #[inline]
    pub fn fetch_add(&self, n: T) -> T {
        fetch(self.raw(), 0, Operation::Add, n)
    }

    /// Subtracts, and returns the number before. Integers wrap.
    #[inline]
    pub fn fetch_sub(&self, n: T) -> T {
        fetch(self.raw(), 0, Operation::Sub, n)
    }

    /// Replaces the number by `new` if it is `current`.
    ///
    /// # Errors
    /// The number that is there, when it is another one.
    #[inline]
    pub fn compare_exchange(&self, current: T, new: T) -> Result<T, T> {
        compare_exchange(self.raw(), 0, current, new)
    }
}

/// Atomic operations on bits, which take no lock; each returns the number before.
impl<T: AtomicInteger> Value<T> {
    /// Keeps the bits that `mask` has.
    #[inline]
    pub fn fetch_and(&self, mask: T) -> T {
        fetch(self.raw(), 0, Operation::And, mask)
    }

    /// Sets the bits that `mask` has.
    #[inline]
    pub fn fetch_or(&self, mask: T) -> T {
        fetch(self.raw(), 0, Operation::Or, mask)
    }

    /// Flips the bits that `mask` has.
    #[inline]
    pub fn fetch_xor(&self, mask: T) -> T {
        fetch(self.raw(), 0, Operation::Xor, mask)
    }
}

/// Atomic operations on an element, which take no lock; see [`AtomicNumber`]. As for a slice, an index that is outside
/// is a panic.
impl<T: AtomicNumber> Array<T> {
    /// The element at this moment.
    #[inline]
    pub fn load(&self, index: usize) -> T {
        fetch(self.raw(), index, Operation::Load, T::of(0))
    }

    /// Replaces the element.
    #[inline]
    pub fn store(&self, index: usize, new: T) {
        self.swap(index, new);
    }

    /// Replaces the element and returns the one before.
    #[inline]
    #[doc(alias = "exchange")]
    pub fn swap(&self, index: usize, new: T) -> T {
        fetch(self.raw(), index, Operation::Swap, new)
    }

    /// Adds, and returns the element before. Integers wrap.
    #[inline]
    pub fn fetch_add(&self, index: usize, n: T) -> T {
        fetch(self.raw(), index, Operation::Add, n)
    }

    /// Subtracts, and returns the element before. Integers wrap.
    #[inline]
    pub fn fetch_sub(&self, index: usize, n: T) -> T {
        fetch(self.raw(), index, Operation::Sub, n)
    }

    /// Replaces the element by `new` if it is `current`.
    ///
    /// # Errors
    /// The element that is there, when it is another one.
    #[inline]
    pub fn compare_exchange(&self, index: usize, current: T, new: T) -> Result<T, T> {
        compare_exchange(self.raw(), index, current, new)
    }
}

/// Atomic operations on an element's bits, which take no lock; each returns the element before.
impl<T: AtomicInteger> Array<T> {
    /// Keeps the bits that `mask` has.
    #[inline]
    pub fn fetch_and(&self, index: usize, mask: T) -> T {
        fetch(self.raw(), index, Operation::And, mask)
    }

    /// Sets the bits that `mask` has.
    #[inline]
    pub fn fetch_or(&self, index: usize, mask: T) -> T {
        fetch(self.raw(), index, Operation::Or, mask)
    }

    /// Flips the bits that `mask` has.
    #[inline]
    pub fn fetch_xor(&self, index: usize, mask: T) -> T {
        fetch(self.raw(), index, Operation::Xor, mask)
    }
}
