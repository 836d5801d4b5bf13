//! What is called for every message, without pyo3's wrapper, which costs more than a small message does.
#![allow(unsafe_code)] // functions that the interpreter calls, with its pointers

use std::ffi::CStr;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;

use tasuki::protocol::codec::Codec;
use tasuki::protocol::transfer::Incoming;
use tasuki::raw::Wait;
use tasuki::raw::connection::Received;

use super::transport::{bytes_of_message, give_back, take_scratch};
use super::{Connection, plain};
use crate::buffers;
use crate::forking_pickler::Place;
use crate::native::{arguments, definition, method, nothing, slowly, this, truth};
use crate::values;
use crate::waiting::{Blocking, Timeout};

/// Longer messages are left to the way that lets others run meanwhile.
const QUICK: usize = 8 << 10;

/// Gives the class its methods `send`, `recv`, `send_bytes`, `recv_bytes` and `poll`.
pub fn add_methods(py: Python<'_>) -> PyResult<()> {
    let class = py.get_type::<Connection>();
    let add = |name: &'static CStr, function, flags, doc| {
        let method = method(&class, definition(name, function, flags, doc))?;
        class.setattr(method.getattr("__name__")?.cast::<PyString>()?, method)
    };
    let fast = ffi::METH_FASTCALL | ffi::METH_KEYWORDS;
    add(
        c"send",
        ffi::PyMethodDefPointer { PyCFunction: send },
        ffi::METH_O,
        c"send($self, obj, /)\n--\n\nSends an object, as it is now. Waits while there is no room.",
    )?;
    add(
        c"recv",
        ffi::PyMethodDefPointer { PyCFunction: recv },
        ffi::METH_NOARGS,
        c"recv($self, /)\n--\n\nReceives an object, waiting for one. EOFError: nobody is there who could send.",
    )?;
    add(
        c"send_bytes",
        ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: send_bytes },
        fast,
        c"send_bytes($self, buf, offset=0, size=None)\n--\n\nSends the bytes of a buffer, or a part of them, as one message.",
    )?;
    add(
        c"recv_bytes",
        ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: recv_bytes },
        fast,
        c"recv_bytes($self, maxlength=None)\n--\n\nReceives the bytes of a message, waiting for one.",
    )?;
    add(
        c"poll",
        ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: poll },
        fast,
        c"poll($self, timeout=0.0)\n--\n\nWhether there is something to receive, the end included. None: waits for it.",
    )
}

unsafe extern "C" fn send(
    slf: *mut ffi::PyObject,
    object: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: called as a method of `Connection` by the interpreter.
    let connection = unsafe { this::<Connection>(slf) };
    // SAFETY: the interpreter is attached, and the argument alive during this call.
    if let Some(message) = unsafe { plain::write(object) } {
        if send_now(connection, message.codec, message.bytes()) {
            return nothing();
        }
    }
    slowly(|py| {
        // SAFETY: the argument, alive during this call.
        let object = unsafe { Bound::from_borrowed_ptr(py, object) };
        let transport = connection.sending()?;
        transport.while_waiting(|| transport.send(&object, connection.structured()))?;
        Ok(nothing())
    })
}

/// Sends a message through a pipe that has room; false says nothing, and nothing was sent.
#[inline]
fn send_now(connection: &Connection, codec: Codec, bytes: &[u8]) -> bool {
    if bytes.len() > QUICK || !connection.is_writable() {
        return false;
    }
    let Some(transport) = connection.transport.enter() else { return false };
    let Some(pipe) = transport.pipe() else { return false };
    pipe.send(codec.tag(), &[bytes], &[], &mut Wait::now()).is_ok()
}

unsafe extern "C" fn recv(slf: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: as in `send`.
    let connection = unsafe { this::<Connection>(slf) };
    let quickly = recv_now(connection, |codec, bytes| {
        // SAFETY: the interpreter is attached.
        unsafe { plain::read(codec, bytes) }
    });
    match quickly {
        Now::Object(object) => object,
        Now::Message(Received { codec, fds }, bytes) => slowly(|py| {
            let object = values::decode(py, codec, &bytes, Incoming::new(fds), Place::Connection);
            give_back(bytes);
            Ok(object?.into_ptr())
        }),
        Now::Nothing => slowly(|py| connection.receive(py).map(Bound::into_ptr)),
    }
}

/// What was received without waiting.
enum Now {
    Object(*mut ffi::PyObject),
    /// A message that `read` made nothing of.
    Message(Received, Vec<u8>),
    /// There is none, or to find out takes more than a look.
    Nothing,
}

/// Receives a message that is in a pipe, and has `read` make an object of it; null leaves it to the caller.
#[inline]
fn recv_now(connection: &Connection, read: impl FnOnce(u16, &[u8]) -> *mut ffi::PyObject) -> Now {
    if !connection.is_readable() {
        return Now::Nothing;
    }
    let Some(transport) = connection.transport.enter() else { return Now::Nothing };
    let Some(pipe) = transport.pipe() else { return Now::Nothing };
    let mut bytes = take_scratch();
    match pipe.recv(&mut bytes, usize::MAX, &mut Wait::now()) {
        Ok(received) => {
            if received.fds.is_empty() {
                let object = read(received.codec, &bytes);
                if !object.is_null() {
                    give_back(bytes);
                    return Now::Object(object);
                }
            }
            Now::Message(received, bytes)
        }
        Err(_) => {
            give_back(bytes);
            Now::Nothing
        }
    }
}

unsafe extern "C" fn send_bytes(
    slf: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as in `send`.
    let connection = unsafe { this::<Connection>(slf) };
    if count == 1 && names.is_null() {
        // SAFETY: the interpreter is attached, and its one argument alive during this call.
        if let Some(bytes) = unsafe { plain::bytes(*args) } {
            if send_now(connection, Codec::Raw, bytes) {
                return nothing();
            }
        }
    }
    slowly(|py| {
        let known = ["buf", "offset", "size"];
        // SAFETY: the interpreter's arguments, alive during this call.
        let [buffer, offset, size] =
            unsafe { arguments(py, "send_bytes", known, args, count, names) }?;
        let Some(buffer) = buffer else {
            return Err(missing("send_bytes", "buf"));
        };
        let transport = connection.sending()?;
        let buffer = buffers::contiguous(&buffer)?;
        // SAFETY: in one piece; the bytes are only copied, and if somebody writes into them meanwhile, as is possible
        // with the standard library's too, the copy is a mixture.
        let bytes = unsafe { buffers::bytes_of(&buffer) };
        let bytes = part(bytes, offset, size)?;
        transport.while_waiting(|| transport.send_bytes(py, bytes))?;
        Ok(nothing())
    })
}

/// The part of `bytes` that `offset` and `size` name.
fn part<'a>(
    bytes: &'a [u8],
    offset: Option<Bound<'_, PyAny>>,
    size: Option<Bound<'_, PyAny>>,
) -> PyResult<&'a [u8]> {
    let error = |text: &'static str| Err(PyValueError::new_err(text));
    let offset: isize = offset.map_or(Ok(0), |offset| offset.extract())?;
    let Ok(offset) = usize::try_from(offset) else { return error("offset is negative") };
    let Some(rest) = bytes.get(offset..) else { return error("buffer length < offset") };
    let Some(size) = size.filter(|size| !size.is_none()) else { return Ok(rest) };
    let Ok(size) = usize::try_from(size.extract::<isize>()?) else {
        return error("size is negative");
    };
    match rest.get(..size) {
        Some(part) => Ok(part),
        None => error("buffer length < offset + size"),
    }
}

unsafe extern "C" fn recv_bytes(
    slf: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as in `send`.
    let connection = unsafe { this::<Connection>(slf) };
    if count == 0 && names.is_null() {
        let quickly = recv_now(connection, |codec, bytes| match codec == Codec::Raw.tag() {
            // SAFETY: the interpreter is attached.
            true => unsafe { plain::read(Codec::Bytes.tag(), bytes) },
            false => std::ptr::null_mut(),
        });
        match quickly {
            Now::Object(object) => return object,
            Now::Message(Received { codec, fds }, bytes) => {
                return slowly(|py| {
                    let pickle = bytes_of_message(py, codec, &bytes, Incoming::new(fds));
                    give_back(bytes);
                    Ok(pickle?.into_ptr())
                });
            }
            Now::Nothing => {}
        }
    }
    slowly(|py| {
        // SAFETY: the interpreter's arguments, alive during this call.
        let [most] = unsafe { arguments(py, "recv_bytes", ["maxlength"], args, count, names) }?;
        drop(connection.receiving()?);
        let most: Option<i64> = match most {
            Some(most) if !most.is_none() => Some(most.extract()?),
            _ => None,
        };
        let most = match most.map(u64::try_from) {
            None => None,
            Some(Ok(most)) => Some(most),
            Some(Err(_)) => return Err(PyValueError::new_err("negative maxlength")),
        };
        connection.receive_bytes(py, most).map(|bytes| bytes.into_ptr())
    })
}

unsafe extern "C" fn poll(
    slf: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as in `send`.
    let connection = unsafe { this::<Connection>(slf) };
    if count == 0 && names.is_null() && connection.is_readable() {
        if let Some(transport) = connection.transport.enter() {
            if let Some(Ok(ready)) = transport.pipe().map(|pipe| pipe.poll(&mut Wait::now())) {
                return truth(ready);
            }
        }
    }
    slowly(|py| {
        // SAFETY: the interpreter's arguments, alive during this call.
        let [timeout] = unsafe { arguments(py, "poll", ["timeout"], args, count, names) }?;
        let timeout = match timeout {
            None => Timeout::None,
            Some(timeout) => {
                let timeout = Some(timeout).filter(|timeout| !timeout.is_none());
                Timeout::new(Blocking(true), timeout.as_ref())?
            }
        };
        let transport = connection.receiving()?;
        if timeout.is_none() {
            return transport.poll(py, timeout).map(truth);
        }
        transport.while_waiting(|| transport.poll(py, timeout)).map(truth)
    })
}

fn missing(function: &str, name: &str) -> PyErr {
    PyTypeError::new_err(format!("{function}() missing required argument '{name}' (pos 1)"))
}
