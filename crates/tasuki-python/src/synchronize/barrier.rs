//! Barrier as Python sees it.

use std::sync::OnceLock;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};
use tasuki::Error;
use tasuki::protocol::transfer::Outgoing;
use tasuki::raw::{AcquireFailure, GaveUp, NotPassed, RawArrived, RawBarrier, RawHandle};

use crate::errors;
use crate::kind::{HandleClass, PythonClass, Written};
use crate::waiting::{Blocking, Timeout};

/// A barrier of the engine; the Python class of this name derives from it.
#[pyclass(frozen, subclass, module = "tasuki._tasuki")]
pub struct Barrier {
    raw: OnceLock<RawBarrier>,
}

impl Barrier {
    fn raw(&self) -> PyResult<&RawBarrier> {
        self.raw.get().ok_or_else(|| {
            PyRuntimeError::new_err("this barrier was never made: call super().__init__() first")
        })
    }

    fn adopt_raw(&self, raw: RawBarrier) -> PyResult<()> {
        self.raw.set(raw).map_err(|_| PyRuntimeError::new_err("this barrier is made already"))
    }
}

impl HandleClass for Barrier {
    fn record(&self, table: &mut Outgoing) -> Written {
        Ok(self.raw()?.record(table))
    }

    fn adopt(&self, handle: RawHandle) -> Option<PyResult<()>> {
        match handle {
            RawHandle::Barrier(raw) => Some(self.adopt_raw(raw)),
            _ => None,
        }
    }

    fn class_of(handle: &RawHandle) -> Option<&'static PythonClass> {
        static CLASS: PythonClass = PythonClass::new("tasuki.synchronize", "Barrier");
        matches!(handle, RawHandle::Barrier(_)).then_some(&CLASS)
    }
}

/// `threading.BrokenBarrierError`, found when a barrier is made: in a __del__ nothing can be imported any more.
fn broken_barrier_error(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static BROKEN: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    BROKEN.import(py, "threading", "BrokenBarrierError")
}

/// That error, with the reason as its text.
fn broken(py: Python<'_>, text: String) -> PyErr {
    match broken_barrier_error(py) {
        Ok(class) => PyErr::from_type(class.clone(), (text,)),
        Err(error) => error,
    }
}

/// Keeps giving up apart from failing.
fn done(result: Result<(), AcquireFailure>) -> Result<Result<(), Error>, GaveUp> {
    match result {
        Ok(()) => Ok(Ok(())),
        Err(AcquireFailure::GaveUp(why)) => Err(why),
        Err(failure) => Ok(Err(failure.into())),
    }
}

fn not_passed(py: Python<'_>, why: NotPassed) -> PyErr {
    match why {
        NotPassed::GaveUp(_) => broken(
            py,
            "not all parties came to the barrier in time, which is broken now".to_owned(),
        ),
        NotPassed::Broken(why) => broken(py, why.to_string()),
        NotPassed::Failed(error) => errors::engine(error),
    }
}

#[pymethods]
impl Barrier {
    #[new]
    #[pyo3(signature = (*args, **_kwargs))]
    fn new(args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Barrier {
        // Failing, it is looked for again when it is raised, and then the reason is.
        let _ = broken_barrier_error(args.py());
        Barrier { raw: OnceLock::new() }
    }

    fn _create(&self, parties: u32) -> PyResult<()> {
        self.adopt_raw(RawBarrier::create(parties).map_err(errors::engine)?)
    }

    /// Waits for the others; the last one to come calls `action`, unless it is None. Returns the caller's index.
    fn _wait(
        &self,
        py: Python<'_>,
        action: &Bound<'_, PyAny>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<u32> {
        let raw = self.raw()?;
        let timeout = Timeout::new(Blocking(true), timeout)?;
        let has_action = action.is_truthy()?;
        let passed = loop {
            break match timeout.wait(py, |wait| raw.arrive(has_action, wait))? {
                Ok(RawArrived::Passed(index)) => Ok(index),
                Ok(RawArrived::RunAction(turn)) => {
                    let called = action.call0();
                    // Without the interpreter: somebody may have been stopped in the middle of a step.
                    let well = called.is_ok();
                    let passed = py.detach(move || well.then(|| turn.done())); // dropped, it breaks the barrier
                    match called {
                        Ok(_) => passed.expect("the action went well"),
                        Err(error) => return Err(error),
                    }
                }
                Ok(RawArrived::Waits(arrival)) => {
                    match timeout.wait_once(py, || false, |wait| arrival.wait(wait))? {
                        Some(passed) => passed,
                        None => continue, // some handler's child: it comes to the barrier itself
                    }
                }
                Err(why) => Err(why),
            };
        };
        passed.map_err(|why| not_passed(py, why))
    }

    /// Breaks the barrier: those who wait and those who come get BrokenBarrierError, until reset().
    fn abort(&self, py: Python<'_>) -> PyResult<()> {
        let raw = self.raw()?;
        Timeout::step(py, |wait| done(raw.abort_within(wait)))?.map_err(errors::engine)
    }

    /// Makes the barrier whole and empty; those who wait at this moment get BrokenBarrierError.
    fn reset(&self, py: Python<'_>) -> PyResult<()> {
        let raw = self.raw()?;
        Timeout::step(py, |wait| done(raw.reset_within(wait)))?.map_err(errors::engine)
    }

    /// How many parties it takes.
    #[getter]
    fn parties(&self) -> PyResult<u32> {
        Ok(self.raw()?.parties())
    }

    /// How many wait at this moment.
    #[getter]
    fn n_waiting(&self) -> PyResult<u32> {
        Ok(self.raw()?.waiting())
    }

    /// Whether it is broken.
    #[getter]
    fn broken(&self) -> PyResult<bool> {
        Ok(self.raw()?.is_broken())
    }
}
