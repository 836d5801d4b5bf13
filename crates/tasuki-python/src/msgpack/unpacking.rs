//! MessagePack becomes a Python object, or an error: what is read was written by another process and may be anything.
//! What becomes what is in the table of `msgpack.rs`; called by get, it writes no message.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyList, PyString, PyTuple};
use rmp::Marker;
use tasuki::protocol::transfer::RECORD_EXT_TYPE;

/// How many levels deep a message may be: what Rust writes may have this many.
const UNPACK_DEPTH: usize = 256;

/// How many places are reserved for elements before the first of them was read.
const RESERVED: usize = 1024;

/// What makes a handle of its record.
pub type HandleOf<'a, 'py> = dyn FnMut(&[u8]) -> PyResult<Bound<'py, PyAny>> + 'a;

/// Reads the one object that `bytes` hold.
///
/// `handle` makes an object of a handle's record.
///
/// # Errors
///
/// `ValueError` when the bytes are not exactly one MessagePack value, are nested too deeply, or hold
/// an extension that is not a handle; `TypeError` for a key that Python cannot hash; whatever
/// `handle` raises.
pub fn unpack<'py>(
    py: Python<'py>,
    bytes: &[u8],
    handle: &mut HandleOf<'_, 'py>,
) -> PyResult<Bound<'py, PyAny>> {
    let mut unpacker = Unpacker { py, rest: bytes, handle };
    let value = unpacker.value(UNPACK_DEPTH, Arrays::Lists)?;
    if unpacker.rest.is_empty() {
        Ok(value)
    } else {
        Err(damaged("a MessagePack that goes on after its value"))
    }
}

/// What an array becomes: a key must be hashable.
#[derive(Clone, Copy, PartialEq)]
enum Arrays {
    Lists,
    Tuples,
}

struct Unpacker<'py, 'a> {
    py: Python<'py>,
    rest: &'a [u8],
    handle: &'a mut HandleOf<'a, 'py>,
}

impl<'py, 'a> Unpacker<'py, 'a> {
    fn value(&mut self, depth: usize, arrays: Arrays) -> PyResult<Bound<'py, PyAny>> {
        let py = self.py;
        let marker = Marker::from_u8(u8::from_be_bytes(self.take()?));
        Ok(match marker {
            Marker::Null => py.None().into_bound(py),
            Marker::False => PyBool::new(py, false).to_owned().into_any(),
            Marker::True => PyBool::new(py, true).to_owned().into_any(),
            Marker::FixPos(value) => value.into_pyobject(py)?.into_any(),
            Marker::FixNeg(value) => value.into_pyobject(py)?.into_any(),
            Marker::U8 => u8::from_be_bytes(self.take()?).into_pyobject(py)?.into_any(),
            Marker::U16 => u16::from_be_bytes(self.take()?).into_pyobject(py)?.into_any(),
            Marker::U32 => u32::from_be_bytes(self.take()?).into_pyobject(py)?.into_any(),
            Marker::U64 => u64::from_be_bytes(self.take()?).into_pyobject(py)?.into_any(),
            Marker::I8 => i8::from_be_bytes(self.take()?).into_pyobject(py)?.into_any(),
            Marker::I16 => i16::from_be_bytes(self.take()?).into_pyobject(py)?.into_any(),
            Marker::I32 => i32::from_be_bytes(self.take()?).into_pyobject(py)?.into_any(),
            Marker::I64 => i64::from_be_bytes(self.take()?).into_pyobject(py)?.into_any(),
            Marker::F32 => PyFloat::new(py, f32::from_be_bytes(self.take()?).into()).into_any(),
            Marker::F64 => PyFloat::new(py, f64::from_be_bytes(self.take()?)).into_any(),
            Marker::FixStr(len) => self.string(len.into())?,
            Marker::Str8 | Marker::Str16 | Marker::Str32 => {
                let len = self.length(marker, [Marker::Str8, Marker::Str16])?;
                self.string(len)?
            }
            Marker::Bin8 | Marker::Bin16 | Marker::Bin32 => {
                let len = self.length(marker, [Marker::Bin8, Marker::Bin16])?;
                PyBytes::new(py, self.slice(len)?).into_any()
            }
            Marker::FixArray(len) => self.array(len.into(), depth, arrays)?,
            Marker::Array16 | Marker::Array32 => {
                let len = self.length(marker, [Marker::Reserved, Marker::Array16])?;
                self.array(len, depth, arrays)?
            }
            Marker::FixMap(len) => self.map(len.into(), depth)?,
            Marker::Map16 | Marker::Map32 => {
                let len = self.length(marker, [Marker::Reserved, Marker::Map16])?;
                self.map(len, depth)?
            }
            Marker::FixExt1 => self.extension(1)?,
            Marker::FixExt2 => self.extension(2)?,
            Marker::FixExt4 => self.extension(4)?,
            Marker::FixExt8 => self.extension(8)?,
            Marker::FixExt16 => self.extension(16)?,
            Marker::Ext8 | Marker::Ext16 | Marker::Ext32 => {
                let len = self.length(marker, [Marker::Ext8, Marker::Ext16])?;
                self.extension(len)?
            }
            Marker::Reserved => {
                return Err(damaged("a MessagePack with a byte that means nothing"));
            }
        })
    }

    fn take<const N: usize>(&mut self) -> PyResult<[u8; N]> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or_else(ends)?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn slice(&mut self, len: usize) -> PyResult<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or_else(ends)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// The length after a marker: one byte after the first of the two, two after the second, else
    /// four.
    fn length(&mut self, marker: Marker, [one, two]: [Marker; 2]) -> PyResult<usize> {
        Ok(if marker == one {
            u8::from_be_bytes(self.take()?).into()
        } else if marker == two {
            u16::from_be_bytes(self.take()?).into()
        } else {
            u32::from_be_bytes(self.take()?) as usize
        })
    }

    fn string(&mut self, len: usize) -> PyResult<Bound<'py, PyAny>> {
        let text = std::str::from_utf8(self.slice(len)?)
            .map_err(|error| damaged(&format!("a string that is not UTF-8 ({error})")))?;
        Ok(PyString::new(self.py, text).into_any())
    }

    fn array(&mut self, len: usize, depth: usize, arrays: Arrays) -> PyResult<Bound<'py, PyAny>> {
        let below = depth.checked_sub(1).ok_or_else(too_deep)?;
        if len > self.rest.len() {
            return Err(ends());
        }
        let mut items = Vec::with_capacity(len.min(RESERVED));
        for _ in 0..len {
            items.push(self.value(below, arrays)?);
        }
        Ok(match arrays {
            Arrays::Lists => PyList::new(self.py, items)?.into_any(),
            Arrays::Tuples => PyTuple::new(self.py, items)?.into_any(),
        })
    }

    fn map(&mut self, len: usize, depth: usize) -> PyResult<Bound<'py, PyAny>> {
        let below = depth.checked_sub(1).ok_or_else(too_deep)?;
        let dict = PyDict::new(self.py);
        for _ in 0..len {
            let key = self.value(below, Arrays::Tuples)?;
            let value = self.value(below, Arrays::Lists)?;
            dict.set_item(key, value)?;
        }
        Ok(dict.into_any())
    }

    fn extension(&mut self, len: usize) -> PyResult<Bound<'py, PyAny>> {
        let kind = i8::from_be_bytes(self.take()?);
        let record = self.slice(len)?;
        if kind == RECORD_EXT_TYPE {
            (self.handle)(record)
        } else {
            Err(PyValueError::new_err(format!(
                "this message holds a MessagePack extension of type {kind}, which is not a tasuki \
                 object and means nothing here"
            )))
        }
    }
}

#[cold]
fn ends() -> PyErr {
    damaged("a MessagePack that ends in the middle")
}

#[cold]
fn damaged(detail: &str) -> PyErr {
    PyValueError::new_err(format!("this message is damaged: {detail}"))
}

#[cold]
fn too_deep() -> PyErr {
    PyValueError::new_err(format!("this message is nested deeper than {UNPACK_DEPTH} levels"))
}
