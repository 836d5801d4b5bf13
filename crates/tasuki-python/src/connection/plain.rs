//! The objects that have a codec of their own, written and read with the interpreter's own functions: for `quick`,
//! whose rules they keep. What they make nothing of goes through `values`, which gives the same result for the rest.
#![allow(unsafe_code)] // functions of the interpreter

use std::ptr;
use std::slice;

use pyo3::ffi;
use tasuki::protocol::codec::Codec;

/// An object as a message.
pub struct Plain<'a> {
    pub codec: Codec,
    small: [u8; 8],
    len: usize,
    borrowed: Option<&'a [u8]>,
}

impl<'a> Plain<'a> {
    fn small(codec: Codec, small: [u8; 8], len: usize) -> Plain<'a> {
        Plain { codec, small, len, borrowed: None }
    }

    #[inline]
    pub fn bytes(&self) -> &[u8] {
        self.borrowed.unwrap_or(&self.small[..self.len])
    }
}

/// The message that an object is, if it is a number, a string, bytes, a truth or None, and exactly of that class.
///
/// # Safety
/// The interpreter is attached, and the object outlives the result.
#[inline]
pub unsafe fn write<'a>(object: *mut ffi::PyObject) -> Option<Plain<'a>> {
    // SAFETY: as promised; each function is called for an object of its class.
    unsafe {
        if ffi::PyLong_CheckExact(object) != 0 {
            let mut overflow = 0;
            let value = ffi::PyLong_AsLongLongAndOverflow(object, &raw mut overflow);
            return (overflow == 0).then(|| Plain::small(Codec::I64, value.to_le_bytes(), 8));
        }
        if let Some(bytes) = bytes(object) {
            let (small, len) = ([0; 8], 0);
            return Some(Plain { codec: Codec::Bytes, small, len, borrowed: Some(bytes) });
        }
        if ffi::PyUnicode_CheckExact(object) != 0 {
            let mut len = 0;
            let text = ffi::PyUnicode_AsUTF8AndSize(object, &raw mut len);
            if text.is_null() {
                // Lone surrogates, which go the structured way.
                ffi::PyErr_Clear();
                return None;
            }
            let text = slice::from_raw_parts(text.cast::<u8>(), len.unsigned_abs());
            let (small, len) = ([0; 8], 0);
            return Some(Plain { codec: Codec::Str, small, len, borrowed: Some(text) });
        }
        if ffi::PyFloat_CheckExact(object) != 0 {
            let value = ffi::PyFloat_AsDouble(object);
            return Some(Plain::small(Codec::F64, value.to_le_bytes(), 8));
        }
        if ffi::Py_IsNone(object) != 0 {
            return Some(Plain::small(Codec::Unit, [0; 8], 0));
        }
        if ffi::PyBool_Check(object) != 0 {
            let truth = u8::from(ffi::Py_IsTrue(object) != 0);
            return Some(Plain::small(Codec::Bool, [truth, 0, 0, 0, 0, 0, 0, 0], 1));
        }
    }
    None
}

/// The bytes of a bytes object.
///
/// # Safety
/// As for `write`.
#[inline]
pub unsafe fn bytes<'a>(object: *mut ffi::PyObject) -> Option<&'a [u8]> {
    // SAFETY: as promised; a bytes object never changes.
    unsafe {
        if ffi::PyBytes_CheckExact(object) == 0 {
            return None;
        }
        let len = ffi::PyBytes_Size(object).unsigned_abs();
        Some(slice::from_raw_parts(ffi::PyBytes_AsString(object).cast::<u8>(), len))
    }
}

/// A new object from a message that holds a plain value, or null without an exception.
///
/// # Safety
/// The interpreter is attached.
#[inline]
pub unsafe fn read(codec: u16, bytes: &[u8]) -> *mut ffi::PyObject {
    let len = bytes.len() as ffi::Py_ssize_t;
    // SAFETY: makes objects, from bytes that are there.
    let object = unsafe {
        match (Codec::from_tag(codec), <[u8; 8]>::try_from(bytes)) {
            (Some(Codec::I64), Ok(eight)) => ffi::PyLong_FromLongLong(i64::from_le_bytes(eight)),
            (Some(Codec::F64), Ok(eight)) => ffi::PyFloat_FromDouble(f64::from_le_bytes(eight)),
            (Some(Codec::Bytes), _) => ffi::PyBytes_FromStringAndSize(bytes.as_ptr().cast(), len),
            (Some(Codec::Str), _) => {
                ffi::PyUnicode_DecodeUTF8(bytes.as_ptr().cast(), len, ptr::null())
            }
            (Some(Codec::Unit), _) if len == 0 => ffi::Py_NewRef(ffi::Py_None()),
            (Some(Codec::Bool), _) if bytes == [0] => ffi::Py_NewRef(ffi::Py_False()),
            (Some(Codec::Bool), _) if bytes == [1] => ffi::Py_NewRef(ffi::Py_True()),
            _ => return ptr::null_mut(),
        }
    };
    if object.is_null() {
        // What is wrong is found again, and told, where there is time for it.
        // SAFETY: the interpreter is attached.
        unsafe { ffi::PyErr_Clear() };
    }
    object
}
