//! Semaphore and BoundedSemaphore as Python sees them: `with` owns its permit, `acquire` and `release` are anybody's.
#![allow(unsafe_code)] // methods that the interpreter calls, with its pointers

use std::sync::OnceLock;

use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use tasuki::protocol::transfer::{Outgoing, TransferError};
use tasuki::raw::{Acquired, Failure, RawSemaphore};

use super::holding::Holding;
use super::policy::{Policy, PolicyCell};
use super::quick::patience;
use crate::errors;
use crate::native::{definition, method, nothing, slowly, this, truth};
use crate::waiting::Patience;

/// The standard library's number for everything but a recursive lock.
const SEMAPHORE: u32 = 1;

/// A semaphore of the engine, bounded or not; the Python classes of both names derive from it.
#[pyclass(frozen, subclass, module = "tasuki._tasuki")]
pub struct Semaphore {
    raw: OnceLock<RawSemaphore>,
    policy: PolicyCell,
    holding: Holding,
}

/// Whose the permit is.
#[derive(Clone, Copy)]
enum Permit {
    Bare,
    Owned,
}

impl Semaphore {
    #[inline]
    fn raw(&self) -> PyResult<&RawSemaphore> {
        self.raw.get().ok_or_else(|| {
            PyRuntimeError::new_err("this semaphore was never made: call super().__init__() first")
        })
    }

    pub fn adopt(&self, raw: RawSemaphore) -> PyResult<()> {
        self.raw.set(raw).map_err(|_| PyRuntimeError::new_err("this semaphore is made already"))
    }

    pub fn record(&self, table: &mut Outgoing) -> PyResult<Result<Vec<u8>, TransferError>> {
        Ok(self.raw()?.record(table))
    }

    /// Takes a permit; whether it was got in time. On an error none was taken.
    #[inline]
    fn take(&self, py: Python<'_>, permit: Permit, patience: Patience) -> PyResult<bool> {
        let raw = self.raw()?;
        let free = match permit {
            Permit::Bare => raw.acquire_free(),
            Permit::Owned => raw.acquire_free_owned(),
        };
        let acquired = match free {
            Some(acquired) => acquired,
            None => match take_later(py, raw, permit, patience)? {
                Ok(acquired) => acquired,
                Err(Failure::GaveUp(_)) => return Ok(false),
                Err(Failure::Failed(error)) => return Err(errors::engine(error)),
            },
        };
        self.taken(py, permit, acquired).map(|()| true)
    }

    /// Counts a permit that was just got, and tells of the death that came with it. On an error it is given back.
    fn taken(&self, py: Python<'_>, permit: Permit, acquired: Acquired) -> PyResult<()> {
        if let Acquired::OwnerDied(death) = acquired {
            if let Err(error) = self.policy.get().told(py, &death, "a permit of the semaphore") {
                let _ = give(self.raw()?, permit, 1);
                return Err(error);
            }
        }
        self.holding.taken();
        Ok(())
    }

    /// `release` with an argument.
    fn release_many(&self, n: i64) -> PyResult<()> {
        if n < 1 {
            return Err(PyValueError::new_err("n must be one or more"));
        }
        self.give(Permit::Bare, u32::try_from(n).unwrap_or(u32::MAX))
    }

    #[inline]
    fn give(&self, permit: Permit, count: u32) -> PyResult<()> {
        if give(self.raw()?, permit, count) {
            self.holding.given(count);
            return Ok(());
        }
        Err(PyValueError::new_err("semaphore or lock released too many times"))
    }
}

#[cold]
fn take_later(
    py: Python<'_>,
    raw: &RawSemaphore,
    permit: Permit,
    patience: Patience,
) -> PyResult<Result<Acquired, Failure>> {
    patience.wait(py, |mut wait| match permit {
        Permit::Bare => raw.acquire(&mut wait),
        Permit::Owned => raw.acquire_owned(&mut wait).map(|(acquired, _)| acquired),
    })
}

#[inline]
fn give(raw: &RawSemaphore, permit: Permit, count: u32) -> bool {
    match permit {
        Permit::Bare => raw.release(count),
        Permit::Owned => raw.release_owned(),
    }
}

#[pymethods]
impl Semaphore {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Semaphore {
        Semaphore {
            raw: OnceLock::new(),
            policy: PolicyCell::new(Policy::Warn),
            holding: Holding::new(),
        }
    }

    /// Makes a semaphore with `value` permits, which `bounded` makes the most that it may have.
    fn _create(&self, value: i32, bounded: bool) -> PyResult<()> {
        let value = u32::try_from(value)
            .map_err(|_| PyValueError::new_err("semaphore initial value must be >= 0"))?;
        let max = if bounded { value } else { RawSemaphore::MOST };
        self.adopt(RawSemaphore::create(value, max).map_err(errors::engine)?)
    }

    /// Takes a permit that comes back when this process dies.
    fn __enter__(&self, py: Python<'_>) -> PyResult<bool> {
        self.take(py, Permit::Owned, Patience::Forever)
    }

    #[pyo3(signature = (_kind=None, _error=None, _traceback=None))]
    fn __exit__(
        &self,
        _kind: Option<&Bound<'_, PyAny>>,
        _error: Option<&Bound<'_, PyAny>>,
        _traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        self.give(Permit::Owned, 1)
    }

    /// What the next one to get a permit after its owner's death gets: "raise", "warn" or "ignore".
    #[getter]
    fn get_on_owner_died(&self) -> &'static str {
        self.policy.get().name()
    }

    #[setter]
    fn set_on_owner_died(&self, policy: Policy) {
        self.policy.set(policy);
    }

    /// How many permits are available at this moment.
    fn get_value(&self) -> PyResult<u32> {
        self._get_value()
    }

    /// Whether no permit is available at this moment.
    fn locked(&self) -> PyResult<bool> {
        self._is_zero()
    }

    #[getter]
    fn _semlock(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn _is_mine(&self) -> bool {
        self.holding.is_mine()
    }

    fn _count(&self) -> i32 {
        self.holding.count()
    }

    fn _get_value(&self) -> PyResult<u32> {
        Ok(self.raw()?.value())
    }

    fn _is_zero(&self) -> PyResult<bool> {
        Ok(self.raw()?.value() == 0)
    }

    #[getter]
    fn handle(&self) -> PyResult<u64> {
        let (file, slot) = self.raw()?.key();
        Ok(file << 16 | u64::from(slot))
    }

    #[getter]
    fn kind(&self) -> u32 {
        SEMAPHORE
    }

    #[getter]
    fn maxvalue(&self) -> PyResult<u32> {
        Ok(self.raw()?.max())
    }

    #[getter]
    fn name(&self) -> Option<&str> {
        None
    }
}

/// Gives the class its methods `acquire` and `release`, which are quick when nobody has to wait or be told anything.
pub fn add_methods(py: Python<'_>) -> PyResult<()> {
    let class = py.get_type::<Semaphore>();
    let fast = ffi::METH_FASTCALL | ffi::METH_KEYWORDS;
    let function = ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: acquire };
    let doc = c"acquire($self, /, block=True, timeout=None)\n--\n\n\
        Takes a permit that is nobody's from then on; returns whether there was one in time.";
    let definition = self::definition(c"acquire", function, fast, doc);
    class.setattr("acquire", method(&class, definition)?)?;
    let function = ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: release };
    let doc = c"release($self, /, n=1)\n--\n\nAdds n permits.";
    let definition = self::definition(c"release", function, fast, doc);
    class.setattr("release", method(&class, definition)?)
}

unsafe extern "C" fn acquire(
    slf: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: called as a method of the class by the interpreter.
    let semaphore = unsafe { this::<Semaphore>(slf) };
    if count == 0 && names.is_null() {
        match semaphore.raw.get().and_then(RawSemaphore::acquire_free) {
            Some(Acquired::Clean) => {
                semaphore.holding.taken();
                return truth(true);
            }
            Some(told) => {
                return slowly(|py| semaphore.taken(py, Permit::Bare, told).map(|()| truth(true)));
            }
            None => {}
        }
    }
    slowly(|py| {
        // SAFETY: the interpreter's arguments, alive during this call.
        let patience = unsafe { patience(py, args, count, names) }?;
        semaphore.take(py, Permit::Bare, patience).map(truth)
    })
}

unsafe extern "C" fn release(
    slf: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as in `acquire`.
    let semaphore = unsafe { this::<Semaphore>(slf) };
    if count == 0 && names.is_null() {
        if semaphore.raw.get().is_some_and(|raw| raw.release(1)) {
            semaphore.holding.given(1);
            return nothing();
        }
        return slowly(|_| semaphore.give(Permit::Bare, 1).map(|()| nothing()));
    }
    slowly(|py| {
        // SAFETY: the interpreter's arguments, alive during this call, for a method of the same object.
        let n = unsafe { argument(py, args, count, names) }?;
        semaphore.release_many(n).map(|()| nothing())
    })
}

/// The only argument, by place or by the name n.
///
/// # Safety
/// The arguments are those of a method with METH_FASTCALL | METH_KEYWORDS.
unsafe fn argument(
    py: Python<'_>,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> PyResult<i64> {
    // SAFETY: null or a tuple of strings.
    let names = unsafe { Bound::from_borrowed_ptr_or_opt(py, names) };
    let names: Vec<String> = names.map_or(Ok(Vec::new()), |names| names.extract())?;
    if count.unsigned_abs() + names.len() != 1 || names.first().is_some_and(|name| name != "n") {
        return Err(PyTypeError::new_err("release() takes one argument at most, n"));
    }
    // SAFETY: there is one argument, by place or by name.
    unsafe { Bound::from_borrowed_ptr(py, *args) }.extract()
}
