//! The engine's errors as Python's exceptions: the standard ones wherever the standard library has one.

use std::io;

use pyo3::exceptions::{PyMemoryError, PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;
use tasuki::Error;

static EMPTY: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static FULL: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// Finds the two while it can be done: a queue may first be empty in a __del__, when nothing can be imported any more.
pub fn find_empty_and_full(py: Python<'_>) {
    // Failing, they are looked for again when they are raised, and then the reason is.
    let _ = EMPTY.import(py, "queue", "Empty");
    let _ = FULL.import(py, "queue", "Full");
}

/// `queue.Empty` without a text, as the standard library raises it.
pub fn empty(py: Python<'_>) -> PyErr {
    raise(py, &EMPTY, "queue", "Empty")
}

/// `queue.Full` without a text.
pub fn full(py: Python<'_>) -> PyErr {
    raise(py, &FULL, "queue", "Full")
}

fn raise(py: Python<'_>, class: &PyOnceLock<Py<PyType>>, module: &str, name: &str) -> PyErr {
    match class.import(py, module, name) {
        Ok(class) => PyErr::from_type(class.clone(), ()),
        Err(error) => error,
    }
}

/// The exception for what went wrong in the engine.
pub fn engine(error: Error) -> PyErr {
    match error {
        Error::Os { doing, source } => os(&format!("cannot {doing}"), &source),
        Error::SharedMemory { name, source, hint, .. } => named(&name, &source, hint),
        Error::Invalid(_) => PyValueError::new_err(error.to_string()),
        Error::Limit(_) => PyMemoryError::new_err(error.to_string()),
        other => PyRuntimeError::new_err(other.to_string()),
    }
}

/// An `OSError` with the system's number, or kind, so that it is of the right subclass.
pub fn os(doing: &str, source: &io::Error) -> PyErr {
    match source.raw_os_error() {
        Some(number) => PyOSError::new_err((number, format!("{doing}: {}", text_of(source)))),
        None => io::Error::new(source.kind(), format!("{doing}: {source}")).into(),
    }
}

/// The text of an error without its number, which Python puts before it.
fn text_of(source: &io::Error) -> String {
    let mut text = source.to_string();
    if let Some(number) = source.raw_os_error() {
        let end = format!(" (os error {number})");
        if text.ends_with(&end) {
            text.truncate(text.len() - end.len());
        }
    }
    text
}

/// An `OSError` as `shm_open` of the standard library raises it, with the name as its file.
fn named(name: &str, source: &io::Error, hint: &str) -> PyErr {
    let text = text_of(source);
    match source.raw_os_error() {
        Some(number) => PyOSError::new_err((
            number,
            format!("{text}{hint}"),
            format!("/{}", name.trim_start_matches('/')),
        )),
        None => io::Error::new(source.kind(), format!("{text}{hint}: /{name}")).into(),
    }
}
