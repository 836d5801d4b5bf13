//! Operations on numbers in shared memory that no other process can come in between, each in one step of the processor.
//!
//! All are sequentially consistent. They know nothing of the lock beside the bytes: a caller that changes a number by
//! reading and writing it under the lock can lose what an operation did in between.

use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64};

use super::RawValue;

/// What kind of number lies in an element. Signed and unsigned integers are the same here: they wrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// An integer of one byte.
    Integer8,
    /// An integer of two bytes.
    Integer16,
    /// An integer of four bytes.
    Integer32,
    /// An integer of eight bytes.
    Integer64,
    /// A float of four bytes.
    Float32,
    /// A float of eight bytes.
    Float64,
}

/// What is done with a number; each returns what was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Nothing: a look at it.
    Load,
    /// It is replaced.
    Swap,
    /// It is added to.
    Add,
    /// It is subtracted from.
    Sub,
    /// Its bits are kept where the operand has them.
    And,
    /// It gets the operand's bits, too.
    Or,
    /// The operand's bits are flipped.
    Xor,
}

macro_rules! fetch {
    ($cell:expr, $operation:expr, $operand:expr) => {
        u64::from(match $operation {
            Operation::Load => $cell.load(SeqCst),
            Operation::Swap => $cell.swap($operand, SeqCst),
            Operation::Add => $cell.fetch_add($operand, SeqCst),
            Operation::Sub => $cell.fetch_sub($operand, SeqCst),
            Operation::And => $cell.fetch_and($operand, SeqCst),
            Operation::Or => $cell.fetch_or($operand, SeqCst),
            Operation::Xor => $cell.fetch_xor($operand, SeqCst),
        })
    };
}

macro_rules! fetch_float {
    ($cell:expr, $operation:expr, $operand:expr, $float:ty) => {
        match $operation {
            Operation::Add | Operation::Sub => {
                let operand = <$float>::from_bits($operand);
                let operand = if $operation == Operation::Add { operand } else { -operand };
                let sum = |bits| Some((<$float>::from_bits(bits) + operand).to_bits());
                u64::from($cell.fetch_update(SeqCst, SeqCst, sum).unwrap_or_else(|bits| bits))
            }
            _ => fetch!($cell, $operation, $operand),
        }
    };
}

macro_rules! compare_exchange {
    ($cell:expr, $current:expr, $new:expr) => {
        $cell.compare_exchange($current, $new, SeqCst, SeqCst).map(u64::from).map_err(u64::from)
    };
}

// What does not fit a narrower number is cut off, as integers wrap.
#[allow(clippy::cast_possible_truncation)]
impl RawValue {
    /// Does `operation` with the number at `index`, counted in numbers of this kind, and returns the bits that were
    /// there before; None when there is no such element.
    #[inline]
    pub fn fetch(
        &self,
        number: Number,
        index: usize,
        operation: Operation,
        operand: u64,
    ) -> Option<u64> {
        Some(match number {
            Number::Integer8 => fetch!(self.atomic::<AtomicU8>(index)?, operation, operand as u8),
            Number::Integer16 => {
                fetch!(self.atomic::<AtomicU16>(index)?, operation, operand as u16)
            }
            Number::Integer32 => {
                fetch!(self.atomic::<AtomicU32>(index)?, operation, operand as u32)
            }
            Number::Integer64 => fetch!(self.atomic::<AtomicU64>(index)?, operation, operand),
            Number::Float32 => {
                fetch_float!(self.atomic::<AtomicU32>(index)?, operation, operand as u32, f32)
            }
            Number::Float64 => {
                fetch_float!(self.atomic::<AtomicU64>(index)?, operation, operand, f64)
            }
        })
    }

    /// Replaces the number at `index` by `new` if its bits are those of `current`; `Ok` when it did, and in either case
    /// what was there. None when there is no such element.
    #[inline]
    pub fn compare_exchange(
        &self,
        number: Number,
        index: usize,
        current: u64,
        new: u64,
    ) -> Option<Result<u64, u64>> {
        Some(match number {
            Number::Integer8 => {
                compare_exchange!(self.atomic::<AtomicU8>(index)?, current as u8, new as u8)
            }
            Number::Integer16 => {
                compare_exchange!(self.atomic::<AtomicU16>(index)?, current as u16, new as u16)
            }
            Number::Integer32 | Number::Float32 => {
                compare_exchange!(self.atomic::<AtomicU32>(index)?, current as u32, new as u32)
            }
            Number::Integer64 | Number::Float64 => {
                compare_exchange!(self.atomic::<AtomicU64>(index)?, current, new)
            }
        })
    }
}
