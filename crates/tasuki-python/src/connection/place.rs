//! A place in a Python buffer for the bytes of a message.
#![allow(unsafe_code)] // writes into an exported buffer

use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::buffers;

/// A buffer in one piece that may be written to.
pub struct Place(PyUntypedBuffer);

impl Place {
    pub fn of(object: &Bound<'_, PyAny>) -> PyResult<Place> {
        let buffer = buffers::contiguous(object)?;
        if buffer.readonly() {
            return Err(PyTypeError::new_err("a buffer to receive into must be writable"));
        }
        Ok(Place(buffer))
    }

    pub fn len(&self) -> usize {
        self.0.len_bytes()
    }

    /// Copies `bytes` to `offset`.
    ///
    /// # Panics
    /// When they do not fit.
    pub fn copy_from(&self, offset: usize, bytes: &[u8]) {
        assert!(offset <= self.len() && bytes.len() <= self.len() - offset, "they fit");
        // SAFETY: they do, into memory that the object lets others write to, and that no message lies in.
        unsafe {
            let target = self.0.buf_ptr().cast::<u8>().add(offset);
            target.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
    }
}
