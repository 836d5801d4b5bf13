//! What an object has to say for itself to get the methods `acquire`, `release`, `__enter__` and `__exit__`.

use std::ffi::CStr;
use std::sync::Arc;

use pyo3::PyClass;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;
use pyo3::sync::PyOnceLock;

use crate::waiting::Timeout;

/// Something that is taken and given back.
pub trait Takeable: Send + Sync + 'static {
    /// Takes it if that is a matter of a few instructions; false says nothing. Must not touch Python objects or panic.
    fn take_fast(&self) -> bool;
    /// Gives it back if that is a matter of a few instructions; false says nothing. The same rules.
    fn give_fast(&self) -> bool;
    /// Takes it; whether it was got in time.
    fn take(&self, py: Python<'_>, timeout: Timeout) -> PyResult<bool>;
    /// Gives it back.
    fn give(&self, py: Python<'_>) -> PyResult<()>;

    // What `with` does, where that is something else.

    fn enter_fast(&self) -> bool {
        self.take_fast()
    }
    fn leave_fast(&self) -> bool {
        self.give_fast()
    }
    fn enter(&self, py: Python<'_>) -> PyResult<bool> {
        self.take(py, Timeout::Forever)
    }
    fn leave(&self, py: Python<'_>) -> PyResult<()> {
        self.give(py)
    }
}

/// A Python class around one.
pub trait Holder: PyClass<Frozen = True> + Sync {
    type Core: Takeable;
    /// What `help` says of `acquire`.
    const ACQUIRE: &'static CStr;
    /// What `help` says of `release`.
    const RELEASE: &'static CStr;

    fn core(&self) -> &Arc<Self::Core>;
    fn bound_methods(&self) -> &BoundMethods;

    /// `release(n)`, for what is given back in numbers.
    fn give_many(&self, _py: Python<'_>, _n: i64) -> PyResult<()> {
        Err(PyTypeError::new_err("release() takes no arguments (1 given)"))
    }
}

/// The two bound methods of one object.
pub struct BoundMethods(pub(super) PyOnceLock<[Py<PyAny>; 2]>);

impl BoundMethods {
    pub const fn new() -> BoundMethods {
        BoundMethods(PyOnceLock::new())
    }
}
