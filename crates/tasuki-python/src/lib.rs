//! The native module of the Python package `tasuki`: a thin coat over the crate `tasuki`.
//!
//! Python files carry names, docstrings and what only Python can say; here objects become frames and waits let go of
//! the interpreter. Nothing here knows how the engine works: it uses `tasuki::raw`.

mod buffers;
mod command;
mod connection;
mod errors;
mod forking_pickler;
mod handles;
#[cfg(feature = "kill-points")]
mod kill_points;
mod kind;
mod msgpack;
mod native;
mod open;
mod pickling;
mod polling;
mod process;
mod queues;
mod shared_memory;
mod sharedctypes;
mod synchronize;
mod values;
mod waiting;

use pyo3::prelude::*;

/// The native half of the package `tasuki`: use the package.
#[pymodule(gil_used = false)]
mod _tasuki {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::command::{Child, inherited, inherited_names, start};
    #[pymodule_export]
    use crate::connection::{Connection, Listener, connect, note_joined, pipe};
    #[pymodule_export]
    use crate::handles::{
        Descriptors, carry, is_carrying, open_carried, open_with, take_descriptor,
    };
    #[cfg(feature = "kill-points")]
    #[pymodule_export]
    use crate::kill_points::{arm_stop, kill_points};
    #[pymodule_export]
    use crate::msgpack::{_pack, _unpack};
    #[pymodule_export]
    use crate::polling::{deadline, poll};
    #[pymodule_export]
    use crate::process::{note_leaving, set_process_name};
    #[pymodule_export]
    use crate::queues::Queue;
    #[pymodule_export]
    use crate::shared_memory::{NamedMemory, list_image};
    #[pymodule_export]
    use crate::sharedctypes::{Block, Guarded, Items, Number};
    #[pymodule_export]
    use crate::synchronize::{Barrier, Condition, Event, Lock, RLock, RwLock, Section, Semaphore};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::waiting::look_for_main_thread(module.py())?;
        crate::synchronize::add_methods(module.py())?;
        crate::sharedctypes::add_methods(module.py())?;
        crate::connection::add_methods(module.py())
    }
}
