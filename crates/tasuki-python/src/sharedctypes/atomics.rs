//! Numbers in shared memory as Python sees them, and the operations on them that no other process can come in between.

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBool;
use tasuki::raw::{Number, Operation, RawValue};

/// How a number is laid out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    Bool,
    Signed(u8),
    Unsigned(u8),
    Float32,
    Float64,
}

impl Layout {
    /// By ctypes' letter for its type; None when that is no number.
    pub fn new(kind: char, size: usize) -> Option<Layout> {
        let size = u8::try_from(size).ok()?;
        Some(match (kind, size) {
            ('?', 1) => Layout::Bool,
            ('b' | 'h' | 'i' | 'l' | 'q', 1 | 2 | 4 | 8) => Layout::Signed(size),
            ('B' | 'H' | 'I' | 'L' | 'Q', 1 | 2 | 4 | 8) => Layout::Unsigned(size),
            ('f', 4) => Layout::Float32,
            ('d', 8) => Layout::Float64,
            _ => return None,
        })
    }

    /// How many bytes it has.
    pub fn size(self) -> usize {
        match self {
            Layout::Bool => 1,
            Layout::Signed(size) | Layout::Unsigned(size) => size.into(),
            Layout::Float32 => 4,
            Layout::Float64 => 8,
        }
    }

    fn number(self) -> Number {
        match (self, self.size()) {
            (Layout::Float32, _) => Number::Float32,
            (Layout::Float64, _) => Number::Float64,
            (_, 1) => Number::Integer8,
            (_, 2) => Number::Integer16,
            (_, 4) => Number::Integer32,
            (_, _) => Number::Integer64,
        }
    }

    fn is_float(self) -> bool {
        matches!(self, Layout::Float32 | Layout::Float64)
    }

    /// The number with these bits.
    pub fn read(self, py: Python<'_>, bits: u64) -> PyResult<Bound<'_, PyAny>> {
        Ok(match self {
            Layout::Bool => PyBool::new(py, bits != 0).to_owned().into_any(),
            Layout::Signed(size) => {
                let unused = 64 - 8 * u32::from(size);
                (((bits << unused) as i64) >> unused).into_pyobject(py)?.into_any()
            }
            Layout::Unsigned(_) => bits.into_pyobject(py)?.into_any(),
            Layout::Float32 => f32::from_bits(bits as u32).into_pyobject(py)?.into_any(),
            Layout::Float64 => f64::from_bits(bits).into_pyobject(py)?.into_any(),
        })
    }

    /// The bits of a number, as ctypes takes them: an integer that is too wide loses its upper bits.
    fn bits(self, value: &Bound<'_, PyAny>) -> PyResult<u64> {
        let py = value.py();
        match self {
            Layout::Bool => value.is_truthy().map(u64::from),
            Layout::Signed(_) | Layout::Unsigned(_) => {
                // SAFETY: the object is alive and the interpreter attached; a null is an error that is set.
                let index = unsafe {
                    Bound::from_owned_ptr_or_err(py, ffi::PyNumber_Index(value.as_ptr()))?
                };
                // SAFETY: the object is an int, for which this cannot fail.
                Ok(unsafe { ffi::PyLong_AsUnsignedLongLongMask(index.as_ptr()) })
            }
            Layout::Float32 => Ok(u64::from((value.extract::<f64>()? as f32).to_bits())),
            Layout::Float64 => Ok(value.extract::<f64>()?.to_bits()),
        }
    }
}

/// A number of a block, by its index.
#[derive(Clone, Copy)]
pub struct Cell<'a> {
    pub raw: &'a RawValue,
    pub layout: Layout,
    pub index: usize,
}

impl Cell<'_> {
    /// Does `operation` and returns the number before.
    pub fn fetch<'py>(
        self,
        operation: Operation,
        operand: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match operation {
            Operation::Add | Operation::Sub if self.layout == Layout::Bool => {
                return Err(PyTypeError::new_err("there is no adding to a bool"));
            }
            Operation::And | Operation::Or | Operation::Xor if self.layout.is_float() => {
                return Err(PyTypeError::new_err("there are no bits to set in a float"));
            }
            _ => {}
        }
        let operand_bits = self.layout.bits(operand)?;
        let bits = self.raw.fetch(self.layout.number(), self.index, operation, operand_bits);
        self.layout.read(operand.py(), bits.ok_or_else(outside)?)
    }

    /// The number at this moment.
    pub fn load(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        let bits = self.raw.fetch(self.layout.number(), self.index, Operation::Load, 0);
        self.layout.read(py, bits.ok_or_else(outside)?)
    }

    /// Replaces the number.
    pub fn store(self, new: &Bound<'_, PyAny>) -> PyResult<()> {
        let bits = self.layout.bits(new)?;
        let before = self.raw.fetch(self.layout.number(), self.index, Operation::Swap, bits);
        before.map(drop).ok_or_else(outside)
    }

    /// Replaces the number by `new` if it is `expected`; whether it was.
    pub fn compare_exchange(
        self,
        expected: &Bound<'_, PyAny>,
        new: &Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        let (expected, new) = (self.layout.bits(expected)?, self.layout.bits(new)?);
        self.raw
            .compare_exchange(self.layout.number(), self.index, expected, new)
            .map(|result| result.is_ok())
            .ok_or_else(outside)
    }
}

fn outside() -> PyErr {
    pyo3::exceptions::PyIndexError::new_err("index out of range")
}
