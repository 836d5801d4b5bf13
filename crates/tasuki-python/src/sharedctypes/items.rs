//! Arrays in shared memory: items read and written under the lock in one call, and atomic operations on them.

use std::sync::OnceLock;

use pyo3::exceptions::{PyIndexError, PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use tasuki::raw::{Operation, RawValue};

use crate::sharedctypes::atomics::{Cell, Layout};
use crate::sharedctypes::{Block, Guarded};

/// An array with its lock; the Python class `SynchronizedArray` derives from it.
#[pyclass(frozen, subclass, extends = Guarded, module = "tasuki._tasuki")]
pub struct Items {
    /// The memory, when the array lies in ours, and what a number in there is, when there are numbers.
    memory: OnceLock<(RawValue, Option<Layout>)>,
}

impl Items {
    fn cell(&self, index: &Bound<'_, PyAny>) -> PyResult<Cell<'_>> {
        let Some((raw, layout)) = self.memory.get() else {
            return Err(PyTypeError::new_err("atomic operations are for tasuki's own memory"));
        };
        let Some(layout) = *layout else {
            return Err(PyTypeError::new_err(
                "atomic operations are for integers, floats and bools, and these are other elements",
            ));
        };
        let count = raw.len() / layout.size();
        let index = index.extract::<isize>().map_err(|error| {
            if error.is_instance_of::<PyTypeError>(index.py()) {
                return PyTypeError::new_err(
                    "an atomic operation is for one element: the index is an int",
                );
            }
            outside(count)
        })?;
        let place = if index < 0 { index.checked_add_unsigned(count) } else { Some(index) };
        let index = place
            .and_then(|place| usize::try_from(place).ok())
            .filter(|&place| place < count)
            .ok_or_else(|| outside(count))?;
        Ok(Cell { raw, layout, index })
    }
}

fn outside(count: usize) -> PyErr {
    PyIndexError::new_err(format!("index out of range: there are {count} elements"))
}

#[pymethods]
impl Items {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(
        _args: &Bound<'_, PyTuple>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyClassInitializer<Items> {
        PyClassInitializer::from(Guarded::unmade()).add_subclass(Items { memory: OnceLock::new() })
    }

    /// Ties this wrapper to its memory; `kind` is ctypes' letter for the elements when they are numbers.
    fn _tie(&self, block: &Block, kind: Option<char>, size: usize) -> PyResult<()> {
        let layout = kind.and_then(|kind| Layout::new(kind, size));
        self.memory
            .set((block.raw()?.clone(), layout))
            .map_err(|_| PyRuntimeError::new_err("this array is made already"))
    }

    fn __len__(slf: &Bound<'_, Self>) -> PyResult<usize> {
        slf.as_super().get().object(slf.py())?.len()
    }

    fn __getitem__<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let guarded = slf.as_super().get();
        let object = guarded.object(slf.py())?;
        guarded.locked(slf.py(), || object.get_item(key))
    }

    fn __setitem__(
        slf: &Bound<'_, Self>,
        key: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let guarded = slf.as_super().get();
        let object = guarded.object(slf.py())?;
        guarded.locked(slf.py(), || object.set_item(key, value))
    }

    /// The element, without the lock.
    fn load<'py>(&self, index: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.cell(index)?.load(index.py())
    }

    /// Replaces the element, without the lock.
    fn store(&self, index: &Bound<'_, PyAny>, new: &Bound<'_, PyAny>) -> PyResult<()> {
        self.cell(index)?.store(new)
    }

    /// Replaces the element and returns the one before, without the lock.
    fn exchange<'py>(
        &self,
        index: &Bound<'py, PyAny>,
        new: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.cell(index)?.fetch(Operation::Swap, new)
    }

    /// Replaces the element by `new` if it is `expected`, without the lock; returns whether it was.
    fn compare_exchange(
        &self,
        index: &Bound<'_, PyAny>,
        expected: &Bound<'_, PyAny>,
        new: &Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        self.cell(index)?.compare_exchange(expected, new)
    }

    /// Adds `n` to the element and returns it as it was before, without the lock. Integers wrap.
    fn fetch_add<'py>(
        &self,
        index: &Bound<'py, PyAny>,
        n: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.cell(index)?.fetch(Operation::Add, n)
    }

    /// Subtracts `n` from the element and returns it as it was before, without the lock. Integers wrap.
    fn fetch_sub<'py>(
        &self,
        index: &Bound<'py, PyAny>,
        n: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.cell(index)?.fetch(Operation::Sub, n)
    }

    /// Keeps the element's bits that `mask` has and returns it as it was before, without the lock.
    fn fetch_and<'py>(
        &self,
        index: &Bound<'py, PyAny>,
        mask: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.cell(index)?.fetch(Operation::And, mask)
    }

    /// Sets the element's bits that `mask` has and returns it as it was before, without the lock.
    fn fetch_or<'py>(
        &self,
        index: &Bound<'py, PyAny>,
        mask: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.cell(index)?.fetch(Operation::Or, mask)
    }

    /// Flips the element's bits that `mask` has and returns it as it was before, without the lock.
    fn fetch_xor<'py>(
        &self,
        index: &Bound<'py, PyAny>,
        mask: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.cell(index)?.fetch(Operation::Xor, mask)
    }
}
