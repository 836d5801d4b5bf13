//! The native module of the Python package `tasuki`: a thin coat over the crate `tasuki`.

mod msgpack;

use pyo3::prelude::*;

/// The native half of the package `tasuki`.
#[pymodule(gil_used = false)]
mod _tasuki {
    #[pymodule_export]
    use crate::msgpack::{_pack, _unpack};
}
