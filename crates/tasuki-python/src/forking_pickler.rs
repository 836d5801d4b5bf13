//! The pickler that a program has put in the place of `ForkingPickler`, if it has.
//!
//! Programs replace its `dumps`, or the class in the modules that use it, directly or as a context's `reducer`. The
//! standard library looks it up for each message, and so do we: by the identity of the few things that can be replaced,
//! which is a handful of look-ups in dictionaries. Asked only for what is pickled.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString, PyType};

/// Who pickles: each has a name of its own for the class.
#[derive(Clone, Copy)]
pub enum Place {
    Queue,
    Connection,
}

impl Place {
    /// The names of the module that has it.
    fn names(self, py: Python<'_>) -> PyResult<&Bound<'_, PyDict>> {
        static QUEUES: PyOnceLock<Py<PyDict>> = PyOnceLock::new();
        static CONNECTION: PyOnceLock<Py<PyDict>> = PyOnceLock::new();
        let (names, module) = match self {
            Place::Queue => (&QUEUES, intern!(py, "multiprocessing.queues")),
            Place::Connection => (&CONNECTION, intern!(py, "multiprocessing.connection")),
        };
        names
            .get_or_try_init(py, || Ok(py.import(module)?.dict().unbind()))
            .map(|names| names.bind(py))
    }
}

/// The class as the standard library made it.
struct Stock {
    class: Py<PyAny>,
    /// What is in the class: its own dictionary, which changes when the class does.
    members: Py<PyDict>,
    count: usize,
    dumps: Py<PyAny>,
    loads: Py<PyAny>,
    init: Py<PyAny>,
    reducers: Py<PyAny>,
}

static STOCK: PyOnceLock<Stock> = PyOnceLock::new();

/// The class to pickle with, if it is not the standard library's as that made it.
pub fn replaced(py: Python<'_>, place: Place) -> PyResult<Option<Bound<'_, PyAny>>> {
    replaced_unless(py, place, Stock::writes_for)
}

/// The class to read a pickle with, if that does not read as the standard library's does. Asked for each message, it
/// looks at no more than reading depends on.
pub fn replaced_reader(py: Python<'_>, place: Place) -> PyResult<Option<Bound<'_, PyAny>>> {
    replaced_unless(py, place, Stock::reads_for)
}

#[inline]
fn replaced_unless<'py>(
    py: Python<'py>,
    place: Place,
    is_stock: impl FnOnce(&Stock, &Bound<'py, PyAny>) -> PyResult<bool>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let Some(class) = place.names(py)?.get_item(intern!(py, "_ForkingPickler"))? else {
        return Ok(None);
    };
    let stock = match STOCK.get(py) {
        Some(stock) => stock,
        // Found once it is seen unchanged; until then each look is a long one.
        None => match Stock::find(&class)? {
            Some(stock) => STOCK.get_or_init(py, || stock),
            None => return Ok(Some(class)),
        },
    };
    Ok(if is_stock(stock, &class)? { None } else { Some(class) })
}

/// The pickle of an object, as a buffer, in the standard library's form: by the class in force.
pub fn dumps<'py>(object: &Bound<'py, PyAny>, place: Place) -> PyResult<Bound<'py, PyAny>> {
    static DUMPS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = object.py();
    if let Some(class) = replaced(py, place)? {
        return class.call_method1(intern!(py, "dumps"), (object,));
    }
    let dumps = DUMPS.get_or_try_init(py, || {
        let names = place.names(py)?;
        let class = names.as_any().get_item(intern!(py, "_ForkingPickler"))?;
        class.getattr(intern!(py, "dumps")).map(Bound::unbind)
    })?;
    dumps.bind(py).call1((object,))
}

impl Stock {
    fn find(class: &Bound<'_, PyAny>) -> PyResult<Option<Stock>> {
        const MEMBERS: [&str; 5] = [
            "_extra_reducers",
            "_copyreg_dispatch",
            "_copyreg_dispatch_table",
            "register",
            "loads",
        ];
        let py = class.py();
        let Ok(kind) = class.cast::<PyType>() else { return Ok(None) };
        let is_standard = |object: &Bound<'_, PyAny>, name: &str| -> PyResult<bool> {
            Ok(object
                .getattr_opt(intern!(py, "__module__"))?
                .is_some_and(|module| module.eq("multiprocessing.reduction").unwrap_or(false))
                && object
                    .getattr_opt(intern!(py, "__qualname__"))?
                    .is_some_and(|found| found.eq(name).unwrap_or(false)))
        };
        if !is_standard(class, "ForkingPickler")? {
            return Ok(None);
        }
        let view = kind.getattr(intern!(py, "__dict__"))?;
        for name in view.try_iter()? {
            let name = name?.cast_into::<PyString>()?;
            let name = name.to_cow()?;
            let ours =
                matches!(&*name, "dumps" | "__init__" | "__dict__" | "__doc__" | "__module__")
                    || matches!(
                        &*name,
                        "__weakref__"
                            | "__firstlineno__"
                            | "__static_attributes__"
                            | "__qualname__"
                    )
                    || MEMBERS.contains(&&*name);
            if !ours {
                return Ok(None);
            }
        }
        let (dumps, init) = (view.get_item("dumps")?, view.get_item("__init__")?);
        let function = dumps.getattr_opt("__func__")?;
        let loads = view.get_item("loads")?;
        let is_whole = function
            .is_some_and(|dumps| is_standard(&dumps, "ForkingPickler.dumps").unwrap_or(false))
            && is_standard(&init, "ForkingPickler.__init__")?
            && loads.is(&py.import("pickle")?.getattr("loads")?);
        if !is_whole {
            return Ok(None);
        }
        // The view has nothing else to refer to.
        let inside = py.import("gc")?.call_method1("get_referents", (&view,))?;
        let Ok(members) = inside.get_item(0)?.cast_into::<PyDict>() else { return Ok(None) };
        Ok(Some(Stock {
            class: class.clone().unbind(),
            count: members.len(),
            dumps: dumps.unbind(),
            loads: loads.unbind(),
            init: init.unbind(),
            reducers: view.get_item("_extra_reducers")?.unbind(),
            members: members.unbind(),
        }))
    }

    /// Whether `class` is this one, and nobody has changed how it writes.
    fn writes_for(&self, class: &Bound<'_, PyAny>) -> PyResult<bool> {
        let py = class.py();
        Ok(class.is(&self.class)
            && self.members.bind(py).len() == self.count
            && self.has(intern!(py, "dumps"), &self.dumps)?
            && self.has(intern!(py, "__init__"), &self.init)?
            && self.has(intern!(py, "_extra_reducers"), &self.reducers)?)
    }

    /// Whether `class` is this one, and nobody has changed how it reads.
    fn reads_for(&self, class: &Bound<'_, PyAny>) -> PyResult<bool> {
        Ok(class.is(&self.class) && self.has(intern!(class.py(), "loads"), &self.loads)?)
    }

    fn has(&self, name: &Bound<'_, PyString>, known: &Py<PyAny>) -> PyResult<bool> {
        let member = self.members.bind(name.py()).get_item(name)?;
        Ok(member.is_some_and(|member| member.is(known)))
    }
}
