//! A number in shared memory, read and written under its lock in one call, and atomic operations on it.

use std::sync::OnceLock;

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFloat, PyInt, PyTuple};
use pyo3::{ffi, intern};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64};
use tasuki::raw::{AtomicWord, Operation, RawValue};

use crate::sharedctypes::atomics::{Cell, Layout};
use crate::sharedctypes::{Block, Guarded};

/// A number with its lock; the Python class `SynchronizedNumber` derives from it.
#[pyclass(frozen, subclass, extends = Guarded, module = "tasuki._tasuki")]
pub struct Number {
    memory: OnceLock<(RawValue, Layout)>,
}

#[inline]
fn word<A: AtomicWord>(raw: &RawValue) -> &A {
    raw.atomic(0).expect("a number of this size, checked when it was tied")
}

fn load(raw: &RawValue, layout: Layout) -> u64 {
    match layout.size() {
        1 => word::<AtomicU8>(raw).load(Relaxed).into(),
        2 => word::<AtomicU16>(raw).load(Relaxed).into(),
        4 => word::<AtomicU32>(raw).load(Relaxed).into(),
        _ => word::<AtomicU64>(raw).load(Relaxed),
    }
}

fn store(raw: &RawValue, layout: Layout, bits: u64) {
    match layout.size() {
        1 => word::<AtomicU8>(raw).store(bits as u8, Relaxed),
        2 => word::<AtomicU16>(raw).store(bits as u16, Relaxed),
        4 => word::<AtomicU32>(raw).store(bits as u32, Relaxed),
        _ => word::<AtomicU64>(raw).store(bits, Relaxed),
    }
}

impl Number {
    #[inline]
    fn memory(&self) -> PyResult<&(RawValue, Layout)> {
        self.memory.get().ok_or_else(|| PyRuntimeError::new_err("this value was never made"))
    }

    fn cell(&self) -> PyResult<Cell<'_>> {
        let (raw, layout) = self.memory()?;
        Ok(Cell { raw, layout: *layout, index: 0 })
    }

    /// How the number is laid out, once it was tied to its memory.
    #[inline]
    pub fn layout(&self) -> Option<Layout> {
        self.memory.get().map(|(_, layout)| *layout)
    }

    /// The number's bits, read under its own lock if that is free or this thread's.
    #[inline]
    pub fn load_fast(&self, guarded: &Guarded) -> Option<(u64, Layout)> {
        let (raw, layout) = self.memory.get().filter(|_| guarded.has_own_lock())?;
        Some((raw.lock().with_lock_fast(|| load(raw, *layout))?, *layout))
    }

    /// Replaces the number's bits under its own lock if that is free or this thread's; whether it was.
    #[inline]
    pub fn store_fast(&self, guarded: &Guarded, bits: u64) -> bool {
        match self.memory.get() {
            Some((raw, layout)) if guarded.has_own_lock() => {
                raw.lock().with_lock_fast(|| store(raw, *layout, bits)).is_some()
            }
            _ => false,
        }
    }

    /// The number, read under the lock.
    pub fn get<'py>(&self, guarded: &Guarded, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let (raw, layout) = self.memory()?;
        let bits = guarded.locked(py, || Ok(load(raw, *layout)))?;
        layout.read(py, bits)
    }

    /// Replaces the number under the lock.
    pub fn set(&self, guarded: &Guarded, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = value.py();
        let (raw, layout) = self.memory()?;
        let bits = match layout {
            Layout::Signed(_) | Layout::Unsigned(_) if value.is_instance_of::<PyInt>() => {
                // As ctypes has it, a number that is too wide loses its upper bits.
                // SAFETY: the object is an int, for which this cannot fail.
                Some(unsafe { ffi::PyLong_AsUnsignedLongLongMask(value.as_ptr()) })
            }
            Layout::Float64 => value.cast_exact::<PyFloat>().ok().map(|f| f.value().to_bits()),
            _ => None,
        };
        match bits {
            Some(bits) => guarded.locked(py, || {
                store(raw, *layout, bits);
                Ok(())
            }),
            // The ctypes object knows what to say about a value that does not fit.
            None => {
                let object = guarded.object(py)?;
                guarded.locked(py, || object.setattr(intern!(py, "value"), value))
            }
        }
    }
}

#[pymethods]
impl Number {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(
        _args: &Bound<'_, PyTuple>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyClassInitializer<Number> {
        PyClassInitializer::from(Guarded::unmade()).add_subclass(Number { memory: OnceLock::new() })
    }

    /// Ties this wrapper to its memory; `kind` is ctypes' letter for the number.
    fn _tie(&self, block: &Block, kind: char) -> PyResult<()> {
        let raw = block.raw()?;
        let Some(layout) = Layout::new(kind, raw.len()) else {
            return Err(PyTypeError::new_err(format!("{kind:?} is no number")));
        };
        self.memory
            .set((raw.clone(), layout))
            .map_err(|_| PyRuntimeError::new_err("this value is made already"))
    }

    /// The number, without the lock.
    fn load<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.cell()?.load(py)
    }

    /// Replaces the number, without the lock.
    fn store(&self, new: &Bound<'_, PyAny>) -> PyResult<()> {
        self.cell()?.store(new)
    }

    /// Replaces the number and returns the one before, without the lock.
    fn exchange<'py>(&self, new: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.cell()?.fetch(Operation::Swap, new)
    }

    /// Replaces the number by `new` if it is `expected`, without the lock; returns whether it was.
    fn compare_exchange(
        &self,
        expected: &Bound<'_, PyAny>,
        new: &Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        self.cell()?.compare_exchange(expected, new)
    }

    /// Adds `n` and returns the number before, without the lock. Integers wrap.
    fn fetch_add<'py>(&self, n: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.cell()?.fetch(Operation::Add, n)
    }

    /// Subtracts `n` and returns the number before, without the lock. Integers wrap.
    fn fetch_sub<'py>(&self, n: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.cell()?.fetch(Operation::Sub, n)
    }

    /// Keeps the bits that `mask` has and returns the number before, without the lock.
    fn fetch_and<'py>(&self, mask: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.cell()?.fetch(Operation::And, mask)
    }

    /// Sets the bits that `mask` has and returns the number before, without the lock.
    fn fetch_or<'py>(&self, mask: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.cell()?.fetch(Operation::Or, mask)
    }

    /// Flips the bits that `mask` has and returns the number before, without the lock.
    fn fetch_xor<'py>(&self, mask: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.cell()?.fetch(Operation::Xor, mask)
    }
}
