//! Semaphore and BoundedSemaphore as Python sees them: `with` owns its permit, `acquire` and `release` are anybody's.

use std::ffi::CStr;
use std::sync::{Arc, OnceLock};

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use tasuki::protocol::transfer::Outgoing;
use tasuki::raw::{AcquireFailure, Acquired, RawHandle, RawSemaphore};

use super::holding::Holding;
use super::policy::{Policy, PolicyCell};
use super::takeable::{BoundMethods, Holder, Takeable};
use crate::errors;
use crate::kind::{HandleClass, PythonClass, Written};
use crate::waiting::Timeout;

/// A semaphore of the engine, bounded or not; the Python classes of both names derive from it.
#[pyclass(frozen, subclass, module = "tasuki._tasuki")]
pub struct Semaphore {
    core: Arc<SemaphoreCore>,
    bound_methods: BoundMethods,
}

/// What is behind a `Semaphore`.
pub struct SemaphoreCore {
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

impl SemaphoreCore {
    #[inline]
    fn raw(&self) -> PyResult<&RawSemaphore> {
        self.raw.get().ok_or_else(|| {
            PyRuntimeError::new_err("this semaphore was never made: call super().__init__() first")
        })
    }

    /// Takes a permit if one is free; a death to tell of leaves it where it was.
    #[inline]
    fn take_free(&self, permit: Permit) -> bool {
        let Some(raw) = self.raw.get() else { return false };
        let taken = raw.acquire_fast(matches!(permit, Permit::Owned));
        if taken {
            self.holding.taken();
        }
        taken
    }

    /// Takes a permit; whether it was got in time. On an error none was taken.
    fn take(&self, py: Python<'_>, permit: Permit, timeout: Timeout) -> PyResult<bool> {
        let raw = self.raw()?;
        let free = match permit {
            Permit::Bare => raw.try_acquire(),
            Permit::Owned => raw.try_acquire_owned(),
        };
        let acquired = match free {
            Some(acquired) => acquired,
            None => match take_later(py, raw, permit, timeout)? {
                Ok(acquired) => acquired,
                Err(AcquireFailure::GaveUp(_)) => return Ok(false),
                Err(failure) => return Err(errors::engine(failure.into())),
            },
        };
        if let Acquired::OwnerDied(death) = acquired {
            if let Err(error) = self.policy.get().told(py, &death, "a permit of the semaphore") {
                give(py, raw, permit, 1)?;
                return Err(error);
            }
        }
        self.holding.taken();
        Ok(true)
    }

    /// Gives it back if nobody is in the middle of a step; false says nothing but that nothing was done.
    #[inline]
    fn give_if_room(&self, permit: Permit, count: u32) -> bool {
        let given = self.raw.get().is_some_and(|raw| match permit {
            Permit::Bare => raw.release(count),
            Permit::Owned => raw.release_owned_fast(),
        });
        if given {
            self.holding.given(count);
        }
        given
    }

    fn give(&self, py: Python<'_>, permit: Permit, count: u32) -> PyResult<()> {
        if give(py, self.raw()?, permit, count)? {
            self.holding.given(count);
            return Ok(());
        }
        Err(PyValueError::new_err("semaphore or lock released too many times"))
    }
}

impl Takeable for SemaphoreCore {
    #[inline]
    fn take_fast(&self) -> bool {
        self.take_free(Permit::Bare)
    }

    #[inline]
    fn give_fast(&self) -> bool {
        self.give_if_room(Permit::Bare, 1)
    }

    fn take(&self, py: Python<'_>, timeout: Timeout) -> PyResult<bool> {
        self.take(py, Permit::Bare, timeout)
    }

    fn give(&self, py: Python<'_>) -> PyResult<()> {
        self.give(py, Permit::Bare, 1)
    }

    #[inline]
    fn enter_fast(&self) -> bool {
        self.take_free(Permit::Owned)
    }

    #[inline]
    fn leave_fast(&self) -> bool {
        self.give_if_room(Permit::Owned, 1)
    }

    fn enter(&self, py: Python<'_>) -> PyResult<bool> {
        self.take(py, Permit::Owned, Timeout::Forever)
    }

    fn leave(&self, py: Python<'_>) -> PyResult<()> {
        self.give(py, Permit::Owned, 1)
    }
}

impl Holder for Semaphore {
    type Core = SemaphoreCore;
    const ACQUIRE: &'static CStr = c"acquire($self, /, block=True, timeout=None)\n--\n\n\
        Takes a permit that is nobody's from then on; returns whether there was one in time.";
    const RELEASE: &'static CStr = c"release($self, /, n=1)\n--\n\nAdds n permits.";

    #[inline]
    fn core(&self) -> &Arc<SemaphoreCore> {
        &self.core
    }

    #[inline]
    fn bound_methods(&self) -> &BoundMethods {
        &self.bound_methods
    }

    fn give_many(&self, py: Python<'_>, n: i64) -> PyResult<()> {
        if n < 1 {
            return Err(PyValueError::new_err("n must be one or more"));
        }
        self.core.give(py, Permit::Bare, u32::try_from(n).unwrap_or(u32::MAX))
    }
}

impl Semaphore {
    fn raw(&self) -> PyResult<&RawSemaphore> {
        self.core.raw()
    }

    fn adopt_raw(&self, raw: RawSemaphore) -> PyResult<()> {
        let made_already = |_| PyRuntimeError::new_err("this semaphore is made already");
        self.core.raw.set(raw).map_err(made_already)
    }
}

impl HandleClass for Semaphore {
    fn record(&self, table: &mut Outgoing) -> Written {
        Ok(self.raw()?.record(table))
    }

    fn adopt(&self, handle: RawHandle) -> Option<PyResult<()>> {
        match handle {
            RawHandle::Semaphore(raw) => Some(self.adopt_raw(raw)),
            _ => None,
        }
    }

    fn class_of(handle: &RawHandle) -> Option<&'static PythonClass> {
        static CLASS: PythonClass = PythonClass::new("tasuki.synchronize", "Semaphore");
        static BOUNDED: PythonClass = PythonClass::new("tasuki.synchronize", "BoundedSemaphore");
        match handle {
            RawHandle::Semaphore(raw) if raw.is_bounded() => Some(&BOUNDED),
            RawHandle::Semaphore(_) => Some(&CLASS),
            _ => None,
        }
    }
}

#[cold]
fn take_later(
    py: Python<'_>,
    raw: &RawSemaphore,
    permit: Permit,
    timeout: Timeout,
) -> PyResult<Result<Acquired, AcquireFailure>> {
    timeout.wait(py, |wait| match permit {
        Permit::Bare => raw.acquire(wait),
        Permit::Owned => raw.acquire_owned(wait).map(|(acquired, _)| acquired),
    })
}

/// Gives it back, without the interpreter should somebody have been stopped in the middle of a step; whether there was
/// room. A handler that raises does not come between: the permit of a `with` block would stay taken.
fn give(py: Python<'_>, raw: &RawSemaphore, permit: Permit, count: u32) -> PyResult<bool> {
    match permit {
        Permit::Bare => Ok(raw.release(count)),
        Permit::Owned => Timeout::last_step(py, |wait| raw.release_owned_within(wait)),
    }
}

#[pymethods]
impl Semaphore {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Semaphore {
        let core = SemaphoreCore {
            raw: OnceLock::new(),
            policy: PolicyCell::new(Policy::Warn),
            holding: Holding::new(),
        };
        Semaphore { core: Arc::new(core), bound_methods: BoundMethods::new() }
    }

    /// Makes a semaphore with `value` permits, which `bounded` makes the most that it may have.
    fn _create(&self, value: i32, bounded: bool) -> PyResult<()> {
        let value = u32::try_from(value)
            .map_err(|_| PyValueError::new_err("semaphore initial value must be >= 0"))?;
        let max = if bounded { value } else { RawSemaphore::MOST };
        self.adopt_raw(RawSemaphore::create(value, max).map_err(errors::engine)?)
    }

    /// What the next one to get a permit after its owner's death gets: "raise", "warn" or "ignore".
    #[getter]
    fn get_on_owner_died(&self) -> &'static str {
        self.core.policy.get().name()
    }

    #[setter]
    fn set_on_owner_died(&self, policy: Policy) {
        self.core.policy.set(policy);
    }

    /// How many permits are available at this moment.
    fn get_value(&self) -> PyResult<u32> {
        self._get_value()
    }

    /// Whether no permit is available at this moment.
    fn locked(&self) -> PyResult<bool> {
        Ok(self.raw()?.value() == 0)
    }

    fn _is_mine(&self) -> bool {
        self.core.holding.is_mine()
    }

    fn _count(&self) -> i32 {
        self.core.holding.count()
    }

    fn _get_value(&self) -> PyResult<u32> {
        Ok(self.raw()?.value())
    }

    #[getter]
    fn handle(&self) -> PyResult<u64> {
        let (file, slot) = self.raw()?.key();
        Ok(file << 16 | u64::from(slot))
    }

    #[getter]
    fn maxvalue(&self) -> PyResult<u32> {
        Ok(self.raw()?.max())
    }
}
