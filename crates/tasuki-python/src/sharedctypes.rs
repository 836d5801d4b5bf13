//! The bytes of a value as Python's buffer, which ctypes objects are laid over, and numbers read and written under their
//! lock in one call.

use std::ffi::c_int;
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64};

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyTuple};
use pyo3::{ffi, intern};
use tasuki::raw::RawValue;

use crate::errors;
use crate::synchronize::{Lockable, Policy, RLock};
use crate::waiting::Patience;

/// The memory of one value, with a lock beside it; the Python class `_Block` derives from it.
#[pyclass(frozen, subclass, module = "tasuki._tasuki")]
pub struct Block {
    raw: OnceLock<RawValue>,
}

impl Block {
    pub fn raw(&self) -> PyResult<&RawValue> {
        self.raw.get().ok_or_else(|| PyRuntimeError::new_err("this block was never made"))
    }

    pub fn adopt(&self, raw: RawValue) -> PyResult<()> {
        self.raw.set(raw).map_err(|_| PyRuntimeError::new_err("this block is made already"))
    }
}

#[pymethods]
impl Block {
    #[new]
    fn new() -> Block {
        Block { raw: OnceLock::new() }
    }

    /// Makes `size` zero bytes; `element` is the engine's number for what they are.
    fn _create(&self, element: u16, size: usize) -> PyResult<()> {
        self.adopt(RawValue::create(element, size).map_err(errors::engine)?)
    }

    /// The engine's number for what the bytes are.
    #[getter]
    fn _element(&self) -> PyResult<u16> {
        Ok(self.raw()?.element())
    }

    fn __len__(&self) -> PyResult<usize> {
        Ok(self.raw()?.len())
    }

    // SAFETY: as the buffer protocol demands: fills `view`, which then keeps this object alive.
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let raw = slf.get().raw()?;
        let address = raw.address().as_ptr().cast();
        let len = ffi::Py_ssize_t::try_from(raw.len())?;
        // SAFETY: the bytes live as long as this object, to which the view holds a reference.
        let filled = unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), address, len, 0, flags) };
        if filled != 0 {
            return Err(PyErr::fetch(slf.py()));
        }
        Ok(())
    }
}

/// Base of what has a lock in its attribute `_lock`: `with` takes that lock in one native call, in which no signal handler
/// runs once the lock is taken. A method in Python would leave it held when a handler raises right after that.
#[pyclass(frozen, subclass, module = "tasuki._tasuki")]
pub struct Guarded;

#[pymethods]
impl Guarded {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Guarded {
        Guarded
    }

    fn __enter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        slf.getattr(intern!(py, "_lock"))?.call_method0(intern!(py, "__enter__"))
    }

    #[pyo3(signature = (*how))]
    fn __exit__<'py>(
        slf: &Bound<'py, Self>,
        how: &Bound<'py, PyTuple>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        slf.getattr(intern!(py, "_lock"))?.call_method1(intern!(py, "__exit__"), how)
    }
}

/// How a number is laid out, by ctypes' letter for its type.
#[derive(Clone, Copy)]
enum Layout {
    Bool,
    Signed(u8),
    Unsigned(u8),
    Float32,
    Float64,
}

/// A number in shared memory whose `value` is read and written under its own lock in one call; the Python class
/// `Synchronized` derives from it.
#[pyclass(frozen, subclass, module = "tasuki._tasuki")]
pub struct Number {
    parts: OnceLock<Parts>,
}

struct Parts {
    memory: Lockable,
    address: NonNull<u8>,
    layout: Layout,
    /// The ctypes object, which knows what to say about a value that does not fit.
    object: Py<PyAny>,
    lock: Py<PyAny>,
}

// SAFETY: the address is that of `memory`, which may be used from any thread; it is read and written atomically.
unsafe impl Send for Parts {}
// SAFETY: as above.
unsafe impl Sync for Parts {}

impl Parts {
    #[inline]
    fn load(&self) -> u64 {
        macro_rules! load {
            ($atomic:ty) => {
                // SAFETY: `address` is aligned to 64 and valid for the layout's size as long as `memory` lives.
                u64::from(unsafe { self.address.cast::<$atomic>().as_ref() }.load(Relaxed))
            };
        }
        match self.layout {
            Layout::Bool | Layout::Signed(1) | Layout::Unsigned(1) => load!(AtomicU8),
            Layout::Signed(2) | Layout::Unsigned(2) => load!(AtomicU16),
            Layout::Signed(4) | Layout::Unsigned(4) | Layout::Float32 => load!(AtomicU32),
            _ => load!(AtomicU64),
        }
    }

    #[inline]
    fn store(&self, bits: u64) {
        macro_rules! store {
            ($atomic:ty, $bits:ty) => {
                // SAFETY: as in `load`.
                unsafe { self.address.cast::<$atomic>().as_ref() }.store(bits as $bits, Relaxed)
            };
        }
        match self.layout {
            Layout::Bool | Layout::Signed(1) | Layout::Unsigned(1) => store!(AtomicU8, u8),
            Layout::Signed(2) | Layout::Unsigned(2) => store!(AtomicU16, u16),
            Layout::Signed(4) | Layout::Unsigned(4) | Layout::Float32 => store!(AtomicU32, u32),
            _ => store!(AtomicU64, u64),
        }
    }
}

impl Parts {
    /// Takes the value's lock, which has its owner's policy from the object that users know it as.
    #[inline]
    fn lock(&self, py: Python<'_>) -> PyResult<bool> {
        self.memory.lock(py, Patience::Forever, || {
            self.lock.bind(py).cast::<RLock>().map_or(Policy::Raise, |lock| lock.get().policy())
        })
    }
}

impl Number {
    #[inline]
    fn parts(&self) -> PyResult<&Parts> {
        self.parts.get().ok_or_else(|| PyRuntimeError::new_err("this value was never made"))
    }
}

#[pymethods]
impl Number {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Number {
        Number { parts: OnceLock::new() }
    }

    /// Ties this wrapper to a block, the ctypes object over it and the block's own lock.
    fn _tie(&self, block: &Block, kind: char, object: Py<PyAny>, lock: Py<PyAny>) -> PyResult<()> {
        let raw = block.raw()?;
        let size = u8::try_from(raw.len()).unwrap_or(0);
        let layout = match (kind, size) {
            ('?', 1) => Layout::Bool,
            ('b' | 'h' | 'i' | 'l' | 'q', 1 | 2 | 4 | 8) => Layout::Signed(size),
            ('B' | 'H' | 'I' | 'L' | 'Q', 1 | 2 | 4 | 8) => Layout::Unsigned(size),
            ('f', 4) => Layout::Float32,
            ('d', 8) => Layout::Float64,
            _ => return Err(PyTypeError::new_err(format!("{kind:?} is no number"))),
        };
        let address = raw.address();
        let parts = Parts { memory: raw.clone().into(), address, layout, object, lock };
        self.parts.set(parts).map_err(|_| PyRuntimeError::new_err("this value is made already"))
    }

    /// The lock that guards the value.
    fn get_lock(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(self.parts()?.lock.clone_ref(py))
    }

    fn __enter__(&self, py: Python<'_>) -> PyResult<bool> {
        self.parts()?.lock(py)
    }

    #[pyo3(signature = (_kind=None, _error=None, _traceback=None))]
    fn __exit__(
        &self,
        _kind: Option<&Bound<'_, PyAny>>,
        _error: Option<&Bound<'_, PyAny>>,
        _traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        RLock::released(self.parts()?.memory.unlock())
    }

    /// The number, read and written under the lock.
    #[getter]
    fn get_value<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let parts = self.parts()?;
        parts.lock(py)?;
        let bits = parts.load();
        let _ = parts.memory.unlock();
        Ok(match parts.layout {
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

    #[setter]
    fn set_value(&self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = value.py();
        let parts = self.parts()?;
        let bits = match parts.layout {
            Layout::Signed(_) | Layout::Unsigned(_) if value.is_instance_of::<PyInt>() => {
                // As ctypes has it, a number that is too wide loses its upper bits.
                // SAFETY: the object is an int, for which this cannot fail.
                Some(unsafe { ffi::PyLong_AsUnsignedLongLongMask(value.as_ptr()) })
            }
            Layout::Float64 => value.cast_exact::<PyFloat>().ok().map(|f| f.value().to_bits()),
            _ => None,
        };
        parts.lock(py)?;
        let stored = match bits {
            Some(bits) => {
                parts.store(bits);
                Ok(())
            }
            None => parts.object.bind(py).setattr(intern!(py, "value"), value),
        };
        let _ = parts.memory.unlock();
        stored
    }
}
