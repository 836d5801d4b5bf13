//! Why nothing was put or got, as the exceptions of the standard library.

use pyo3::exceptions::PyBrokenPipeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;
use tasuki::raw::{Death, TransportFailure};

use crate::errors;

/// The exception of a put.
#[cold]
pub fn not_put(py: Python<'_>, failure: TransportFailure) -> PyErr {
    match failure {
        TransportFailure::GaveUp(_) => errors::full(py),
        failure => other(py, failure),
    }
}

/// The exception of a get.
#[cold]
pub fn not_got(py: Python<'_>, failure: TransportFailure) -> PyErr {
    match failure {
        TransportFailure::GaveUp(_) => errors::empty(py),
        failure => other(py, failure),
    }
}

fn other(py: Python<'_>, failure: TransportFailure) -> PyErr {
    match failure {
        TransportFailure::ShutDown => shut_down(py),
        TransportFailure::Disconnected(death) => disconnected(death.as_deref()),
        failure => errors::engine(failure.into()),
    }
}

/// `queue.ShutDown`, or what stands for it before Python 3.13.
fn shut_down(py: Python<'_>) -> PyErr {
    static SHUT_DOWN: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    match SHUT_DOWN.import(py, "tasuki.queues", "ShutDown") {
        Ok(class) => PyErr::from_type(class.clone(), ()),
        Err(error) => error,
    }
}

/// What writing to a pipe without a reader raises.
fn disconnected(death: Option<&Death>) -> PyErr {
    const EPIPE: i32 = 32;
    let who = death.map_or_else(String::new, |death| format!(": {death}"));
    let text = format!("the queue is full and nobody is left who gets from it{who}");
    PyBrokenPipeError::new_err((EPIPE, text))
}
