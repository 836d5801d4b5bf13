//! Programs of any language as children, with handles by name; `tasuki.Command` and `tasuki.inherited` are on top.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::fd::{AsRawFd, RawFd};
use std::path::PathBuf;

use pyo3::exceptions::{PyKeyError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use tasuki::command::{self, CommandError, InheritError};
use tasuki::protocol::transfer;

use crate::{errors, handles};

/// A program that runs, or ran.
#[pyclass(frozen, module = "tasuki._tasuki")]
pub struct Child {
    child: command::Child,
}

#[pymethods]
impl Child {
    #[getter]
    fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// A descriptor that becomes readable when the program ends.
    #[getter]
    fn sentinel(&self) -> RawFd {
        self.child.sentinel().as_raw_fd()
    }

    /// Whether the program ended, and how: (exit code or None, signal or None).
    fn poll(&self) -> Option<(Option<i32>, Option<i32>)> {
        use std::os::unix::process::ExitStatusExt;
        self.child.exit_status().map(|status| (status.code(), status.signal()))
    }

    fn terminate(&self) -> PyResult<()> {
        self.child.terminate().map_err(|error| PyRuntimeError::new_err(error.to_string()))
    }

    fn kill(&self) -> PyResult<()> {
        self.child.kill().map_err(|error| PyRuntimeError::new_err(error.to_string()))
    }
}

/// Starts a program. `handles` maps names to whatever MessagePack can say, handles included.
#[pyfunction]
#[pyo3(signature = (arguments, handles, env, cwd, daemon))]
pub fn start(
    py: Python<'_>,
    arguments: Vec<OsString>,
    handles: &Bound<'_, PyDict>,
    env: Option<HashMap<OsString, OsString>>,
    cwd: Option<PathBuf>,
    daemon: bool,
) -> PyResult<Child> {
    let (program, rest) = arguments
        .split_first()
        .ok_or_else(|| PyRuntimeError::new_err("a command without a program"))?;
    let mut command = command::Command::new(program);
    command.args(rest).daemon(daemon);
    if let Some(env) = env {
        command.env_clear();
        for (name, value) in env {
            command.env(name, value);
        }
    }
    if let Some(cwd) = cwd {
        command.current_dir(cwd);
    }
    for (name, object) in handles {
        let mut bytes = Vec::new();
        let (written, descriptors) = transfer::collect(|| handles::pack(&object, &mut bytes));
        written?;
        command.handle_raw(name.extract::<String>()?, bytes, descriptors);
    }
    let child = py.detach(|| command.spawn()).map_err(|error| match error {
        CommandError::Os { ref program, ref source } => {
            errors::os(&format!("cannot start {}", program.display()), source)
        }
        other => PyRuntimeError::new_err(other.to_string()),
    })?;
    Ok(Child { child })
}

/// What the parent handed to this program under a name.
#[pyfunction]
pub fn inherited<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    let (bytes, incoming) =
        py.detach(|| command::inherited_raw(name)).map_err(|error| match error {
            InheritError::Unknown { .. } => PyKeyError::new_err(error.to_string()),
            other => PyRuntimeError::new_err(other.to_string()),
        })?;
    transfer::provide(incoming, || handles::unpack(py, bytes))
}

/// The names under which the parent handed something to this program.
#[pyfunction]
pub fn inherited_names() -> Vec<&'static str> {
    command::inherited_names()
}
