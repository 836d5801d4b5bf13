//! Waiting for descriptors, and the clock of all deadlines: asked of the system, whatever a program has put in the
//! place of `select` and `time`, as test tools do that freeze the time.
#![allow(unsafe_code)] // borrows descriptors that Python hands in by their numbers

use std::os::fd::{BorrowedFd, RawFd};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use tasuki::raw::{self, Wait};

use crate::errors;
use crate::waiting::{Blocking, Timeout};

/// Waits until one of `readers` is readable or the other end of one of `ends` is gone, `timeout` seconds at most, and
/// returns those of which that is so.
#[pyfunction]
#[pyo3(signature = (readers, timeout, ends=vec![]))]
pub fn poll(
    py: Python<'_>,
    readers: Vec<RawFd>,
    timeout: Option<&Bound<'_, PyAny>>,
    ends: Vec<RawFd>,
) -> PyResult<Vec<RawFd>> {
    let timeout = Timeout::new(Blocking(true), timeout)?;
    if let Some(negative) = readers.iter().chain(&ends).find(|number| **number < 0) {
        return Err(PyValueError::new_err(format!("Invalid file descriptor: {negative}")));
    }
    // SAFETY: not negative; a number that is not open, or is closed meanwhile, is what the system finds and says.
    let borrow = |number: &RawFd| unsafe { BorrowedFd::borrow_raw(*number) };
    let borrowed_readers: Vec<BorrowedFd<'_>> = readers.iter().map(borrow).collect();
    let borrowed_ends: Vec<BorrowedFd<'_>> = ends.iter().map(borrow).collect();
    let look =
        |wait: &mut Wait<'_>| raw::wait_for_descriptors(&borrowed_readers, &borrowed_ends, wait);
    let mut found = look(&mut Wait::now());
    if matches!(found, Ok(Err(_))) && !timeout.is_none() {
        found = timeout.wait(py, look)?;
    }
    match found {
        Ok(Ok(ready)) => {
            let all = readers.into_iter().chain(ends);
            Ok(all.zip(ready).filter_map(|(number, is)| is.then_some(number)).collect())
        }
        Ok(Err(_)) => Ok(Vec::new()),
        Err(error) => Err(errors::os("cannot wait for descriptors", &error)),
    }
}

/// The moment that is so many seconds from now, any real number, by a clock that nobody can stop.
#[pyfunction]
#[pyo3(signature = (seconds=0.0))]
pub fn deadline(seconds: f64) -> f64 {
    raw::monotonic().as_secs_f64() + seconds
}
