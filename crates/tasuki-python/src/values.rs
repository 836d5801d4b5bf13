//! Python objects as frames: which codec an object gets, and the object that a frame is read as.
//!
//! Exact ints, floats, bools, `None`, strings and bytes are not pickled: they cost a copy, and Rust reads them too.
//! Everything else goes the queue's way: pickle, or MessagePack. A reader goes by the frame's tag alone.
#![allow(unsafe_code)] // makes numbers and bytes objects without a detour

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyByteArray, PyBytes, PyFloat, PyInt, PyMemoryView, PyString};
use tasuki::protocol::codec::{Codec, StructuredCodec};
use tasuki::protocol::transfer::{self, Incoming, Outgoing};
use tasuki::raw::LargeMessage;

use crate::buffers::{self, Framed};
use crate::forking_pickler::{self, Place};
use crate::{handles, pickling};

/// An object written for the wire. Bytes and strings are borrowed from the object, which must outlive this.
pub struct Encoded<'a> {
    pub codec: Codec,
    pub handles: Outgoing,
    pub bytes: Bytes<'a>,
}

/// The bytes of a message, wherever they are.
pub enum Bytes<'a> {
    Small([u8; 8], usize),
    Borrowed(&'a [u8]),
    Owned(Vec<u8>),
    /// A pickle and its buffers, which are where the object has them.
    Framed(Box<Framed>),
}

impl Bytes<'_> {
    /// The bytes in one piece, if they are.
    #[inline]
    pub fn as_slice(&self) -> Option<&[u8]> {
        match self {
            Bytes::Small(bytes, len) => Some(&bytes[..*len]),
            Bytes::Borrowed(bytes) => Some(bytes),
            Bytes::Owned(bytes) => Some(bytes),
            Bytes::Framed(_) => None,
        }
    }

    /// The bytes, in order.
    pub fn parts(&self) -> Vec<&[u8]> {
        match self {
            Bytes::Framed(framed) => framed.parts(),
            other => other.as_slice().into_iter().collect(),
        }
    }
}

impl<'a> Encoded<'a> {
    fn plain(codec: Codec, bytes: Bytes<'a>) -> Encoded<'a> {
        Encoded { codec, handles: Outgoing::default(), bytes }
    }

    fn eight(codec: Codec, bytes: [u8; 8]) -> Encoded<'a> {
        Encoded::plain(codec, Bytes::Small(bytes, 8))
    }
}

/// Writes `object`. Handles inside it put their descriptors into the result's `handles`.
pub fn encode<'a>(
    object: &'a Bound<'_, PyAny>,
    structured: StructuredCodec,
    place: Place,
) -> PyResult<Encoded<'a>> {
    if object.is_exact_instance_of::<PyInt>() {
        if let Some(encoded) = encode_int(object)? {
            return Ok(encoded);
        }
    } else if let Ok(bytes) = object.cast_exact::<PyBytes>() {
        return Ok(Encoded::plain(Codec::Bytes, Bytes::Borrowed(bytes.as_bytes())));
    } else if let Ok(text) = object.cast_exact::<PyString>() {
        // A string with lone surrogates is not UTF-8 and goes the structured way.
        if let Ok(text) = text.to_str() {
            return Ok(Encoded::plain(Codec::Str, Bytes::Borrowed(text.as_bytes())));
        }
    } else if let Ok(number) = object.cast_exact::<PyFloat>() {
        return Ok(Encoded::eight(Codec::F64, number.value().to_le_bytes()));
    } else if object.is_none() {
        return Ok(Encoded::plain(Codec::Unit, Bytes::Small([0; 8], 0)));
    } else if let Ok(truth) = object.cast_exact::<PyBool>() {
        let byte = u8::from(truth.is_true());
        return Ok(Encoded::plain(Codec::Bool, Bytes::Small([byte, 0, 0, 0, 0, 0, 0, 0], 1)));
    }
    if let Some(encoded) = encode_buffer(object, structured)? {
        return Ok(encoded);
    }
    if structured == StructuredCodec::MessagePack {
        let mut bytes = Vec::new();
        let (written, handles) = transfer::collect(|| handles::pack(object, &mut bytes));
        written?;
        return Ok(Encoded { codec: Codec::MessagePack, handles, bytes: Bytes::Owned(bytes) });
    }
    let (written, handles) = transfer::collect(|| pickled(object, place));
    Ok(Encoded { handles, ..written? })
}

/// As `encode`, as a pickle, for a message that can carry no descriptors. Handles inside it are tickets, good as long
/// as this process has the objects; connections are lent as the standard library's are.
pub fn encode_with_tickets<'a>(object: &Bound<'_, PyAny>, place: Place) -> PyResult<Encoded<'a>> {
    transfer::without_table(|| pickled(object, place))
}

fn pickled<'a>(object: &Bound<'_, PyAny>, place: Place) -> PyResult<Encoded<'a>> {
    let mut bytes = Vec::new();
    let buffers = match forking_pickler::replaced(object.py(), place)? {
        None => pickling::dumps(object, &mut bytes)?,
        Some(_) => pickling::dumps_with(object, place, &mut bytes).map(|()| Vec::new())?,
    };
    Ok(if buffers.is_empty() {
        Encoded::plain(Codec::Pickle, Bytes::Owned(bytes))
    } else {
        Encoded::plain(Codec::PickleBuffers, Bytes::Framed(Box::new(Framed::new(&bytes, buffers))))
    })
}

/// A memoryview goes as the bytes that it shows, and a large bytearray without a copy in a pickle.
fn encode_buffer<'a>(
    object: &Bound<'_, PyAny>,
    structured: StructuredCodec,
) -> PyResult<Option<Encoded<'a>>> {
    let (codec, framed) = if object.is_exact_instance_of::<PyMemoryView>() {
        (Codec::Bytes, Framed::bare(buffers::contiguous(object)?))
    } else if let (Ok(array), StructuredCodec::Pickle) =
        (object.cast_exact::<PyByteArray>(), structured)
    {
        if array.len() < buffers::LARGE {
            return Ok(None);
        }
        (Codec::PickleBuffers, Framed::new(buffers::BYTEARRAY, vec![buffers::contiguous(object)?]))
    } else {
        return Ok(None);
    };
    Ok(Some(Encoded::plain(codec, Bytes::Framed(Box::new(framed)))))
}

fn encode_int<'a>(object: &'a Bound<'_, PyAny>) -> PyResult<Option<Encoded<'a>>> {
    let mut overflow = 0;
    // SAFETY: the object is an int and the interpreter is attached.
    let value = unsafe { ffi::PyLong_AsLongLongAndOverflow(object.as_ptr(), &raw mut overflow) };
    if overflow == 0 {
        return Ok(Some(Encoded::eight(Codec::I64, value.to_le_bytes())));
    }
    if overflow > 0 {
        if let Ok(value) = object.extract::<u64>() {
            return Ok(Some(Encoded::eight(Codec::U64, value.to_le_bytes())));
        }
    }
    Ok(None)
}

/// The object in a frame whose bytes are `bytes` and which brought `handles` along.
pub fn decode<'py>(
    py: Python<'py>,
    codec: u16,
    bytes: &[u8],
    handles: Incoming,
    place: Place,
) -> PyResult<Bound<'py, PyAny>> {
    let eight = || {
        <[u8; 8]>::try_from(bytes)
            .map_err(|_| PyValueError::new_err("a broken message: a number of a wrong length"))
    };
    match Codec::from_tag(codec) {
        Some(Codec::I64) => Ok(i64::from_le_bytes(eight()?).into_pyobject(py)?.into_any()),
        Some(Codec::U64) => Ok(u64::from_le_bytes(eight()?).into_pyobject(py)?.into_any()),
        Some(Codec::F64) => Ok(f64::from_le_bytes(eight()?).into_pyobject(py)?.into_any()),
        Some(Codec::Bytes) => Ok(PyBytes::new(py, bytes).into_any()),
        Some(Codec::Str) => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(PyString::new(py, text).into_any()),
            Err(error) => Err(PyValueError::new_err(format!("a broken message: {error}"))),
        },
        Some(Codec::Unit) => Ok(py.None().into_bound(py)),
        Some(Codec::Bool) => match bytes {
            [byte @ (0 | 1)] => Ok(PyBool::new(py, *byte == 1).to_owned().into_any()),
            _ => Err(PyValueError::new_err("a broken message: a bool that is neither 0 nor 1")),
        },
        Some(Codec::Pickle | Codec::Raw) => {
            decode_bytes(codec, &PyBytes::new(py, bytes), handles, place)
        }
        Some(Codec::PickleBuffers) => {
            let (pickle, buffers) = buffers::copied(py, bytes)?;
            transfer::provide(handles, || pickling::loads_with(&pickle, &buffers))
        }
        Some(Codec::MessagePack) => transfer::provide(handles, || handles::unpack(py, bytes)),
        Some(Codec::Postcard) => Err(PyTypeError::new_err(
            "this message was written by Rust as postcard, which only Rust reads: create the queue \
             with StructuredCodec::MessagePack",
        )),
        _ => Err(PyValueError::new_err(format!("a message of an unknown codec ({codec})"))),
    }
}

/// As `decode`, for bytes that are in an object already.
pub fn decode_bytes<'py>(
    codec: u16,
    bytes: &Bound<'py, PyBytes>,
    handles: Incoming,
    place: Place,
) -> PyResult<Bound<'py, PyAny>> {
    match Codec::from_tag(codec) {
        Some(Codec::Bytes) => Ok(bytes.clone().into_any()),
        // What `send_bytes` sent is for the receiver to know; who asks for an object says that it is a pickle.
        Some(Codec::Pickle | Codec::Raw) => {
            transfer::provide(handles, || pickling::loads(bytes.as_any(), place))
        }
        _ => decode(bytes.py(), codec, bytes.as_bytes(), handles, place),
    }
}

/// As `decode`, for bytes that are still where the sender wrote them.
pub fn decode_large<'py>(
    py: Python<'py>,
    codec: u16,
    large: Box<LargeMessage>,
    handles: Incoming,
    place: Place,
) -> PyResult<Bound<'py, PyAny>> {
    if Codec::from_tag(codec) == Some(Codec::PickleBuffers) {
        let (pickle, buffers) = buffers::in_place(py, large)?;
        return transfer::provide(handles, || pickling::loads_with(&pickle, &buffers));
    }
    decode_bytes(codec, &large_bytes(py, large)?, handles, place)
}

/// As `decode_large`, with a view instead of the bytes or bytearray that the message is.
pub fn view_large<'py>(
    py: Python<'py>,
    codec: u16,
    large: Box<LargeMessage>,
    handles: Incoming,
    place: Place,
) -> PyResult<Bound<'py, PyAny>> {
    match Codec::from_tag(codec) {
        Some(Codec::Bytes) => Ok(buffers::whole(py, large)?.into_any()),
        Some(Codec::PickleBuffers) => {
            let (pickle, buffers) = buffers::in_place(py, large)?;
            if pickle.as_bytes() == buffers::BYTEARRAY && buffers.len() == 1 {
                return buffers.get_item(0);
            }
            transfer::provide(handles, || pickling::loads_with(&pickle, &buffers))
        }
        _ => view(&decode_large(py, codec, large, handles, place)?),
    }
}

/// A view of what is a bytes or bytearray; anything else as it is.
pub fn view<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    if object.is_exact_instance_of::<PyBytes>() || object.is_exact_instance_of::<PyByteArray>() {
        return Ok(PyMemoryView::from(object)?.into_any());
    }
    Ok(object.clone())
}

/// Copies a large message into a bytes object, without zeroing it first and without the interpreter.
fn large_bytes(py: Python<'_>, large: Box<LargeMessage>) -> PyResult<Bound<'_, PyBytes>> {
    let len = ffi::Py_ssize_t::try_from(large.len())?;
    // SAFETY: makes a bytes object of `len` uninitialised bytes that nobody else knows of, or raises.
    let object = unsafe { ffi::PyBytes_FromStringAndSize(std::ptr::null(), len) };
    // SAFETY: a new reference to a bytes object, or null with an exception set.
    let bytes =
        unsafe { Bound::from_owned_ptr_or_err(py, object)?.cast_into_unchecked::<PyBytes>() };
    let target = bytes.as_bytes().as_ptr() as usize;
    py.detach(|| {
        // SAFETY: `target` is the object's `len` bytes, which this thread alone writes before anybody reads them.
        unsafe { large.copy_to(target as *mut u8) };
        drop(large);
    });
    Ok(bytes)
}
