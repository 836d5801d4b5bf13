//! A Python object becomes MessagePack, or an error that names the place in it that cannot. What becomes what is in the
//! table of `msgpack.rs`; called by put, it reads no message.

use std::fmt::Write as _;

use pyo3::exceptions::{PyOverflowError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pyclass::CompareOp;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyInt, PyList, PyMemoryView, PyString, PyTuple,
};
use tasuki::protocol::transfer::RECORD_EXT_TYPE;

/// How many levels deep an object may be. A cycle is deeper than that too.
const PACK_DEPTH: usize = 128;

/// What tells the record of a handle, or `None` of any other object.
pub type RecordOf<'a> = dyn FnMut(&Bound<'_, PyAny>) -> PyResult<Option<Vec<u8>>> + 'a;

/// Appends `obj` as MessagePack to `out`.
///
/// `handle` is asked about every object that is none of Python's own types: the record of a handle,
/// or `None` for anything else. On failure `out` is as it was.
///
/// # Errors
///
/// `TypeError` for a type that MessagePack does not have, `OverflowError` for an integer of more than
/// 64 bits, `ValueError` for an object that is nested too deeply or contains itself; whatever
/// `handle` or the object's own methods raise.
pub fn pack(
    py: Python<'_>,
    obj: &Bound<'_, PyAny>,
    out: &mut Vec<u8>,
    handle: &mut RecordOf<'_>,
) -> PyResult<()> {
    let start = out.len();
    Packer { out, handle }.value(obj, PACK_DEPTH).map_err(|refused| {
        out.truncate(start);
        refused.into_error(py)
    })
}

struct Packer<'a> {
    out: &'a mut Vec<u8>,
    handle: &'a mut RecordOf<'a>,
}

impl Packer<'_> {
    fn value(&mut self, obj: &Bound<'_, PyAny>, depth: usize) -> Result<(), Box<Refused>> {
        // bool before int, which it is a subclass of.
        if obj.is_none() {
            self.out.push(0xc0);
        } else if let Ok(value) = obj.cast::<PyBool>() {
            self.out.push(if value.is_true() { 0xc3 } else { 0xc2 });
        } else if let Ok(value) = obj.cast::<PyInt>() {
            self.int(value)?;
        } else if let Ok(value) = obj.cast::<PyString>() {
            let text = value.to_str()?;
            length(text.len())?;
            written(rmp::encode::write_str(self.out, text));
        } else if let Ok(value) = obj.cast::<PyFloat>() {
            written(rmp::encode::write_f64(self.out, value.value()));
        } else if let Ok(value) = obj.cast::<PyDict>() {
            self.dict(value, depth)?;
        } else if let Ok(value) = obj.cast::<PyList>() {
            self.array(value.len(), depth, |index| value.get_item(index))?;
        } else if let Ok(value) = obj.cast::<PyTuple>() {
            self.array(value.len(), depth, |index| value.get_item(index))?;
        } else if let Ok(value) = obj.cast::<PyBytes>() {
            self.bytes(value.as_bytes())?;
        } else if let Ok(value) = obj.cast::<PyByteArray>() {
            self.bytes(&value.to_vec())?;
        } else if obj.is_instance_of::<PyMemoryView>() {
            // Also of other elements than bytes, and with gaps: tobytes() knows.
            self.bytes(obj.call_method0("tobytes")?.cast::<PyBytes>()?.as_bytes())?;
        } else if let Some(record) = (self.handle)(obj)? {
            let size = length(record.len())?;
            written(rmp::encode::write_ext_meta(self.out, size, RECORD_EXT_TYPE));
            self.out.extend_from_slice(&record);
        } else {
            self.number(obj)?;
        }
        Ok(())
    }

    fn int(&mut self, value: &Bound<'_, PyInt>) -> Result<(), Box<Refused>> {
        if let Ok(value) = value.extract::<i64>() {
            written(rmp::encode::write_sint(self.out, value));
        } else if let Ok(value) = value.extract::<u64>() {
            written(rmp::encode::write_uint(self.out, value));
        } else {
            let bits = value.call_method0("bit_length")?.extract()?;
            return Err(Refused::new(Reason::TooWide { bits }));
        }
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), Box<Refused>> {
        length(bytes.len())?;
        written(rmp::encode::write_bin(self.out, bytes));
        Ok(())
    }

    fn array<'py>(
        &mut self,
        len: usize,
        depth: usize,
        item: impl Fn(usize) -> PyResult<Bound<'py, PyAny>>,
    ) -> Result<(), Box<Refused>> {
        let below = depth.checked_sub(1).ok_or_else(|| Refused::new(Reason::TooDeep))?;
        written(rmp::encode::write_array_len(self.out, length(len)?));
        for index in 0..len {
            // Packing an element may run Python code, and that may shorten the list.
            let item = item(index).map_err(|_| {
                PyRuntimeError::new_err("a list became shorter while it was made a message")
            })?;
            self.value(&item, below).map_err(|refused| refused.at(Step::Index(index)))?;
        }
        Ok(())
    }

    fn dict(&mut self, dict: &Bound<'_, PyDict>, depth: usize) -> Result<(), Box<Refused>> {
        let below = depth.checked_sub(1).ok_or_else(|| Refused::new(Reason::TooDeep))?;
        // A copy of the items: packing one may run Python code, and that may change the dict.
        let items = dict.items();
        written(rmp::encode::write_map_len(self.out, length(items.len())?));
        for item in items {
            let (key, value) = item.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>()?;
            self.value(&key, below).map_err(|refused| refused.at(Step::key_of(&key)))?;
            self.value(&value, below).map_err(|refused| refused.at(Step::value_of(&key)))?;
        }
        Ok(())
    }

    /// Numbers that are not Python's own, as numpy's: what converts itself without a loss and is not
    /// a container of several.
    fn number(&mut self, obj: &Bound<'_, PyAny>) -> Result<(), Box<Refused>> {
        let class = obj.get_type();
        let has = |name: &str| class.hasattr(name).unwrap_or(false);
        if !has("__len__") && !has("__iter__") || is_scalar_array(obj) {
            if is_numpy_bool(obj) {
                self.out.push(if obj.is_truthy()? { 0xc3 } else { 0xc2 });
                return Ok(());
            }
            if has("__index__") {
                if let Ok(value) = obj.call_method0("__index__")?.cast::<PyInt>() {
                    return self.int(value);
                }
            }
            if has("__float__") {
                if let Ok(float) = obj.call_method0("__float__")?.cast::<PyFloat>() {
                    if float.value().is_nan()
                        || float.as_any().rich_compare(obj, CompareOp::Eq)?.is_truthy()?
                    {
                        written(rmp::encode::write_f64(self.out, float.value()));
                        return Ok(());
                    }
                }
            }
        }
        let type_name = class.fully_qualified_name()?.to_string();
        Err(Refused::new(Reason::Unsupported { type_name }))
    }
}

/// numpy's scalars are not arrays, but a zero-dimensional array is a number as well.
fn is_scalar_array(obj: &Bound<'_, PyAny>) -> bool {
    let shape = obj.getattr("shape").ok();
    obj.hasattr("dtype").unwrap_or(false)
        && shape.is_some_and(|shape| shape.cast::<PyTuple>().is_ok_and(|shape| shape.is_empty()))
}

/// numpy's booleans convert themselves to a float as well; they must stay booleans.
fn is_numpy_bool(obj: &Bound<'_, PyAny>) -> bool {
    let kind = obj.getattr("dtype").and_then(|dtype| dtype.getattr("kind"));
    kind.is_ok_and(|kind| kind.extract::<String>().is_ok_and(|kind| kind == "b"))
}

/// MessagePack's lengths have 32 bits.
fn length(len: usize) -> Result<u32, Box<Refused>> {
    u32::try_from(len).map_err(|_| Refused::new(Reason::TooLong { len }))
}

/// Writing into a vector does not fail.
fn written<T, E: std::fmt::Debug>(result: Result<T, E>) {
    result.expect("a vector takes every byte");
}

/// Why an object was not packed, and the way to the place where it stands, innermost step first.
struct Refused {
    reason: Reason,
    path: Vec<Step>,
}

enum Reason {
    Unsupported {
        type_name: String,
    },
    TooWide {
        bits: u64,
    },
    TooLong {
        len: usize,
    },
    TooDeep,
    /// Something that Python code raised.
    Raised(PyErr),
}

enum Step {
    Index(usize),
    Value(String),
    Key(String),
}

impl Step {
    fn value_of(key: &Bound<'_, PyAny>) -> Step {
        Step::Value(shown(key))
    }

    fn key_of(key: &Bound<'_, PyAny>) -> Step {
        Step::Key(shown(key))
    }
}

/// A key as Python shows it, shortened.
fn shown(key: &Bound<'_, PyAny>) -> String {
    const SHOWN: usize = 40;
    let repr = key.repr().map_or_else(|_| "...".to_owned(), |repr| repr.to_string());
    match repr.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &repr[..end]),
        None => repr,
    }
}

impl<E: Into<PyErr>> From<E> for Box<Refused> {
    fn from(error: E) -> Box<Refused> {
        Refused::new(Reason::Raised(error.into()))
    }
}

impl Refused {
    #[cold]
    fn new(reason: Reason) -> Box<Refused> {
        Box::new(Refused { reason, path: Vec::new() })
    }

    #[cold]
    fn at(mut self: Box<Refused>, step: Step) -> Box<Refused> {
        self.path.push(step);
        self
    }

    /// `" at [2]['x']"`, or nothing for the object itself. The middle of a long way is left out.
    fn place(&self) -> String {
        const SHOWN: usize = 8;
        if self.path.is_empty() {
            return String::new();
        }
        let mut place = " at ".to_owned();
        for (depth, step) in self.path.iter().rev().enumerate() {
            if depth == SHOWN {
                place.push_str("...");
                break;
            }
            let _ = match step {
                Step::Index(index) => write!(place, "[{index}]"),
                Step::Value(key) => write!(place, "[{key}]"),
                Step::Key(key) => write!(place, "(in the key {key})"),
            };
        }
        place
    }

    fn into_error(self, py: Python<'_>) -> PyErr {
        let place = self.place();
        match self.reason {
            Reason::Unsupported { type_name } => PyTypeError::new_err(format!(
                "a {type_name}{place} cannot be written as MessagePack: convert it to None, bool, int, \
                 float, str, bytes, list, tuple, dict or a tasuki object, or use a queue with the \
                 default codec, pickle"
            )),
            Reason::TooWide { bits } => PyOverflowError::new_err(format!(
                "an integer of {bits} bits{place} cannot be written as MessagePack, which holds 64: \
                 send it as a str, or use a queue with the default codec, pickle"
            )),
            Reason::TooLong { len } => PyValueError::new_err(format!(
                "{len} bytes or elements{place} cannot be written as MessagePack, which holds up to \
                 {}: send them in parts",
                u32::MAX
            )),
            Reason::TooDeep => PyValueError::new_err(format!(
                "the object is nested deeper than {PACK_DEPTH} levels, or contains itself{place}: \
                 MessagePack holds trees; flatten it, or use a queue with the default codec, pickle"
            )),
            Reason::Raised(error) => {
                if !place.is_empty() {
                    let note = format!("while packing the object{place} as MessagePack");
                    // The note is a courtesy: without it the error is still the right one.
                    let _ = error.value(py).call_method1("add_note", (note,));
                }
                error
            }
        }
    }
}
