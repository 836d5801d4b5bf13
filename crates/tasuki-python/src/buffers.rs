//! Large buffers beside a pickle: which ones stay out of it, how the frame of codec `PickleBuffers` is laid out, and
//! the memory that a reader's objects lie in.
//!
//! The layout is in `tasuki::protocol::codec`. Called by `values.rs`; nothing here knows of queues.
#![allow(unsafe_code)] // borrows the memory of Python's buffers, and lends that of messages to Python

use std::ffi::c_int;
use std::sync::{Arc, Mutex};

use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::{PyBufferError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyList, PyMemoryView};
use tasuki::raw::{LargeMessage, PrivateMessage};

use crate::errors;

/// A buffer from this size on stays out of the pickle: a smaller one costs less to copy than to share.
pub const LARGE: usize = 1 << 20;
/// Every buffer begins at a multiple of this, for the vector instructions of whoever computes with it.
const ALIGNED: usize = 64;
/// Before the table: number of buffers, zero, length of the pickle.
const HEAD: usize = 16;
/// For each buffer: offset, length.
const ENTRY: usize = 16;

/// The pickle of a large bytearray: a call of `bytearray` with the first buffer, which saves it the way through the
/// pickle.
pub const BYTEARRAY: &[u8] = b"\x80\x05cbuiltins\nbytearray\n\x97\x85R.";

/// What a pickler calls for each buffer that could stay out of its pickle, and those that did.
#[pyclass(frozen, module = "tasuki._tasuki")]
#[derive(Default)]
pub struct OutOfBand {
    buffers: Mutex<Vec<PyUntypedBuffer>>,
}

#[pymethods]
impl OutOfBand {
    /// Whether the buffer belongs into the pickle.
    fn __call__(&self, buffer: &Bound<'_, PyAny>) -> PyResult<bool> {
        let buffer = PyUntypedBuffer::get(buffer)?;
        // One with gaps is the pickler's to refuse.
        if buffer.len_bytes() < LARGE || !is_in_one_piece(&buffer) {
            return Ok(true);
        }
        self.buffers.lock().expect("no panic while adding").push(buffer);
        Ok(false)
    }
}

impl OutOfBand {
    /// The buffers since the last call, in the order of the pickle.
    pub fn take(&self) -> Vec<PyUntypedBuffer> {
        std::mem::take(&mut self.buffers.lock().expect("no panic while adding"))
    }
}

/// Whether a buffer has its elements one after the other, in whichever order.
fn is_in_one_piece(buffer: &PyUntypedBuffer) -> bool {
    buffer.is_c_contiguous() || buffer.is_fortran_contiguous()
}

/// The memory of a buffer in one piece.
pub fn contiguous<'py>(object: &Bound<'py, PyAny>) -> PyResult<PyUntypedBuffer> {
    let buffer = PyUntypedBuffer::get(object)?;
    if is_in_one_piece(&buffer) {
        return Ok(buffer);
    }
    Err(PyBufferError::new_err("a buffer with gaps cannot be sent: send a copy of it"))
}

/// The bytes of a buffer.
///
/// # Safety
/// The buffer is in one piece, and nobody is to look at the bytes who could not bear that they change: their owner may
/// write into them while the interpreter is let go.
pub unsafe fn bytes_of(buffer: &PyUntypedBuffer) -> &[u8] {
    if buffer.len_bytes() == 0 {
        return &[]; // its address may be null
    }
    // SAFETY: an exported buffer stays where it is; the rest is as the caller promises.
    unsafe { std::slice::from_raw_parts(buffer.buf_ptr().cast(), buffer.len_bytes()) }
}

/// A message of a pickle and its buffers, ready to be put.
pub struct Framed {
    /// Table and pickle, padded.
    head: Vec<u8>,
    buffers: Vec<PyUntypedBuffer>,
}

impl Framed {
    /// Of buffers that are each in one piece.
    pub fn new(pickle: &[u8], buffers: Vec<PyUntypedBuffer>) -> Framed {
        let start = (HEAD + ENTRY * buffers.len() + pickle.len()).next_multiple_of(ALIGNED);
        let mut head = Vec::with_capacity(start);
        head.extend_from_slice(&(buffers.len() as u32).to_le_bytes());
        head.extend_from_slice(&0u32.to_le_bytes());
        head.extend_from_slice(&(pickle.len() as u64).to_le_bytes());
        let mut offset = start;
        for buffer in &buffers {
            head.extend_from_slice(&(offset as u64).to_le_bytes());
            head.extend_from_slice(&(buffer.len_bytes() as u64).to_le_bytes());
            offset += buffer.len_bytes().next_multiple_of(ALIGNED);
        }
        head.extend_from_slice(pickle);
        head.resize(start, 0);
        Framed { head, buffers }
    }

    /// A message that is this buffer, in one piece, and nothing else.
    pub fn bare(buffer: PyUntypedBuffer) -> Framed {
        Framed { head: Vec::new(), buffers: vec![buffer] }
    }

    /// The bytes of the message, in order.
    pub fn parts(&self) -> Vec<&[u8]> {
        const ZEROS: [u8; ALIGNED] = [0; ALIGNED];
        let mut parts = vec![self.head.as_slice()];
        for (number, buffer) in self.buffers.iter().enumerate() {
            // SAFETY: all of them are in one piece; the bytes are only copied, and if somebody writes into them
            // meanwhile the copy is a mixture.
            parts.push(unsafe { bytes_of(buffer) });
            if number + 1 < self.buffers.len() {
                let len = buffer.len_bytes();
                parts.push(&ZEROS[..len.next_multiple_of(ALIGNED) - len]);
            }
        }
        parts
    }
}

/// What a message of codec `PickleBuffers` consists of.
pub struct Layout {
    /// Where the pickle is.
    pub pickle: (usize, usize),
    /// Where the buffers are.
    pub buffers: Vec<(usize, usize)>,
}

impl Layout {
    /// Reads the table of a message of `len` bytes; `copy` gives a copy of `length` bytes from `offset` on, which are
    /// inside. Nothing in the table is believed.
    pub fn read(len: usize, copy: impl Fn(usize, usize) -> Vec<u8>) -> PyResult<Layout> {
        let broken = || PyValueError::new_err("a broken message: a table of buffers");
        if len < HEAD {
            return Err(broken());
        }
        let head = copy(0, HEAD);
        let count = u32::from_le_bytes(head[..4].try_into().expect("four bytes")) as usize;
        let pickle_len = word(&head, 8).ok_or_else(broken)?;
        let start = HEAD + ENTRY * count;
        if start > len || pickle_len > len - start {
            return Err(broken());
        }
        let table = copy(HEAD, ENTRY * count);
        let mut buffers = Vec::with_capacity(count);
        for entry in table.chunks_exact(ENTRY) {
            let offset = word(entry, 0).ok_or_else(broken)?;
            let length = word(entry, 8).ok_or_else(broken)?;
            if offset > len || length > len - offset {
                return Err(broken());
            }
            buffers.push((offset, length));
        }
        Ok(Layout { pickle: (start, pickle_len), buffers })
    }
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    let word = u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?);
    usize::try_from(word).ok()
}

/// The pickle and the buffers in a message whose bytes were copied already: for what is small or has to be copied.
pub fn copied<'py>(
    py: Python<'py>,
    bytes: &[u8],
) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyList>)> {
    let layout =
        Layout::read(bytes.len(), |offset, length| bytes[offset..offset + length].to_vec())?;
    let (start, length) = layout.pickle;
    let buffers = PyList::empty(py);
    for (offset, length) in layout.buffers {
        let array = PyByteArray::new(py, &bytes[offset..offset + length]);
        buffers.append(PyMemoryView::from(array.as_any())?)?;
    }
    Ok((PyBytes::new(py, &bytes[start..start + length]), buffers))
}

/// A part of a large message, which it keeps; Python lays its objects over it.
///
/// The memory is this process's and nobody else's until the last object over the message is gone, or the process is. A
/// child that is forked has a copy, as of all memory.
#[pyclass(frozen, module = "tasuki._tasuki")]
pub struct Part {
    message: Arc<PrivateMessage>,
    offset: usize,
    len: usize,
    is_writable: bool,
}

#[pymethods]
impl Part {
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let part = slf.get();
        let len = ffi::Py_ssize_t::try_from(part.len)?;
        // SAFETY: the part was checked to lie in the message, whose memory stays where it is while the view has a
        // reference to this object; the interpreter gave `view`.
        let filled = unsafe {
            let start = part.message.as_ptr().add(part.offset).cast();
            ffi::PyBuffer_FillInfo(
                view,
                slf.as_ptr(),
                start,
                len,
                c_int::from(!part.is_writable),
                flags,
            )
        };
        if filled == 0 { Ok(()) } else { Err(PyErr::fetch(slf.py())) }
    }
}

impl Part {
    /// A view of `len` bytes from `offset` on, which are inside.
    fn view<'py>(
        py: Python<'py>,
        message: &Arc<PrivateMessage>,
        (offset, len): (usize, usize),
        is_writable: bool,
    ) -> PyResult<Bound<'py, PyMemoryView>> {
        let part = Part { message: message.clone(), offset, len, is_writable };
        PyMemoryView::from(Bound::new(py, part)?.as_any())
    }
}

/// The message as private memory. The interpreter is let go, since that takes a while for a very large one.
fn private(py: Python<'_>, large: Box<LargeMessage>) -> PyResult<Arc<PrivateMessage>> {
    let private = py.detach(|| large.into_private());
    Ok(Arc::new(private.map_err(errors::engine)?))
}

/// A view of a whole large message, not to be written to.
pub fn whole<'py>(py: Python<'py>, large: Box<LargeMessage>) -> PyResult<Bound<'py, PyMemoryView>> {
    let len = large.len();
    Part::view(py, &private(py, large)?, (0, len), false)
}

/// The pickle and the buffers of a large message, the buffers where they lie. A pickle says itself which of them are
/// not to be written to.
pub fn in_place<'py>(
    py: Python<'py>,
    large: Box<LargeMessage>,
) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyList>)> {
    let message = private(py, large)?;
    let copy = |offset: usize, length: usize| {
        let mut bytes = Vec::with_capacity(length);
        // SAFETY: `Layout` asks for what is inside only; a broken process that writes meanwhile makes the copy a
        // mixture.
        unsafe {
            let start = message.as_ptr().add(offset);
            start.copy_to_nonoverlapping(bytes.as_mut_ptr(), length);
            bytes.set_len(length);
        }
        bytes
    };
    let layout = Layout::read(message.len(), copy)?;
    let pickle = copy(layout.pickle.0, layout.pickle.1);
    let buffers = PyList::empty(py);
    for place in layout.buffers {
        buffers.append(Part::view(py, &message, place, true)?)?;
    }
    Ok((PyBytes::new(py, &pickle), buffers))
}
