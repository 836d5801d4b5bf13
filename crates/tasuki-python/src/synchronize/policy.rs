//! What happens to the one who gets a thing whose owner died: an exception, a warning, or nothing.
//!
//! The object has been got by then, in every case. The caller of `told` gives it back when that is an error: so an
//! exception means "you have nothing, and it is free", whether the policy raised it or a warning was turned into it.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::UNIX_EPOCH;

use pyo3::Borrowed;
use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyString, PyType};
use tasuki::raw::Death;

/// The argument `on_owner_died`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Policy {
    /// `OwnerDied` is raised, and the object is free.
    Raise,
    /// The caller gets the object and an `OwnerDiedWarning`.
    Warn,
    /// The caller gets the object.
    Ignore,
}

const ALL: [Policy; 3] = [Policy::Raise, Policy::Warn, Policy::Ignore];

impl Policy {
    /// Its name in Python.
    pub fn name(self) -> &'static str {
        match self {
            Policy::Raise => "raise",
            Policy::Warn => "warn",
            Policy::Ignore => "ignore",
        }
    }

    /// Tells the caller that a dead process held `what`: "the lock". On an error the caller must not keep it.
    #[cold]
    pub fn told(self, py: Python<'_>, death: &Death, what: &str) -> PyResult<()> {
        static OWNER_DIED: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        static WARNING: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        match self {
            Policy::Raise => {
                Err(PyErr::from_value(describe(py, &OWNER_DIED, "OwnerDied", death, what)?))
            }
            Policy::Warn => {
                let warning = describe(py, &WARNING, "OwnerDiedWarning", death, what)?;
                // From here the innermost Python frame is the caller's: the warning names the right line.
                py.import(intern!(py, "warnings"))?
                    .call_method1(intern!(py, "warn"), (warning,))
                    .map(drop)
            }
            Policy::Ignore => Ok(()),
        }
    }
}

/// The exception or warning of this class about a death.
fn describe<'py>(
    py: Python<'py>,
    class: &PyOnceLock<Py<PyType>>,
    name: &str,
    death: &Death,
    what: &str,
) -> PyResult<Bound<'py, PyAny>> {
    let text = match death.left_normally() {
        true => format!("{death} without releasing {what}"),
        false => format!("{death} while it held {what}"),
    };
    let when = death.noticed().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let arguments = (text, death.pid(), death.name(), when, death.left_normally());
    class.import(py, "tasuki._private.owner_died", name)?.call1(arguments)
}

impl<'a, 'py> FromPyObject<'a, 'py> for Policy {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Policy> {
        let text = object.cast::<PyString>();
        let text = text.as_ref().ok().and_then(|text| text.to_str().ok());
        ALL.into_iter().find(|policy| Some(policy.name()) == text).ok_or_else(|| {
            let given = object.repr().map_or_else(|_| "that".to_owned(), |repr| repr.to_string());
            PyValueError::new_err(format!(
                "on_owner_died must be 'raise', 'warn' or 'ignore', not {given}"
            ))
        })
    }
}

/// Where an object of this process keeps its policy.
pub struct PolicyCell(AtomicU8);

impl PolicyCell {
    pub const fn new(policy: Policy) -> PolicyCell {
        PolicyCell(AtomicU8::new(policy as u8))
    }

    pub fn get(&self) -> Policy {
        ALL[usize::from(self.0.load(Ordering::Relaxed))]
    }

    pub fn set(&self, policy: Policy) {
        self.0.store(policy as u8, Ordering::Relaxed);
    }
}
