//! Which types may live in shared memory: plain data, valid whatever bytes another process writes.

use std::any::TypeId;

use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::protocol::element;

/// Plain data: numbers, arrays of numbers, structs of such with `#[repr(C)]` and the zerocopy derives.
///
/// Implemented for every type that qualifies. Not `bool`, `char`, enums or references: another process could write
/// bytes that are no value of theirs; nor structs with padding, whose bytes are undefined.
///
/// ```
/// #[derive(Clone, Copy, zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable)]
/// #[repr(C)]
/// struct Point {
///     x: f64,
///     y: f64,
/// }
/// let point = tasuki::Value::new(Point { x: 0.0, y: 1.0 })?;
/// assert_eq!(point.get().y, 1.0);
/// # Ok::<(), tasuki::Error>(())
/// ```
pub trait Plain: FromBytes + IntoBytes + Immutable + Copy + Send + Sync + 'static {}

impl<T: FromBytes + IntoBytes + Immutable + Copy + Send + Sync + 'static> Plain for T {}

/// The number that says in a handle what a `T` is.
pub(crate) fn element_of<T: Plain>() -> u16 {
    let this = TypeId::of::<T>();
    macro_rules! is_one_of {
        ($($t:ty)*) => { [$(TypeId::of::<$t>()),*].contains(&this) };
    }
    if is_one_of!(i8 i16 i32 i64 i128 isize) {
        element::signed(size_of::<T>())
    } else if is_one_of!(u8 u16 u32 u64 u128 usize) {
        element::unsigned(size_of::<T>())
    } else if is_one_of!(f32 f64) {
        element::float(size_of::<T>())
    } else {
        element::OPAQUE
    }
}
