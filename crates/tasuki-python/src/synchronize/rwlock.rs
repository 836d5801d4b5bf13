//! RwLock as Python sees it: many readers or one writer.

use std::sync::OnceLock;

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use tasuki::protocol::transfer::Outgoing;
use tasuki::raw::{AcquireFailure, Acquired, GaveUp, RawHandle, RawRwLock, Wait, element};

use super::policy::{Policy, PolicyCell};
use crate::errors;
use crate::kind::{HandleClass, PythonClass, Written};
use crate::waiting::{Blocking, Timeout};

/// A lock of the engine that many readers or one writer have; the Python class of this name derives from it.
#[pyclass(frozen, subclass, module = "tasuki._tasuki")]
pub struct RwLock {
    raw: OnceLock<RawRwLock>,
    policy: PolicyCell,
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Read,
    Write,
}

impl RwLock {
    fn raw(&self) -> PyResult<&RawRwLock> {
        self.raw.get().ok_or_else(|| {
            PyRuntimeError::new_err("this lock was never made: call super().__init__() first")
        })
    }

    fn adopt_raw(&self, raw: RawRwLock) -> PyResult<()> {
        self.raw.set(raw).map_err(|_| PyRuntimeError::new_err("this lock is made already"))
    }

    /// Takes it; whether it was got in time. The death of a writer is told once; on an error it is not held.
    fn take(&self, py: Python<'_>, side: Side, timeout: Timeout) -> PyResult<bool> {
        let raw = self.raw()?;
        if side == Side::Read && raw.read_fast() {
            return Ok(true);
        }
        let ask = |wait: &mut Wait<'_>| match side {
            Side::Read => raw.read(wait),
            Side::Write => raw.write(wait),
        };
        // The caller that does not wait asks the system who lives; one that will wait must not begin with that.
        let is_busy = raw.is_wanted_by_writer() || (side == Side::Write && raw.readers() > 0);
        let at_once = (timeout.is_none() || !is_busy).then(|| ask(&mut Wait::now()));
        let acquired = match at_once {
            None | Some(Err(AcquireFailure::GaveUp(GaveUp::TimedOut))) if !timeout.is_none() => {
                timeout.wait(py, ask)?
            }
            Some(other) => other,
            None => Err(AcquireFailure::GaveUp(GaveUp::TimedOut)),
        };
        match acquired {
            Ok(Acquired::Clean) => Ok(true),
            Ok(Acquired::OwnerDied(death)) => {
                raw.clear_poison();
                match self.policy.get().told(py, &death, "the lock") {
                    Ok(()) => Ok(true),
                    Err(error) => {
                        let _ = self.give(side);
                        Err(error)
                    }
                }
            }
            Err(AcquireFailure::GaveUp(_)) => Ok(false),
            Err(failure) => Err(errors::engine(failure.into())),
        }
    }

    fn give(&self, side: Side) -> PyResult<()> {
        let raw = self.raw()?;
        let (given, doing) = match side {
            Side::Read => (raw.end_read(), "read"),
            Side::Write => (raw.end_write(), "write"),
        };
        match given {
            true => Ok(()),
            false => Err(PyValueError::new_err(format!("this process does not {doing}"))),
        }
    }
}

impl HandleClass for RwLock {
    fn record(&self, table: &mut Outgoing) -> Written {
        Ok(self.raw()?.record(table))
    }

    fn adopt(&self, handle: RawHandle) -> Option<PyResult<()>> {
        match handle {
            RawHandle::RwLock(raw) => Some(self.adopt_raw(raw)),
            _ => None,
        }
    }

    fn class_of(handle: &RawHandle) -> Option<&'static PythonClass> {
        static CLASS: PythonClass = PythonClass::new("tasuki.synchronize", "RwLock");
        matches!(handle, RawHandle::RwLock(_)).then_some(&CLASS)
    }
}

#[pymethods]
impl RwLock {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> RwLock {
        RwLock { raw: OnceLock::new(), policy: PolicyCell::new(Policy::Raise) }
    }

    fn _create(&self) -> PyResult<()> {
        self.adopt_raw(RawRwLock::create(element::OPAQUE, 0).map_err(errors::engine)?)
    }

    /// Begins to read, with others who do; returns whether that was possible in time.
    #[pyo3(signature = (block = Blocking(true), timeout = None), text_signature = "($self, block=True, timeout=None)")]
    fn acquire_read(
        &self,
        py: Python<'_>,
        block: Blocking,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<bool> {
        self.take(py, Side::Read, Timeout::new(block, timeout)?)
    }

    /// Ends one reading of this process, by any of its threads.
    fn release_read(&self) -> PyResult<()> {
        self.give(Side::Read)
    }

    /// Begins to write, alone; returns whether that was possible in time.
    #[pyo3(signature = (block = Blocking(true), timeout = None), text_signature = "($self, block=True, timeout=None)")]
    fn acquire_write(
        &self,
        py: Python<'_>,
        block: Blocking,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<bool> {
        self.take(py, Side::Write, Timeout::new(block, timeout)?)
    }

    /// Ends the writing of this process, by any of its threads.
    fn release_write(&self) -> PyResult<()> {
        self.give(Side::Write)
    }

    /// How often it is read at this moment, by all processes.
    #[getter]
    fn readers(&self) -> PyResult<u64> {
        Ok(self.raw()?.readers())
    }

    /// Whether somebody writes, or waits for the readers to end.
    fn locked(&self) -> PyResult<bool> {
        Ok(self.raw()?.is_wanted_by_writer())
    }

    /// What the next one to get it after a writer's death is told: "raise", "warn" or "ignore".
    #[getter]
    fn on_owner_died(&self) -> &'static str {
        self.policy.get().name()
    }

    #[setter]
    fn set_on_owner_died(&self, policy: Policy) {
        self.policy.set(policy);
    }
}

/// A `with` block that reads, or one that writes.
#[pyclass(frozen, module = "tasuki._tasuki")]
pub struct Section {
    lock: Py<RwLock>,
    side: Side,
}

#[pymethods]
impl Section {
    #[new]
    fn new(lock: Py<RwLock>, writes: bool) -> Section {
        Section { lock, side: if writes { Side::Write } else { Side::Read } }
    }

    fn __enter__(&self, py: Python<'_>) -> PyResult<()> {
        self.lock.get().take(py, self.side, Timeout::Forever).map(drop)
    }

    #[pyo3(signature = (*_details))]
    fn __exit__(&self, _details: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.lock.get().give(self.side)
    }
}
